"""Tells the server what a task does: outcomes and commits as they come, counts about once a second."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from proxy.contract import OUTCOMES_PER_EVENT_MAX, Counters, EntryRef
from proxy.pipeline.context import TaskContext
from proxy.pipeline.shelf import Tally
from proxy.workloads.together import first_of

__all__ = ["BackupReporter", "reporting"]

EVERY_S = 1.0


class BackupReporter:
    """The events of one backup task but the last. Events of a task are sent one at a time, in order."""

    def __init__(self, context: TaskContext, tally: Tally) -> None:
        self._context = context
        self._tally = tally
        self._told = Counters()
        self._lock = asyncio.Lock()

    async def tell(self) -> None:
        """Publish what waits."""
        async with self._lock:
            tally = self._tally
            while tally.outcomes:
                told = tally.outcomes[:OUTCOMES_PER_EVENT_MAX]
                await self._context.emit("outcome", outcomes=told)
                del tally.outcomes[: len(told)]
            while tally.committed:
                entry, complete = tally.committed[0]
                await self._context.emit(
                    "committed",
                    entry=EntryRef(entry.manifest, entry.index),
                    complete=complete,
                    counters=tally.counters(),
                )
                del tally.committed[0]
            await self._tell_counts()

    async def _tell_counts(self) -> None:
        counters = self._tally.counters()
        if counters != self._told:
            self._told = counters
            done = self._tally.stored + self._tally.unchanged
            await self._context.emit("progress", counters=counters, done=done)


@asynccontextmanager
async def reporting(tell: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `tell` about once a second during the block, and once more after it."""
    over = asyncio.Event()  # and no cancelling: below `tell` a cancellation can get lost

    async def repeat() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await over.wait()
            if not over.is_set():
                await tell()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(repeat())
            try:
                yield
            finally:
                over.set()
    except BaseExceptionGroup as errors:
        await tell()
        raise first_of(errors) from None
    # Not when cancelled: the bus may be away, and then telling would wait for ever.
    await tell()
