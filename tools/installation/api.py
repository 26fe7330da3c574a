"""A small client of the REST API, as an administrator's script would have it."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import aiohttp

from engine.errors import BackupError, Denied, NotFound, Unavailable, UsageError

POLL_S = 0.5
SESSION_ENDS = frozenset({"success", "warning", "failed", "stopped"})
ANSWER_S = 60.0


class Api:
    """Signed in to one server. `async with Api(url, ca_file, user, password) as api`."""

    def __init__(self, url: str, ca_file: str, user: str, password: str) -> None:
        self._url = f"{url}/api/v1"
        self._context = ssl.create_default_context(cafile=ca_file)
        self._credentials = {"grant_type": "password", "username": user, "password": password}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._context),
            timeout=aiohttp.ClientTimeout(total=ANSWER_S),
        )
        try:
            answer = await self._send("POST", "/token", data=self._credentials)
        except BaseException:
            await self._session.close()
            raise
        self._session.headers["Authorization"] = f"Bearer {answer['access_token']}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def _send(self, method: str, path: str, **options: Any) -> Any:
        assert self._session is not None
        try:
            async with self._session.request(method, self._url + path, **options) as answer:
                body = await answer.json(content_type=None)
                if answer.status >= 400:
                    raise _problem(answer.status, body or {})
                return body
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable("the server does not answer", code="server-unavailable") from error

    async def get(self, path: str, **query: str) -> Any:
        """GET; the decoded answer."""
        return await self._send("GET", path, params=query)

    async def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST a JSON body; the decoded answer."""
        return await self._send("POST", path, json={} if body is None else body)

    async def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """All items of a listing, page by page."""
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = await self.get(path, **query, **({"after": after} if after else {}))
            found += page["items"]
            if not page.get("next"):
                return found
            after = page["next"]

    async def watch(
        self, session: str, within_s: float = float("inf")
    ) -> AsyncIterator[dict[str, Any]]:
        """
        The session again and again until it has ended; a server that is restarting is waited for.

        Raises: Unavailable if it has not ended within `within_s`.
        """
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            try:
                state = await self.get(f"/sessions/{session}")
            except Unavailable:
                await asyncio.sleep(POLL_S)
                continue
            yield state
            if state["state"] in SESSION_ENDS:
                return
            await asyncio.sleep(POLL_S)
        raise Unavailable(f"the session has not ended within {within_s:.0f} s", code="session-slow")


def _problem(status: int, body: dict[str, Any]) -> BackupError:
    """A problem document as an error of the tree."""
    text = f"{body.get('title', 'the server refused')}: {body.get('detail', status)}"
    code = str(body.get("code", f"http-{status}"))
    if status in (401, 403):
        return Denied(text, code=code)
    if status == 404:
        return NotFound(text, code=code)
    if status in (429, 500, 502, 503, 504):
        return Unavailable(text, code=code)
    return UsageError(text, code=code)
