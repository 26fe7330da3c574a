"""
Events as server-sent events, with replay.

A client's place is a number in the events table, so nothing is buffered for it: when something was
stored it reads the next page. A slow client costs its socket's buffer and nothing else.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import Header, Query, Request
from fastapi.responses import StreamingResponse

from proxy.contract import BackupError, Unavailable
from server.api.access import Caller, Parts, wants
from server.api.problems import responses
from server.api.routing import router
from server.api.sessions import known_session
from server.api.shapes import IdPath
from server.domain.sessions import SESSION_ENDS
from server.services import Services, Signal

api = router("events")

PAGE = 200
POLL_S = 2.0  # other servers of the installation store events too
SILENCE_S = 15.0
CLIENTS_MAX = 500

Place = Annotated[
    str | None,
    Header(alias="Last-Event-ID", pattern=r"^[0-9]{1,18}$", description="Go on after this event"),
]
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One event a message; `data` is JSON, `id` its place",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


class Feeds:
    """Counts the open streams of this process: there is a limit."""

    def __init__(self) -> None:
        self.open = 0


async def _stream(
    services: Services, feeds: Feeds, session: str | None, after: int
) -> AsyncIterator[bytes]:
    feeds.open += 1
    quiet_s = 0.0
    try:
        yield b"retry: 2000\n\n"
        while not services.stopping.is_set():
            ticket = services.events_stored.ticket()
            try:
                rows = await services.database.rows(
                    "events.after", after=after, session=session, count=PAGE
                )
            except BackupError:
                rows = []
            for row in rows:
                after = row["sequence"]
                data = msgspec.json.encode(row["body"])
                yield b"id: %d\nevent: %s\ndata: %s\n\n" % (
                    after,
                    str(row["body"]["kind"]).encode(),
                    data,
                )
                if session and _is_end(row["body"]):
                    return
            quiet_s = 0.0 if rows else quiet_s + POLL_S
            if quiet_s >= SILENCE_S:
                quiet_s = 0.0
                yield b": still here\n\n"
            if len(rows) < PAGE:
                await Signal.wait(ticket, POLL_S)
    finally:
        feeds.open -= 1


def _is_end(body: dict[str, str]) -> bool:
    return body["kind"] == "session" and body.get("state") in SESSION_ENDS


async def _respond(
    request: Request, services: Services, session: str | None, after: int
) -> StreamingResponse:
    feeds: Feeds = request.app.state.feeds
    if feeds.open >= CLIENTS_MAX:
        raise Unavailable("Too many open streams.", code="streams-busy", retry_after_s=10)
    return StreamingResponse(
        _stream(services, feeds, session, after),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


@api.get(
    "/sessions/{id}/events",
    operation_id="streamSessionEvents",
    summary="Follow a session",
    response_class=StreamingResponse,
    responses={**STREAM, **responses(404)},
)
async def of_session(
    request: Request,
    id: IdPath,
    services: Parts,
    _: Annotated[Caller, wants("sessions:read")],
    place: Place = None,
) -> StreamingResponse:
    """From the session's beginning, or after Last-Event-ID; ends with the session."""
    await known_session(services, id)
    return await _respond(request, services, id, int(place or 0))


@api.get(
    "/events",
    operation_id="streamEvents",
    summary="Follow everything",
    response_class=StreamingResponse,
    responses={**STREAM},
)
async def of_all(
    request: Request,
    services: Parts,
    _: Annotated[Caller, wants("sessions:read")],
    place: Place = None,
    replay: Annotated[bool, Query(description="From the oldest event kept")] = False,
) -> StreamingResponse:
    """From now on, or after Last-Event-ID."""
    if place is None and not replay:
        place = str(await services.database.value("events.last"))
    return await _respond(request, services, None, int(place or 0))
