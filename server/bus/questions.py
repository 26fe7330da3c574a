"""
Questions to the proxies of a pool (restore points, browsing, tickets) and the bytes behind tickets.

The server never opens a repository: any proxy of the repository's pool answers. Bytes come from that
proxy's own port: TLS with certificates of the installation on both sides.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec

from proxy.contract import (
    BackupError,
    BrowseRequest,
    Conflict,
    Denied,
    DownloadTicket,
    InternalError,
    NotFound,
    Reply,
    Unavailable,
    Unsupported,
    UsageError,
)
from server.services import Services

ANSWER_S = 30.0
CONNECT_S = 10.0
SILENCE_S = 60.0
CHUNK_BYTES = 256 * 1024

_CLASSES: dict[str, type[BackupError]] = {
    "UsageError": UsageError,
    "NotFound": NotFound,
    "Conflict": Conflict,
    "Unavailable": Unavailable,
    "Throttled": Unavailable,
    "Denied": Denied,
    "Unsupported": Unsupported,
}


class ProxyFault(BackupError):
    """A proxy answered with an error that the person who asked cannot mend by asking differently."""

    duty = "look at the proxy and the repository"


def error_of(reply: Reply) -> BackupError:
    """The error a proxy answered with. What concerns its repository is no matter of our rights."""
    code = reply.error_code or "proxy-error"
    known = _CLASSES.get(reply.error_class)
    if known in (UsageError, NotFound, Conflict, Unavailable):
        assert known is not None
        return known(reply.error, code=code)
    return ProxyFault(reply.error or "The proxy failed.", code=code)


async def ask(services: Services, pool: str, operation: str, request: BrowseRequest) -> bytes:
    """
    The body of a proxy's answer.

    Raises:
        Unavailable: no proxy of the pool answers (no-proxy), or not in time (answer-timeout).
        BackupError: what the proxy answered.
    """
    try:
        body = await services.bus.ask(
            f"ask.{pool}.{operation}", msgspec.json.encode(request), ANSWER_S
        )
    except Unavailable as error:
        if error.code != "no-responders":
            raise
        raise Unavailable(
            f"No proxy of pool {pool} is running.", code="no-proxy", retry_after_s=5
        ) from error
    try:
        reply = msgspec.json.decode(body, type=Reply)
    except msgspec.DecodeError as error:
        raise InternalError("A proxy's answer cannot be read.") from error
    if not reply.ok:
        raise error_of(reply)
    return bytes(reply.body)


def client_context(authority_file: Path, certificate_file: Path) -> ssl.SSLContext:
    """How the server shows itself to proxies."""
    context = ssl.create_default_context(cafile=str(authority_file))
    context.load_cert_chain(certificate_file)
    return context


@asynccontextmanager
async def opened_download(
    context: ssl.SSLContext, ticket: DownloadTicket
) -> AsyncIterator[AsyncIterator[bytes]]:
    """
    The bytes behind a ticket, from the proxy that gave it (its certificate names it).

    Raises:
        Unavailable: the proxy cannot be reached, or does not honour its ticket.
    """
    url = f"https://{ticket.host}:{ticket.port}/bulk/{ticket.ticket}"
    limits = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=SILENCE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=limits, trust_env=False) as session,
            session.get(url, ssl=context, server_hostname=ticket.proxy) as response,
        ):
            if response.status != 200:
                raise Unavailable("The proxy did not honour its ticket.", code="bulk-refused")
            yield response.content.iter_chunked(CHUNK_BYTES)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unavailable("The proxy's port cannot be reached.", code="bulk-unavailable") from error
