"""
Packs: immutable objects of sealed frames (docs/format.md, "Packs").

    header 64 | frame 0 | frame 1 | ... | salvage point | frame n | ... | sealed directory | random fill | parity | trailer 96

No length stands in clear. The directory (opened with the metadata key) lists frames and the chunk ids in each; the trailer
seals where it is. A salvage point, after every few MiB, lists the frames since the one before it, for packs that are
torn or whose directory is damaged. The fill brings the pack to a Padme size, so that its length says little; parity
(`engine.parity`) adds what that size demands, and repeats the trailer. A pack is named by the BLAKE3 of its bytes, so that
anyone can scrub it.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from typing_extensions import Buffer

from cext import runs
from engine.errors import Corruption
from engine.frame import Codec, FrameInfo
from engine.keys import SALT_BYTES, KeySet
from engine.limits import (
    DIRECTORY_BYTES_MAX,
    FRAMES_PER_PACK_MAX,
    PACK_BYTES_MAX,
    SALVAGE_ALIGNMENT_BYTES,
)
from engine.parts import REFERENCE_BYTES
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

TRAILER_MAGIC = b"SRTRAIL1"
_POSITION = struct.Struct("<QQ16x")  # offset, sealed bytes; filled to 32
_COUNTS = struct.Struct("<IIII")  # salts, frames, chunks, reserved
_FRAME = struct.Struct("<16sQIIIIIIHBx")
SEALED_POSITION_BYTES = _POSITION.size + TAG_BYTES
TRAILER_BYTES = len(TRAILER_MAGIC) + SALT_BYTES + SEALED_POSITION_BYTES + 8


@dataclass(frozen=True, slots=True)
class DirectoryFrame:
    """One frame of a directory; `refs`: references (36 bytes: id, plain bytes) of the chunks in it, in order."""

    info: FrameInfo
    refs: bytes


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
    chunks = 0
    for frame in frames:
        info = frame.info
        count = len(frame.refs) // REFERENCE_BYTES
        chunks += count
        rows += _FRAME.pack(
            info.identity,
            info.offset,
            info.stored_bytes,
            info.plain_bytes,
            info.ordinal,
            info.epoch,
            info.dictionary,
            count,
            salts.setdefault(info.salt, len(salts)),
            info.codec,
        )
    head = _COUNTS.pack(len(salts), len(frames), chunks, 0)
    return b"".join((head, *salts, rows, *(frame.refs for frame in frames)))


def directory_bytes(salts: int, frames: int, chunks: int) -> int:
    """Size of `encode_directory` for these numbers of salts, frames and chunks."""
    return _COUNTS.size + salts * SALT_BYTES + frames * _FRAME.size + chunks * REFERENCE_BYTES


def decode_directory(plain: bytes) -> tuple[DirectoryFrame, ...]:
    """Reverse of `encode_directory`; Corruption if counts, sums or codecs do not fit."""
    try:
        n_salts, n_frames, n_chunks, reserved = _COUNTS.unpack_from(plain)
        if directory_bytes(n_salts, n_frames, n_chunks) != len(plain) or reserved:
            raise ValueError("sizes")
        if n_frames > FRAMES_PER_PACK_MAX:
            raise ValueError("too many frames")
        rows_at = _COUNTS.size + n_salts * SALT_BYTES
        chunks_at = rows_at + n_frames * _FRAME.size
        salts = [plain[at : at + SALT_BYTES] for at in range(_COUNTS.size, rows_at, SALT_BYTES)]
        return tuple(_directory_frames(plain[rows_at:chunks_at], salts, plain[chunks_at:]))
    except (struct.error, ValueError, IndexError) as error:
        raise Corruption("a pack directory cannot be read", code="directory-corrupt") from error


def _directory_frames(rows: bytes, salts: list[bytes], refs: bytes) -> Iterator[DirectoryFrame]:
    at = 0
    for (
        identity, offset, stored, plain, ordinal, epoch, dictionary, count, salt, codec,
    ) in _FRAME.iter_unpack(rows):  # fmt: skip
        inside = refs[at : at + count * REFERENCE_BYTES]
        at += count * REFERENCE_BYTES
        if at > len(refs) or runs.sum_lengths(inside) != plain:
            raise ValueError("chunks of a frame")
        info = FrameInfo(
            identity, offset, stored, plain, ordinal, epoch, dictionary, Codec(codec), salts[salt]
        )
        yield DirectoryFrame(info, inside)
    if at != len(refs):
        raise ValueError("chunks left over")


# -- directory and trailer -----------------------------------------------------------------------


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
    return sealed, TRAILER_MAGIC + header.salt + position + bytes(8)


def fill_bytes(directory: int, offset: int) -> int:
    """How many bytes of fill bring a pack whose sealed directory of so many bytes begins at `offset` to its Padme size."""
    size = offset + directory + TRAILER_BYTES
    return padme(size) - size


def directory_position(
    keys: KeySet, object_class: ObjectClass, repository: bytes, head: bytes, trailer: bytes
) -> tuple[Header, int, int]:
    """Header, offset and sealed size of the directory, from the first 64 and the last 96 bytes of a pack."""
    header = decode_header(head, object_class, repository)
    damaged = Corruption("a pack's trailer is damaged", code="trailer-corrupt")
    if len(trailer) != TRAILER_BYTES or not trailer.startswith(TRAILER_MAGIC + header.salt):
        raise damaged
    sealed = trailer[-SEALED_POSITION_BYTES - 8 : -8]
    if trailer[-8:] != bytes(8):
        raise damaged
    cipher = directory_cipher(keys, header)
    plain = open_sealed(cipher, 1, sealed, head[:HEADER_BYTES] + b"trailer", "a pack's trailer")
    offset, size = _POSITION.unpack(plain)
    if not HEADER_BYTES <= offset <= PACK_BYTES_MAX or size > DIRECTORY_BYTES_MAX:
        raise damaged
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


# -- salvage points ------------------------------------------------------------------------------


def seal_salvage_point(
    keys: KeySet, header: Header, frames: Sequence[DirectoryFrame], end: int
) -> tuple[int, bytes]:
    """
    A salvage point for `frames`, which end at offset `end`: (fill bytes before it, sealed head and sealed list).

    It begins at the next multiple of SALVAGE_ALIGNMENT_BYTES, whose number also gives its nonces.
    """
    boundary = -(-end // SALVAGE_ALIGNMENT_BYTES)
    cipher = directory_cipher(keys, header)
    head = header.encode()
    sealed = cipher.encrypt(nonce(2 * boundary + 1), encode_directory(frames), head + b"salvage")
    position = _POSITION.pack(boundary * SALVAGE_ALIGNMENT_BYTES, len(sealed))
    opener = cipher.encrypt(nonce(2 * boundary), position, head + b"salvage head")
    return boundary * SALVAGE_ALIGNMENT_BYTES - end, opener + sealed


def salvage_frames(keys: KeySet, header: Header, data: Buffer) -> Iterator[DirectoryFrame]:
    """
    Frames that the salvage points of a pack list, in order; `data` is what there is of it from its first byte.

    Damaged or missing points are passed over: the rest is still found, because every boundary is tried.
    """
    view = memoryview(data)
    cipher = directory_cipher(keys, header)
    head = header.encode()
    for at in range(SALVAGE_ALIGNMENT_BYTES, len(view), SALVAGE_ALIGNMENT_BYTES):
        try:
            yield from _salvage_point(cipher, head, view, at)
        except Corruption:
            continue


def _salvage_point(
    cipher: AESGCM, head: bytes, view: memoryview, at: int
) -> tuple[DirectoryFrame, ...]:
    number = at // SALVAGE_ALIGNMENT_BYTES
    body = at + SEALED_POSITION_BYTES
    what = "a salvage point"
    plain = open_sealed(cipher, 2 * number, bytes(view[at:body]), head + b"salvage head", what)
    _, size = _POSITION.unpack(plain)
    sealed = bytes(view[body : body + size])
    return decode_directory(open_sealed(cipher, 2 * number + 1, sealed, head + b"salvage", what))


assert SEALED_POSITION_BYTES == 48
