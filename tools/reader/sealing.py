"""Sections "Header" and "Sealing": AES-256-GCM with keys that occur once."""

import struct
from contextlib import suppress
from dataclasses import dataclass

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tools.reader.folder import Damage
from tools.reader.keys import Epoch, Keys, derive
from tools.reader.parity import body_of, mend

DATA_PACK, METADATA_PACK, RUN, MANIFEST, POINT, CELL, GENERATION = range(1, 8)
HEADER_BYTES = 64
TAG_BYTES = 16
PLAIN_BYTES_MAX = 256 << 20
_HEADER = struct.Struct("<8sHBBI16s32s")


@dataclass(frozen=True, slots=True)
class Header:
    """The clear beginning of a sealed object."""

    object_class: int
    epoch: int
    repository: bytes
    salt: bytes

    def encode(self) -> bytes:
        """Its 64 bytes, which are part of the associated data."""
        fields = (self.object_class, self.epoch, self.repository, self.salt)
        return _HEADER.pack(b"STRONGRM", 1, 1, *fields)


def decode_header(data: bytes, object_class: int, keys: Keys) -> Header:
    """The header of an object that must have this class and belong to this repository."""
    if len(data) < HEADER_BYTES:
        raise Damage("shorter than a header")
    magic, version, suite, stored_class, epoch, repository, salt = _HEADER.unpack_from(data)
    if (magic, version, suite, stored_class) != (b"STRONGRM", 1, 1, object_class):
        raise Damage("no header of its class, version 1 and suite 1")
    if repository != keys.repository:
        raise Damage("belongs to another repository")
    return Header(stored_class, epoch, repository, salt)


def epoch_keys(keys: Keys, epoch: int) -> Epoch:
    """Keys of an epoch that the key set must have."""
    if epoch in keys.closed:
        raise Damage(keys.closed[epoch])
    if epoch not in keys.epochs:
        raise Damage(f"sealed in epoch {epoch}, which the key set lacks")
    return keys.epochs[epoch]


def unseal(key: bytes, ordinal: int, sealed: bytes, associated: bytes) -> bytes:
    """Plain bytes of what was sealed under a key as its number `ordinal`; Damage if a bit differs."""
    try:
        return AESGCM(key).decrypt(ordinal.to_bytes(12, "little"), sealed, associated)
    except (InvalidTag, ValueError) as error:
        raise Damage("does not open: damaged, or not of this place") from error


def expand(compressed: bytes, plain_bytes_max: int) -> bytes:
    """Content of one zstd frame that states its size, in one piece."""
    try:
        size = zstandard.frame_content_size(compressed)
        if not 0 <= size <= plain_bytes_max:
            raise Damage(f"states {size} bytes, more than {plain_bytes_max} or none")
        return zstandard.ZstdDecompressor().decompress(compressed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Damage(f"no zstd: {error}") from error


def open_object(keys: Keys, name: str, stored: bytes, object_class: int) -> bytes:
    """Plain bytes of a single-frame object (classes 3 to 8), mended by its parity if need be."""

    def opens(whole: bytes) -> bool:
        with suppress(Damage):
            _opened(keys, name, whole, object_class)
            return True
        return False

    try:
        return _opened(keys, name, stored, object_class)
    except Damage:
        mended = mend(stored, 0, opens)
        if mended is None:
            raise
        return _opened(keys, name, mended, object_class)


def _opened(keys: Keys, name: str, stored: bytes, object_class: int) -> bytes:
    header = decode_header(stored, object_class, keys)
    key = derive(epoch_keys(keys, header.epoch).metadata, "object", header.salt)
    named = name.encode() if object_class >= POINT else b""
    sealed = stored[HEADER_BYTES : body_of(len(stored), 0) or 0]
    return expand(unseal(key, 0, sealed, header.encode() + named), PLAIN_BYTES_MAX)
