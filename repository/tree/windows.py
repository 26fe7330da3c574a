"""
Files out in windows: files whose chunks lie near each other are read with few requests and written with one call.

A window is what one thread holds at once. A frame that two windows need comes from the reader's cache.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from cext import filebatch
from engine.catalog import Row, first_reference
from engine.errors import Corruption
from engine.parts import REFERENCE_BYTES, Part
from engine.recipe import join
from repository.reader import Gathered, Reader
from repository.tree.nodes import NodeMeta

WINDOW_BYTES_TARGET = 4 * 1024 * 1024
WINDOW_FILES_MAX = 512
WHOLE_BYTES_MAX = 4 * 1024 * 1024  # a larger file is written range by range
RANGE_CHUNKS = 128
ROWS_AT_ONCE = 8192


def in_order_of_packs(reader: Reader, files: pa.Table) -> "array[int]":
    """Numbers of the rows, by the place of their first chunk and their own order; files without content first."""
    places = array("Q")
    for batch in files.select(["parts"]).to_batches(max_chunksize=ROWS_AT_ONCE):
        firsts, empty = [], set()
        for number, packed in enumerate(batch.column(0).to_pylist()):
            first = first_reference(packed)
            if first:
                firsts.append(first)
            else:
                empty.add(number)
        found = iter(reader.first_places(b"".join(firsts)))
        places.extend(0 if number in empty else next(found) for number in range(batch.num_rows))
    column = pa.Array.from_buffers(pa.uint64(), len(places), [None, pa.py_buffer(places)])
    return array("Q", _numbers(pc.array_sort_indices(column)))  # stable


def _numbers(column: pa.Array) -> "memoryview[int]":
    """Values of a column of 64-bit numbers, none of them negative, where they lie."""
    if not len(column):
        return memoryview(b"").cast("Q")
    _, values = column.buffers()
    numbers = memoryview(values).cast("B").cast("Q")
    return numbers[column.offset : column.offset + len(column)]


def windows_of(files: pa.Table, order: "array[int]") -> "Iterator[array[int]]":
    """Runs of row numbers, bounded by bytes and files."""
    window, size = array("Q"), 0
    sizes = _numbers(files.column("size").combine_chunks())
    for number in order:
        window.append(number)
        size += sizes[number]
        if size >= WINDOW_BYTES_TARGET or len(window) >= WINDOW_FILES_MAX:
            yield window
            window, size = array("Q"), 0
    if window:
        yield window


def is_plain(row: Row, meta: NodeMeta) -> bool:
    """Whether a window writes a file whole: not large, no holes, no extended attributes, an ordinary time."""
    return (
        row.size <= WHOLE_BYTES_MAX
        and not meta.sparse
        and not meta.xattrs
        and meta.modified_ns is None
    )


def is_large(row: Row, meta: NodeMeta) -> bool:
    """Whether all threads write a file together, range by range."""
    return (
        row.size > WHOLE_BYTES_MAX
        and not meta.sparse
        and not any(part.recipe for part in row.parts)
    )


def ranges_of(parts: Sequence[Part]) -> Iterator[bytes]:
    """References of parts, a range of bounded size at a time."""
    step = RANGE_CHUNKS * REFERENCE_BYTES
    for part in parts:
        for at in range(0, len(part.chunks), step):
            yield part.chunks[at : at + step]


def write_files(
    reader: Reader,
    root: bytes,
    plain: Sequence[tuple[Row, NodeMeta]],
    relative: Callable[[bytes], bytes],
) -> Iterator[tuple[Row, int]]:
    """
    Create files below the folder `root`, whole.

    Yields: rows whose outcome is not 0: an errno, or one negated when only the owner could not be set.
    """
    parts = [part for row, _ in plain for part in row.parts]
    gathered = reader.gather(b"".join(part.chunks for part in parts))
    pieces: list[bytes] = list(gathered.frames)
    where, offsets, lengths = gathered.numbers, gathered.offsets, gathered.lengths
    plan: list[int] = []  # of each piece: file, place in it, source, place in that, bytes
    attributes: list[int] = []
    names, ends = [], array("Q")
    chunk = end = 0
    for number, (row, meta) in enumerate(plain):
        name = relative(row.id)
        names.append(name)
        end += len(name)
        ends.append(end)
        flags = filebatch.CREATE | filebatch.LAST
        attributes += (meta.mode, meta.uid, meta.gid, row.modified_ns, flags)
        at = 0
        for part in row.parts:
            beyond = chunk + len(part.chunks) // REFERENCE_BYTES
            if part.recipe:
                pieces.append(_joined(gathered, chunk, beyond, part))
                plan += (number, at, len(pieces) - 1, 0, part.size)
                at += part.size
            else:
                for place in range(chunk, beyond):
                    plan += (number, at, where[place], offsets[place], lengths[place])
                    at += lengths[place]
            chunk = beyond
    outcomes = filebatch.write(
        root, b"".join(names), ends, pieces, array("Q", plan), array("q", attributes)
    )
    for (row, _), outcome in zip(plain, outcomes, strict=True):
        if outcome:
            yield row, outcome


def _joined(gathered: Gathered, first: int, beyond: int, part: Part) -> bytes:
    """Content of a part that has a recipe."""
    stream = b"".join(gathered.piece(number) for number in range(first, beyond))
    content = join(stream, part.recipe)
    if len(content) != part.size:
        raise Corruption("a recipe makes another size than its part says", code="part-corrupt")
    return content
