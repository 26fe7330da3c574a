"""
What a unit of work sees of its surroundings: the border between `proxy.worker` and the data plane.

`run_task(task, context, keeper)` emits its events through the context, fetches secrets through it
and looks at `stopping` between pages. It knows nothing of NATS, acknowledgements or heartbeats.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from engine.errors import BackupError
from proxy.contract import EventKind, Task, TaskSecrets


class StoppedEarly(BackupError):
    """
    Raised by a unit of work that saw `context.stopping` and brought its commit to a safe place.

    The worker decides what it means: a draining proxy hands the task back (another proxy goes on
    from the last checkpoint); a session that a person stopped ends the task.
    """

    duty = "hand the task back"

    def __init__(self, message: str = "Stopped before the end.") -> None:
        super().__init__(message, code="stopped-early")


class TaskContext(Protocol):
    """One delivery of one task."""

    @property
    def task(self) -> Task:
        """The task as the server described it."""

    @property
    def delivery(self) -> int:
        """1 for the first delivery; more after a lost proxy or a drain."""

    @property
    def stopping(self) -> asyncio.Event:
        """Set when the work shall end soon: commit what is there, then raise StoppedEarly."""

    async def emit(self, kind: EventKind, **members: Any) -> None:
        """
        Publish an event of this task with a fresh id; `members` are those of `contract.Event`.

        Returns when the event is durable. While the bus is away it waits, so the caller slows down
        instead of filling memory. `leased` comes from the worker. `finished` may come from the work
        (with result, entry, report, counters); when `run_task` returns without it the worker emits
        result "success".
        """

    async def secrets(self, organization: str | None, repository: str | None) -> TaskSecrets:
        """
        Fetch what the task needs; None leaves a part out.

        Raises:
            Unavailable: the server does not answer within the time limit.
            Denied: this proxy has no claim to them.
        """


@dataclass(frozen=True, slots=True)
class Download:
    """Bytes of one item on their way to a person. `chunks` is synchronous, read in a thread."""

    file_name: str
    media_type: str
    size: int | None
    chunks: Iterator[bytes]
