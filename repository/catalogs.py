"""A catalog read back: the merged rows of an entry's parts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from engine.catalog import Row, decode_catalog_part, encode_catalog_part, row_at, rows_of
from engine.manifest import CatalogPart, part_from
from repository.reader import Reader

CONTAINER = "container"


@dataclass(frozen=True, slots=True)
class Totals:
    """What a catalog holds: items without containers, their plain bytes."""

    items: int
    bytes: int


class Catalog:
    """
    Live rows over parts, oldest first: a later row of the same id replaces, a removed row takes away.

    Never changed: `with_rows` gives a new catalog. Safe to read from several threads.
    """

    def __init__(
        self, tables: tuple[pa.Table, ...] = (), index: dict[bytes, int] | None = None
    ) -> None:
        self._tables = tables
        self._index: dict[bytes, int] = {} if index is None else index

    @classmethod
    def load(cls, parts: tuple[CatalogPart, ...], reader: Reader) -> "Catalog":
        """The catalog of an entry."""
        catalog = cls()
        for part in parts:
            table = decode_catalog_part(reader.read_all(part_from(part.part)))
            catalog = catalog._extended(table)
        return catalog

    def _extended(self, table: pa.Table) -> "Catalog":
        index = dict(self._index)
        base = len(self._tables) << 32
        ids = table.column("id").to_pylist()
        removed = table.column("removed").to_pylist()
        for number, (row_id, gone) in enumerate(zip(ids, removed, strict=True)):
            if gone:
                index.pop(row_id, None)
            else:
                index[row_id] = base | number
        return Catalog((*self._tables, table.combine_chunks()), index)

    def with_part(self, encoded: bytes) -> "Catalog":
        """This catalog with one more part on top, given as its stored bytes."""
        return self._extended(decode_catalog_part(encoded))

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
        return row_at(self._tables[place >> 32], place & 0xFFFFFFFF)

    def rows(self) -> Iterator[Row]:
        """All live rows: part by part, each in its order."""
        for number, table in enumerate(self._tables):
            base = number << 32
            for offset, row in enumerate(rows_of(table)):
                if self._index.get(row.id) == base | offset:
                    yield row

    def children(self) -> Mapping[bytes, list[bytes]]:
        """Container id to the ids of the rows in it."""
        found: dict[bytes, list[bytes]] = {}
        for number, table in enumerate(self._tables):
            base = number << 32
            ids, containers = table.column("id").to_pylist(), table.column("container").to_pylist()
            for offset, (row_id, container) in enumerate(zip(ids, containers, strict=True)):
                if self._index.get(row_id) == base | offset:
                    found.setdefault(container, []).append(row_id)
        return found

    def totals(self) -> Totals:
        """Items and bytes of the live rows."""
        items = total = 0
        for number, table in enumerate(self._tables):
            base = number << 32
            columns = [table.column(name).to_pylist() for name in ("id", "kind", "size")]
            for offset, (row_id, kind, size) in enumerate(zip(*columns, strict=True)):
                if kind != CONTAINER and self._index.get(row_id) == base | offset:
                    items += 1
                    total += size
        return Totals(items, total)


def merged_part(parts: Sequence[bytes], *, oldest: bool) -> tuple[bytes, int]:
    """
    Stored bytes and row count of the part that replaces `parts` (stored bytes, oldest first).

    Removed rows are kept unless these are the oldest parts of the catalog: below nothing, nothing is left to take away.
    """
    rows: dict[bytes, Row] = {}
    for part in parts:
        for row in rows_of(decode_catalog_part(part)):
            rows[row.id] = row
    kept = [row for row in rows.values() if not (oldest and row.removed)]
    return encode_catalog_part(kept), len(kept)
