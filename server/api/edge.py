"""
What every request passes first: request id, security headers, the limit on bodies.

Plain ASGI, so that streams (events, downloads) pass unbuffered.
"""

import secrets

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX = 1024 * 1024
DISCARD_BYTES_MAX = 16 * 1024 * 1024  # of a body that is refused; so the client sees the answer
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Edge:
    """The outermost part of the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers["X-Request-Id"] = request_id
                # pages are asked for again each time, so that an upgrade shows at once (ETag makes it cheap)
                kept = "no-store" if scope["path"].startswith("/api/") else "no-cache"
                headers.setdefault("Cache-Control", kept)
            await send(message)

        await self._app(scope, _limited(scope, receive), send_with_headers)


def _limited(scope: Scope, receive: Receive) -> Receive:
    """`receive` that refuses a body above the limit, announced or sent piece by piece."""
    announced = Headers(scope=scope).get("content-length", "0")
    too_large = announced.isdigit() and int(announced) > BODY_BYTES_MAX
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if too_large or seen > BODY_BYTES_MAX:
                await _discard(receive, message, seen)
                raise HTTPException(413, f"A body holds at most {BODY_BYTES_MAX} bytes.")
        return message

    return limited


async def _discard(receive: Receive, message: Message, seen: int) -> None:
    while message.get("more_body") and seen < DISCARD_BYTES_MAX:
        message = await receive()
        if message["type"] != "http.request":
            return
        seen += len(message.get("body", b""))
