"""Pools and proxies. A proxy joins with a document that is shown once."""

from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import Response
from pydantic import BaseModel, Field

from proxy.contract import BackupError, NotFound, ProxyStatus
from server import audit, joining
from server.api.access import Caller, Parts, wants
from server.api.problems import responses
from server.api.routing import BODY_ERRORS, router
from server.api.shapes import (
    PAGE_DEFAULT,
    After,
    Answer,
    IdPath,
    Limit,
    Page,
    Request,
    Word,
    WordPath,
    page_of,
)
from server.database.connector import Row
from server.services import Services

api = router("pools")


class NewPool(Request):
    """Proxies that share work."""

    name: Word


class Pool(Answer):
    """Proxies that share work."""

    name: str
    created_at: datetime


class Join(BaseModel):
    """Everything a process needs to be this proxy. Shown once; a secret. Save it with mode 0600."""

    proxy: str
    pool: str
    nats_url: str
    nats_user: str
    nats_password: str
    ca: str
    certificate: str
    private_key: str
    sealing_key: str


class Proxy(Answer):
    """A worker process of a pool."""

    id: str
    pool: str
    created_at: datetime
    online: bool
    version: str | None = None
    host: str | None = None
    started_at: str | None = None
    tasks: list[str] = Field([], description="What it works on now")


@api.post(
    "/pools",
    operation_id="createPool",
    summary="Make a pool",
    status_code=201,
    responses={**BODY_ERRORS, **responses(409)},
)
async def create(
    body: NewPool, services: Parts, caller: Annotated[Caller, wants("pools:write")]
) -> Pool:
    """Its queues are made by the time the first proxy asks."""
    async with services.database.transaction() as transaction:
        row = await transaction.row("pools.insert", name=body.name)
        assert row is not None
        await audit.note(transaction, caller.name, "create-pool", f"pools/{body.name}")
    return Pool.of(row)


@api.get("/pools", operation_id="listPools", summary="List pools")
async def listing(
    services: Parts,
    _: Annotated[Caller, wants("pools:read")],
    after: After = "",
    limit: Limit = PAGE_DEFAULT,
) -> Page[Pool]:
    """By name."""
    rows = await services.database.rows("pools.page", after=after, count=limit + 1)
    return page_of(rows, limit, Pool.of, cursor="name")


@api.post(
    "/pools/{pool}/proxies",
    operation_id="joinProxy",
    summary="Let a proxy join",
    status_code=201,
    responses=responses(404, 409),
)
async def join(
    pool: WordPath, services: Parts, caller: Annotated[Caller, wants("pools:write")]
) -> Join:
    """Makes an identity: account on the bus, certificate, sealing key. The document is shown once."""
    document, public_key = joining.new_document(services, pool)
    async with services.database.transaction() as transaction:
        if await transaction.row("pools.get", name=pool) is None:
            raise NotFound("There is no such pool.", code="pool-not-found")
        await transaction.row("proxies.insert", id=document.proxy, pool=pool, public_key=public_key)
        await audit.note(
            transaction, caller.name, "join-proxy", f"proxies/{document.proxy}", {"pool": pool}
        )
        joining.write_account(services, document)
    return Join(**msgspec.structs.asdict(document))


@api.get("/proxies", operation_id="listProxies", summary="List proxies")
async def proxies(
    services: Parts,
    _: Annotated[Caller, wants("pools:read")],
    after: After = "",
    limit: Limit = PAGE_DEFAULT,
) -> Page[Proxy]:
    """With what their heartbeats say."""
    rows = await services.database.rows("proxies.page", after=after, count=limit + 1)
    answers = {row["id"]: await _proxy(services, row) for row in rows[:limit]}
    return page_of(rows, limit, lambda row: answers[row["id"]])


async def _proxy(services: Services, row: Row) -> Proxy:
    try:
        beat = await services.bus.heartbeat(row["id"])
        status = msgspec.json.decode(beat, type=ProxyStatus) if beat else None
    except (BackupError, msgspec.DecodeError):
        status = None
    # A heartbeat with another key is not of the proxy that joined.
    if status is None or status.public_key != row["public_key"]:
        return Proxy.of(row, online=False)
    return Proxy.of(
        row,
        online=True,
        version=status.version,
        host=status.host,
        started_at=status.started_at,
        tasks=status.tasks,
    )


@api.delete(
    "/proxies/{id}",
    operation_id="removeProxy",
    summary="Remove a proxy",
    status_code=204,
    responses=responses(404),
)
async def remove(
    id: IdPath, services: Parts, caller: Annotated[Caller, wants("pools:write")]
) -> Response:
    """It gets no secrets and no account any more; its tasks go to others."""
    async with services.database.transaction() as transaction:
        if not await transaction.run("proxies.remove", id=id):
            raise NotFound("There is no such proxy.", code="proxy-not-found")
        await audit.note(transaction, caller.name, "remove-proxy", f"proxies/{id}")
    joining.remove_account(services, id)
    return Response(status_code=204)
