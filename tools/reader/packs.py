"""Sections "Frames" and "Packs": where frames lie, from directories or salvage points, and their plain bytes."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from blake3 import blake3

from tools.reader.folder import Damage, Folder
from tools.reader.keys import Keys, derive
from tools.reader.parity import mend
from tools.reader.sealing import (
    DATA_PACK,
    HEADER_BYTES,
    METADATA_PACK,
    TAG_BYTES,
    Header,
    decode_header,
    epoch_keys,
    expand,
    unseal,
)

PACK_FORM = "[0-9a-f]{2}/[0-9a-f]{64}"
PACK_CLASSES = {"pack/d/": DATA_PACK, "pack/m/": METADATA_PACK}
REFERENCE_BYTES = 36
FRAME_PLAIN_BYTES_MAX = 64 << 20
TRAILER_BYTES = 96
SALVAGE_BLOCK_BYTES = 4096
_PLACE_BYTES = 48
_COUNTS = struct.Struct("<IIII")
_FRAME = struct.Struct("<16sQIIIIIIHBx")


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a frame lies and what opens it; `pack` is the object's name, sizes in bytes."""

    pack: str
    pack_class: int
    salt: bytes
    identity: bytes
    offset: int
    stored: int
    plain: int
    ordinal: int
    epoch: int
    dictionary: int
    codec: int


def read_frame(folder: Folder, keys: Keys, frame: Frame) -> bytes:
    """Plain bytes of a frame: its chunks, joined; out of the mended pack if it does not open in the one there is."""
    try:
        return _open_frame(keys, frame, folder.read(frame.pack, frame.offset, frame.stored))
    except Damage as error:
        whole = mended_pack(folder, frame.pack)
        if whole is None:
            raise Damage(f"{frame.pack}: frame at {frame.offset}: {error}") from error
        return _open_frame(keys, frame, whole[frame.offset : frame.offset + frame.stored])


@lru_cache(maxsize=2)
def mended_pack(folder: Folder, name: str) -> bytes | None:
    """A damaged pack as it was, if its parity is enough."""
    try:
        stored = folder.read(name)
    except Damage:
        return None
    return mend(stored, TRAILER_BYTES, lambda made: blake3(made).hexdigest() == name[-64:])


def _open_frame(keys: Keys, frame: Frame, sealed: bytes) -> bytes:
    epoch = epoch_keys(keys, frame.epoch)
    class_key = epoch.data if frame.pack_class == DATA_PACK else epoch.metadata
    fields = (frame.identity, frame.plain, frame.codec, frame.dictionary, frame.epoch)
    data = b"srframe\0" + struct.pack("<HBB", 1, 1, frame.pack_class) + keys.repository
    data += struct.pack("<16sIBII", *fields)
    stored = unseal(derive(class_key, "frame", frame.salt), frame.ordinal, sealed, data)
    if frame.dictionary or frame.codec not in (0, 1):
        raise Damage(f"codec {frame.codec} with dictionary {frame.dictionary} is unknown")
    plain = expand(stored, FRAME_PLAIN_BYTES_MAX) if frame.codec else stored
    if len(plain) != frame.plain:
        raise Damage("its size is wrong")
    return plain


def pack_frames(folder: Folder, keys: Keys, name: str) -> tuple[list[tuple[Frame, bytes]], str]:
    """The frames of a pack with the references of their chunks, and what is wrong with the pack (mostly nothing)."""
    try:
        stored = folder.read(name)
    except Damage as error:
        return [], str(error)
    why = "no salt: header and trailer are damaged"
    headers = list(_possible_headers(keys, name, stored))
    for header in headers:
        try:
            return list(_directory(keys, name, stored, header)), ""
        except Damage as error:
            why = str(error)
    whole = mended_pack(folder, name)
    if whole is not None:
        header = decode_header(whole, PACK_CLASSES[name[:7]], keys)
        return list(_directory(keys, name, whole, header)), ""
    for header in headers:
        found = list(_salvaged(keys, name, stored, header))
        if found:
            return found, f"{name}: {why}; {len(found)} frames come from salvage points"
    return [], f"{name}: {why}; no salvage point"


def _possible_headers(keys: Keys, name: str, stored: bytes) -> Iterator[Header]:
    """The header as it stands, and as the trailer and the key set let us write it."""
    with suppress(Damage):
        yield decode_header(stored, PACK_CLASSES[name[:7]], keys)
    if stored[-TRAILER_BYTES:].startswith(b"SRTRAIL1"):
        salt = stored[-TRAILER_BYTES + 8 :][:32]
        for epoch in sorted(keys.epochs):
            yield Header(PACK_CLASSES[name[:7]], epoch, keys.repository, salt)


def _directory(
    keys: Keys, name: str, stored: bytes, header: Header
) -> Iterator[tuple[Frame, bytes]]:
    """Through the trailer to the directory."""
    trailer = stored[-TRAILER_BYTES:]
    if not trailer.startswith(b"SRTRAIL1"):
        raise Damage("torn: no trailer")
    key = derive(epoch_keys(keys, header.epoch).metadata, "directory", header.salt)
    place = unseal(key, 1, trailer[40:88], header.encode() + b"trailer")
    offset, size = struct.unpack_from("<QQ", place)
    plain = unseal(key, 0, stored[offset : offset + size], header.encode() + b"directory")
    return _decode(name, plain)


def _salvaged(
    keys: Keys, name: str, stored: bytes, header: Header
) -> Iterator[tuple[Frame, bytes]]:
    """Every multiple of 4096 may be a salvage point."""
    if header.epoch not in keys.epochs:
        return
    key = derive(keys.epochs[header.epoch].metadata, "directory", header.salt)
    for block in range(1, len(stored) // SALVAGE_BLOCK_BYTES + 1):
        start = block * SALVAGE_BLOCK_BYTES
        end = start + _PLACE_BYTES
        try:
            associated = header.encode() + b"salvage head"
            head = unseal(key, 2 * block, stored[start:end], associated)
            own_offset, size = struct.unpack_from("<QQ", head)
            if own_offset == start:
                sealed = stored[end : end + size]
                plain = unseal(key, 2 * block + 1, sealed, header.encode() + b"salvage")
                yield from _decode(name, plain)
        except Damage:
            continue


def _decode(name: str, plain: bytes) -> Iterator[tuple[Frame, bytes]]:
    """Decode a directory."""
    if len(plain) < _COUNTS.size:
        raise Damage("directory ends early")
    salts, frames, chunks, _ = _COUNTS.unpack_from(plain)
    frames_at = _COUNTS.size + 32 * salts
    chunk_at = frames_at + _FRAME.size * frames
    if len(plain) != chunk_at + REFERENCE_BYTES * chunks:
        raise Damage("directory's counts are wrong")
    end = HEADER_BYTES
    for fields in _FRAME.iter_unpack(plain[frames_at:chunk_at]):
        identity, offset, stored, size, ordinal, epoch, dictionary, count, salt_number, codec = (
            fields
        )
        references = plain[chunk_at : chunk_at + REFERENCE_BYTES * count]
        chunk_at += len(references)
        lengths = sum(length for _, length in struct.iter_unpack("<32sI", references))
        named = blake3(b"strongroom frame" + references).digest()[:16]
        if offset < end or stored < TAG_BYTES or lengths != size or named != identity:
            raise Damage("directory has a wrong frame")
        if salt_number >= salts:
            raise Damage("directory lacks a salt")
        end = offset + stored
        salt_at = _COUNTS.size + 32 * salt_number
        salt = plain[salt_at : salt_at + 32]
        place = (offset, stored, size, ordinal, epoch, dictionary, codec)
        yield Frame(name, PACK_CLASSES[name[:7]], salt, identity, *place), references
