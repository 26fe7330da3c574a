"""
HTTP: the only module that talks to Microsoft 365.

Bytes in, bytes out: it knows nothing of tokens, budgets or meanings. Redirects are never followed (the caller decides
who gets a token), link addresses are sent exactly as they came, foreign errors end here.
"""

import asyncio
import io
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib import request as environment
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from engine.errors import UsageError
from proxy.graph.errors import GraphUnavailable
from proxy.graph.settings import LOOPBACK, OrganizationSettings

__all__ = ["Answer", "BodyReader", "Transport", "user_agent"]

CONNECTIONS_MAX = 64
CONNECT_S = 30.0
READ_S = 100.0
CHUNK_BYTES = 256 * 1024
JSON_BYTES_MAX = 64 * 1024 * 1024
ERROR_BYTES_MAX = 64 * 1024
HEADER_BYTES_MAX = 64 * 1024


def user_agent(version: str) -> str:
    """The decoration that keeps traffic from being throttled first (Graph, throttling guidance)."""
    return f"ISV|Strongroom|Backup/{version}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. `headers` is case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class BodyReader:
    """A body on its way. Reading raises GraphUnavailable("graph-connection-cut") when it breaks off."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = CIMultiDict(response.headers)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces of at most CHUNK_BYTES."""
        content = self._response.content
        while True:
            try:
                chunk = await content.read(CHUNK_BYTES)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _cut(error) from error
            if not chunk:
                return
            yield chunk

    async def read(self, limit: int) -> bytes:
        """
        The whole body.

        Raises:
            GraphUnavailable: it broke off, or is longer than `limit` bytes.
        """
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise GraphUnavailable(
                    f"The service sent more than {limit} bytes where that is not expected.",
                    code="graph-answer-too-large",
                )
            parts.append(chunk)
        return b"".join(parts)


class Transport:
    """Connections of one organization. Open inside a running event loop; close it."""

    def __init__(self, settings: OrganizationSettings, version: str) -> None:
        self._proxy_url = settings.proxy_url
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=_tls(settings.ca)),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_S, sock_read=READ_S, connect=None
            ),
            headers={"User-Agent": user_agent(version), "Accept": "*/*"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # it would also take credentials from .netrc
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )
        # aiohttp would send a PUT or DELETE whose answer was lost once more by itself: unpaid, and a piece of an upload
        # twice. It has no public switch; what is tried again is decided in `retry`.
        self._session._retry_connection = False

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> AsyncIterator[BodyReader]:
        """
        Send a request; the block reads the body.

        Raises:
            GraphUnavailable: nothing was sent (`graph-no-connection`), or no answer came (`graph-no-answer`): then
                the request may have been executed.
        """
        try:
            response = await self._session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=None if body is None else io.BytesIO(body),
                allow_redirects=False,
                proxy=_proxy_for(url, self._proxy_url),
            )
        except aiohttp.ClientConnectorCertificateError as error:
            raise GraphUnavailable(
                "The certificate of the other side is not trusted; set ca_file for a private authority.",
                code="graph-untrusted-certificate",
            ) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise GraphUnavailable(
                f"Microsoft 365 cannot be reached ({type(error).__name__}).",
                code="graph-no-connection",
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise GraphUnavailable(
                f"Microsoft 365 did not answer ({type(error).__name__}).",
                code="graph-no-answer",
            ) from error
        try:
            yield BodyReader(response)
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()  # the rest of the body is of no use to the next request

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        limit: int = JSON_BYTES_MAX,
    ) -> Answer:
        """Send a request and read the whole answer, at most `limit` bytes."""
        async with self.open(method, url, headers, body) as reader:
            data = await reader.read(limit if reader.status < 300 else ERROR_BYTES_MAX)
            return Answer(reader.status, reader.headers, data)


def _tls(ca: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca:
        try:
            context.load_verify_locations(cadata=ca)
        except ssl.SSLError as error:
            raise UsageError(
                "The CA of the organization is not PEM text with a certificate.",
                code="organization-settings",
            ) from error
    return context


def _proxy_for(url: str, configured: str) -> str | None:
    parts = urlsplit(url)
    if parts.hostname in LOOPBACK:
        return None  # a proxy elsewhere has another loopback
    if configured:
        return configured
    proxies = environment.getproxies_environment()
    # The bypass rule (NO_PROXY) is in the standard library, but not in its stubs.
    bypass: Callable[[str, dict[str, str]], bool] = vars(environment)["proxy_bypass_environment"]
    if not proxies or bypass(parts.netloc, proxies):
        return None
    return proxies.get(parts.scheme)


def _cut(error: Exception) -> GraphUnavailable:
    if isinstance(error, asyncio.TimeoutError):
        return GraphUnavailable("The service stopped sending.", code="graph-connection-cut")
    return GraphUnavailable("The connection broke off.", code="graph-connection-cut")
