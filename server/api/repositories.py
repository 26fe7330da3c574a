"""Repositories: where backups go. The passphrase is write-only."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Response
from pydantic import Field

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
    IdPath,
    Limit,
    Line,
    Name,
    Page,
    Request,
    Secret,
    Word,
    page_of,
)
from server.identifiers import new_id
from server.orchestration import EVENTS_LOCK, start_verification

api = router("repositories")


class NewRepository(Request):
    """A repository that exists (`strongroom repo init`) and the pool that can reach it."""

    name: Name
    url: Line = Field(description="Path as the proxies see it")
    passphrase: Secret
    pool: Word = "default"


class Repository(Answer):
    """Where backups go."""

    id: str
    name: str
    url: str
    pool: str
    created_at: datetime


class Verification(Request):
    """How deep a verification looks."""

    level: Literal["listing", "directory", "read"] = "read"


@api.post(
    "/repositories",
    operation_id="createRepository",
    summary="Add a repository",
    status_code=201,
    responses={**BODY_ERRORS, **responses(409)},
)
async def create(
    body: NewRepository, services: Parts, caller: Annotated[Caller, wants("repositories:write")]
) -> Repository:
    """The passphrase is sealed at once and never returned."""
    secret = new_id()
    async with services.database.transaction() as transaction:
        sealed = services.secret_box.seal(secret, body.passphrase.encode())
        await transaction.run("secrets.insert", id=secret, sealed=sealed)
        row = await transaction.row(
            "repositories.insert",
            id=new_id(),
            name=body.name,
            url=body.url,
            pool=body.pool,
            secret=secret,
        )
        assert row is not None
        await audit.note(
            transaction,
            caller.name,
            "create-repository",
            f"repositories/{row['id']}",
            {"name": body.name, "pool": body.pool},
        )
    return Repository.of(row)


@api.get("/repositories", operation_id="listRepositories", summary="List repositories")
async def listing(
    services: Parts,
    _: Annotated[Caller, wants("repositories:read")],
    after: After = "",
    limit: Limit = PAGE_DEFAULT,
) -> Page[Repository]:
    """In the order they were added."""
    rows = await services.database.rows("repositories.page", after=after, count=limit + 1)
    return page_of(rows, limit, Repository.of)


@api.get(
    "/repositories/{id}",
    operation_id="getRepository",
    summary="See a repository",
    responses=responses(404),
)
async def get(
    id: IdPath, services: Parts, _: Annotated[Caller, wants("repositories:read")]
) -> Repository:
    """Without its passphrase."""
    row = await services.database.row("repositories.get", id=id)
    if row is None:
        raise NotFound("There is no such repository.", code="repository-not-found")
    return Repository.of(row)


@api.delete(
    "/repositories/{id}",
    operation_id="deleteRepository",
    summary="Remove a repository",
    status_code=204,
    responses=responses(404, 409),
)
async def delete(
    id: IdPath, services: Parts, caller: Annotated[Caller, wants("repositories:write")]
) -> Response:
    """Forgets where it is; its blobs stay. Refused while a job or a running session uses it."""
    async with services.database.transaction() as transaction:
        if await transaction.value("repositories.busy", id=id):
            raise Conflict("A session uses the repository.", code="repository-busy")
        secret = await transaction.value("repositories.delete", id=id)
        if secret is None:
            raise NotFound("There is no such repository.", code="repository-not-found")
        await transaction.run("secrets.delete", id=secret)
        await audit.note(transaction, caller.name, "delete-repository", f"repositories/{id}")
    return Response(status_code=204)


@api.post(
    "/repositories/{id}/verify",
    operation_id="verifyRepository",
    summary="Verify a repository",
    status_code=202,
    responses={**BODY_ERRORS, **responses(404)},
)
async def verify(
    id: IdPath,
    services: Parts,
    caller: Annotated[Caller, wants("repositories:verify")],
    body: Verification | None = None,
) -> Session:
    """Start a session that reads the repository back."""
    level = (body or Verification()).level
    async with services.database.transaction() as transaction:
        await transaction.run("lock.take", key=EVENTS_LOCK)
        repository = await transaction.row("repositories.get", id=id)
        if repository is None:
            raise NotFound("There is no such repository.", code="repository-not-found")
        row = await start_verification(transaction, repository, level)
        await audit.note(
            transaction,
            caller.name,
            "verify-repository",
            f"repositories/{id}",
            {"session": row["id"], "level": level},
        )
    services.outbox_filled.call()
    services.events_stored.call()
    return session_of(row, None)
