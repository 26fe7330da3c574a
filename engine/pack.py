"""
Packs: immutable objects of sealed frames (docs/format.md, "Packs").

    header 64 | frame 0 | frame 1 | ... | sealed directory | random fill | trailer 64

No length stands in clear. The directory (opened with the metadata key) lists frames and the chunk ids in each; the trailer
seals where it is. The fill brings the pack to a Padme size, so that its length says little. A pack is named by the
BLAKE3 of its bytes, so that anyone can scrub it.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import Corruption
from engine.frame import Codec, FrameInfo
from engine.ids import CHUNK_ID_BYTES, ChunkId
from engine.keys import SALT_BYTES, KeySet
from engine.limits import DIRECTORY_BYTES_MAX, FRAMES_PER_PACK_MAX, PACK_BYTES_MAX
from engine.seal import (
    HEADER_BYTES,
    TAG_BYTES,
    Header,
    ObjectClass,
    decode_header,
    directory_cipher,
    nonce,
    open_sealed,
)

TRAILER_BYTES = 64
TRAILER_MAGIC = b"SRTRAIL1"
_POSITION = struct.Struct("<QQ16x")  # directory offset, sealed bytes; filled to 32
_COUNTS = struct.Struct("<IIII")  # salts, frames, chunks, reserved
_FRAME = struct.Struct("<16sQIIIIIIHBx")
_CHUNK = struct.Struct("<32sI")

assert len(TRAILER_MAGIC) + _POSITION.size + TAG_BYTES + 8 == TRAILER_BYTES


@dataclass(frozen=True, slots=True)
class DirectoryFrame:
    """One frame of a directory with the chunks in it, in order: (id, plain bytes)."""

    info: FrameInfo
    chunks: tuple[tuple[ChunkId, int], ...]


@dataclass(frozen=True, slots=True)
class Directory:
    """What a pack holds."""

    header: Header
    frames: tuple[DirectoryFrame, ...]


def padme(size: int) -> int:
    """The Padme size at or above `size` bytes: at most 12 % more, far less for large objects (PURBs, PETS 2019)."""
    if size < 2:
        return size
    exponent = size.bit_length() - 1
    drop = exponent - exponent.bit_length()
    mask = (1 << drop) - 1
    return (size + mask) & ~mask


def encode_directory(frames: Sequence[DirectoryFrame]) -> bytes:
    """Plain bytes of a directory."""
    salts: dict[bytes, int] = {}
    rows = bytearray()
    chunks = bytearray()
    for frame in frames:
        info = frame.info
        salt = salts.setdefault(info.salt, len(salts))
        rows += _FRAME.pack(
            info.identity,
            info.offset,
            info.stored_bytes,
            info.plain_bytes,
            info.ordinal,
            info.epoch,
            info.dictionary,
            len(frame.chunks),
            salt,
            info.codec,
        )
        for chunk, size in frame.chunks:
            chunks += _CHUNK.pack(chunk, size)
    head = _COUNTS.pack(len(salts), len(frames), len(chunks) // _CHUNK.size, 0)
    return head + b"".join(salts) + bytes(rows) + bytes(chunks)


def decode_directory(plain: bytes) -> tuple[DirectoryFrame, ...]:
    """Reverse of `encode_directory`; Corruption if counts, sums or codecs do not fit."""
    try:
        n_salts, n_frames, n_chunks, _ = _COUNTS.unpack_from(plain)
        expected = (
            _COUNTS.size + n_salts * SALT_BYTES + n_frames * _FRAME.size + n_chunks * _CHUNK.size
        )
        if expected != len(plain) or n_frames > FRAMES_PER_PACK_MAX:
            raise ValueError("sizes")
        at = _COUNTS.size
        salts = [plain[at + i * SALT_BYTES : at + (i + 1) * SALT_BYTES] for i in range(n_salts)]
        at += n_salts * SALT_BYTES
        rows = list(_FRAME.iter_unpack(plain[at : at + n_frames * _FRAME.size]))
        at += n_frames * _FRAME.size
        chunks = [(ChunkId(c), size) for c, size in _CHUNK.iter_unpack(plain[at:])]
        return tuple(_directory_frames(rows, salts, chunks))
    except (struct.error, ValueError, IndexError) as error:
        raise Corruption("a pack directory cannot be read", code="directory-corrupt") from error


def _directory_frames(
    rows: list[tuple[bytes, int, int, int, int, int, int, int, int, int]],
    salts: list[bytes],
    chunks: list[tuple[ChunkId, int]],
) -> list[DirectoryFrame]:
    frames = []
    at = 0
    for identity, offset, stored, plain, ordinal, epoch, dictionary, count, salt, codec in rows:
        inside = tuple(chunks[at : at + count])
        at += count
        if len(inside) != count or sum(size for _, size in inside) != plain:
            raise ValueError("chunks of a frame")
        info = FrameInfo(
            identity, offset, stored, plain, ordinal, epoch, dictionary, Codec(codec), salts[salt]
        )
        frames.append(DirectoryFrame(info, inside))
    if at != len(chunks):
        raise ValueError("chunks left over")
    return frames


def seal_tail(
    keys: KeySet, header: Header, frames: Sequence[DirectoryFrame], offset: int
) -> tuple[bytes, bytes]:
    """
    What follows the last frame: (sealed directory, trailer); `fill_bytes` random bytes come between them.

    Args:
        offset: where the directory begins, in bytes from the start of the pack.
    """
    cipher = directory_cipher(keys, header)
    head = header.encode()
    sealed = cipher.encrypt(nonce(0), encode_directory(frames), head + b"directory")
    position = cipher.encrypt(nonce(1), _POSITION.pack(offset, len(sealed)), head + b"trailer")
    return sealed, TRAILER_MAGIC + position + bytes(8)


def fill_bytes(frames: Sequence[DirectoryFrame], offset: int) -> int:
    """How many bytes of fill bring a pack whose directory begins at `offset` to its Padme size."""
    size = offset + len(encode_directory(frames)) + TAG_BYTES + TRAILER_BYTES
    return padme(size) - size


def directory_position(
    keys: KeySet, object_class: ObjectClass, repository: bytes, head: bytes, trailer: bytes
) -> tuple[Header, int, int]:
    """Header, offset and sealed size of the directory, from the first and the last 64 bytes of a pack."""
    header = decode_header(head, object_class, repository)
    if len(trailer) != TRAILER_BYTES or not trailer.startswith(TRAILER_MAGIC):
        raise Corruption("a pack has no trailer", code="trailer-corrupt")
    sealed = trailer[len(TRAILER_MAGIC) : len(TRAILER_MAGIC) + _POSITION.size + TAG_BYTES]
    if trailer[-8:] != bytes(8):
        raise Corruption("a pack's trailer is damaged", code="trailer-corrupt")
    cipher = directory_cipher(keys, header)
    plain = open_sealed(cipher, 1, sealed, head[:HEADER_BYTES] + b"trailer", "a pack's trailer")
    offset, size = _POSITION.unpack(plain)
    if not HEADER_BYTES <= offset <= PACK_BYTES_MAX or size > DIRECTORY_BYTES_MAX:
        raise Corruption("a pack's trailer is damaged", code="trailer-corrupt")
    return header, offset, size


def open_directory(keys: KeySet, header: Header, sealed: bytes) -> Directory:
    """Decrypt and decode a directory."""
    plain = open_sealed(
        directory_cipher(keys, header),
        0,
        sealed,
        header.encode() + b"directory",
        "a pack's directory",
    )
    return Directory(header, decode_directory(plain))


assert _CHUNK.size == CHUNK_ID_BYTES + 4
