"""The emulator as a process of its own, and requests that make no sense."""

import asyncio
import signal
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator
from tools.emulator import Emulator

PROJECT = Path(__file__).resolve().parents[2]
MakeClient = Callable[[Emulator], GraphClient]


@pytest.mark.slow
async def test_module_serves_until_interrupted(emulator_keys: Path, tmp_path: Path) -> None:
    org_file = tmp_path / "org.toml"
    command = ("-m", "tools.emulator", "--recipe", "empty", "--org", org_file, "--data-dir")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        emulator_keys,
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            first = (await process.stdout.readline()).decode()
            org = tomllib.loads(org_file.read_text())["organization"]
            assert org["graph_endpoint"] in first
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(
    "target",
    [
        "/users?$top=x",
        "/users?$top=-1",
        "/users?$skiptoken=x",
        "/users/%FF%00",
        "/users/alice@empty.onmicrosoft.com/mailFolders/inbox/messages/delta?$deltatoken=",
        "/users/alice@empty.onmicrosoft.com/mailFolders/inbox/messages/delta?$deltatoken=x",
        "/users/alice@empty.onmicrosoft.com/mailFolders/%00/messages",
        "/users/alice@empty.onmicrosoft.com/drive/root:/a/../..:/content",
        "/users/alice@empty.onmicrosoft.com/drive/root/delta?token=x",
        "/users/alice@empty.onmicrosoft.com/drive/items/root:/:/children",
        "/users('/mailFolders",
        "/:/:/:",
        "/$batch",
    ],
)
async def test_nonsense_never_breaks_it(
    emulator: StartEmulator, graph_client: MakeClient, target: str
) -> None:
    emu = await emulator()
    status, body, _ = await graph_client(emu).get(target)
    assert status < 500
    assert status == 200 or "code" in body["error"]


async def test_places_outside_graph(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator()
    client = graph_client(emu)
    for path in ("/", "/favicon.ico", "/_dl/", "/_dl/x", "/v1.0", "//v1.0//organization"):
        status, _, _ = await client.get(emu.graph_url + path)
        assert status in (200, 401, 404)


async def test_bad_host_headers(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator()
    client = graph_client(emu)
    for host in ("[", "elsewhere.example", ":"):
        status, _, _ = await client.get("/organization", Host=host)
        assert status in (200, 400)


@pytest.mark.parametrize("recipe", ["nothing", ""])
async def test_unknown_recipe(emulator: StartEmulator, recipe: str) -> None:
    with pytest.raises(ValueError, match="no recipe"):
        await emulator(recipe=recipe)


async def test_content_folder_must_hold_users(emulator: StartEmulator, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="first-level folder"):
        await emulator(content=_empty(tmp_path))
    with pytest.raises(ValueError, match="is no folder"):
        await emulator(content=tmp_path / "missing")


def _empty(tmp_path: Path) -> Path:
    folder = tmp_path / "no-users"
    folder.mkdir()
    return folder
