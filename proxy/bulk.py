"""
The proxy's own port for bytes: TLS with certificates of the installation on both sides, one use a
ticket. Only the server's certificate is let in; another proxy's is not.
"""

import asyncio
import contextlib
import hashlib
import logging
import secrets
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from engine.errors import BackupError, Unavailable
from proxy.contract import SERVER_NAME, JoinDocument
from proxy.pipeline.context import Download

log = logging.getLogger(__name__)

TICKETS_MAX = 64
TICKET_LIFE_S = 60
TICKET_BYTES = 32
SHUTDOWN_S = 2.0


def server_context(join: JoinDocument) -> ssl.SSLContext:
    """TLS of the port: a client without a certificate of the installation gets no further."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=join.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        # The library reads a chain from a file only; the file is private and gone right after.
        file.write(join.certificate + join.private_key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


class BulkPort:
    """Downloads that wait to be fetched, and the port where they are."""

    def __init__(self) -> None:
        self.port = 0
        self._waiting: dict[bytes, tuple[float, Download]] = {}

    @asynccontextmanager
    async def serving(self, join: JoinDocument, host: str, port: int) -> AsyncIterator["BulkPort"]:
        """Listen while the block runs."""
        app = web.Application()
        app.router.add_get("/bulk/{ticket}", self._send)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port, ssl_context=server_context(join))
            await site.start()
            self.port = int(runner.addresses[0][1])
            yield self
        finally:
            await runner.cleanup()
            for _, download in self._waiting.values():
                _close(download)

    def offer(self, download: Download) -> str:
        """
        Keep a download until it is fetched, once, within TICKET_LIFE_S.

        Raises:
            Unavailable: too many wait already.
        """
        now = asyncio.get_running_loop().time()
        for digest, (expiry, old) in list(self._waiting.items()):
            if expiry < now:
                del self._waiting[digest]
                _close(old)
        if len(self._waiting) >= TICKETS_MAX:
            _close(download)
            raise Unavailable("Too many downloads at once.", code="downloads-busy", retry_after_s=5)
        ticket = secrets.token_urlsafe(TICKET_BYTES)
        self._waiting[_digest(ticket)] = (now + TICKET_LIFE_S, download)
        return ticket

    async def _send(self, request: web.Request) -> web.StreamResponse:
        if not _is_server(request):
            raise web.HTTPForbidden
        # Looked up by hash: the time it takes says nothing about the ticket.
        expiry, download = self._waiting.pop(_digest(request.match_info["ticket"]), (0.0, None))
        if download is None:
            raise web.HTTPNotFound
        if expiry < asyncio.get_running_loop().time():
            _close(download)
            raise web.HTTPNotFound
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.content_length = download.size
        try:
            await response.prepare(request)
            while (chunk := await asyncio.to_thread(next, download.chunks, None)) is not None:
                await response.write(chunk)
            await response.write_eof()
        except (BackupError, OSError) as error:
            # A response cut off in the middle is how the server learns of it.
            log.warning("a download broke off: %s", getattr(error, "code", type(error).__name__))
            if request.transport is not None:
                request.transport.abort()
        finally:
            await asyncio.to_thread(_close, download)
        return response


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()


def _is_server(request: web.Request) -> bool:
    certificate: dict[str, Any] = (
        request.transport.get_extra_info("peercert") if request.transport else None
    ) or {}
    return ("DNS", SERVER_NAME) in certificate.get("subjectAltName", ())


def _close(download: Download) -> None:
    close = getattr(download.chunks, "close", None)
    if close is not None:
        with contextlib.suppress(ValueError):  # a generator that runs in another thread
            close()
