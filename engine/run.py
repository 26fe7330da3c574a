"""
Index runs: sorted lists of chunk locations (docs/format.md, "Runs").

A run names packs, their frames and the chunks in them, so that a chunk is read without the pack's directory. The runs
named by the state are the index; a run that nothing names does not exist.
"""

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.errors import Corruption
from engine.frame import Codec, FrameInfo
from engine.ids import ChunkId, ObjectId
from engine.keys import SALT_BYTES
from engine.limits import RUN_CHUNKS_MAX
from engine.pack import DirectoryFrame
from engine.seal import ObjectClass

_COUNTS = struct.Struct("<IIII")  # packs, salts, frames, chunks
_PACK = struct.Struct("<32sB3x")
_FRAME = struct.Struct("<I16sQIIIIIHBx")
_CHUNK = struct.Struct("<32sIII")  # id, frame, offset in the frame, length


@dataclass(frozen=True, slots=True)
class RunPack:
    """A pack as a run sees it."""

    pack: ObjectId
    object_class: ObjectClass
    frames: tuple[DirectoryFrame, ...]


@dataclass(frozen=True, slots=True)
class RunFrame:
    """A frame of a run: which pack (index), and how to open it."""

    pack: int
    info: FrameInfo


@dataclass(frozen=True, slots=True)
class RunChunk:
    """A chunk of a run: which frame (index), and where in its plain bytes."""

    chunk: ChunkId
    frame: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Run:
    """A decoded run; `chunks` rise by id."""

    packs: tuple[tuple[ObjectId, ObjectClass], ...]
    frames: tuple[RunFrame, ...]
    chunks: Sequence[RunChunk]


def encode_run(packs: Sequence[RunPack]) -> bytes:
    """Plain bytes of the run that locates every chunk of `packs`; of equal ids the first location is kept."""
    salts: dict[bytes, int] = {}
    pack_rows = bytearray()
    frame_rows = bytearray()
    chunks: dict[ChunkId, tuple[int, int, int]] = {}
    frame_count = 0
    for number, pack in enumerate(packs):
        pack_rows += _PACK.pack(bytes.fromhex(pack.pack), pack.object_class)
        for frame in pack.frames:
            frame_rows += _encode_frame(number, frame.info, salts)
            offset = 0
            for chunk, length in frame.chunks:
                chunks.setdefault(chunk, (frame_count, offset, length))
                offset += length
            frame_count += 1
    rows = b"".join(_CHUNK.pack(chunk, *chunks[chunk]) for chunk in sorted(chunks))
    head = _COUNTS.pack(len(packs), len(salts), frame_count, len(chunks))
    return head + bytes(pack_rows) + b"".join(salts) + bytes(frame_rows) + rows


def _encode_frame(pack: int, info: FrameInfo, salts: dict[bytes, int]) -> bytes:
    return _FRAME.pack(
        pack,
        info.identity,
        info.offset,
        info.stored_bytes,
        info.plain_bytes,
        info.ordinal,
        info.epoch,
        info.dictionary,
        salts.setdefault(info.salt, len(salts)),
        info.codec,
    )


def decode_run(plain: bytes) -> Run:
    """Reverse of `encode_run`. Corruption if counts, order or references do not fit."""
    try:
        return _decode(plain)
    except (struct.error, ValueError, IndexError) as error:
        raise Corruption("an index run cannot be read", code="run-corrupt") from error


def _decode(plain: bytes) -> Run:
    n_packs, n_salts, n_frames, n_chunks = _COUNTS.unpack_from(plain)
    sizes = (
        n_packs * _PACK.size,
        n_salts * SALT_BYTES,
        n_frames * _FRAME.size,
        n_chunks * _CHUNK.size,
    )
    if _COUNTS.size + sum(sizes) != len(plain) or n_chunks > RUN_CHUNKS_MAX:
        raise ValueError("sizes")
    at = _COUNTS.size
    pieces = []
    for size in sizes:
        pieces.append(plain[at : at + size])
        at += size
    packs = tuple(
        (ObjectId(name.hex()), ObjectClass(number)) for name, number in _PACK.iter_unpack(pieces[0])
    )
    salts = [pieces[1][i : i + SALT_BYTES] for i in range(0, len(pieces[1]), SALT_BYTES)]
    frames = tuple(_decode_frames(pieces[2], salts, len(packs)))
    chunks = [RunChunk(ChunkId(c), f, o, n) for c, f, o, n in _CHUNK.iter_unpack(pieces[3])]
    for before, after in itertools.pairwise(chunks):
        if before.chunk >= after.chunk:
            raise ValueError("order")
    for chunk in chunks:
        if chunk.offset + chunk.length > frames[chunk.frame].info.plain_bytes:
            raise ValueError("a chunk outside its frame")
    return Run(packs, frames, chunks)


def _decode_frames(rows: bytes, salts: list[bytes], packs: int) -> Iterator[RunFrame]:
    for (
        pack,
        identity,
        offset,
        stored,
        plain,
        ordinal,
        epoch,
        dictionary,
        salt,
        codec,
    ) in _FRAME.iter_unpack(rows):
        if pack >= packs:
            raise ValueError("a frame outside its packs")
        info = FrameInfo(
            identity, offset, stored, plain, ordinal, epoch, dictionary, Codec(codec), salts[salt]
        )
        yield RunFrame(pack, info)
