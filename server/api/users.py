"""Users and the audit log."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import Query, Response
from pydantic import Field, StringConstraints

from proxy.contract import Conflict, NotFound
from server import audit
from server.api.access import Caller, Parts, wants
from server.api.problems import responses
from server.api.routing import BODY_ERRORS, router
from server.api.shapes import (
    PAGE_DEFAULT,
    After,
    Answer,
    IdPath,
    Limit,
    Name,
    Page,
    Request,
    page_of,
)
from server.database.connector import Row
from server.domain.access import Role
from server.identifiers import new_id

api = router("users")

Password = Annotated[str, StringConstraints(min_length=12, max_length=1000)]
END_OF_CHAIN = 2**62


class NewUser(Request):
    """A person or a program."""

    name: Name
    password: Password
    roles: Annotated[list[Role], Field(min_length=1, max_length=4)]


class User(Answer):
    """A person or a program."""

    id: str
    name: str
    roles: list[str]
    created_at: datetime


class AuditEntry(Answer):
    """Who did what. `hash` covers the entry and `previous_hash`: the one before."""

    sequence: int
    at: str
    actor: str
    action: str
    target: str
    details: dict[str, Any]
    previous_hash: str
    hash: str


@api.post(
    "/users",
    operation_id="createUser",
    summary="Add a user",
    status_code=201,
    responses={**BODY_ERRORS, **responses(409)},
)
async def create(
    body: NewUser, services: Parts, caller: Annotated[Caller, wants("users:write")]
) -> User:
    """The password is kept as Argon2id."""
    hashed = await services.passwords.hash(body.password)
    roles = list(dict.fromkeys(body.roles))
    async with services.database.transaction() as transaction:
        row = await transaction.row(
            "users.insert", id=new_id(), name=body.name, password_hash=hashed, roles=roles
        )
        assert row is not None
        details = {"name": body.name, "roles": roles}
        await audit.note(transaction, caller.name, "create-user", f"users/{row['id']}", details)
    return User.of(row)


@api.get("/users", operation_id="listUsers", summary="List users")
async def listing(
    services: Parts,
    _: Annotated[Caller, wants("users:read")],
    after: After = "",
    limit: Limit = PAGE_DEFAULT,
) -> Page[User]:
    """In the order they were added."""
    rows = await services.database.rows("users.page", after=after, count=limit + 1)
    return page_of(rows, limit, User.of)


@api.delete(
    "/users/{id}",
    operation_id="deleteUser",
    summary="Remove a user",
    status_code=204,
    responses=responses(404, 409),
)
async def delete(
    id: IdPath, services: Parts, caller: Annotated[Caller, wants("users:write")]
) -> Response:
    """Signs the user out everywhere. The last administrator stays."""
    async with services.database.transaction() as transaction:
        administrators = [row["id"] for row in await transaction.rows("users.administrators")]
        if administrators == [id]:
            raise Conflict("The last administrator cannot go.", code="last-administrator")
        if not await transaction.run("users.delete", id=id):
            raise NotFound("There is no such user.", code="user-not-found")
        await audit.note(transaction, caller.name, "delete-user", f"users/{id}")
    return Response(status_code=204)


def _entry(row: Row) -> AuditEntry:
    return AuditEntry.of(
        row,
        details=msgspec.json.decode(row["details"]),
        previous_hash=bytes(row["previous_hash"]).hex(),
        hash=bytes(row["hash"]).hex(),
    )


@api.get("/audit", operation_id="listAudit", summary="Read the audit log")
async def audit_log(
    services: Parts,
    _: Annotated[Caller, wants("audit:read")],
    after: Annotated[
        str, Query(pattern=r"^[0-9]{0,18}$", description="`next` of the page before")
    ] = "",
    limit: Limit = PAGE_DEFAULT,
) -> Page[AuditEntry]:
    """Newest first."""
    rows = await services.database.rows(
        "audit.before", before=int(after or END_OF_CHAIN), count=limit + 1
    )
    return page_of(rows, limit, _entry, cursor="sequence")
