"""A catalog read back: the merged rows of an entry's parts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from engine.catalog import (
    Row,
    decode_catalog_part,
    encode_merged_part,
    newest_places,
    row_at,
    rows_of,
)
from engine.manifest import CatalogPart, part_from
from repository.reader import Reader

CONTAINER = "container"
WALK_COLUMNS = ("id", "kind", "size", "version", "removed")  # for `ids`, `version` and `totals`
ROWS_TO_RELEASE_MIN = 32_768  # memory that work on so many rows took is given back at once


@dataclass(frozen=True, slots=True)
class Totals:
    """What a catalog holds: items without containers, their plain bytes."""

    items: int
    bytes: int


class Catalog:
    """
    Live rows over parts, oldest first: a later row of the same id replaces, a removed row takes away.

    Never changed: `with_part` gives a new catalog. Safe to read from several threads.
    """

    def __init__(self, tables: tuple[pa.Table, ...] = (), from_ns: int | None = None) -> None:
        self._tables = tables
        self._from_ns = from_ns

    @classmethod
    def load(
        cls,
        parts: tuple[CatalogPart, ...],
        reader: Reader,
        columns: Sequence[str] | None = None,
        from_ns: int | None = None,
    ) -> "Catalog":
        """
        The catalog of an entry; without all columns it has no rows, only what `WALK_COLUMNS` says.

        Items created and modified before `from_ns` are expired: known by id and version, but their rows are not given out.
        """
        tables = []
        for part in parts:
            stored = reader.read_all(part_from(part.part))
            tables.append(_in_one_piece(decode_catalog_part(stored, columns)))
            _release(part.rows)
        return cls(tuple(tables), from_ns)

    def with_part(self, table: pa.Table) -> "Catalog":
        """This catalog with one more part on top; what is known of this one is carried over to it."""
        made = Catalog((*self._tables, table.combine_chunks()), self._from_ns)
        if "_index" in self.__dict__:
            made.__dict__["_index"] = _extended(self._index, len(self._tables), table)
            if "_totals" in self.__dict__:
                made.__dict__["_totals"] = self._totals_with(table)
        return made

    def counted(self, table: pa.Table) -> "Catalog":
        """This catalog with the totals that it has with `table` on top; nothing else is kept of the table."""
        made = Catalog(self._tables, self._from_ns)
        made.__dict__["_index"] = self._index
        made.__dict__["_totals"] = self._totals_with(table)
        return made

    @cached_property
    def _index(self) -> dict[bytes, int]:
        """Id of a live row to its place: number of the table << 32 | number of the row."""
        index: dict[bytes, int] = {}
        for number, table in enumerate(self._tables):
            index = _extended(index, number, table)
        return index

    def live(self) -> Iterator[pa.Table]:
        """The live rows as tables, part by part."""
        since = self._from_ns
        if any("parts" not in table.column_names for table in self._tables):
            since = None
        for table in self._live():
            yield table if since is None else table.filter(pc.invert(expired(table, since)))

    def _live(self) -> Iterator[pa.Table]:
        if len(self._tables) < 2:
            yield from map(_without_removed, self._tables)
            return
        newest, beyond = newest_places(self._tables), 0
        _release(len(newest))
        for table in self._tables:
            before, beyond = beyond, beyond + table.num_rows
            inside = pc.and_(pc.greater_equal(newest, before), pc.less(newest, beyond))
            yield _without_removed(_taken(table, pc.subtract(newest.filter(inside), before)))

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, row_id: bytes) -> bool:
        return row_id in self._index

    def ids(self) -> Iterator[bytes]:
        """Ids of all live rows."""
        return iter(self._index)

    def _value(self, place: int, column: str) -> object:
        return self._tables[place >> 32].column(column)[place & 0xFFFFFFFF].as_py()

    def version(self, row_id: bytes) -> str | None:
        """`version` of a live row, or None."""
        place = self._index.get(row_id)
        return None if place is None else str(self._value(place, "version"))

    def get(self, row_id: bytes) -> Row | None:
        """A live row, or None."""
        place = self._index.get(row_id)
        if place is None:
            return None
        table, number = self._tables[place >> 32], place & 0xFFFFFFFF
        row = table.slice(number, 1)
        if self._from_ns is not None and expired(row, self._from_ns)[0].as_py():
            return None
        return row_at(table, number)

    def rows(self) -> Iterator[Row]:
        """All live rows: part by part, each in its order."""
        for table in self.live():
            yield from rows_of(table)

    def children(self) -> Mapping[bytes, list[bytes]]:
        """Container id to the ids of the rows in it."""
        found: dict[bytes, list[bytes]] = {}
        for table in self.live():
            ids, containers = table.column("id").to_pylist(), table.column("container").to_pylist()
            for row_id, container in zip(ids, containers, strict=True):
                found.setdefault(container, []).append(row_id)
        return found

    def totals(self) -> Totals:
        """Items and bytes of the live rows."""
        return self._totals

    @cached_property
    def _totals(self) -> Totals:
        some = [_items_of(table) for table in self.live()]
        return Totals(sum(t.items for t in some), sum(t.bytes for t in some))

    def _totals_with(self, table: pa.Table) -> Totals:
        """Totals once the rows of `table` have taken the place of those with the same ids."""
        ids = table.column("id").combine_chunks()
        added = _items_of(table.filter(pc.invert(table.column("removed"))))
        lost = [_items_of(t.filter(pc.is_in(t.column("id"), value_set=ids))) for t in self.live()]
        return Totals(
            self._totals.items + added.items - sum(t.items for t in lost),
            self._totals.bytes + added.bytes - sum(t.bytes for t in lost),
        )


def _items_of(table: pa.Table) -> Totals:
    """Items and bytes of all rows of a table."""
    sizes = table.column("size").filter(pc.not_equal(table.column("kind"), CONTAINER))
    return Totals(len(sizes), pc.sum(sizes).as_py() or 0)


def _in_one_piece(table: pa.Table) -> pa.Table:
    """The table without seams, so that a row is found at once; by column, so that pieces and whole are not both held."""
    schema, columns = table.schema, table.columns
    del table
    whole = []
    for field in schema:
        one = pa.Table.from_arrays([columns.pop(0)], schema=pa.schema([field]))
        whole.append(one.combine_chunks().column(0))
        del one
    return pa.Table.from_arrays(whole, schema=schema)


def _release(rows: int) -> None:
    if rows >= ROWS_TO_RELEASE_MIN:
        pa.default_memory_pool().release_unused()


def _without_removed(table: pa.Table) -> pa.Table:
    """Not copied if there is none."""
    removed = table.column("removed")
    return table.filter(pc.invert(removed)) if pc.any(removed).as_py() else table


def _taken(table: pa.Table, numbers: pa.Array) -> pa.Table:
    return table if len(numbers) == table.num_rows else table.take(numbers)


def _extended(index: Mapping[bytes, int], number: int, table: pa.Table) -> dict[bytes, int]:
    """`index` with the rows of table `number` on top."""
    extended, base = dict(index), number << 32
    ids = table.column("id").to_pylist()
    extended.update(zip(ids, range(base, base + len(ids)), strict=True))
    for place in pc.indices_nonzero(table.column("removed")).to_pylist():
        extended.pop(ids[place], None)
    return extended


def expired(rows: pa.Table, from_ns: int) -> pa.ChunkedArray:
    """Which items (not containers) were created and modified before a time; one without times (0) is not known to be old."""
    newest = pc.max_element_wise(rows.column("created_ns"), rows.column("modified_ns"))
    old = pc.and_(pc.less(newest, from_ns), pc.not_equal(newest, 0))
    return pc.and_(old, pc.not_equal(rows.column("kind"), CONTAINER))


def merged_part(parts: Iterable[bytes], *, oldest: bool) -> tuple[bytes, int]:
    """Of stored parts, what `encode_merged_part` gives; memory that the work took is given back."""
    tables = []
    for stored in parts:
        tables.append(decode_catalog_part(stored))
        _release(tables[-1].num_rows)
    encoded, rows = encode_merged_part(tables, oldest=oldest)
    tables.clear()
    _release(rows)
    return encoded, rows


def latest(tables: Iterable[pa.Table]) -> pa.Table:
    """One table of the newest row of every id, the removed ones too; later tables and rows are newer."""
    held = list(tables)
    joined, places = pa.concat_tables(held), newest_places(held)
    _release(joined.num_rows)
    return joined if len(places) == joined.num_rows else joined.take(places)
