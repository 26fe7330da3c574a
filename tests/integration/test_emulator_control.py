"""Throttling, faults and control of a running emulator."""

import asyncio
import base64
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator
from tools.emulator import Emulator
from tools.emulator.clock import Clock

MakeClient = Callable[[Emulator], GraphClient]
ALICE = "alice@empty.onmicrosoft.com"


async def _control(emu: Emulator, call: str, **arguments: Any) -> tuple[int, Any]:
    """Call the control listener as another process would."""
    control = json.loads((emu.options.data_dir / "control.json").read_text())
    headers = {"Authorization": f"Bearer {control['token']}"}
    async with aiohttp.ClientSession(trust_env=False) as session:
        url = f"{control['url']}/{call}"
        async with session.post(url, json=arguments, headers=headers) as response:
            return response.status, await response.json()


async def test_throttle_of_a_mailbox(emulator: StartEmulator, graph_client: MakeClient) -> None:
    clock = Clock()
    clock.freeze()
    emu = await emulator(throttling="tiny", clock=clock, grace=0.0)
    client = graph_client(emu)
    target = f"/users/{ALICE}/mailFolders/inbox"
    for _ in range(100):
        await client.ok(target)
    status, body, headers = await client.get(target)
    assert (status, body["error"]["code"]) == (429, "ApplicationThrottled")
    wait = int(headers["Retry-After"])
    assert wait == 600
    assert not emu.ledger.breaches
    status, _, headers = await client.get(target)  # too early: a breach
    assert status == 429
    assert emu.ledger.breach_counts == {"call-in-retry-after": 1}
    clock.advance(wait + 1)
    await client.sign_in()
    await client.ok(target)
    assert emu.ledger.breach_counts == {"call-in-retry-after": 1}


async def test_throttle_of_files_and_directory(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    clock = Clock()
    clock.freeze()
    emu = await emulator(throttling="tiny", clock=clock)
    client = graph_client(emu)
    for number in range(12):
        _, _, headers = await client.get(f"/users/{ALICE}/drive")
        assert ("RateLimit-Remaining" in headers) == (number >= 9)
    status, body, headers = await client.get(f"/users/{ALICE}/drive")
    assert (status, body["error"]["code"]) == (429, "activityLimitReached")
    assert int(headers["Retry-After"]) == 60
    for _ in range(17):
        _, _, headers = await client.get("/users")
        assert headers["x-ms-resource-unit"] == "2"
    status, body, headers = await client.get("/users")
    assert (status, body["error"]["code"]) == (429, "TooManyRequests")
    assert int(headers["Retry-After"]) == 10


@pytest.mark.slow
async def test_concurrency_on_a_mailbox(emulator: StartEmulator, graph_client: MakeClient) -> None:
    # Long enough for the connections that a burst opens: its requests must be there together.
    emu = await emulator(throttling="real", latency=0.5)
    client = graph_client(emu)
    await client.sign_in()
    target = f"/users/{ALICE}/mailFolders/inbox"

    async def burst(count: int) -> list[int]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.get(target)) for _ in range(count)]
        return sorted(task.result()[0] for task in tasks)

    assert await burst(4) == [200] * 4
    assert not emu.ledger.breaches
    assert await burst(6) == [200] * 4 + [429] * 2
    owner = emu.tenant.user(ALICE).key
    assert emu.ledger.peaks[owner] == 6
    assert emu.ledger.breach_counts["mailbox-concurrency"] == 2


async def test_a_fast_clock_divides_durations(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    emu = await emulator(throttling="tiny", rate=60.0, token_life=3600)
    client = graph_client(emu)
    emu.controls.force_throttle("identity", 300)
    _, _, headers = await client.get("/users")
    assert headers["Retry-After"] == "5"
    registration = emu.services.registration
    assert registration.issue(registration.apps["backup"], ".default")["expires_in"] == 60


async def test_faults(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator()
    client = graph_client(emu)
    message = emu.tenant.add_message(ALICE, "Inbox", b"Subject: x\r\n\r\ny\r\n")
    one = f"/users/{ALICE}/messages/{message.key}"
    emu.controls.fail_item(message.key, 500, "ErrorInternalServerError", content_only=True)
    assert (await client.get(f"{one}/$value"))[0] == 500
    assert (await client.get(one))[0] == 200
    emu.controls.fail_item(message.key, 404, "ErrorItemNotFound", times=2)
    assert [(await client.get(one))[0] for _ in range(3)] == [404, 404, 200]

    emu.controls.deny(ALICE, "files")
    status, body, _ = await client.get(f"/users/{ALICE}/drive")
    assert (status, body["error"]["code"]) == (403, "accessDenied")
    emu.controls.deny(ALICE, "files", denied=False)
    assert (await client.get(f"/users/{ALICE}/drive"))[0] == 200

    emu.controls.outage(retry_after=7)
    status, _, headers = await client.get("/users")
    assert (status, headers["Retry-After"]) == (503, "7")
    emu.controls.clear_faults()
    emu.controls.fail_every(2, 500, "generalException")
    assert [(await client.get("/users"))[0] for _ in range(4)] == [200, 500, 200, 500]


async def test_cut_content(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator()
    client = graph_client(emu)
    item = emu.tenant.put_file(ALICE, "x.bin", b"0123456789" * 10_000)
    message = emu.tenant.add_message(ALICE, "Inbox", b"Subject: x\r\n\r\n" + b"y" * 50_000)
    url = (await client.ok(f"/users/{ALICE}/drive/items/{item.key}"))[
        "@microsoft.graph.downloadUrl"
    ]
    emu.controls.cut_download(item.key, 0.5, times=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.download(url)
    assert len((await client.download(url))[1]) == 100_000
    emu.controls.cut_download(message.key, 0.5, times=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.get(f"/users/{ALICE}/messages/{message.key}/$value")


async def test_mime_drift(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator(inject_mime_drift=True)
    client = graph_client(emu)
    message = emu.tenant.add_message(ALICE, "Inbox", b"Subject: x\r\n\r\ny\r\n")
    target = f"/users/{ALICE}/messages/{message.key}/$value"
    assert await client.ok(target) != await client.ok(target)


async def test_control_listener(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator()
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        session.post(f"{emu.control_url}/status", json={}) as response,
    ):
        assert response.status == 401
    raw = base64.b64encode(b"Subject: hello\r\n\r\nworld\r\n").decode()
    status, added = await _control(
        emu, "add_message", user=ALICE, folder="Inbox/Sub", content=raw, is_read=True
    )
    assert status == 200
    await _control(emu, "put_file", user=ALICE, path="a/b.txt", content=raw, modified=1.7e9)
    status, state = await _control(emu, "oracle", user=ALICE)
    assert added["id"] in state[ALICE]["mail"]["Inbox/Sub"]
    assert state[ALICE]["drive"]["a/b.txt"]["mtime"] == "2023-11-14T22:13:20Z"
    client = graph_client(emu)
    await client.ok("/users")
    status, ledger = await _control(emu, "ledger")
    assert [row["template"] for row in ledger["requests"]] == ["/users"]
    assert (await _control(emu, "nonsense"))[0] == 404
    assert (await _control(emu, "put_file", user=ALICE))[0] == 400
    assert (await _control(emu, "delete_file", user=ALICE, path="none"))[0] == 404
    assert (await _control(emu, "churn"))[0] == 400
    assert (await _control(emu, "status"))[1]["users"] == 2


async def test_the_org_file(emulator: StartEmulator, tmp_path: Path) -> None:
    org_file = tmp_path / "org.toml"
    emu = await emulator(org_file=org_file)
    assert org_file.stat().st_mode & 0o777 == 0o600
    org = tomllib.loads(org_file.read_text())["organization"]
    assert org == emu.org
    assert org["graph_endpoint"] == emu.graph_url
    assert "BEGIN CERTIFICATE" in Path(org["ca_file"]).read_text()
    certificate = Path(emu.org_with_certificate()["certificate_file"]).read_text()
    assert "PRIVATE KEY" in certificate
    assert "BEGIN CERTIFICATE" in certificate
