"""Lets the proxies of this machine join, over the server's REST API like any other proxy would."""

import asyncio
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import aiohttp
import msgspec

from engine.errors import Unavailable
from proxy.contract import JoinDocument
from tools.installation.private_files import write_private

WAIT_S = 10.0
POLL_S = 0.1


class Api:
    """The few calls the supervisor makes."""

    def __init__(self, url: str, authority: Path) -> None:
        self._url = f"{url}/api/v1"
        self._authority = authority

    async def healthy(self) -> bool:
        """Whether the server answers and reaches database and bus."""
        try:
            async with self._session() as session, session.get(f"{self._url}/health") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def join(self, pool: str, user: str, password: str) -> JoinDocument:
        """
        Make a proxy of the pool.

        Raises:
            Unavailable: the server does not answer as it should.
        """
        try:
            async with self._session() as session:
                form = {"grant_type": "password", "username": user, "password": password}
                async with session.post(f"{self._url}/token", data=form) as answer:
                    token: dict[str, Any] = await answer.json()
                if "access_token" not in token:
                    raise Unavailable("The server refused the sign-in.", code="join-failed")
                headers = {"Authorization": f"Bearer {token['access_token']}"}
                async with session.post(
                    f"{self._url}/pools/{pool}/proxies", headers=headers
                ) as answer:
                    return msgspec.json.decode(await answer.read(), type=JoinDocument)
        except (aiohttp.ClientError, OSError, msgspec.DecodeError) as error:
            raise Unavailable("The server did not let a proxy join.", code="join-failed") from error

    def _session(self) -> aiohttp.ClientSession:
        context = ssl.create_default_context(cafile=str(self._authority))
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            timeout=aiohttp.ClientTimeout(total=WAIT_S),
            trust_env=False,
        )


async def wait_healthy(url: str, authority: Path) -> None:
    """Until the server answers; the caller sets the time limit."""
    healthy = False
    while not healthy:
        await asyncio.sleep(POLL_S)
        healthy = authority.exists() and await Api(url, authority).healthy()


def renewed(join_file: Path, nats_url: str) -> JoinDocument | None:
    """
    The document of an earlier start, with the bus where it is now; None if there is none.

    Credentials in `nats_url` replace those of the document.
    """
    try:
        document = msgspec.json.decode(join_file.read_bytes(), type=JoinDocument)
    except (OSError, msgspec.DecodeError):
        return None
    given = urlsplit(nats_url)
    host = given.netloc.rpartition("@")[2]
    changed = msgspec.structs.replace(
        document,
        nats_url=urlunsplit((given.scheme, host, given.path, given.query, "")),
        nats_user=unquote(given.username) if given.username else document.nats_user,
        nats_password=unquote(given.password) if given.password else document.nats_password,
    )
    if changed != document:
        save(join_file, changed)
    return changed


async def wait_noted(file: Path, pid: int) -> None:
    """Until process `pid` has written its number to `file`; the caller sets the time limit."""
    noted = ""
    while noted != str(pid):
        await asyncio.sleep(POLL_S)
        noted = file.read_text(encoding="utf-8").strip() if file.exists() else ""


def save(join_file: Path, document: JoinDocument) -> None:
    """Write a join document, readable by its owner only."""
    write_private(join_file, msgspec.json.encode(document).decode())
