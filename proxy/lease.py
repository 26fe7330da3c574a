"""One delivery of one task: the TaskContext that the work sees, and what the worker notes about it."""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

from proxy.bus import ProxyBus
from proxy.contract import Event, EventKind, Task, TaskSecrets


class Lease:
    """Implements `proxy.pipeline.context.TaskContext`."""

    def __init__(self, task: Task, message: Any, bus: ProxyBus, proxy: str) -> None:
        self.message = message  # the newest delivery: what is renewed and acknowledged
        self.finished = False
        self.session_stopped = False
        self._task = task
        self._delivery = int(message.metadata.num_delivered)
        self._bus = bus
        self._proxy = proxy
        self._stopping = asyncio.Event()
        self._deadline: float | None = None
        self._limit: asyncio.Timeout | None = None

    @property
    def task(self) -> Task:
        """The task as the server described it."""
        return self._task

    @property
    def delivery(self) -> int:
        """1 for the first delivery."""
        return self._delivery

    @property
    def stopping(self) -> asyncio.Event:
        """Set when the work shall end soon."""
        return self._stopping

    def limit(self) -> asyncio.Timeout:
        """Scope of the work: it ends by force some time after `stop`."""
        self._limit = asyncio.timeout_at(self._deadline)
        return self._limit

    def stop(self, grace_s: float, *, session_stopped: bool = False) -> None:
        """Ask the work to end; after `grace_s` it is made to. Asking again changes nothing."""
        self.session_stopped = self.session_stopped or session_stopped
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._deadline = asyncio.get_running_loop().time() + grace_s
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(self._deadline)

    async def emit(self, kind: EventKind, **members: Any) -> None:
        """Publish an event of this task; returns when it is durable."""
        event = Event(
            id=uuid.uuid4().hex,
            session=self._task.session,
            task=self._task.id,
            proxy=self._proxy,
            kind=kind,
            at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            delivery=self._delivery,
            **members,
        )
        await self._bus.publish_event(event)
        if kind == "finished":
            self.finished = True
        elif kind == "committed":
            await self._bus.note_checkpoint(self._task.id, self._delivery)

    async def secrets(self, organization: str | None, repository: str | None) -> TaskSecrets:
        """Fetch secrets, sealed to this proxy on their way."""
        return await self._bus.secrets(organization, repository)
