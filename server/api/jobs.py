"""Jobs: what is backed up where. Starting one makes a session."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Response
from pydantic import Field, StringConstraints

from proxy.contract import Conflict, NotFound
from server import audit
from server.api.access import Caller, Parts, wants
from server.api.problems import responses
from server.api.routing import BODY_ERRORS, router
from server.api.sessions import Session, session_of
from server.api.shapes import (
    PAGE_DEFAULT,
    After,
    Answer,
    Id,
    IdPath,
    Limit,
    Line,
    Name,
    Page,
    Request,
    page_of,
)
from server.identifiers import new_id
from server.orchestration import EVENTS_LOCK, start_backup

api = router("jobs")

USERS_MAX = 10_000
GROUPS_MAX, PATTERNS_MAX = 1_000, 1_000
MomentText = Annotated[
    str,
    StringConstraints(
        max_length=40, pattern=r"^(\d{4}-\d\d-\d\d(T[0-9:.]{5,18}(Z|[+-]\d\d:\d\d))?)?$"
    ),
]
JobWorkload = Literal["mail", "calendar", "contacts", "tasks", "drives"]
Workloads = Annotated[
    list[JobWorkload], Field(min_length=1, max_length=5, json_schema_extra={"uniqueItems": True})
]


class JobSelection(Request):
    """
    Whom a job covers beyond the users it names, and what of their data.

    Members left empty do not restrict.
    """

    groups: list[Line] = Field([], max_length=GROUPS_MAX, description="Ids, names or addresses")
    filter: str = Field("", max_length=2000, description="OData filter on users")
    without_users: list[Line] = Field([], max_length=USERS_MAX, description="Names or ids")
    folders: list[Line] = Field(
        [],
        max_length=PATTERNS_MAX,
        description="Patterns of folders: Projects/20*, @inbox, calendar:Team, tasks:Garden",
    )
    without_folders: list[Line] = Field([], max_length=PATTERNS_MAX)
    received_from: MomentText = Field("", description="First day or moment, UTC")
    received_until: MomentText = Field("", description="First day or moment not covered, UTC")
    recoverable_items: bool = Field(False, description="Also deleted items that can be recovered")
    mail_policy: Literal["full", "portable"] = Field(
        "full", description="full: also the export stream of messages, where the cloud gives it"
    )
    dated_from: MomentText = Field(
        "", description="First day or moment of events and due tasks, UTC"
    )
    dated_until: MomentText = Field("", description="First day or moment not covered, UTC")


class JobContent(Request):
    """What a job covers."""

    name: Name
    workloads: Workloads
    users: list[Line] = Field(
        [], max_length=USERS_MAX, description="User names; empty, and no groups: everybody"
    )
    selection: JobSelection = Field(default_factory=lambda: JobSelection.model_validate({}))


class NewJob(JobContent):
    """What is backed up where."""

    organization: Id
    repository: Id


class Job(Answer):
    """A saved rule."""

    id: str
    name: str
    organization: str
    repository: str
    workloads: list[str]
    users: list[str]
    selection: JobSelection
    created_at: datetime


def _unique(values: list[JobWorkload]) -> list[JobWorkload]:
    return list(dict.fromkeys(values))


def _missing() -> NotFound:
    return NotFound("There is no such job.", code="job-not-found")


@api.post(
    "/jobs",
    operation_id="createJob",
    summary="Make a job",
    status_code=201,
    responses={**BODY_ERRORS, **responses(409)},
)
async def create(
    body: NewJob, services: Parts, caller: Annotated[Caller, wants("jobs:write")]
) -> Job:
    """The organization and the repository must be known."""
    async with services.database.transaction() as transaction:
        row = await transaction.row(
            "jobs.insert",
            id=new_id(),
            name=body.name,
            organization=body.organization,
            repository=body.repository,
            workloads=_unique(body.workloads),
            users=body.users,
            selection=body.selection.model_dump(exclude_defaults=True),
        )
        assert row is not None
        details = {"name": body.name, "repository": body.repository}
        await audit.note(transaction, caller.name, "create-job", f"jobs/{row['id']}", details)
    return Job.of(row)


@api.get("/jobs", operation_id="listJobs", summary="List jobs")
async def listing(
    services: Parts,
    _: Annotated[Caller, wants("jobs:read")],
    after: After = "",
    limit: Limit = PAGE_DEFAULT,
) -> Page[Job]:
    """In the order they were made."""
    rows = await services.database.rows("jobs.page", after=after, count=limit + 1)
    return page_of(rows, limit, Job.of)


@api.get("/jobs/{id}", operation_id="getJob", summary="See a job", responses=responses(404))
async def get(id: IdPath, services: Parts, _: Annotated[Caller, wants("jobs:read")]) -> Job:
    """One job."""
    row = await services.database.row("jobs.get", id=id)
    if row is None:
        raise _missing()
    return Job.of(row)


@api.put(
    "/jobs/{id}",
    operation_id="changeJob",
    summary="Change a job",
    responses={**BODY_ERRORS, **responses(404, 409)},
)
async def change(
    id: IdPath, body: JobContent, services: Parts, caller: Annotated[Caller, wants("jobs:write")]
) -> Job:
    """A running session goes on with what it began with."""
    async with services.database.transaction() as transaction:
        row = await transaction.row(
            "jobs.change",
            id=id,
            name=body.name,
            workloads=_unique(body.workloads),
            users=body.users,
            selection=body.selection.model_dump(exclude_defaults=True),
        )
        if row is None:
            raise _missing()
        details = {"name": body.name, "workloads": body.workloads, "users": len(body.users)}
        await audit.note(transaction, caller.name, "change-job", f"jobs/{id}", details)
    return Job.of(row)


@api.delete(
    "/jobs/{id}",
    operation_id="deleteJob",
    summary="Remove a job",
    status_code=204,
    responses=responses(404, 409),
)
async def delete(
    id: IdPath, services: Parts, caller: Annotated[Caller, wants("jobs:write")]
) -> Response:
    """Its sessions and restore points stay. Refused while it runs."""
    async with services.database.transaction() as transaction:
        if await transaction.row("jobs.lock", id=id) is None:
            raise _missing()
        if await transaction.value("jobs.busy", id=id):
            raise Conflict("The job runs now.", code="job-running")
        await transaction.run("jobs.delete", id=id)
        await audit.note(transaction, caller.name, "delete-job", f"jobs/{id}")
    return Response(status_code=204)


@api.post(
    "/jobs/{id}/start",
    operation_id="startJob",
    summary="Start a job",
    status_code=202,
    responses=responses(404, 409),
)
async def start(
    id: IdPath, services: Parts, caller: Annotated[Caller, wants("jobs:run")]
) -> Session:
    """Begin a session; refused while another session of the job has not ended."""
    async with services.database.transaction() as transaction:
        await transaction.run("lock.take", key=EVENTS_LOCK)
        job = await transaction.row("jobs.lock", id=id)
        if job is None:
            raise _missing()
        if await transaction.value("jobs.busy", id=id):
            raise Conflict("The job runs already.", code="job-running")
        row = await start_backup(transaction, job)
        details = {"session": row["id"]}
        await audit.note(transaction, caller.name, "start-job", f"jobs/{id}", details)
    services.outbox_filled.call()
    services.events_stored.call()
    return session_of(row, None)
