"""
The border between a workload and whoever keeps what it reads.

`Workload` is what the pipeline runs; `Shelf` is the catalog being written, as far as a workload needs it. The rule
both rest on: rows and the checkpoint that covers them go to the shelf in one step, so a change token is never ahead
of what is stored.
"""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from engine.catalog import Row
from engine.parts import Part
from proxy.contract import ItemOutcome, ObjectRef
from proxy.graph.client import GraphClient
from proxy.graph.errors import GraphError

__all__ = ["FailureRun", "PartSink", "Shelf", "Workload"]

FAILURES_IN_A_ROW_MAX = 25


class PartSink(Protocol):
    """A part being written; `part` is there after the block that wrote it ended."""

    async def write(self, data: bytes) -> None:
        """Add bytes."""

    @property
    def part(self) -> Part:
        """The stored part."""


class Shelf(Protocol):
    """One object's catalog of one workload while a task writes it. Safe to use from several coroutines."""

    @property
    def checkpoint(self) -> bytes | None:
        """What the last `advance` of this or an earlier task left; None on the first run."""

    def row(self, row_id: bytes) -> Row | None:
        """The newest row of an id; None if there is none or it was removed."""

    async def ids(self) -> set[bytes]:
        """Ids of all rows. Costs memory in proportion to the catalog."""

    async def children(self, container: bytes) -> list[Row]:
        """Rows directly in a container."""

    async def store(self, role: str, data: bytes) -> Part:
        """Store one part held in memory."""

    def open_part(self, role: str) -> AbstractAsyncContextManager[PartSink]:
        """Store one part of any size; leaving the block by an exception drops it."""

    async def advance(self, rows: Iterable[Row], checkpoint: bytes) -> None:
        """
        Keep rows and the checkpoint that covers them.

        Raises:
            StoppedEarly: the task shall end; everything advanced so far is kept.
        """

    def note(self, outcome: ItemOutcome) -> None:
        """Report an item that is not stored as it should be."""

    def count(self, *, stored: int = 0, unchanged: int = 0, removed: int = 0) -> None:
        """Count items for the session."""


class Workload(Protocol):
    """One kind of data of one protected object."""

    async def backup(self, client: GraphClient, target: ObjectRef, shelf: Shelf) -> None:
        """
        Bring the shelf up to date with the service.

        Raises:
            GraphError: the object as a whole cannot be read; single items become outcomes instead.
        """


class FailureRun:
    """
    Tells a bad item from a bad service: many failures without one success in between are the service's.

    Without it an outage would turn every item of a mailbox into a failed one, each after its own patience.
    """

    def __init__(self, limit: int = FAILURES_IN_A_ROW_MAX) -> None:
        self._limit = limit
        self._failures = 0

    def succeeded(self) -> None:
        """An item was read."""
        self._failures = 0

    def failed(self, error: GraphError) -> None:
        """An item could not be read; raises `error` when there were too many in a row."""
        self._failures += 1
        if self._failures >= self._limit:
            raise error
