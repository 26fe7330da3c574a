"""
Leases tasks and keeps them alive while they are worked on; the work itself is injected.

A task is acknowledged after its `finished` event is durable, so a proxy killed at any moment loses
nothing: the task is delivered again and goes on from the last committed checkpoint. A task that was
delivered too often without a new checkpoint is given up here (dead letter), with a finished event.
"""

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from engine.errors import BackupError
from proxy.bus import FOREIGN, ProxyBus
from proxy.contract import (
    DELIVERIES_WITHOUT_CHECKPOINT_MAX,
    HEARTBEAT_S,
    LEASE_S,
    Control,
    ProxyStatus,
    Task,
)
from proxy.lease import Lease
from proxy.pipeline.context import StoppedEarly, TaskContext

log = logging.getLogger(__name__)

FETCH_S = 5.0
RETRY_S = 0.5
DRAIN_S = 6.0
DRAIN_EVENTS_S = 2.0
SESSION_STOP_S = 30.0
UNREADABLE_AGAIN_S = 30.0
HAND_BACK_S = 0.7  # proxies that stop at the same moment must not catch each other's tasks
WORK_KINDS = ("backup", "restore", "maintenance")
MAINTENANCE_MAX = 1


class TaskRunner(Protocol):
    """Does the work of one delivery; `TaskContext` says what it may raise."""

    async def __call__(self, task: Task, context: TaskContext, /) -> None:
        """Work until the task is finished."""


class Worker:
    """The leases of one proxy. `run` ends after `draining` is set and the work is handed back."""

    def __init__(
        self,
        bus: ProxyBus,
        status: Callable[[list[str]], ProxyStatus],
        run_task: TaskRunner,
        tasks_max: int,
    ) -> None:
        self.draining = asyncio.Event()
        self._bus = bus
        self._status = status
        self._proxy = status([]).id
        self._run_task = run_task
        self._tasks_max = tasks_max
        self._leases: dict[str, Lease] = {}
        self._subscriptions: dict[str, Any] = {}

    async def run(self) -> None:
        """Lease and work until `draining` is set."""
        async with asyncio.TaskGroup() as working, asyncio.TaskGroup() as listening:
            loops = [
                listening.create_task(self._lease_for_ever(kind, working)) for kind in WORK_KINDS
            ]
            loops.append(listening.create_task(self._listen_for_orders()))
            loops.append(listening.create_task(self._beat_for_ever()))
            await self.draining.wait()
            # `asyncio.wait_for` of Python 3.11, inside the bus library, can swallow a cancellation: the
            # loops look at `draining` as well.
            for loop in loops:
                loop.cancel()
            await self._stop_leasing()
            for lease in self._leases.values():
                lease.stop(DRAIN_S)

    async def _stop_leasing(self) -> None:
        # A request for work that is still open would catch the tasks that are handed back.
        for subscription in self._subscriptions.values():
            with contextlib.suppress(*FOREIGN):
                await subscription.unsubscribe()

    async def _lease_for_ever(self, kind: str, working: asyncio.TaskGroup) -> None:
        turns = asyncio.Semaphore(MAINTENANCE_MAX if kind == "maintenance" else self._tasks_max)
        while not self.draining.is_set():
            await turns.acquire()
            message = None
            try:
                message = await self._next_message(kind)
            finally:
                if message is None:
                    turns.release()
            if message is not None:
                working.create_task(self._work(message)).add_done_callback(
                    lambda _: turns.release()
                )

    async def _next_message(self, kind: str) -> Any:
        try:
            if kind not in self._subscriptions:
                self._subscriptions[kind] = await self._bus.leases(kind)
            messages = await self._subscriptions[kind].fetch(1, timeout=FETCH_S)
        except TimeoutError:
            return None
        except FOREIGN as error:
            log.info("%s tasks wait: %s", kind, type(error).__name__)
            await asyncio.sleep(RETRY_S)
            return None
        return messages[0] if messages else None

    async def _work(self, message: Any) -> None:
        try:
            task = msgspec.json.decode(message.data, type=Task)
        except msgspec.DecodeError:
            log.error("a task cannot be read: another version wrote it")
            await _hand_back(message, UNREADABLE_AGAIN_S)
            return
        if task.id in self._leases:
            # Delivered again while we work on it (the bus was away): renew the newer delivery.
            self._leases[task.id].message = message
            return
        lease = Lease(task, message, self._bus, self._proxy)
        if self.draining.is_set():
            lease.stop(DRAIN_S)
        self._leases[task.id] = lease
        try:
            await self._work_leased(lease)
        finally:
            del self._leases[task.id]

    async def _work_leased(self, lease: Lease) -> None:
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(_renew(lease, over))
            try:
                await self._attempt(lease)
                if lease.finished:
                    await self._bus.acknowledge(lease.message)
                    return
                # Handed back on purpose: not held against the task.
                await self._bus.note_checkpoint(lease.task.id, lease.delivery)
                await _hand_back(lease.message, HAND_BACK_S)
            finally:
                over.set()

    async def _attempt(self, lease: Lease) -> None:
        """Returns with `lease.finished` false only if the task shall go to another proxy."""
        checkpoint = await self._bus.checkpoint_delivery(lease.task.id)
        if lease.delivery - checkpoint > DELIVERIES_WITHOUT_CHECKPOINT_MAX:
            await _fail(
                lease,
                "too-many-deliveries",
                f"Given up after {lease.delivery} deliveries without a new checkpoint.",
            )
            return
        if lease.stopping.is_set() and not lease.session_stopped:
            return
        await lease.emit("leased")
        try:
            async with lease.limit() as limit:
                await self._run_task(lease.task, lease)
        except (StoppedEarly, TimeoutError) as error:
            if isinstance(error, TimeoutError) and not limit.expired():
                await _note_bug(lease, error)
            elif lease.session_stopped and not lease.finished:
                await _fail(lease, "stopped-early", "The session was stopped.")
        except BackupError as error:
            log.warning("task %s failed: %s", lease.task.id, error.code)
            await _fail(lease, error.code, error.message)
        except Exception as error:  # noqa: BLE001 - whatever the work raises must not end the proxy
            await _note_bug(lease, error)
        else:
            if not lease.finished:
                await lease.emit("finished", result="success")

    async def _listen_for_orders(self) -> None:
        orders = await self._bus.controls()
        while not self.draining.is_set():
            try:
                message = await orders.next_msg(timeout=None)
                order = msgspec.json.decode(message.data, type=Control)
            except (*FOREIGN, msgspec.DecodeError) as error:
                log.info("an order was not understood: %s", type(error).__name__)
                await asyncio.sleep(RETRY_S)
                continue
            for lease in self._leases.values():
                if lease.task.session == order.stop_session:
                    lease.stop(SESSION_STOP_S, session_stopped=True)

    async def _beat_for_ever(self) -> None:
        while not self.draining.is_set():
            await self._bus.beat(self._status(sorted(self._leases)))
            await asyncio.sleep(HEARTBEAT_S)


async def _note_bug(lease: Lease, error: BaseException) -> None:
    # The places only: an exception's own text may quote items.
    places = "".join(traceback.format_tb(error.__traceback__))
    kind = type(error).__name__
    log.error("task %s failed with an unexpected %s\n%s", lease.task.id, kind, places)
    await _fail(lease, "internal-error", "An unexpected error; the proxy's log has more.")


async def _fail(lease: Lease, code: str, message: str) -> None:
    if not lease.finished:
        await lease.emit("finished", result="failed", error_code=code, error=message)


async def _renew(lease: Lease, over: asyncio.Event) -> None:
    while not over.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEASE_S / 3):
                await over.wait()
        if not over.is_set():
            with contextlib.suppress(*FOREIGN):
                await lease.message.in_progress()


async def _hand_back(message: Any, delay_s: float) -> None:
    with contextlib.suppress(*FOREIGN):
        await message.nak(delay=delay_s)
