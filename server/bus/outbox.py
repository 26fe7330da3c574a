"""
From rows to messages: publishes the outbox, and publishes again what the stream lacks.

A task's row and its outbox row are written in one transaction; a message is published at least once
(message id = task id), and a task that is neither finished nor in the stream is published anew under
another id, because the stream refuses an id it saw lately.
"""

import asyncio
import logging

import msgspec

from proxy.contract import BackupError, Control, InternalError
from server.bus.connection import Bus
from server.database.connector import Connector, Row
from server.domain.sessions import work_subject
from server.orchestration import EVENTS_LOCK, advance
from server.services import Services, Signal

log = logging.getLogger(__name__)

OUTBOX_PAGE = 200
OUTBOX_IDLE_S = 2.0
RETRY_S = 0.5
RECONCILE_S = 3.0
RECONCILE_PAGE = 500
MISSING_GRACE_S = 6.0
STOP_WAIT_S = 60.0  # tasks of a stopped session that nobody answers for end then
EVENT_DAYS = 30


async def publish_for_ever(services: Services) -> None:
    """The outbox loop."""
    while not services.stopping.is_set():
        ticket = services.outbox_filled.ticket()
        try:
            published = await publish_page(services.database, services.bus)
        except BackupError as error:
            log.warning("outbox waits: %s", error.code)
            await asyncio.sleep(RETRY_S)
            continue
        if not published:
            await Signal.wait(ticket, OUTBOX_IDLE_S)


async def publish_page(database: Connector, bus: Bus) -> int:
    """
    Publish the oldest rows of the outbox; returns how many.

    Raises:
        Unavailable: the bus or the database is away; what was published is noted all the same.
    """
    rows = await database.rows("outbox.take", count=OUTBOX_PAGE)
    async with asyncio.TaskGroup() as group:
        sent = [group.create_task(_publish(bus, row)) for row in rows]
    problems = [task.result() for task in sent]
    done = [row for row, problem in zip(rows, problems, strict=True) if problem is None]
    # Publishing comes first: a kill between the two publishes twice, which the id makes harmless.
    async with database.transaction() as transaction:
        await transaction.run_many("tasks.published", [{"id": row["task"]} for row in done])
        await transaction.run_many("outbox.delete", [{"id": row["id"]} for row in done])
    for row, problem in zip(rows, problems, strict=True):
        if isinstance(problem, InternalError):
            await _give_up(database, row, problem)
        elif problem is not None:
            raise problem
    return len(rows)


async def _publish(bus: Bus, row: Row) -> BackupError | None:
    if row["ended"]:
        return None
    try:
        body = msgspec.json.encode(row["body"])
        await bus.publish_work(row["subject"], row["message_id"], body)
    except BackupError as error:
        return error
    return None


async def _give_up(database: Connector, row: Row, error: InternalError) -> None:
    """A message no bus will ever take ends its task; the others go on."""
    async with database.transaction() as transaction:
        await transaction.run("lock.take", key=EVENTS_LOCK)
        await transaction.run(
            "tasks.finish",
            id=row["task"],
            state="failed",
            error_code=error.code,
            error=error.message,
            report={},
        )
        await transaction.run("outbox.delete", id=row["id"])
        await advance(transaction, row["session"])


async def reconcile_for_ever(services: Services) -> None:
    """Bring rows and bus together again, whatever was lost in between."""
    while not services.stopping.is_set():
        try:
            await services.bus.ensure(
                [r["name"] for r in await services.database.rows("pools.all")]
            )
            await reconcile(services)
            await press_stops(services)
            await services.database.run("events.trim", days=EVENT_DAYS)
            await services.database.run("tokens.trim")
        except BackupError as error:
            log.warning("reconciling waits: %s", error.code)
        await asyncio.sleep(RECONCILE_S)


async def reconcile(services: Services) -> int:
    """Publish again what the stream lacks; returns how many tasks."""
    again, after = 0, ""
    while rows := await services.database.rows(
        "tasks.unfinished", after=after, count=RECONCILE_PAGE, grace_s=MISSING_GRACE_S
    ):
        after = rows[-1]["id"]
        for row in rows:
            again += await _look_after(services, row)
    if again:
        services.outbox_filled.call()
    # A step that a crash cut off between two transactions is taken here.
    for row in await services.database.rows("sessions.open"):
        async with services.database.transaction() as transaction:
            await transaction.run("lock.take", key=EVENTS_LOCK)
            await advance(transaction, row["id"])
    return again


async def _look_after(services: Services, row: Row) -> int:
    task = row["id"]
    subject = work_subject(row["pool"], row["kind"], task)
    if await services.bus.has_work(subject):
        await services.database.run("tasks.note_present", id=task)
        return 0
    # Acknowledged, so finished: unless its event is lost, it is on its way to us.
    if not row["overdue"] or await services.bus.events_behind():
        await services.database.run("tasks.note_missing", id=task)
        return 0
    message_id = f"{task}.{row['publications']}"
    async with services.database.transaction() as transaction:
        if await transaction.run("tasks.requeue", id=task):
            await transaction.run(
                "outbox.insert", task=task, subject=subject, message_id=message_id
            )
    log.warning("task %s is published again", task)
    return 1


async def press_stops(services: Services) -> None:
    """Tell proxies again about sessions that shall stop; end what nobody answers for."""
    for row in await services.database.rows("sessions.stopping", wait_s=STOP_WAIT_S):
        await press_stop(services, row["id"], row["pool"], overdue=bool(row["overdue"]))


async def press_stop(services: Services, session: str, pool: str, *, overdue: bool) -> None:
    """End queued tasks of a session, take them off the bus, tell proxies about the others."""
    async with services.database.transaction() as transaction:
        await transaction.run("lock.take", key=EVENTS_LOCK)
        stopped = await transaction.rows("tasks.stop_queued", session=session, overdue=overdue)
        await advance(transaction, session)
    services.events_stored.call()
    for task in stopped:
        await services.bus.drop_work(work_subject(pool, task["kind"], task["id"]))
    await services.bus.send(f"control.{pool}", msgspec.json.encode(Control(stop_session=session)))
