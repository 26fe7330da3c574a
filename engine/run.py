"""
Index runs: sorted lists of chunk locations (docs/format.md, "Runs").

A run names packs, their frames and the chunks in them, so that a chunk is read without the pack's directory. The runs
named by the state are the index; a run that nothing names does not exist. A decoded run stays the bytes it was: rows and
frame records are read where they lie, since a run may have millions of them.
"""

import struct
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from typing_extensions import Buffer

from cext import runs
from engine.errors import Corruption
from engine.frame import Codec, FrameInfo
from engine.ids import CHUNK_ID_BYTES, ObjectId
from engine.keys import SALT_BYTES
from engine.limits import RUN_CHUNKS_MAX
from engine.pack import DirectoryFrame
from engine.parts import REFERENCE_BYTES
from engine.seal import ObjectClass

COUNTS_BYTES = 16
ROW_BYTES = CHUNK_ID_BYTES + 12
RUN_SALTS_MAX = 1 << 24
RUNS_PER_LEVEL_MAX = 8
LEVEL_CHUNKS = 1 << 15  # runs up to this size make the lowest level
MERGE_PIECE_CHUNKS = 1 << 18
MERGE_PIECES_BITS_MAX = 16
_COUNTS = struct.Struct("<IIII")  # packs, salts, frames, chunks
_PACK = struct.Struct("<32sB3x")
_FRAME = struct.Struct("<I16sQIIIIIHBB")
_FRAME_STORED_WORD = 7  # the stored size, counted in words of 4 bytes
_FRAME_PLAIN_WORD = 8
_FRAME_EPOCH_WORD = 10
_ROW_FRAME_WORD = 8


assert _COUNTS.size == COUNTS_BYTES
assert ROW_BYTES == runs.ROW_BYTES
assert _FRAME.size % 4 == 0
assert struct.calcsize("<I16sQI") == 4 * _FRAME_PLAIN_WORD
assert struct.calcsize("<I16sQIII") == 4 * _FRAME_EPOCH_WORD


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
class Run:
    """
    A decoded run.

    Attributes:
        packs: in the order in which the run names them.
        salts, frames, rows: its tables, as they are stored; rows (44 bytes: id, u32 frame, u32 offset, u32 length)
            rise by id.
        plain: all of it.
    """

    packs: tuple[tuple[ObjectId, ObjectClass], ...]
    salts: memoryview
    frames: memoryview
    rows: memoryview
    plain: memoryview

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return len(self.frames) // _FRAME.size

    @property
    def chunk_count(self) -> int:
        """Number of chunks, each once."""
        return len(self.rows) // ROW_BYTES

    def pack_bytes(self) -> list[int]:
        """Stored bytes of the frames of each of its packs."""
        words, step = self.frames.cast("I"), _FRAME.size // 4
        sizes = [0] * len(self.packs)
        for pack, size in zip(words[::step], words[_FRAME_STORED_WORD::step], strict=True):
            sizes[pack] += size
        return sizes

    def frame_epochs(self) -> memoryview:
        """The epoch of each of its frames, as u32."""
        return self.frames.cast("I")[_FRAME_EPOCH_WORD :: _FRAME.size // 4]

    def ids_sealed_in(self, epochs: Collection[int]) -> bytes:
        """Ids, joined, of the chunks whose frames are sealed in one of these epochs."""
        among = {n for n, epoch in enumerate(self.frame_epochs()) if epoch in epochs}
        if not among:
            return b""
        rows, frames = self.rows, self.rows.cast("I")[_ROW_FRAME_WORD :: ROW_BYTES // 4]
        return b"".join(
            rows[ROW_BYTES * n : ROW_BYTES * n + CHUNK_ID_BYTES]
            for n, frame in enumerate(frames)
            if frame in among
        )

    def packs_sealed_in(self, epochs: Collection[int]) -> set[ObjectId]:
        """Packs with a frame that is sealed in one of these epochs."""
        numbers = self.frames.cast("I")[:: _FRAME.size // 4]
        return {
            self.packs[pack][0]
            for pack, epoch in zip(numbers, self.frame_epochs(), strict=True)
            if epoch in epochs
        }

    def frame(self, number: int) -> RunFrame:
        """Frame `number` (0 .. frame_count - 1). Corruption if it is not there or cannot be."""
        try:
            (
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
                salt_high,
            ) = _FRAME.unpack_from(self.frames, number * _FRAME.size)
            at = (salt | salt_high << 16) * SALT_BYTES
            key = bytes(self.salts[at : at + SALT_BYTES])
            if pack >= len(self.packs) or len(key) != SALT_BYTES:
                raise ValueError("a frame without pack or salt")
            info = FrameInfo(
                identity, offset, stored, plain, ordinal, epoch, dictionary, Codec(codec), key
            )
            return RunFrame(pack, info)
        except (struct.error, ValueError) as error:
            raise _corrupt() from error


def _corrupt() -> Corruption:
    return Corruption("an index run cannot be read", code="run-corrupt")


def encode_run(packs: Sequence[RunPack]) -> bytes:
    """Plain bytes of the run that locates every chunk of `packs`; of equal ids the first location is kept."""
    salts: dict[bytes, int] = {}
    pack_rows = bytearray()
    frame_rows = bytearray()
    refs = []
    for number, pack in enumerate(packs):
        pack_rows += _PACK.pack(bytes.fromhex(pack.pack), pack.object_class)
        for frame in pack.frames:
            frame_rows += _encode_frame(number, frame.info, salts)
            refs.append(frame.refs)
    counts = array("I", (len(inside) // REFERENCE_BYTES for inside in refs))
    rows = runs.sort(runs.rows_of(b"".join(refs), counts, 0))
    head = _COUNTS.pack(len(packs), len(salts), len(counts), len(rows) // ROW_BYTES)
    return b"".join((head, pack_rows, *salts, frame_rows, rows))


def split_packs(packs: Sequence[RunPack]) -> list[list[RunPack]]:
    """Packs in groups of at most RUN_CHUNKS_MAX chunks, one run each."""
    groups: list[list[RunPack]] = []
    count = 0
    for pack in packs:
        chunks = sum(len(frame.refs) for frame in pack.frames) // REFERENCE_BYTES
        if not groups or count + chunks > RUN_CHUNKS_MAX:
            groups.append([])
            count = 0
        groups[-1].append(pack)
        count += chunks
    return groups


def _encode_frame(pack: int, info: FrameInfo, salts: dict[bytes, int]) -> bytes:
    salt = salts.setdefault(info.salt, len(salts))
    return _FRAME.pack(
        pack,
        info.identity,
        info.offset,
        info.stored_bytes,
        info.plain_bytes,
        info.ordinal,
        info.epoch,
        info.dictionary,
        salt & 0xFFFF,
        info.codec,
        salt >> 16,
    )


def decode_run(plain: Buffer) -> Run:
    """Reverse of `encode_run`. Corruption if counts, order or references do not fit."""
    run = view_run(plain)
    plain_bytes = array("I", run.frames.cast("I")[_FRAME_PLAIN_WORD :: _FRAME.size // 4])
    salts = len(run.salts) // SALT_BYTES
    if not runs.frames_fit(run.frames, len(run.packs), salts, max(Codec)):
        raise _corrupt()
    if not runs.check(run.rows, plain_bytes):
        raise _corrupt()
    return run


def view_run(plain: Buffer) -> Run:
    """As `decode_run`, but frames and rows are taken as they are: for bytes that were checked before."""
    view = memoryview(plain).toreadonly().cast("B")
    try:
        n_packs, n_salts, n_frames, n_chunks = _COUNTS.unpack_from(view)
        ends = [COUNTS_BYTES]
        for size in (
            n_packs * _PACK.size,
            n_salts * SALT_BYTES,
            n_frames * _FRAME.size,
            n_chunks * ROW_BYTES,
        ):
            ends.append(ends[-1] + size)
        if ends[-1] != len(view):
            raise ValueError("sizes")
        packs = tuple(
            (ObjectId(name.hex()), ObjectClass(number))
            for name, number in _PACK.iter_unpack(view[ends[0] : ends[1]])
        )
    except (struct.error, ValueError) as error:
        raise _corrupt() from error
    salts, frames, rows = (view[ends[i] : ends[i + 1]] for i in (1, 2, 3))
    return Run(packs, salts, frames, rows, view)


@dataclass(frozen=True, slots=True)
class RunMerge:
    """
    Several runs as one, to be written piece by piece: head, tables, rows. The head needs the number of rows.

    Of equal ids the earliest run's location is kept; packs in `without` are left out with all that lies in them.
    """

    tables: tuple[Buffer, ...]
    _counts: tuple[int, int, int]
    _sources: tuple[Run, ...]
    _frame_numbers: tuple["array[int]", ...]

    def head(self, chunks: int) -> bytes:
        """The first 16 bytes of a run with `chunks` rows."""
        return _COUNTS.pack(*self._counts, chunks)

    def rows(self) -> Iterator[bytearray]:
        """Merged rows, piece by piece, so that no more than a few MB are held at once."""
        chunks = sum(run.chunk_count for run in self._sources)
        bits = min(MERGE_PIECES_BITS_MAX, (chunks // MERGE_PIECE_CHUNKS).bit_length())
        starts = [0] * len(self._sources)
        for piece in range(1 << bits):
            ends = [_piece_end(run.rows, piece + 1, bits) for run in self._sources]
            yield runs.merge(
                [
                    (run.rows[start:end], numbers)
                    for run, numbers, start, end in zip(
                        self._sources, self._frame_numbers, starts, ends, strict=True
                    )
                ]
            )
            starts = ends


def _piece_end(rows: memoryview, piece: int, bits: int) -> int:
    """Where the rows end whose ids begin with less than `piece` in their first `bits` bits. In bytes."""
    if piece == 1 << bits:
        return len(rows)
    first = (piece << (8 * CHUNK_ID_BYTES - bits)).to_bytes(CHUNK_ID_BYTES, "big")
    below: int = runs.bound(rows, first)
    return below * ROW_BYTES


def plan_merge(sources: Sequence[Run], without: Collection[ObjectId] = ()) -> RunMerge:
    """Merge the tables of `sources`; the rows follow when they are asked for. ValueError beyond RUN_SALTS_MAX salts."""
    packs = bytearray()
    salts: dict[bytes, int] = {}
    frames: list[bytearray] = []
    frame_count = 0
    frame_numbers = []
    for run in sources:
        pack_numbers = array("I")
        for pack, object_class in run.packs:
            if pack in without:
                pack_numbers.append(runs.ROW_NONE)
            else:
                pack_numbers.append(len(packs) // _PACK.size)
                packs += _PACK.pack(bytes.fromhex(pack), object_class)
        salt_numbers = _salt_numbers(run, pack_numbers, salts)
        kept, numbers = runs.renumber(run.frames, pack_numbers, salt_numbers, frame_count)
        frames.append(kept)
        frame_numbers.append(numbers)
        frame_count += len(kept) // _FRAME.size
    counts = (len(packs) // _PACK.size, len(salts), frame_count)
    tables: tuple[Buffer, ...] = (packs, b"".join(salts), *frames)
    return RunMerge(tables, counts, tuple(sources), tuple(frame_numbers))


def _salt_numbers(run: Run, pack_numbers: "array[int]", salts: dict[bytes, int]) -> "array[int]":
    """The new number of each salt of a run; those still used are entered into `salts`."""
    used = runs.salts_used(run.frames, pack_numbers, len(run.salts) // SALT_BYTES)
    numbers = array("I")
    for old, is_used in enumerate(used):
        salt = bytes(run.salts[old * SALT_BYTES : (old + 1) * SALT_BYTES])
        numbers.append(salts.setdefault(salt, len(salts)) if is_used else 0)
    if len(salts) > RUN_SALTS_MAX:
        raise ValueError("too many salts for one run")
    return numbers


def merge_runs(sources: Sequence[Run], without: Collection[ObjectId] = ()) -> bytes:
    """Plain bytes of `sources` as one run, see `RunMerge`."""
    merge = plan_merge(sources, without)
    rows = b"".join(merge.rows())
    return b"".join((merge.head(len(rows) // ROW_BYTES), *merge.tables, rows))


def runs_to_merge(chunk_counts: Sequence[int]) -> list[int]:
    """
    Which of the runs with these numbers of chunks to make one now: their places, rising; empty if nothing is to do.

    A level holds runs of up to eight times the size of the level below; one with more than RUNS_PER_LEVEL_MAX
    runs is merged, together with the next if that one would then hold too many. So a chunk is rewritten once for
    each level, and no index has more than RUNS_PER_LEVEL_MAX runs for each.
    """
    levels: dict[int, list[int]] = {}
    for place, chunks in enumerate(chunk_counts):
        levels.setdefault(_level(chunks), []).append(place)
    for level in sorted(levels):
        chosen = levels[level]
        if len(chosen) <= RUNS_PER_LEVEL_MAX:
            continue
        while True:
            reached = _level(sum(chunk_counts[place] for place in chosen))
            above = [place for n in range(level + 1, reached + 1) for place in levels.get(n, ())]
            level = reached
            if len(above) < RUNS_PER_LEVEL_MAX:
                return sorted(chosen)
            chosen = chosen + above
    return []


def _level(chunks: int) -> int:
    level = 0
    while chunks > LEVEL_CHUNKS << 3 * level:
        level += 1
    return level
