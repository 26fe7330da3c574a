"""Sessions: runs of jobs, their tasks (one an object and workload) and items with a cause."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from proxy.contract import Conflict, NotFound, Unavailable
from server import audit
from server.api.access import Caller, Parts, wants
from server.api.problems import responses
from server.api.routing import router
from server.api.shapes import (
    PAGE_DEFAULT,
    After,
    Answer,
    IdPath,
    IdQuery,
    Limit,
    Page,
    page_of,
)
from server.bus.outbox import press_stop
from server.database.connector import Row
from server.domain.sessions import SessionState, TaskState
from server.orchestration import EVENTS_LOCK, announce
from server.services import Services

api = router("sessions")

NEWEST = "g"  # sorts after every id


class Totals(BaseModel):
    """Progress of a session: its tasks and the sums of their counters."""

    tasks: int = 0
    tasks_ended: int = 0
    tasks_leased: int = 0
    tasks_failed: int = 0
    items_stored: int = 0
    items_unchanged: int = 0
    items_removed: int = 0
    items_skipped: int = 0
    items_failed: int = 0
    items_total: int = 0
    bytes_read: int = 0
    bytes_stored: int = 0
    requests: int = 0
    resource_units: int = 0
    throttled: int = 0


class Session(Answer):
    """A run of a job, or a verification."""

    id: str
    kind: str = Field(description="backup, verify")
    job: str | None
    job_name: str
    organization: str | None
    repository: str | None
    pool: str
    workloads: list[str]
    state: SessionState
    created_at: datetime
    ended_at: datetime | None
    error_code: str
    error: str
    point: str | None = Field(description="Restore point, once its task was made")
    totals: Totals


class Task(Answer):
    """A unit of a session: what happened to one object and workload."""

    id: str
    kind: str
    state: TaskState
    object_kind: str
    object_id: str
    object_name: str
    workload: str
    proxy: str | None
    deliveries: int = Field(description="More than 1: a proxy was lost or drained")
    counters: dict[str, int]
    done: int | None
    todo: int | None
    entry_manifest: str | None
    entry_index: int | None
    error_code: str
    error: str
    report: dict[str, int | str]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class Outcome(Answer):
    """An item that was not stored as it should."""

    id: str
    task: str
    object_name: str
    workload: str
    item: str
    name: str
    result: str
    cause: str
    detail: str


def session_of(row: Row, totals: Mapping[str, Any] | None) -> Session:
    """The answer from a session's row and its totals, if it has tasks."""
    sums = {k: v for k, v in dict(totals or {}).items() if k in Totals.model_fields}
    return Session.of(row, totals=Totals(**sums))


async def _with_totals(services: Services, rows: list[Row]) -> dict[str, Row]:
    ids = [row["id"] for row in rows]
    return {r["session"]: r for r in await services.database.rows("sessions.totals", sessions=ids)}


async def known_session(services: Services, session: str) -> Row:
    """
    The row of a session.

    Raises:
        NotFound: there is none.
    """
    row = await services.database.row("sessions.get", id=session)
    if row is None:
        raise NotFound("There is no such session.", code="session-not-found")
    return row


@api.get("/sessions", operation_id="listSessions", summary="List sessions")
async def listing(
    services: Parts,
    _: Annotated[Caller, wants("sessions:read")],
    job: IdQuery | None = None,
    after: After = "",
    limit: Limit = PAGE_DEFAULT,
) -> Page[Session]:
    """Newest first, with totals; of one job if given."""
    rows = await services.database.rows(
        "sessions.page", before=after or NEWEST, job=job, count=limit + 1
    )
    totals = await _with_totals(services, rows)
    return page_of(rows, limit, lambda row: session_of(row, totals.get(row["id"])))


@api.get(
    "/sessions/{id}",
    operation_id="getSession",
    summary="See a session",
    responses=responses(404),
)
async def get(id: IdPath, services: Parts, _: Annotated[Caller, wants("sessions:read")]) -> Session:
    """State and totals."""
    row = await known_session(services, id)
    return session_of(row, (await _with_totals(services, [row])).get(id))


@api.get(
    "/sessions/{id}/tasks",
    operation_id="listSessionTasks",
    summary="List the tasks of a session",
    responses=responses(404),
)
async def tasks(
    id: IdPath,
    services: Parts,
    _: Annotated[Caller, wants("sessions:read")],
    after: After = "",
    limit: Limit = PAGE_DEFAULT,
) -> Page[Task]:
    """One for each object and workload, and those that frame them."""
    await known_session(services, id)
    rows = await services.database.rows("tasks.page", session=id, after=after, count=limit + 1)
    return page_of(rows, limit, Task.of)


@api.get(
    "/sessions/{id}/outcomes",
    operation_id="listSessionOutcomes",
    summary="List items that were skipped or failed",
    responses=responses(404),
)
async def outcomes(
    id: IdPath,
    services: Parts,
    _: Annotated[Caller, wants("sessions:read")],
    after: After = "",
    limit: Limit = PAGE_DEFAULT,
) -> Page[Outcome]:
    """Each with its cause."""
    await known_session(services, id)
    rows = await services.database.rows("outcomes.page", session=id, after=after, count=limit + 1)
    return page_of(rows, limit, Outcome.of)


@api.post(
    "/sessions/{id}/stop",
    operation_id="stopSession",
    summary="Stop a session",
    status_code=202,
    responses=responses(404, 409),
)
async def stop(
    id: IdPath, services: Parts, caller: Annotated[Caller, wants("sessions:stop")]
) -> Session:
    """Proxies commit what they have; the session ends as stopped, without a restore point."""
    async with services.database.transaction() as transaction:
        await transaction.run("lock.take", key=EVENTS_LOCK)
        row = await transaction.row("sessions.lock", id=id)
        if row is None:
            raise NotFound("There is no such session.", code="session-not-found")
        if row["ended_at"] is not None:
            raise Conflict("The session has ended.", code="session-ended")
        if row["state"] != "stopping":
            await transaction.run("sessions.ask_stop", id=id)
            await announce(transaction, id, "stopping")
            await audit.note(transaction, caller.name, "stop-session", f"sessions/{id}")
    await press_stop_quietly(services, id, row["pool"])
    row = await known_session(services, id)
    return session_of(row, (await _with_totals(services, [row])).get(id))


async def press_stop_quietly(services: Services, session: str, pool: str) -> None:
    """Try at once; the reconciler tries again until it works."""
    try:
        await press_stop(services, session, pool, overdue=False)
    except Unavailable:
        services.events_stored.call()
