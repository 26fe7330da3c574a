"""
Where every chunk is: a local cache of the runs that the state names.

The cache is the runs themselves, decrypted: immutable files, memory-mapped, merged level by level, a Bloom filter behind
the rows of each. A file is written under a temporary name, synced and renamed, so whatever has a good head is whole; it is
never changed and holds no lock. Any number of threads and processes share the folder; a file that is gone, damaged or
holds a run no longer named costs another read of the store.
"""

import contextlib
import itertools
import mmap
import os
import secrets
import struct
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3
from typing_extensions import Buffer

from cext import runs
from engine.errors import Corruption, InternalError, Unavailable
from engine.frame import FrameInfo
from engine.ids import CHUNK_ID_BYTES, ObjectId
from engine.run import COUNTS_BYTES, ROW_BYTES, Run, decode_run, plan_merge, runs_to_merge, view_run
from engine.seal import ObjectClass

NOT_FOUND = 2**64 - 1
PLACES_CACHED_MAX = 1 << 16
PENDING_CHUNKS_MAX = 1 << 20  # runs from the store wait in memory up to this, then become a file
STALE_TEMPORARY_S = 3600
_MAGIC = b"SRINDEX1"
_SUFFIX = ".seg"
_HEAD = struct.Struct("<8sIIQQ32s")  # magic, runs, 0, bytes of the run, of the filter, checksum
_NAME_BYTES = 32
_ALIGNMENT = 64
_TALLY_ROWS = 1 << 18

assert _HEAD.size == _ALIGNMENT

Usable = Callable[[ObjectClass, ObjectId], bool]
Load = Callable[[Sequence[str]], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class FramePlace:
    """Where a frame is, and how to open it."""

    pack: ObjectId
    object_class: ObjectClass
    info: FrameInfo


@dataclass(frozen=True, slots=True)
class _Segment:
    """One file of the cache: some runs as one, and their filter."""

    path: Path
    names: frozenset[str]
    run: Run
    bloom: memoryview
    file_bytes: int

    def place(self, number: int) -> FramePlace:
        try:
            frame = self.run.frame(number)
        except Corruption as error:
            raise _damaged(self.path) from error
        pack, object_class = self.run.packs[frame.pack]
        return FramePlace(pack, object_class, frame.info)

    def lookup(
        self, ids: Buffer, among: "array[int] | None"
    ) -> "tuple[array[int], array[int], array[int]]":
        """Positions missing, positions found, rows found."""
        missing, found, places = runs.lookup(self.run.rows, self.bloom, ids, among)
        return missing, found, places

    def absent(
        self, ids: Buffer, among: "array[int] | None", usable: Usable | None
    ) -> "array[int]":
        return self.lookup_usable(ids, among, usable)[0]

    def lookup_usable(
        self, ids: Buffer, among: "array[int] | None", usable: Usable | None
    ) -> "tuple[array[int], array[int], array[int]]":
        """As `lookup`; what lies in a pack that is not usable is missing."""
        missing, found, places = self.lookup(ids, among)
        if usable is None or not found:
            return missing, found, places
        try:
            packs = runs.pack_numbers(self.run.rows, self.run.frames, places)
        except ValueError as error:
            raise _damaged(self.path) from error
        verdicts = {pack: self._usable(pack, usable) for pack in set(packs)}
        if all(verdicts.values()):
            return missing, found, places
        refused = array("B", (not verdicts[pack] for pack in packs))
        missing = array("I", sorted([*missing, *itertools.compress(found, refused)]))
        taken = [not one for one in refused]
        return (
            missing,
            array("I", itertools.compress(found, taken)),
            array("I", itertools.compress(places, taken)),
        )

    def tally(self, rows: memoryview, among: "array[int] | None", counts: "array[int]") -> int:
        """Add some of its rows to the counts of its packs; the sum of their lengths."""
        try:
            total: int = runs.tally(rows, self.run.frames, among, counts)
        except ValueError as error:
            raise _damaged(self.path) from error
        return total

    def _usable(self, pack: int, usable: Usable) -> bool:
        name, object_class = self.run.packs[pack]
        return usable(object_class, name)


@dataclass(frozen=True, slots=True)
class _Tally:
    """Sums over distinct chunks."""

    chunks: int
    chunk_bytes: int
    packs: dict[tuple[ObjectClass, ObjectId], int]


@dataclass(slots=True)
class _Snapshot:
    """The segments of one state. Of a chunk in several of them the first one counts."""

    segments: tuple[_Segment, ...]
    places: dict[int, FramePlace] = field(default_factory=dict)
    sums: _Tally | None = None

    def place(self, handle: int) -> FramePlace:
        place = self.places.get(handle)
        if place is None:
            place = self.segments[handle >> 32].place(handle & 0xFFFFFFFF)
            if len(self.places) >= PLACES_CACHED_MAX:
                self.places.clear()
            self.places[handle] = place
        return place

    def tally(self) -> _Tally:
        """Counted at the first call; a chunk counts where it is found."""
        if self.sums is None:
            chunks = chunk_bytes = 0
            packs: dict[tuple[ObjectClass, ObjectId], int] = {}
            for number, segment in enumerate(self.segments):
                counts = array("Q", bytes(8 * len(segment.run.packs)))
                for rows in _pieces(segment.run.rows):
                    first = self._not_before(number, rows)
                    chunks += len(rows) // ROW_BYTES if first is None else len(first)
                    chunk_bytes += segment.tally(rows, first, counts)
                for (pack, object_class), count in zip(segment.run.packs, counts, strict=True):
                    key = object_class, pack
                    packs[key] = packs.get(key, 0) + count
            self.sums = _Tally(chunks, chunk_bytes, {k: n for k, n in packs.items() if n})
        return self.sums

    def _not_before(self, number: int, rows: memoryview) -> "array[int] | None":
        """Which of `rows` have ids that no segment before `number` has; None for all."""
        if not number:
            return None
        ids = runs.row_ids(rows)
        first: array[int] | None = None
        for segment in self.segments[:number]:
            first, _, _ = segment.lookup(ids, first)
        return first


def _names(segments: Iterable[_Segment]) -> frozenset[str]:
    return frozenset[str]().union(*(segment.names for segment in segments))


def _rank(segment: _Segment) -> tuple[int, str]:
    """Large segments come first: most chunks are found in them."""
    return -segment.run.chunk_count, segment.path.name


def _pieces(rows: memoryview) -> Iterator[memoryview]:
    step = _TALLY_ROWS * ROW_BYTES
    for at in range(0, len(rows), step):
        yield rows[at : at + step]


@dataclass(frozen=True, slots=True)
class Found:
    """
    Where chunks are, in columns, one row for each id asked for.

    Attributes:
        frames: handles for `place`, NOT_FOUND where the chunk is in no run. They sort by pack and by place in the pack,
            and mean something to this answer alone.
        offsets, lengths: of the chunk in the plain bytes of its frame; 0 where it is not found.
    """

    frames: "array[int]"
    offsets: "array[int]"
    lengths: "array[int]"
    _snapshot: _Snapshot

    def place(self, handle: int) -> FramePlace:
        """The frame of a handle. Unavailable if the cache is damaged there."""
        return self._snapshot.place(handle)

    def frame_chunks(self) -> Counter[int]:
        """How many plain bytes of the chunks asked for lie in each frame, by handle."""
        held: Counter[int] = Counter()
        for handle, length in zip(self.frames, self.lengths, strict=True):
            held[handle] += length
        return held


class Index:
    """
    Chunk id to location over all named runs. Thread-safe.

    Of a chunk in several packs any location counts; `in_order`: that of the run named last, whatever it costs to find.
    """

    def __init__(self, folder: Path, *, in_order: bool = False) -> None:
        self._folder = folder
        self._in_order = in_order
        self._apart: frozenset[ObjectId] = frozenset()
        self._lock = threading.Lock()  # one sync at a time; readers take the snapshot as it is
        self._snapshot: _Snapshot | None = _Snapshot(())
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _remove_stale_temporaries(folder)
        except OSError as error:
            raise unusable(folder, error) from error

    def close(self) -> None:
        """Let go of the cache; it stays for the next time. A second time does nothing."""
        with self._lock:
            self._snapshot = None

    def _current(self) -> _Snapshot:
        snapshot = self._snapshot
        if snapshot is None:
            raise InternalError("the index is closed")
        return snapshot

    # -- reading ---------------------------------------------------------------------------------

    def absent(self, ids: Buffer, usable: Usable | None = None) -> "array[int]":
        """
        Positions, rising, of the ids (32 bytes each, joined) that no usable pack holds.

        Args:
            usable: whether chunks in a pack may be referred to; asked once for a pack and call. None: all are.
        """
        among: array[int] | None = None
        for segment in self._current().segments:
            among = segment.absent(ids, among, usable)
        if among is None:
            return array("I", range(memoryview(ids).nbytes // CHUNK_ID_BYTES))
        return among

    def find(self, ids: Buffer, usable: Usable | None = None) -> Found:
        """Where the chunks of `ids` (32 bytes each, joined) are; in a usable pack if there is one."""
        snapshot = self._current()
        count = memoryview(ids).nbytes // CHUNK_ID_BYTES
        frames = array("Q", b"\xff" * (8 * count))
        offsets, lengths = array("I", bytes(4 * count)), array("I", bytes(4 * count))
        among: array[int] | None = None
        for choice in (usable, None) if usable is not None else (None,):
            for number, segment in enumerate(snapshot.segments):
                among, found, places = segment.lookup_usable(ids, among, choice)
                runs.scatter(segment.run.rows, found, places, number, frames, offsets, lengths)
                if not among:
                    break
            if not among:
                break
        return Found(frames, offsets, lengths, snapshot)

    def count(self) -> int:
        """Number of distinct chunks."""
        return self._current().tally().chunks

    def chunk_bytes(self) -> int:
        """Plain bytes of distinct chunks."""
        return self._current().tally().chunk_bytes

    def pack_counts(self) -> dict[tuple[ObjectClass, ObjectId], int]:
        """Every pack in which chunks are found, with their number; each chunk counts once."""
        return dict(self._current().tally().packs)

    def frame_bytes(self) -> dict[tuple[ObjectClass, ObjectId], int]:
        """Stored bytes of all frames of every pack."""
        found: Counter[tuple[ObjectClass, ObjectId]] = Counter()
        for segment in self._current().segments:
            for (pack, object_class), size in zip(
                segment.run.packs, segment.run.pack_bytes(), strict=True
            ):
                found[object_class, pack] += size
        return dict(found)

    def ids_sealed_in(self, epochs: Collection[int]) -> bytes:
        """Ids, joined, of all chunks in frames of these epochs; one that is found in several runs comes several times."""
        segments = self._current().segments if epochs else ()
        return b"".join(segment.run.ids_sealed_in(epochs) for segment in segments)

    def packs_sealed_in(self, epochs: Collection[int]) -> set[ObjectId]:
        """Packs with a frame of one of these epochs."""
        segments = self._current().segments if epochs else ()
        return {pack for segment in segments for pack in segment.run.packs_sealed_in(epochs)}

    @property
    def file_bytes(self) -> int:
        """Bytes of the files in use; memory of theirs is file-backed and shared."""
        return sum(segment.file_bytes for segment in self._current().segments)

    # -- following the state ---------------------------------------------------------------------

    def sync(
        self,
        named: Sequence[str],
        load: Load,
        apart: Collection[ObjectId] = frozenset(),
    ) -> None:
        """
        Make the cache hold exactly the named runs.

        Args:
            named: run ids, 64 hex digits each. load: gives the plain bytes of such runs, in order; its errors pass.
            apart: packs whose runs are merged with no other, so that no second location of a chunk is lost behind them.

        Raises:
            Corruption: a run is not one. Unavailable: the folder cannot be used.
        """
        with self._lock:
            wanted = frozenset(named)
            held = self._current().segments
            self._apart = frozenset(apart)
            if _names(held) == wanted and not any(map(self._hides, held)):
                return
            with self._translated():
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                segments = [] if self._in_order else self._cover(wanted, held)
            if self._in_order:
                segments = self._load(named[::-1], segments, load)
            else:
                segments += self._load(named, segments, load)
                with self._translated():
                    segments = self._levelled(segments)
                segments.sort(key=_rank)
            with self._translated():
                self._remove_others(segments)
            self._snapshot = _Snapshot(tuple(segments))

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unusable(self._folder, error) from error

    def _cover(self, wanted: frozenset[str], held: Sequence[_Segment]) -> list[_Segment]:
        """Segments that hold wanted runs only, each run once, large ones first."""
        known = {segment.path: segment for segment in held}
        for path in self._folder.glob("*" + _SUFFIX):
            if path not in known and (segment := _open(path)) is not None:
                known[path] = segment
        chosen: list[_Segment] = []
        covered: set[str] = set()
        for segment in sorted(known.values(), key=_rank):
            if segment.names <= wanted and not segment.names & covered and not self._hides(segment):
                chosen.append(segment)
                covered |= segment.names
        return chosen

    def _load(self, named: Sequence[str], held: Sequence[_Segment], load: Load) -> list[_Segment]:
        """Files of the runs that are not held; small runs are put into one file at once."""
        covered = _names(held)
        made: list[_Segment] = []
        waiting: dict[str, Run] = {}
        chunks = 0
        wanted = [name for name in dict.fromkeys(named) if name not in covered]
        for name, plain in zip(wanted, load(wanted), strict=True):
            run = decode_run(plain)
            if self._is_apart(run) and not self._in_order:
                made.append(self._put({name: run}))
                continue
            waiting[name] = run
            chunks += run.chunk_count
            if chunks >= PENDING_CHUNKS_MAX:
                made.append(self._put(waiting))
                waiting, chunks = {}, 0
        if waiting:
            made.append(self._put(waiting))
        return made

    def _put(self, loaded: Mapping[str, Run]) -> _Segment:
        with self._translated():
            return self._write(frozenset(loaded), list(loaded.values()))

    def _levelled(self, segments: list[_Segment]) -> list[_Segment]:
        """Merge until no level holds too many."""
        apart = [segment for segment in segments if self._is_apart(segment.run)]
        segments = [segment for segment in segments if segment not in apart]
        while chosen := runs_to_merge([segment.run.chunk_count for segment in segments]):
            sources = [segments[place] for place in chosen]
            try:
                merged = self._write(_names(sources), [segment.run for segment in sources])
            except ValueError as error:
                raise _damaged(self._folder) from error
            segments = [s for place, s in enumerate(segments) if place not in chosen]
            segments.append(merged)
        return segments + apart

    def _is_apart(self, run: Run) -> bool:
        return bool(self._apart) and any(pack in self._apart for pack, _ in run.packs)

    def _hides(self, segment: _Segment) -> bool:
        """Whether it may have lost a location of a chunk behind one in a pack that is apart."""
        return len(segment.names) > 1 and not self._in_order and self._is_apart(segment.run)

    def _remove_others(self, segments: Sequence[_Segment]) -> None:
        """Take away what is not in use here; another process that has it mapped keeps its bytes."""
        used = {segment.path for segment in segments}
        for path in self._folder.glob("*" + _SUFFIX):
            if path not in used:
                path.unlink(missing_ok=True)

    def _write(self, names: frozenset[str], sources: Sequence[Run]) -> _Segment:
        """Make the file that holds `sources` as one run."""
        listed = b"".join(sorted(bytes.fromhex(name) for name in names))
        path = self._folder / (blake3(listed).hexdigest() + _SUFFIX)
        temporary = self._folder / f"{secrets.token_hex(8)}.tmp"
        try:
            with open(temporary, "x+b", opener=_owners_alone) as file:
                _write_segment(file, listed, sources)
                os.fsync(file.fileno())
            segment = _open(temporary)
            temporary.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(self._folder)
        if segment is None:
            raise InternalError("a segment of the index was not written whole")
        return _Segment(path, segment.names, segment.run, segment.bloom, segment.file_bytes)


def _write_segment(file: BinaryIO, names: bytes, sources: Sequence[Run]) -> None:
    """
    `head 64 | run names, 32 each, rising | run | fill to 64 | filter`; the head comes last, it says how many rows there are.

    The checksum is that of head (without it), names and counts of the run.
    """
    merge = plan_merge(sources)
    start = _HEAD.size + len(names)
    file.seek(start + COUNTS_BYTES)
    file.writelines(merge.tables)
    rows_at = file.tell()
    for rows in merge.rows():
        file.write(rows)
    end = file.tell()
    file.flush()
    chunks = (end - rows_at) // ROW_BYTES
    with (
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
        memoryview(view) as whole,
        whole[rows_at:end] as written,
    ):
        bloom = runs.bloom_build(written)
    file.write(bytes(-end % _ALIGNMENT))
    file.write(bloom)
    counts = merge.head(chunks)
    head = _head(len(names) // _NAME_BYTES, end - start, len(bloom), names + counts)
    file.seek(0)
    file.write(head + names + counts)
    file.flush()


def _owners_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _head(count: int, run_bytes: int, bloom_bytes: int, rest: bytes) -> bytes:
    bare = _HEAD.pack(_MAGIC, count, 0, run_bytes, bloom_bytes, bytes(32))
    return bare[:-32] + blake3(bare + rest).digest()


def _open(path: Path) -> _Segment | None:
    """Map a file of the cache; None if it is gone, cut short, damaged in its head or none of ours."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < _HEAD.size + COUNTS_BYTES:
                return None
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        return None
    _, count, _, run_bytes, bloom_bytes, _ = _HEAD.unpack(view[: _HEAD.size])
    start = _HEAD.size + count * _NAME_BYTES
    bloom_at = start + run_bytes + -(start + run_bytes) % _ALIGNMENT
    if bloom_at + bloom_bytes != size or bloom_bytes % _ALIGNMENT or not bloom_bytes:
        return None
    rest = bytes(view[_HEAD.size : start + COUNTS_BYTES])
    if view[: _HEAD.size] != _head(count, run_bytes, bloom_bytes, rest):
        return None
    names = (rest[at : at + _NAME_BYTES].hex() for at in range(0, count * _NAME_BYTES, _NAME_BYTES))
    run = view_run(view[start : start + run_bytes])
    return _Segment(path, frozenset(names), run, view[bloom_at:], size)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_stale_temporaries(folder: Path) -> None:
    """What processes that died have left; an hour is more than any write takes."""
    for path in folder.glob("*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > STALE_TEMPORARY_S:
                path.unlink()


def unusable(folder: Path, error: Exception) -> Unavailable:
    """The cache fails (full disk, no right): one line that says what to do."""
    return Unavailable(
        f"the index cache {folder} cannot be used ({error}): "
        "free some space or choose another --cache-dir",
        code="cache-unavailable",
    )


def _damaged(path: Path) -> Unavailable:
    """Rows or frames of a file are not what was written; its head does not tell."""
    return Unavailable(
        f"the index cache {path} is damaged: delete it, it is made again from the repository",
        code="cache-unavailable",
    )
