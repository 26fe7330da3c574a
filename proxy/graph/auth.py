"""
Tokens of the application (client credentials), through msal.

msal builds and signs the requests and keeps the cache; its HTTP goes through `transport` like everything else, so one
place knows proxies and certificates. msal is synchronous: it runs in one thread of its own and hands its requests
back to the event loop.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msal
from msal.exceptions import MsalError

from engine.errors import BackupError, UsageError
from proxy.graph.clouds import CLOUDS
from proxy.graph.errors import GraphDenied, GraphUnavailable
from proxy.graph.settings import OrganizationSettings
from proxy.graph.transport import Transport

__all__ = ["TokenSource", "claims_of"]

KNOWN_AUTHORITIES = frozenset(cloud.authority for cloud in CLOUDS.values() if cloud.authority)
SIGN_IN_S = 120.0
REFRESH_BEFORE_S = 300.0  # msal fetches a new token in the last five minutes of the old one
SIGN_IN_BYTES_MAX = 1024 * 1024
KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.S
)
CERTIFICATE_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.S)
CLAIMS = re.compile(r'\bclaims="([A-Za-z0-9+/=_-]+)"')


@dataclass(frozen=True, slots=True)
class _HttpAnswer:
    """The part of a response object that msal looks at."""

    status_code: int
    text: str
    headers: Mapping[str, str]

    def raise_for_status(self) -> None:
        if self.status_code >= 400:
            raise GraphUnavailable(
                f"Sign-in failed (HTTP {self.status_code}).", code="graph-sign-in-unavailable"
            )


class _HttpClient:
    """What msal calls `http_client`; runs in msal's thread, sends on the event loop."""

    def __init__(self, transport: Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop

    def get(self, url: str, params: Any = None, headers: Any = None, **_: Any) -> _HttpAnswer:
        return self._send("GET", url, params, None, headers)

    def post(
        self, url: str, params: Any = None, data: Any = None, headers: Any = None, **_: Any
    ) -> _HttpAnswer:
        return self._send("POST", url, params, data, headers)

    def close(self) -> None:
        """Connections belong to the transport."""

    def _send(self, method: str, url: str, params: Any, data: Any, headers: Any) -> _HttpAnswer:
        body = urlencode(data).encode() if isinstance(data, dict) else data
        if isinstance(body, str):
            body = body.encode()
        sent = dict(headers or {})
        if body is not None:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        address = f"{url}?{urlencode(params)}" if params else url
        request = self._transport.request(method, address, sent, body, SIGN_IN_BYTES_MAX)
        future = asyncio.run_coroutine_threadsafe(request, self._loop)
        try:
            answer = future.result(SIGN_IN_S)
        except TimeoutError as error:
            future.cancel()
            raise GraphUnavailable(
                "Sign-in took too long.", code="graph-sign-in-unavailable"
            ) from error
        text = answer.body.decode("utf-8", "replace")
        return _HttpAnswer(answer.status, text, answer.headers)


class TokenSource:
    """The application's token, fetched when needed and replaced when the service refuses it."""

    def __init__(self, settings: OrganizationSettings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sign-in")
        self._lock = asyncio.Lock()
        self._application: Any = None
        self._token = ""
        self._fresh_until = float("-inf")  # on the loop's clock; after it msal decides

    def close(self) -> None:
        """Give up the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def token(self) -> str:
        """
        A token that should work.

        Raises:
            GraphDenied: the application, its secret or its consent is refused.
            GraphUnavailable: the sign-in service does not answer.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._fresh_until:
            return self._token
        async with self._lock:
            if loop.time() >= self._fresh_until:
                self._keep(await self._in_thread(lambda: self._acquire(None)))
            return self._token

    async def replace(self, refused: str, claims: str | None) -> None:
        """Drop `refused` unless somebody already did, and sign in again; `claims` from the challenge."""
        async with self._lock:
            if self._token == refused:
                self._fresh_until = float("-inf")
                self._keep(await self._in_thread(lambda: self._acquire_anew(claims)))

    def _keep(self, result: tuple[str, float]) -> None:
        self._token, life_s = result
        self._fresh_until = asyncio.get_running_loop().time() + life_s - REFRESH_BEFORE_S

    async def _in_thread(self, work: Callable[[], tuple[str, float]]) -> Any:
        loop = asyncio.get_running_loop()
        if self._application is None:
            client = _HttpClient(self._transport, loop)
            self._application = await loop.run_in_executor(
                self._thread, lambda: _guarded(lambda: _build(self._settings, client))
            )
        return await loop.run_in_executor(self._thread, lambda: _guarded(work))

    def _acquire(self, claims: str | None) -> tuple[str, float]:
        """A token and the seconds it has left."""
        scope = self._settings.audience + "/.default"
        result = self._application.acquire_token_for_client([scope], claims_challenge=claims)
        if isinstance(result, dict) and isinstance(result.get("access_token"), str):
            return result["access_token"], float(result.get("expires_in", 0))
        raise _refusal(result if isinstance(result, dict) else {})

    def _acquire_anew(self, claims: str | None) -> tuple[str, float]:
        self._application.remove_tokens_for_client()
        return self._acquire(claims)


def claims_of(challenge: str) -> str | None:
    """The claims asked for in a WWW-Authenticate header (continuous access evaluation), as JSON text."""
    match = CLAIMS.search(challenge)
    if match is None:
        return None
    padded = match[1].replace("-", "+").replace("_", "/") + "=" * (-len(match[1]) % 4)
    try:
        return base64.b64decode(padded).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None


def _build(settings: OrganizationSettings, client: _HttpClient) -> Any:
    known = settings.authority in KNOWN_AUTHORITIES
    return msal.ConfidentialClientApplication(
        settings.client_id,
        client_credential=_credential(settings),
        authority=f"{settings.authority}/{settings.tenant_id}",
        http_client=client,
        client_capabilities=["CP1"],
        **({} if known else {"instance_discovery": False}),
    )


def _credential(settings: OrganizationSettings) -> str | dict[str, str]:
    if not settings.certificate:
        return settings.client_secret
    key = KEY_BLOCK.search(settings.certificate)
    certificates = CERTIFICATE_BLOCK.findall(settings.certificate)
    if key is None or not certificates:
        raise UsageError(
            "The certificate file must hold a private key and its certificate in PEM form.",
            code="organization-settings",
        )
    return {"private_key": key[0], "public_certificate": "\n".join(certificates)}


def _guarded(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except BackupError:
        raise
    except ValueError as error:  # msal's word for an authority or key it cannot use
        raise UsageError(
            "The sign-in service refused the authority, tenant or key of the organization.",
            code="organization-settings",
        ) from error
    except MsalError as error:  # a 5xx while an older token is renewed comes as an exception
        raise GraphUnavailable(
            "The sign-in service is not available.", code="graph-sign-in-unavailable"
        ) from error
    except (KeyError, TypeError) as error:
        raise GraphUnavailable(
            "The sign-in service answered in a form that is not understood.",
            code="graph-sign-in-unavailable",
        ) from error


def _refusal(result: dict[str, Any]) -> GraphDenied | GraphUnavailable:
    # error_description names tenants and traces: only the numbers leave this function.
    numbers = [str(number) for number in result.get("error_codes") or []]
    known = (
        "AADSTS" + ", AADSTS".join(numbers) if numbers else str(result.get("error", "no reason"))
    )
    if result.get("error") in {"temporarily_unavailable", "server_error"}:
        return GraphUnavailable(
            f"The sign-in service is not available ({known}).", code="graph-sign-in-unavailable"
        )
    return GraphDenied(
        f"The application may not sign in ({known}); check its id, secret or certificate.",
        code="graph-sign-in-refused",
    )
