"""
Catalogs: browsable rows of one protected object and workload (docs/format.md, "Catalogs").

A catalog is a list of parts, oldest first; a row of a later part replaces the row of the same id before it, a removed row
takes it away. Parts are Parquet, rows by creation time, then id, so that change clusters at the end. Eight parts of
one level are merged into one of the next level: a base is never rewritten for a small change.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cext import runs
from engine.errors import Corruption
from engine.limits import CATALOG_LEVEL_ROWS, CATALOG_PARTS_PER_LEVEL_MAX
from engine.parts import REFERENCE_BYTES, Part, checked_part

GROUP_ROWS = 65_536  # of Parquet

# Arrow's own pool keeps what it once had: 40 MB after a part of 60,000 rows
pa.set_memory_pool(pa.system_memory_pool())

SCHEMA = pa.schema(
    [
        ("id", pa.binary()),
        ("container", pa.binary()),
        ("name", pa.binary()),
        ("kind", pa.string()),
        ("size", pa.int64()),
        ("created_ns", pa.int64()),
        ("modified_ns", pa.int64()),
        ("version", pa.string()),
        ("meta", pa.binary()),
        ("parts", pa.binary()),
        ("removed", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True)
class Row:
    """
    One container or item.

    Attributes:
        id: unique within the catalog. container: id of the row that holds it, b"" at the top.
        name: for people; bytes, because file names need not be UTF-8. kind: "container" or the workload's word.
        size: plain bytes. created_ns, modified_ns: nanoseconds since 1970 UTC.
        version: what decides that an item is unchanged. meta: JSON of the workload.
    """

    id: bytes
    container: bytes
    name: bytes
    kind: str
    size: int = 0
    created_ns: int = 0
    modified_ns: int = 0
    version: str = ""
    meta: bytes = b"{}"
    parts: tuple[Part, ...] = field(default=())
    removed: bool = False


_BARE = Row(b"", b"", b"", "")


def removed_row(row_id: bytes) -> Row:
    """The row that takes `row_id` away."""
    return Row(row_id, b"", b"", "removed", removed=True)


def encode_parts(parts: Sequence[Part]) -> bytes:
    """Parts of a row as they stand in its `parts` column."""
    if not parts:
        return b""
    return msgspec.msgpack.encode([(p.role, p.size, p.chunks, p.recipe) for p in parts])


def encode_single_parts(
    role: str, sizes: Sequence[int], chunks: Sequence[bytes], recipes: Sequence[bytes]
) -> list[bytes]:
    """`encode_parts` for many rows that have one part each, given as columns."""
    encode = msgspec.msgpack.Encoder().encode
    return [
        encode(((role, size, refs, recipe),))
        for size, refs, recipe in zip(sizes, chunks, recipes, strict=True)
    ]


_PARTS = msgspec.msgpack.Decoder(list[tuple[str, int, bytes, bytes]])


def decode_parts(packed: bytes) -> tuple[Part, ...]:
    """Reverse of `encode_parts`. Corruption otherwise."""
    if not packed:
        return ()
    return tuple(checked_part(*values) for values in _part_values(packed))


def part_references(packed: pa.ChunkedArray) -> bytes:
    """References of all chunks in a `parts` column, joined. Corruption."""
    found = []
    for column in packed.chunks:
        _, offsets, values = column.buffers()
        bounds = memoryview(offsets).cast("B").cast("i")
        bounds = bounds[column.offset : column.offset + len(column) + 1]
        try:
            data = b"" if values is None else memoryview(values).cast("B")
            found.append(runs.part_references(data, bounds))
        except ValueError as error:
            raise _unreadable_parts() from error
    return b"".join(found)


def first_reference(packed: bytes) -> bytes:
    """Reference of the first chunk of a row's first part; empty if it has none. Corruption."""
    values = _part_values(packed) if packed else []
    return values[0][2][:REFERENCE_BYTES] if values else b""


def _part_values(packed: bytes) -> list[tuple[str, int, bytes, bytes]]:
    try:
        return _PARTS.decode(packed)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable_parts() from error


def _unreadable_parts() -> Corruption:
    return Corruption("the parts of a row cannot be read", code="catalog-corrupt")


def table_of(rows: Iterable[Row]) -> pa.Table:
    """Rows as a table, in their order."""
    held = list(rows)
    columns = {
        name: [getattr(row, name) for row in held] for name in SCHEMA.names if name != "parts"
    }
    return columns_table({**columns, "parts": [encode_parts(row.parts) for row in held]})


def columns_table(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """A table of columns by name, all of one length; `parts` as of `encode_parts`."""
    return pa.Table.from_pydict(dict(columns), schema=SCHEMA)


def encode_catalog_part(table: pa.Table) -> bytes:
    """Parquet bytes of one catalog part; no id may stand twice in `table`."""
    return _encoded([table], _in_order(table))


def encode_merged_part(tables: Sequence[pa.Table], *, oldest: bool) -> tuple[bytes, int]:
    """
    Stored bytes and row count of the part that replaces `tables` (oldest first): the newest row of every id.

    Removed rows are kept unless these are the oldest parts of the catalog: below nothing, nothing is left to take away.
    Beside the tables it holds one group of rows and the bytes.
    """
    newest = newest_places(tables)
    keys = pa.concat_tables([table.select(["created_ns", "id", "removed"]) for table in tables])
    keys = keys.take(newest)
    if oldest:
        kept = pc.invert(keys.column("removed").combine_chunks())
        newest, keys = newest.filter(kept), keys.filter(kept)
    return _encoded(tables, newest.take(_in_order(keys))), len(newest)


def _in_order(keys: pa.Table) -> pa.Array:
    """Places of rows as they stand in a part."""
    return pc.sort_indices(keys, [("created_ns", "ascending"), ("id", "ascending")])


def _encoded(tables: Sequence[pa.Table], places: pa.Array) -> bytes:
    """The rows at these places of the joined tables."""
    pieces = [pa.Table.from_batches([b]) for table in tables for b in table.to_batches()]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, SCHEMA, compression="zstd", use_dictionary=["container", "kind", "meta"]
    ) as writer:
        for at in range(0, max(len(places), 1), GROUP_ROWS):
            writer.write_table(_rows_at(pieces, places.slice(at, GROUP_ROWS)))
    return bytes(sink.getvalue())


def _rows_at(pieces: Sequence[pa.Table], places: pa.Array) -> pa.Table:
    """The rows at these places of the joined pieces, in the order of the places."""
    numbers = pa.array(range(len(places)), pa.int64())
    taken, ranks, beyond = [SCHEMA.empty_table()], [numbers[:0]], 0
    for piece in pieces:
        before, beyond = beyond, beyond + piece.num_rows
        inside = pc.and_(pc.greater_equal(places, before), pc.less(places, beyond))
        taken.append(piece.take(pc.subtract(places.filter(inside), before)))
        ranks.append(numbers.filter(inside))
    return pa.concat_tables(taken).take(pc.sort_indices(pa.concat_arrays(ranks)))


def newest_places(tables: Sequence[pa.Table]) -> pa.Array:
    """
    Places in `tables`, joined in their order (oldest first), of the newest row of every id; rising, removed rows too.

    By columns, without an object for each row.
    """
    ids = pa.concat_tables([table.select(["id"]) for table in tables])
    numbers = pa.py_buffer(array("q", range(ids.num_rows)))
    places = pa.Array.from_buffers(pa.int64(), ids.num_rows, [None, numbers])
    grouped = ids.append_column("place", places).group_by("id", use_threads=False)
    newest = grouped.aggregate([("place", "max")]).column("place_max").combine_chunks()
    return newest.take(pc.sort_indices(newest))


def decode_catalog_part(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Table of one catalog part, or of some of its columns. Corruption if it is not one."""
    return pa.concat_tables(list(catalog_tables(data, columns)))


def catalog_tables(data: bytes, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """`decode_catalog_part` piece by piece, for who keeps little of it."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        fits = file.schema_arrow.equals(SCHEMA)
        wanted = pa.schema([f for f in SCHEMA if columns is None or f.name in columns])
        if fits:
            yield wanted.empty_table()
        for group in range(file.num_row_groups if fits else 0):
            table = file.read_row_group(group, columns=wanted.names, use_threads=False)
            table.validate(full=True)
            fits = not any(c.null_count for c in table.columns)
            if not fits:
                break
            yield table
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Corruption("a catalog part cannot be read", code="catalog-corrupt") from error
    if not fits:
        raise Corruption("a catalog part has other columns", code="catalog-corrupt")


def row_at(table: pa.Table, index: int) -> Row:
    """Row `index` of a decoded part."""
    values = {name: table.column(name)[index].as_py() for name in SCHEMA.names}
    values["parts"] = decode_parts(values["parts"])
    return Row(**values)


def rows_of(table: pa.Table) -> Iterator[Row]:
    """All rows of a decoded part, in order; columns that are not there have the value of the row `_BARE`."""
    names = set(table.column_names)
    for batch in table.to_batches(max_chunksize=4096):
        columns: dict[str, Iterable[Any]] = {
            name: _values(batch.column(name)) if name in names else repeat(getattr(_BARE, name))
            for name in Row.__match_args__
        }
        if "parts" in names:
            columns["parts"] = map(decode_parts, columns["parts"])
        yield from map(Row, *(columns[name] for name in Row.__match_args__))


def _values(column: pa.Array) -> list[Any]:
    """Plain values of a column, which may be encoded as a dictionary."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    found: list[Any] = column.to_pylist()
    return found


def level_of(rows: int, levels: Sequence[int]) -> int:
    """
    Level of a new part of so many rows on top of parts of these levels (oldest first).

    A large part begins at the level that merging would have brought it to, so that small ones after it never rewrite it.
    """
    level = 0
    while rows > CATALOG_LEVEL_ROWS * CATALOG_PARTS_PER_LEVEL_MAX**level:
        level += 1
    return min(level, levels[-1]) if levels else level


def parts_to_merge(levels: Sequence[int]) -> int:
    """
    How many of the newest parts are merged into one of the next level, given the levels oldest first.

    0 while fewer than eight stand at the newest part's level.
    """
    if not levels:
        return 0
    count = 0
    for level in reversed(levels):
        if level != levels[-1]:
            break
        count += 1
    return count if count >= CATALOG_PARTS_PER_LEVEL_MAX else 0
