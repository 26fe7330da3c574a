"""
Slices: what one task adds to its protected object in one turn.

Rows and the checkpoint that covers them enter in one step, so that a saved checkpoint never gets ahead of stored items. A
commit takes every open slice: unfinished ones as incomplete entries, whose checkpoint is where the work goes on.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from engine.catalog import Row, decode_parts, table_of
from engine.errors import Conflict
from engine.manifest import EntryRef, ObjectKey
from engine.parts import Part
from repository.catalogs import Catalog, latest
from repository.entries import Entry


@dataclass(frozen=True, slots=True)
class Pending:
    """What a slice has to say in a commit. `last`: it was finished by then, nothing follows."""

    rows: tuple[Row, ...]
    tables: tuple[pa.Table, ...]
    checkpoint: bytes | None
    complete: bool
    last: bool

    def table(self) -> pa.Table | None:
        """All rows, each id once; None if there are none."""
        if not self.rows and not self.tables:
            return None
        return latest((*self.tables, table_of(self.rows)))

    def references(self) -> bytes:
        """References of all chunks in its rows."""
        parts = [part for row in self.rows for part in row.parts]
        for table in self.tables:
            for packed in table.column("parts").to_pylist():
                parts += decode_parts(packed)
        return b"".join(part.chunks for part in parts)


class Slice:
    """
    One task's view of one object and workload. Made by `WriteSession.open_slice`; thread-safe.

    Attributes:
        object, workload, session: what the entries are of.
        checkpoint: of the entry it goes on from, None at the first time.
        entry: the newest committed entry of this slice, None before its first commit.
    """

    def __init__(
        self,
        key: ObjectKey,
        workload: str,
        session: str,
        *,
        previous: Entry | None,
        parents: tuple[EntryRef, ...],
        catalog: Catalog,
        checkpoint: bytes | None,
        confirm: Callable[[Sequence[Part]], None],
        walk: bool = False,
    ) -> None:
        self.object = key
        self.workload = workload
        self.session = session
        self.previous = previous
        self.parents = parents
        self.checkpoint = checkpoint
        self.entry: EntryRef | None = None
        self.finished = False
        self.walk = walk
        self._confirm = confirm
        self._committed = catalog
        self._rows: dict[bytes, Row] = {}
        self._tables: list[pa.Table] = []
        self._table_rows = 0  # in them
        self._new_checkpoint: bytes | None = None
        self._complete = False
        self._lock = threading.Lock()

    def get(self, row_id: bytes) -> Row | None:
        """The row as it stands: what was added here, else what the catalog had."""
        with self._lock:
            row = self._rows.get(row_id)
            if row is not None:
                return None if row.removed else row
            return self._committed.get(row_id)

    def version(self, row_id: bytes) -> str | None:
        """`version` of a row as it stands; cheaper than `get`."""
        with self._lock:
            row = self._rows.get(row_id)
            if row is not None:
                return None if row.removed else row.version
            return self._committed.version(row_id)

    def ids(self) -> set[bytes]:
        """Ids of all rows as they stand."""
        with self._lock:
            found = set(self._committed.ids())
            for row in self._rows.values():
                (found.discard if row.removed else found.add)(row.id)
            return found

    @property
    def catalog(self) -> "Slice":
        """Rows as they stand; the slice itself answers."""
        return self

    def advance(self, rows: Sequence[Row], checkpoint: bytes | None = None) -> None:
        """
        Add rows (removed ones too) and the checkpoint that covers them, in one step.

        Conflict(part-stale) if a part was stored in an earlier turn and may have been collected: store it again.
        """
        self._confirm([part for row in rows for part in row.parts])
        with self._lock:
            if self.finished:
                raise Conflict("this slice is finished", code="slice-finished")
            for row in rows:
                self._rows.pop(row.id, None)
                self._rows[row.id] = row
            if checkpoint is not None:
                self._new_checkpoint = checkpoint

    def advance_table(self, table: pa.Table) -> None:
        """
        Add many new rows at once, as of `engine.catalog.columns_table`.

        Their ids are in no other row or table of this slice, and `get`, `version` and `ids` do not see them: for a walk
        (`WriteSession.open_slice`) that meets every item once.
        """
        assert self.walk, "only a walk meets every id once"
        with self._lock:
            if self.finished:
                raise Conflict("this slice is finished", code="slice-finished")
            self._tables.append(table)
            self._table_rows += table.num_rows

    def finish(self, *, complete: bool = True) -> None:
        """No more rows; the next commit writes the last entry."""
        with self._lock:
            self.finished = True
            self._complete = complete

    def take(self) -> Pending | None:
        """What the next commit must hold, or None. The rows stay until `committed`."""
        with self._lock:
            fresh = bool(self._rows or self._tables) or self._new_checkpoint is not None
            if not fresh and not self.finished:
                return None
            fresh_one = self._new_checkpoint
            checkpoint = self.checkpoint if fresh_one is None else fresh_one
            complete = self.finished and self._complete
            rows, tables = tuple(self._rows.values()), tuple(self._tables)
            return Pending(rows, tables, checkpoint, complete, self.finished)

    def committed(self, pending: Pending, entry: Entry, catalog: Catalog) -> None:
        """The commit that held `pending` is durable."""
        with self._lock:
            for row in pending.rows:
                if self._rows.get(row.id) is row:
                    del self._rows[row.id]
            del self._tables[: len(pending.tables)]
            self._table_rows -= sum(table.num_rows for table in pending.tables)
            if pending.checkpoint is not None:
                self.checkpoint = pending.checkpoint
                if self._new_checkpoint == pending.checkpoint:
                    self._new_checkpoint = None
            self.previous = entry
            self.parents = (entry.ref,)
            self.entry = entry.ref
            self._committed = catalog

    @property
    def committed_catalog(self) -> Catalog:
        """Rows of the newest committed entry."""
        return self._committed

    @property
    def pending_rows(self) -> int:
        """Rows that wait for a commit."""
        return len(self._rows) + self._table_rows
