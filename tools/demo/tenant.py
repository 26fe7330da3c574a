"""The emulated tenant of the demo, as a process of its own, and its control door."""

import asyncio
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from engine.errors import Unavailable

START_S = 60.0
STOP_S = 5.0
CALL_S = 120.0


class EmulatedTenant:
    """Control of a running emulator."""

    def __init__(self, organization: dict[str, str], control: dict[str, str]) -> None:
        self.organization = organization
        self._url = control["url"]
        self._headers = {"Authorization": f"Bearer {control['token']}"}

    async def call(self, name: str, **arguments: Any) -> Any:
        """One control call; docs/emulator.md lists them."""
        timeout = aiohttp.ClientTimeout(total=CALL_S)
        async with (
            aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session,
            session.post(f"{self._url}/{name}", json=arguments) as answer,
        ):
            body = await answer.read()
            if answer.status != 200:
                raise Unavailable(f"the emulator refused {name}", code="emulator-refused")
            return msgspec.json.decode(body)


@asynccontextmanager
async def emulated_tenant(
    folder: Path, *, throttling: str = "real", content: Path | None = None, latency: float = 0.0
) -> AsyncIterator[EmulatedTenant]:
    """
    Start an emulator with its files in `folder`; it ends with the block.

    Args:
        content: serve the users of this folder instead of the demo tenant.
        latency: seconds each answer takes.
    """
    org_file = folder / "org.toml"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools.emulator", "--data-dir", str(folder),
        "--org", str(org_file), "--throttling", throttling, "--latency", str(latency),
        *(("--content", str(content)) if content else ()),
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(START_S):
            while not org_file.exists():
                if process.returncode is not None:
                    raise Unavailable("the emulator did not start", code="emulator-start")
                await asyncio.sleep(0.05)
        organization = tomllib.loads(org_file.read_text())["organization"]
        control = msgspec.json.decode((folder / "control.json").read_bytes())
        yield EmulatedTenant(organization, control)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()
