"""
Authenticated encryption of stored objects (docs/format.md, "Sealing").

Every object begins with a clear header of 64 bytes; its random salt makes the key unique, so nonces are plain ordinals.
A frame binds version, repository, class, identity, plain length, codec, dictionary and epoch as associated data, but
not the pack, so that compaction may move sealed frames. A single-frame object (run, manifest, cell, ...) binds its header
and, where the name is not the hash of the bytes, its name.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.errors import Corruption, Unsupported
from engine.keys import KeySet, derive
from engine.limits import OBJECT_PLAIN_BYTES_MAX
from engine.parity import protected, unprotected
from engine.version import FORMAT_VERSION, SUITE, require_readable

MAGIC = b"STRONGRM"
HEADER_BYTES = 64
TAG_BYTES = 16
_HEADER = struct.Struct("<8sHBBI16s32s")
_FRAME_AAD = struct.Struct("<8sHBB16s16sIBII")


class ObjectClass(IntEnum):
    """What an object is; part of every header and of all associated data."""

    DATA_PACK = 1
    METADATA_PACK = 2
    RUN = 3
    MANIFEST = 4
    POINT = 5
    CELL = 6
    GENERATION = 7
    FORGET = 8


@dataclass(frozen=True, slots=True)
class Header:
    """Clear head of an object: class, key epoch, repository (16 bytes), salt (32 bytes)."""

    object_class: ObjectClass
    epoch: int
    repository: bytes
    salt: bytes

    def encode(self) -> bytes:
        """64 bytes."""
        return _HEADER.pack(
            MAGIC,
            FORMAT_VERSION,
            SUITE,
            self.object_class,
            self.epoch,
            self.repository,
            self.salt,
        )


def decode_header(data: bytes, expected: ObjectClass, repository: bytes) -> Header:
    """
    Read the header of an object of a known class in a known repository.

    Raises:
        Unsupported: a newer version wrote it. Corruption: anything else that is not as expected.
    """
    if len(data) < HEADER_BYTES or data[:8] != MAGIC:
        raise Corruption("an object has no Strongroom header", code="header-corrupt")
    _, version, suite, found, epoch, owner, salt = _HEADER.unpack(data[:HEADER_BYTES])
    require_readable(version, suite)
    if found != expected:
        raise Corruption(
            f"an object of class {found} stands where {expected.name} is expected",
            code="header-class",
        )
    if owner != repository:
        raise Corruption("an object belongs to another repository", code="header-repository")
    return Header(expected, epoch, owner, salt)


def nonce(ordinal: int) -> bytes:
    """The 96-bit nonce of an ordinal."""
    return ordinal.to_bytes(12, "little")


def class_key(keys: KeySet, header: Header) -> bytes:
    """Class key of the header's epoch: data packs use the data key, all else the metadata key."""
    epoch = keys.epoch(header.epoch)
    return epoch.data if header.object_class == ObjectClass.DATA_PACK else epoch.metadata


def frame_cipher(keys: KeySet, object_class: ObjectClass, epoch: int, salt: bytes) -> AESGCM:
    """Cipher of the frames that were sealed under `salt`."""
    header = Header(object_class, epoch, b"", salt)
    return AESGCM(derive(class_key(keys, header), "frame", salt))


def directory_cipher(keys: KeySet, header: Header) -> AESGCM:
    """Cipher of a pack's directory (nonce 0) and trailer (nonce 1): the metadata key alone opens them."""
    return AESGCM(derive(keys.epoch(header.epoch).metadata, "directory", header.salt))


def frame_aad(
    repository: bytes,
    object_class: ObjectClass,
    identity: bytes,
    plain_bytes: int,
    codec: int,
    dictionary: int,
    epoch: int,
) -> bytes:
    """What a frame's tag binds besides its content."""
    return _FRAME_AAD.pack(
        b"srframe\0",
        FORMAT_VERSION,
        SUITE,
        object_class,
        repository,
        identity,
        plain_bytes,
        codec,
        dictionary,
        epoch,
    )


def open_sealed(
    cipher: AESGCM, ordinal: int, sealed: bytes | memoryview, aad: bytes, what: str
) -> bytes:
    """Decrypt; Corruption names `what` if the tag does not fit."""
    try:
        return cipher.decrypt(nonce(ordinal), sealed, aad)
    except InvalidTag as error:
        raise Corruption(
            f"{what} is damaged (authentication failed)", code="seal-broken"
        ) from error


def seal_object(
    keys: KeySet,
    object_class: ObjectClass,
    repository: bytes,
    salt: bytes,
    plain: bytes,
    name: str = "",
) -> bytes:
    """
    Stored bytes of a single-frame object: header, the zstd-compressed plain bytes sealed as frame 0, parity.

    Args:
        salt: 32 fresh random bytes.
        name: bound where the object's name is not the hash of its bytes (cells, points, generations).
    """
    header = Header(object_class, keys.newest_epoch, repository, salt)
    head = header.encode()
    packed = zstandard.ZstdCompressor(level=3, write_content_size=True).compress(plain)
    cipher = AESGCM(derive(class_key(keys, header), "object", salt))
    return protected(head + cipher.encrypt(nonce(0), packed, head + name.encode()))


def open_object(
    keys: KeySet,
    object_class: ObjectClass,
    repository: bytes,
    stored: bytes,
    name: str = "",
) -> bytes:
    """Reverse of `seal_object`. Corruption or Unsupported, which name the object or at least its class."""
    what = name or object_class.name.lower()
    try:
        header = decode_header(stored, object_class, repository)
        cipher = AESGCM(derive(class_key(keys, header), "object", header.salt))
    except (Corruption, Unsupported) as error:
        raise type(error)(f"{what}: {error.message}", code=error.code) from error
    body = unprotected(stored)
    if body is None:
        raise Corruption(
            f"{what} is damaged: `strongroom repo verify --repair` mends it if it can",
            code="seal-broken",
        )
    packed = open_sealed(cipher, 0, body[HEADER_BYTES:], body[:HEADER_BYTES] + name.encode(), what)
    return expand(packed, OBJECT_PLAIN_BYTES_MAX, what)


def expand(packed: bytes, plain_bytes_max: int, what: str) -> bytes:
    """Decompress one zstd frame that says its size, within a bound. Corruption otherwise."""
    try:
        size = zstandard.frame_content_size(packed)
        if size < 0 or size > plain_bytes_max:
            raise Corruption(f"{what} has an impossible size", code="frame-size")
        plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size or 1)
    except zstandard.ZstdError as error:
        raise Corruption(f"{what} cannot be decompressed", code="frame-codec") from error
    if len(plain) != size:
        raise Corruption(f"{what} has a wrong size", code="frame-size")
    return plain
