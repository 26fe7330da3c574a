"""
The HTTP door: sends each request to the virtual host it is for and puts the answer on the wire.
"""

import asyncio
from urllib.parse import parse_qs, parse_qsl

from aiohttp import web

from tools.emulator import outlook
from tools.emulator.call import Request, Services
from tools.emulator.downloads import download
from tools.emulator.entra_routes import Entra
from tools.emulator.errors import GraphError
from tools.emulator.fault_script import Event
from tools.emulator.graph import Graph
from tools.emulator.outlook_door import Outlook
from tools.emulator.reply import Reply
from tools.emulator.staging import error_reply, staged

_VERSIONS = ("/v1.0/", "/beta/", "/_api/v2.0/", "/_api/v2.1/")
_LOGIN_HOSTS = (
    "login.microsoftonline.com",
    "login.windows.net",
    "login.microsoft.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
)
_DOWNLOAD_TEMPLATE = "(pre-authenticated download)"
_WRITE_BYTES = 256 << 10
_DRIPS = 8  # pieces of a body that comes slowly
REQUEST_BYTES_MAX = 256 << 20  # imports are larger than what Graph itself takes


class Door:
    """Handles requests of the TLS listener."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._graph = Graph(services)
        self._outlook = Outlook(services)
        self._entra = Entra(services)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        reply = await self._reply(request)
        if reply.dropped:
            return _dropped(request)
        if reply.cut is not None or reply.drip_s or reply.chunked:
            return await _send_slowly(request, reply)
        response = web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        if reply.body:
            response.headers["Content-Type"] = reply.content_type
        return response

    async def _reply(self, request: web.BaseRequest) -> Reply:
        origin = f"{request.scheme}://{request.host}"
        path, _, query = request.raw_path.partition("?")
        path = _collapse(path)
        raw = f"{path}?{query}" if query else path
        host = request.host.partition(":")[0].lower()
        if host in _LOGIN_HOSTS or Entra.owns(raw):
            body = await request.read()
            event = Event(request.method, path.strip("/").split("/"), frozenset({"token"}))

            async def sign_in() -> Reply:
                return self._entra.answer(request.method, origin, raw, request.headers, body)

            return await staged(self._services, event, "", sign_in)
        if (token := _download_token(path, query)) is not None:
            return await self._download(request, token)
        for prefix in (*_VERSIONS, outlook.PREFIX):
            if path.lower().startswith(prefix):
                arrived = Request(
                    request.method,
                    origin,
                    prefix.rstrip("/"),
                    path[len(prefix) - 1 :],
                    dict(parse_qsl(query, keep_blank_values=True)),
                    request.headers,
                    await request.read(),
                )
                host_door = self._outlook if prefix == outlook.PREFIX else self._graph
                return await host_door.answer(arrived)
        error = GraphError(404, "UnknownError", "No such place in the emulator.")
        return error_reply(self._services, error, request.headers)

    async def _download(self, request: web.BaseRequest, token: str) -> Reply:
        """A pre-authenticated URL: no Authorization may come with it."""
        services = self._services
        if "Authorization" in request.headers:
            services.ledger.breach(
                "authorization-on-preauthenticated-url", _DOWNLOAD_TEMPLATE, services.clock.now()
            )
        try:
            services.faults.check_service()
            if services.latency:
                await asyncio.sleep(services.latency)
            event = Event(request.method, ("download",), frozenset({"read", "download"}))

            async def content() -> Reply:
                reply, headers = await download(services, token, request.headers.get("Range"))
                reply.headers.update(headers)
                return reply

            reply = await staged(services, event, "", content)
        except GraphError as error:
            reply = error_reply(services, error, request.headers)
        services.ledger.finish(_DOWNLOAD_TEMPLATE, reply.status, len(reply.body), 0)
        return reply


def _collapse(path: str) -> str:
    while "//" in path:
        path = path.replace("//", "/")
    return path


def _download_token(path: str, query: str) -> str | None:
    if path.startswith("/_dl/"):
        return path.removeprefix("/_dl/")
    if path.lower().endswith("/_layouts/15/download.aspx"):
        return parse_qs(query).get("tempauth", [""])[0]
    return None


def _dropped(request: web.BaseRequest) -> web.StreamResponse:
    """Close the connection before any answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


async def _send_slowly(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Send the body in pieces: over some time, without its length, or not to the end."""
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.headers["Content-Type"] = reply.content_type
    if reply.chunked:
        response.enable_chunked_encoding()
    else:
        response.content_length = len(reply.body)
    await response.prepare(request)
    end = len(reply.body) if reply.cut is None else int(len(reply.body) * reply.cut)
    step = max(1, min(_WRITE_BYTES, end // _DRIPS if reply.drip_s else _WRITE_BYTES))
    for start in range(0, end, step):
        await asyncio.sleep(reply.drip_s * step / end if reply.drip_s else 0)
        await response.write(reply.body[start : min(end, start + step)])
    if reply.cut is not None and request.transport is not None:
        request.transport.close()  # flushes what was written, then ends the stream early
    return response
