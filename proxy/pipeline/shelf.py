"""What a workload writes to: the slice of the task, its counts and its outcomes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from engine.catalog import Row
from engine.manifest import EntryRef
from engine.parts import Part
from proxy.contract import Counters, ItemOutcome
from proxy.graph.budget import Meter
from proxy.pipeline.context import StoppedEarly
from proxy.pipeline.kept_slice import KeptSlice
from proxy.pipeline.outcome import is_warning
from proxy.workloads.protocol import PartSink

__all__ = ["Tally", "TaskShelf"]

OUTCOMES_WAITING_MAX = 1_000


@dataclass(slots=True)
class Tally:
    """What one task did so far, over all its attempts. Totals, never differences."""

    meter: Meter
    stored: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    failed: int = 0
    total: int = 0
    bytes_stored: int = 0
    outcomes: list[ItemOutcome] = field(default_factory=list)  # not yet told
    committed: list[tuple[EntryRef, bool]] = field(default_factory=list)  # not yet told

    @property
    def warned(self) -> bool:
        """Whether an item is not stored as it should be."""
        return bool(self.skipped or self.failed)

    def note(self, outcome: ItemOutcome) -> None:
        """Count an outcome and keep it to be told."""
        if is_warning(outcome):
            self.skipped += outcome.result == "skipped"
            self.failed += outcome.result == "failed"
        self.outcomes.append(outcome)

    def counters(self) -> Counters:
        """As the server sees it."""
        return Counters(
            items_stored=self.stored,
            items_unchanged=max(self.unchanged, self.total - self.stored),
            items_removed=self.removed,
            items_skipped=self.skipped,
            items_failed=self.failed,
            items_total=self.total,
            bytes_read=self.meter.bytes_read,
            bytes_stored=self.bytes_stored,
            requests=self.meter.requests,
            resource_units=self.meter.resource_units,
            throttled=self.meter.throttled,
        )


class TaskShelf:
    """Implements `proxy.workloads.protocol.Shelf` over a slice."""

    def __init__(
        self,
        kept: KeptSlice,
        tally: Tally,
        stopping: asyncio.Event,
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        """`tell` publishes outcomes that wait."""
        self._kept = kept
        self._tally = tally
        self._stopping = stopping
        self._tell = tell

    @property
    def checkpoint(self) -> bytes | None:
        """What the last `advance` left, in this task or an earlier one."""
        return self._kept.checkpoint

    def row(self, row_id: bytes) -> Row | None:
        """The newest row of an id."""
        return self._kept.row(row_id)

    async def ids(self) -> set[bytes]:
        """Ids of all rows."""
        return await self._kept.ids()

    async def children(self, container: bytes) -> list[Row]:
        """Rows directly in a container."""
        return await self._kept.children(container)

    async def store(self, role: str, data: bytes) -> Part:
        """Store one part held in memory."""
        return await self._kept.store(role, data)

    def open_part(self, role: str) -> AbstractAsyncContextManager[PartSink]:
        """Store one part of any size."""
        return self._kept.open_part(role)

    async def advance(self, rows: Iterable[Row], checkpoint: bytes) -> None:
        """Keep rows and their checkpoint; StoppedEarly if the task shall end."""
        await self._kept.advance(list(rows), checkpoint)
        if len(self._tally.outcomes) >= OUTCOMES_WAITING_MAX:
            await self._tell()
        if self._stopping.is_set():
            raise StoppedEarly

    def note(self, outcome: ItemOutcome) -> None:
        """Report an item that is not stored as it should be."""
        self._tally.note(outcome)

    def count(self, *, stored: int = 0, unchanged: int = 0, removed: int = 0) -> None:
        """Count items for the session."""
        self._tally.stored += stored
        self._tally.unchanged += unchanged
        self._tally.removed += removed
