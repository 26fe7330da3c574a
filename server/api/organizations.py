"""Organizations: Microsoft 365 tenants under protection. What signs in to them is never returned."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

import msgspec
from fastapi import Response
from pydantic import Field, StringConstraints, model_validator

from proxy.contract import NotFound
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
    Line,
    Name,
    Page,
    Request,
    Secret,
    page_of,
)
from server.identifiers import new_id

api = router("organizations")

Origin = Annotated[
    str, StringConstraints(max_length=500, pattern=r"^https://[A-Za-z0-9.:\[\]-]{1,400}$")
]
CloudName = Literal["global", "us-government", "us-defense", "china", "other"]
ProxyUrl = Annotated[str, StringConstraints(max_length=500, pattern=r"^https?://[!-~]{1,400}$")]


class NewOrganization(Request):
    """A tenant and the application that signs in to it."""

    name: Name
    tenant_id: Line
    client_id: Line
    client_secret: Secret | None = Field(None, description="Either this or `certificate`")
    certificate: Secret | None = Field(
        None, description="PEM: private key and certificate of the application"
    )
    cloud: CloudName = "global"
    authority: Origin | None = Field(None, description="Sign-in service, if not the cloud's own")
    graph_endpoint: Origin | None = Field(
        None, description="Graph, if not the cloud's own; no version"
    )
    ca: Secret | None = Field(None, description="PEM: authority of a private endpoint")
    proxy_url: ProxyUrl | None = None

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if (self.client_secret is None) == (self.certificate is None):
            raise ValueError("needs either client_secret or certificate")
        return self


class Organization(Answer):
    """A tenant under protection."""

    id: str
    name: str
    tenant_id: str
    client_id: str
    cloud: str
    authority: str | None
    graph_endpoint: str | None
    proxy_url: str | None
    created_at: datetime


class ProtectedObject(Answer):
    """A user, group, site or team that was listed by a session."""

    kind: str
    id: str
    name: str
    display_name: str
    seen_at: datetime


@api.post(
    "/organizations",
    operation_id="createOrganization",
    summary="Add an organization",
    status_code=201,
    responses={**BODY_ERRORS, **responses(409)},
)
async def create(
    body: NewOrganization, services: Parts, caller: Annotated[Caller, wants("organizations:write")]
) -> Organization:
    """The credentials are sealed at once and never returned."""
    secret = new_id()
    hidden = {"client_secret", "certificate", "ca"}
    plain = body.model_dump(include=hidden, exclude_none=True)
    async with services.database.transaction() as transaction:
        sealed = services.secret_box.seal(secret, msgspec.json.encode(plain))
        await transaction.run("secrets.insert", id=secret, sealed=sealed)
        members: dict[str, Any] = body.model_dump(exclude=hidden)
        row = await transaction.row("organizations.insert", id=new_id(), secret=secret, **members)
        assert row is not None
        await audit.note(
            transaction,
            caller.name,
            "create-organization",
            f"organizations/{row['id']}",
            {"name": body.name, "tenant_id": body.tenant_id, "client_id": body.client_id},
        )
    return Organization.of(row)


@api.get("/organizations", operation_id="listOrganizations", summary="List organizations")
async def listing(
    services: Parts,
    _: Annotated[Caller, wants("organizations:read")],
    after: After = "",
    limit: Limit = PAGE_DEFAULT,
) -> Page[Organization]:
    """In the order they were added."""
    rows = await services.database.rows("organizations.page", after=after, count=limit + 1)
    return page_of(rows, limit, Organization.of)


@api.get(
    "/organizations/{id}",
    operation_id="getOrganization",
    summary="See an organization",
    responses=responses(404),
)
async def get(
    id: IdPath, services: Parts, _: Annotated[Caller, wants("organizations:read")]
) -> Organization:
    """Without its credentials."""
    row = await services.database.row("organizations.get", id=id)
    if row is None:
        raise NotFound("There is no such organization.", code="organization-not-found")
    return Organization.of(row)


@api.delete(
    "/organizations/{id}",
    operation_id="deleteOrganization",
    summary="Remove an organization",
    status_code=204,
    responses=responses(404, 409),
)
async def delete(
    id: IdPath, services: Parts, caller: Annotated[Caller, wants("organizations:write")]
) -> Response:
    """Refused while a job refers to it. What was backed up stays in the repositories."""
    async with services.database.transaction() as transaction:
        await transaction.run("objects.forget", organization=id)
        secret = await transaction.value("organizations.delete", id=id)
        if secret is None:
            raise NotFound("There is no such organization.", code="organization-not-found")
        await transaction.run("secrets.delete", id=secret)
        await audit.note(transaction, caller.name, "delete-organization", f"organizations/{id}")
    return Response(status_code=204)


@api.get(
    "/organizations/{id}/objects",
    operation_id="listObjects",
    summary="List protected objects",
)
async def objects(
    id: IdPath,
    services: Parts,
    _: Annotated[Caller, wants("organizations:read")],
    after: After = "",
    limit: Limit = PAGE_DEFAULT,
) -> Page[ProtectedObject]:
    """As sessions found them, by kind and id."""
    rows = await services.database.rows(
        "objects.page", organization=id, after=after, count=limit + 1
    )
    return page_of(rows, limit, ProtectedObject.of, cursor="cursor")
