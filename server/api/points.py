"""
Restore points: listing, browsing, downloads. A proxy of the repository's pool answers each question;
the server passes on what it says and never opens a repository.
"""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from fastapi import Path, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from proxy.contract import (
    BrowseRequest,
    DownloadTicket,
    ExportFormat,
    InternalError,
    NotFound,
    Unavailable,
)
from server import audit
from server.api.access import Caller, Parts, wants
from server.api.routing import router
from server.api.shapes import PAGE_DEFAULT, IdPath, IdQuery, Limit
from server.bus.questions import ask, opened_download
from server.database.connector import Row
from server.services import Services

api = router("restore points", errors=(401, 403, 404, 409, 422, 502, 503, 504))

PointPath = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9 ._-]{1,200}(:latest)?$",
        description="Id, unique prefix of one, latest or NAME:latest",
    ),
]
ItemPath = Annotated[
    str,
    Query(
        max_length=4000,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Begins object/workload/; as `browse` gives it",
    ),
]
Cursor = Annotated[
    str,
    Query(max_length=4000, pattern=r"^[^\x00-\x1f\x7f]*$", description="`next` of the page before"),
]


class Points(BaseModel):
    """Restore points of a repository, newest first."""

    items: list[dict[str, Any]]
    next: str | None = None
    cached: bool = Field(description="No proxy answered: as last listed")


class Listing(BaseModel):
    """What is below a path of a restore point."""

    items: list[dict[str, Any]]
    next: str | None = None


async def _repository(services: Services, repository: str) -> Row:
    row = await services.database.row("repositories.get", id=repository)
    if row is None:
        raise NotFound("There is no such repository.", code="repository-not-found")
    return row


def _items(body: bytes) -> tuple[list[dict[str, Any]], str | None]:
    """Items and next of an answer: a list, or an object with both."""
    answer = msgspec.json.decode(body)
    if isinstance(answer, dict):
        return list(answer.get("items", [])), answer.get("next") or None
    if isinstance(answer, list):
        return answer, None
    raise InternalError("A proxy's answer is no listing.")


@api.get("/restore-points", operation_id="listRestorePoints", summary="List restore points")
async def listing(
    repository: IdQuery, services: Parts, _: Annotated[Caller, wants("points:read")]
) -> Points:
    """Asked of a proxy; without one the cache answers."""
    row = await _repository(services, repository)
    request = BrowseRequest(repository=row["id"], repository_url=row["url"])
    try:
        items, _next = _items(await ask(services, row["pool"], "points", request))
    except Unavailable:
        rows = await services.database.rows("points.all", repository=repository)
        if not rows:
            raise
        return Points(items=[cached["body"] for cached in rows], cached=True)
    async with services.database.transaction() as transaction:
        await transaction.run("points.clear", repository=repository)
        await transaction.run_many(
            "points.insert",
            [
                {
                    "repository": repository,
                    "id": str(item.get("id", place)),
                    "position": place,
                    "body": item,
                }
                for place, item in enumerate(items)
            ],
        )
    return Points(items=items, cached=False)


@api.get(
    "/restore-points/{repository}/{point}/browse",
    operation_id="browseRestorePoint",
    summary="Browse a restore point",
)
async def browse(
    repository: IdPath,
    point: PointPath,
    services: Parts,
    _: Annotated[Caller, wants("points:read")],
    path: ItemPath = "",
    after: Cursor = "",
    limit: Limit = PAGE_DEFAULT,
) -> Listing:
    """Containers and items below `path`; empty lists the objects."""
    row = await _repository(services, repository)
    request = BrowseRequest(
        repository=row["id"],
        repository_url=row["url"],
        point=point,
        path=path,
        after=after,
        limit=limit,
    )
    items, following = _items(await ask(services, row["pool"], "browse", request))
    return Listing(items=items, next=following)


@api.get(
    "/restore-points/{repository}/{point}/download",
    operation_id="downloadItem",
    summary="Download an item",
    response_class=StreamingResponse,
    responses={200: {"description": "The bytes", "content": {"application/octet-stream": {}}}},
)
async def download(
    http: Request,
    repository: IdPath,
    point: PointPath,
    services: Parts,
    caller: Annotated[Caller, wants("points:download")],
    path: ItemPath,
    format: ExportFormat = "native",
) -> StreamingResponse:
    """Streamed through from the proxy; always an attachment, never shown in place."""
    row = await _repository(services, repository)
    request = BrowseRequest(
        repository=row["id"],
        repository_url=row["url"],
        point=point,
        path=path,
        format=format,
    )
    body = await ask(services, row["pool"], "ticket", request)
    ticket = msgspec.json.decode(body, type=DownloadTicket)
    async with services.database.transaction() as transaction:
        await audit.note(
            transaction,
            caller.name,
            "download-item",
            f"restore-points/{repository}/{point}",
            {"format": format},
        )
    async with AsyncExitStack() as stack:
        chunks = await stack.enter_async_context(
            opened_download(http.app.state.bulk_context, ticket)
        )
        held = stack.pop_all()

    async def stream() -> AsyncIterator[bytes]:
        try:
            async with held:
                async for chunk in chunks:
                    yield chunk
        except Unavailable as error:
            # The status is sent: a connection cut off is how the client learns of it.
            raise ConnectionAbortedError("a download broke off") from error

    headers = {"Content-Disposition": attachment(ticket.file_name)}
    if ticket.size is not None:
        headers["Content-Length"] = str(ticket.size)
    return StreamingResponse(
        stream(), media_type=safe_media_type(ticket.media_type), headers=headers
    )


def attachment(file_name: str) -> str:
    """A Content-Disposition that no name can break out of (RFC 6266): ASCII twin and UTF-8."""
    name = re.sub(r"[\x00-\x1f\x7f/\\]", "_", file_name).strip(". ") or "item"
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", name)[-120:]
    encoded = quote(name.encode("utf-8", "replace")[-400:].decode("utf-8", "ignore"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


def safe_media_type(media_type: str) -> str:
    """The type if it is one; what is not becomes plain bytes."""
    if re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,100}", media_type):
        return media_type
    return "application/octet-stream"
