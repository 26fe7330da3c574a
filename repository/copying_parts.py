"""
Contents from one repository into another, window by window.

Chunks are cut and named by keys, so contents are read, joined and stored anew. What was stored a moment ago is known by the
chunks of the original and not read again.
"""

import threading
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pyarrow as pa

from engine.catalog import SCHEMA, decode_parts, encode_parts, first_reference
from engine.errors import BackupError, Corruption
from engine.parts import REFERENCE_BYTES, Part
from engine.recipe import join
from repository.ambient import cores
from repository.catalogs import Totals
from repository.copying_rows import totals_of
from repository.reader import Reader
from repository.session import WriteSession
from repository.tree.paths import display

WINDOW_BYTES_TARGET = 4 * 1024 * 1024
WINDOW_ROWS_MAX = 512
WHOLE_BYTES_MAX = 4 * 1024 * 1024  # a larger part is copied range by range
RANGE_CHUNKS = 64
PARTS_KNOWN_BYTES_MAX = 64 * 1024 * 1024
ROWS_AT_ONCE = 8192

PartKey = tuple[bytes, bytes]  # chunks and recipe of the original


class KnownParts:
    """Parts of the original and their copies: those used last. Thread-safe."""

    def __init__(self) -> None:
        self._parts: OrderedDict[PartKey, Part] = OrderedDict()
        self._bytes = 0
        self._generation = -1
        self._lock = threading.Lock()

    def get(self, key: PartKey, generation: int) -> Part | None:
        """The copy of a part, stored under this generation of the target: a collection since may have taken it."""
        with self._lock:
            if generation != self._generation:
                return None
            part = self._parts.get(key)
            if part is not None:
                self._parts.move_to_end(key)
            return part

    def put(self, key: PartKey, part: Part, generation: int) -> None:
        """Remember a copy."""
        with self._lock:
            if generation != self._generation:
                self._parts.clear()
                self._bytes, self._generation = 0, generation
            if key not in self._parts:
                self._bytes += _weight(key, part)
            self._parts[key] = part
            while self._bytes > PARTS_KNOWN_BYTES_MAX:
                self._bytes -= _weight(*self._parts.popitem(last=False))


def _weight(key: PartKey, part: Part) -> int:
    return 300 + sum(map(len, key)) + len(part.chunks) + len(part.recipe)


@dataclass(slots=True)
class Copied:
    """
    Rows whose contents are stored.

    Attributes:
        table: rows of the copy. totals: items and bytes of the rows that were asked for.
        bytes_read: plain bytes read from the original. failed: names of the rows that could not be read, and why.
    """

    table: pa.Table
    totals: Totals
    bytes_read: int = 0
    failed: list[tuple[str, BackupError]] = field(default_factory=list)


def windows_of(rows: pa.Table, reader: Reader) -> Iterator["array[int]"]:
    """Numbers of rows in the order in which their chunks lie in the packs, bounded by bytes and rows."""
    places = array("Q")
    for batch in rows.select(["parts"]).to_batches(max_chunksize=ROWS_AT_ONCE):
        firsts = [_first(packed) for packed in batch.column(0).to_pylist()]
        found = iter(reader.first_places(b"".join(firsts)))
        places.extend(next(found) if first else 0 for first in firsts)
    sizes = rows["size"].to_pylist()
    window, size = array("Q"), 0
    for number in sorted(range(len(places)), key=places.__getitem__):
        window.append(number)
        size += sizes[number]
        if size >= WINDOW_BYTES_TARGET or len(window) >= WINDOW_ROWS_MAX:
            yield window
            window, size = array("Q"), 0
    if window:
        yield window


def _first(packed: bytes) -> bytes:
    try:
        return first_reference(packed)
    except Corruption:
        return b""  # told when the row is copied


class PartCopier:
    """Reads from one repository, stores in a write session of another. `copy` from many threads."""

    def __init__(self, reader: Reader, session: WriteSession, known: KnownParts) -> None:
        self._reader = reader
        self._session = session
        self._known = known
        self._ahead = ThreadPoolExecutor(cores(), "read-ahead")

    def close(self) -> None:
        """Stop the threads."""
        self._ahead.shutdown()

    def copy(self, rows: pa.Table, known: pa.Array) -> Copied:
        """
        Store the contents of rows.

        Args:
            known: for each row the copy's `parts` if it has them already, or null.

        What is damaged is left out of the table and named.
        """
        packed: list[bytes | None] = known.to_pylist()
        originals: dict[int, tuple[Part, ...]] = {}
        failed: dict[int, BackupError] = {}
        for number, stored in enumerate(rows["parts"].to_pylist()):
            if not stored:
                packed[number] = b""
            elif packed[number] is None:
                try:
                    originals[number] = decode_parts(stored)
                except Corruption as error:
                    failed[number] = error
        copies, failures, read = self._store(
            {_key(part): part for parts in originals.values() for part in parts}
        )
        for number, parts in originals.items():
            broken = next((failures[k] for p in parts if (k := _key(p)) in failures), None)
            if broken is not None:
                failed[number] = broken
            else:
                made = [replace(copies[_key(part)], role=part.role) for part in parts]
                packed[number] = encode_parts(made)
        kept = pa.array((n for n in range(rows.num_rows) if n not in failed), pa.int64())
        parts_column = pa.array(packed, pa.binary())
        table = rows.set_column(SCHEMA.get_field_index("parts"), "parts", parts_column).take(kept)
        named = [(row_name(rows, number), failed[number]) for number in sorted(failed)]
        return Copied(table, totals_of(rows), read, named)

    def _store(
        self, parts: dict[PartKey, Part]
    ) -> tuple[dict[PartKey, Part], dict[PartKey, BackupError], int]:
        """The copy of every part that can be read, what is wrong with the others, and bytes read."""
        generation = self._session.generation
        copies: dict[PartKey, Part] = {}
        wanted: dict[PartKey, Part] = {}
        for key, part in parts.items():
            there = self._known.get(key, generation)
            if there is None:
                wanted[key] = part
            else:
                copies[key] = there
        small = {k: p for k, p in wanted.items() if p.size <= WHOLE_BYTES_MAX}
        failures: dict[PartKey, BackupError] = {}
        try:
            copies |= self._store_whole(small)
        except Corruption:
            for key, part in small.items():
                self._try(lambda p: self._store_whole({_key(p): p}), key, part, copies, failures)
        for key, part in wanted.items():
            if key not in small:
                self._try(self._store_large, key, part, copies, failures)
        read = [key for key in wanted if key in copies]
        for key in read:
            self._known.put(key, copies[key], generation)
        return copies, failures, sum(wanted[key].size for key in read)

    def _try(
        self,
        store: Callable[[Part], dict[PartKey, Part]],
        key: PartKey,
        part: Part,
        copies: dict[PartKey, Part],
        failures: dict[PartKey, BackupError],
    ) -> None:
        try:
            copies |= store(part)
        except Corruption as error:
            failures[key] = error

    def _store_whole(self, parts: dict[PartKey, Part]) -> dict[PartKey, Part]:
        """Store parts that fit in memory, with one call each for reading and storing."""
        if not parts:
            return {}
        pieces, ends = contents(self._reader, list(parts.values()))
        data = b"".join(pieces)
        spans = array("Q")
        for start, end in zip((0, *ends), ends, strict=False):
            spans.extend((start, end))
        stored = self._session.store_many(data, spans)
        return {
            key: Part(part.role, part.size, chunks, recipe)
            for (key, part), chunks, recipe in zip(
                parts.items(), stored.chunks, stored.recipes, strict=True
            )
        }

    def _store_large(self, part: Part) -> dict[PartKey, Part]:
        """Store a part of any size; other threads read ahead."""
        with self._session.open_part(part.role) as writer:
            if part.recipe:
                for read in self._reader.read(part):
                    writer.write(read)
            else:
                for piece in self._ranges(part.chunks):
                    writer.write(piece)
        return {_key(part): writer.part}

    def _ranges(self, refs: bytes) -> Iterator[bytes | memoryview]:
        under_way: deque[Future[list[memoryview]]] = deque()
        step = RANGE_CHUNKS * REFERENCE_BYTES
        for at in range(0, len(refs), step):
            under_way.append(self._ahead.submit(self._range, refs[at : at + step]))
            if len(under_way) > cores():
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()

    def _range(self, refs: bytes) -> list[memoryview]:
        gathered = self._reader.gather(refs)
        return [gathered.piece(number) for number in range(len(gathered.numbers))]


def row_name(rows: pa.Table, number: int) -> str:
    """A row for people: of a tree its path, else its name."""
    row_id, name = rows["id"][number].as_py(), rows["name"][number].as_py()
    return display(row_id if row_id.rpartition(b"/")[2] == name else name)


def _key(part: Part) -> PartKey:
    return part.chunks, part.recipe


def contents(
    reader: Reader, parts: Sequence[Part]
) -> tuple[list[bytes | memoryview], "array[int]"]:
    """
    Contents of parts that fit in memory, read together.

    Returns: pieces of them, in order; where each part ends in what the pieces are joined. Raises: Corruption.
    """
    gathered = reader.gather(b"".join(part.chunks for part in parts))
    pieces: list[bytes | memoryview] = []
    ends, chunk, end = array("Q"), 0, 0
    for part in parts:
        count = len(part.chunks) // REFERENCE_BYTES
        held = [gathered.piece(number) for number in range(chunk, chunk + count)]
        if part.recipe:
            content: bytes = join(b"".join(held), part.recipe)
            if len(content) != part.size:
                raise Corruption(
                    "a recipe makes another size than its part says", code="part-corrupt"
                )
            pieces.append(content)
        else:
            pieces += held
        chunk += count
        end += part.size
        ends.append(end)
    return pieces, ends
