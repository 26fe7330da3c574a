"""
The HTTP door: sends each request to the virtual host it is for and puts the answer on the wire.
"""

import asyncio
from urllib.parse import parse_qs, parse_qsl

from aiohttp import web

from tools.emulator.call import Request, Services
from tools.emulator.downloads import download
from tools.emulator.entra_routes import Entra
from tools.emulator.errors import GraphError
from tools.emulator.graph import Graph
from tools.emulator.reply import Reply
from tools.emulator.staging import error_reply

_VERSIONS = ("/v1.0/", "/beta/", "/_api/v2.0/", "/_api/v2.1/")
_LOGIN_HOSTS = ("login.microsoftonline.com", "login.windows.net", "login.microsoft.com")
_DOWNLOAD_TEMPLATE = "(pre-authenticated download)"
_WRITE_BYTES = 256 << 10
REQUEST_BYTES_MAX = 256 << 20  # imports are larger than what Graph itself takes


class Door:
    """Handles requests of the TLS listener."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._graph = Graph(services)
        self._entra = Entra(services)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        reply = await self._reply(request)
        if reply.dropped:
            return _dropped(request)
        if reply.cut is not None:
            return await _send_cut(request, reply)
        response = web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        if reply.body or reply.status not in (204, 302, 304):
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
            return self._entra.answer(request.method, origin, raw, request.headers, body)
        if (token := _download_token(path, query)) is not None:
            return await self._download(request, token)
        for prefix in _VERSIONS:
            if path.lower().startswith(prefix):
                return await self._graph.answer(
                    Request(
                        request.method,
                        origin,
                        prefix.rstrip("/"),
                        path[len(prefix) - 1 :],
                        dict(parse_qsl(query, keep_blank_values=True)),
                        request.headers,
                        await request.read(),
                    )
                )
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
            reply, headers = await download(services, token, request.headers.get("Range"))
            reply.headers.update(headers)
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


async def _send_cut(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Promise the whole body, send a fraction of it and break the connection."""
    assert reply.cut is not None
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.headers["Content-Type"] = reply.content_type
    response.content_length = len(reply.body)
    await response.prepare(request)
    end = int(len(reply.body) * reply.cut)
    for start in range(0, end, _WRITE_BYTES):
        await response.write(reply.body[start : min(end, start + _WRITE_BYTES)])
    if request.transport is not None:
        request.transport.close()  # flushes what was written, then ends the stream early
    return response
