"""A slice of a write session as a task holds it: asynchronous, and told when its session breaks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from engine.catalog import Row
from engine.errors import BackupError, Conflict
from engine.manifest import EntryRef
from engine.parts import Part
from repository.part_writer import PartWriter
from repository.session import WriteSession
from repository.slices import Slice

if TYPE_CHECKING:
    from proxy.keeper import KeptRepository

__all__ = ["KeptPart", "KeptSlice", "OnCommit"]

T = TypeVar("T")

OnCommit = Callable[[EntryRef, bool, int], None]  # entry, complete, bytes that it added


class KeptPart:
    """A part being written piece by piece."""

    def __init__(self, kept: "KeptSlice", writer: PartWriter) -> None:
        self._kept = kept
        self._writer = writer

    async def write(self, data: bytes) -> None:
        """Add bytes."""
        self._kept.plain_bytes += len(data)
        await self._kept.run(self._writer.write, data)

    @property
    def part(self) -> Part:
        """The stored part, after the block."""
        return self._writer.part


class KeptSlice:
    """Made by `KeptRepository.open_slice`; ended by `finish` or `park`."""

    def __init__(
        self,
        keeper: "KeptRepository",
        writer: WriteSession,
        slice_: Slice,
        on_commit: OnCommit,
    ) -> None:
        self.writer = writer
        self.slice = slice_
        self.broken: BackupError | None = None
        self.finished = False
        self.dropped = asyncio.Event()  # its task has ended
        self.entry: EntryRef | None = None
        self.plain_bytes = 0  # given to the session since the last commit
        self._touched: set[bytes] = set()  # ids advanced since the last commit
        self._touched_before: set[bytes] = set()  # and since the one before: some may not be in it
        self._keeper = keeper
        self._on_commit = on_commit

    @property
    def checkpoint(self) -> bytes | None:
        """Of the entry it goes on from."""
        return self.slice.checkpoint

    def row(self, row_id: bytes) -> Row | None:
        """The row as it stands."""
        return self.slice.get(row_id)

    async def ids(self) -> set[bytes]:
        """Ids of all rows as they stand."""
        return await self.run(self.slice.ids)

    async def children(self, container: bytes) -> list[Row]:
        """Rows directly in a container as they stand."""
        return await self.run(self._children, container)

    def _children(self, container: bytes) -> list[Row]:
        committed = self.slice.committed_catalog.children().get(container, [])
        rows = map(self.slice.get, {*committed, *self._touched, *self._touched_before})
        return [row for row in rows if row is not None and row.container == container]

    async def store(self, role: str, data: bytes) -> Part:
        """Store a part held in memory."""
        self.plain_bytes += len(data)
        return await self.run(self.writer.store, role, data)

    @asynccontextmanager
    async def open_part(self, role: str) -> AsyncIterator[KeptPart]:
        """Store a part of any size."""
        writer = self.writer.open_part(role)
        try:
            yield KeptPart(self, writer)
        except BaseException as error:
            writer.__exit__(type(error), error, None)
            raise
        await self.run(writer.__exit__, None, None, None)

    async def advance(self, rows: Sequence[Row], checkpoint: bytes) -> None:
        """Add rows and the checkpoint that covers them, in one step."""
        self._touched.update(row.id for row in rows)
        await self.run(self.slice.advance, rows, checkpoint)
        await self._keeper.look()

    async def finish(self) -> EntryRef:
        """No more rows: the place of the entry, once it is durable."""
        self.slice.finish(complete=True)
        self.finished = True
        try:
            await self._keeper.commit()
        finally:
            self._keeper.drop(self)
        if self.entry is None:
            raise self.broken or Conflict("The commit left the task out.", code="slice-lost")
        return self.entry

    async def park(self) -> None:
        """The task ends before its end: what it added becomes an incomplete entry to go on from."""
        try:
            if self.broken is None:
                await self._keeper.commit()
        finally:
            self._keeper.drop(self)

    def abandon(self) -> None:
        """The task ends at once; what was not committed is not kept."""
        self._keeper.drop(self)

    def committed(self, entry: EntryRef, bytes_stored: int) -> None:
        """A commit that held this slice is durable and added so many bytes for it."""
        self.entry = entry
        self.plain_bytes = 0
        self._touched_before, self._touched = self._touched, set()
        self._on_commit(entry, self.finished, bytes_stored)

    async def run(self, call: Callable[..., T], *arguments: Any) -> T:
        """A call into the session; a session that is broken says so from now on."""
        if self.broken is not None:
            raise self.broken
        try:
            return await self._keeper.run(call, *arguments)
        except BackupError as error:
            if error.code not in OWN_CODES:
                await self._keeper.report_failure(error, self.writer)
            raise


OWN_CODES = frozenset(
    {"part-stale", "slice-finished", "part-open"}
)  # of one slice, not of the session
