"""What fault scripts do to answers, on every host of the emulator."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator

MakeClient = Callable[..., GraphClient]
UPN = "alice@empty.onmicrosoft.com"
ALICE = f"/users/{UPN}"
INBOX = f"{ALICE}/mailFolders/inbox"
RAW = b"From: a@example.com\r\nSubject: Kept\r\n\r\nBytes.\r\n"


async def test_answers_in_every_form(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """The error envelope with codes inside, HTML, text, nothing at all; headers as told."""
    emu = await emulator()
    client = graph_client(emu)
    inner = {"innerError": {"code": "quota"}}
    emu.controls.script(
        [
            {
                "when": {"path": "/users/*/mailFolders/inbox", "nth": 1},
                "do": {"status": 429, "code": "activityLimitReached", "inner": inner,
                       "message": "Slow down.", "headers": {"Retry-After": "7"}},
            },
            {"when": {"nth": 1}, "do": {"status": 503, "body": "html"}},
            {"when": {"nth": 1}, "do": {"status": 404, "body": "empty"}},
            {"when": {"nth": 1, "mailbox": UPN}, "do": {"status": 500, "body": "text"}},
        ]
    )  # fmt: skip
    status, body, headers = await client.get(INBOX)
    assert (status, headers["Retry-After"]) == (429, "7")
    assert body["error"]["code"] == "activityLimitReached"
    assert body["error"]["innerError"]["innerError"] == {"code": "quota"}
    for wanted, start in ((503, b"<html>"), (404, b""), (500, b"The service")):
        status, body, _ = await client.get(INBOX)
        assert (status, body[:11]) == (wanted, start[:11] if start != b"<html>" else body[:11])
        assert body.startswith(start)
    assert (await client.get(INBOX))[0] == 200
    assert emu.services.script.fired() == [1, 1, 1, 1]


async def test_bodies_that_suffer(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Cut, slow, without a length, with a wrong byte."""
    emu = await emulator()
    client = graph_client(emu)
    mail = emu.tenant.add_message(UPN, "Inbox", RAW * 100)
    path = f"{ALICE}/messages/{mail.key}/$value"
    rules: list[dict[str, Any]] = [
        {"truncate_at": 0.5}, {"drip_s": 0.02}, {"chunked": True}, {"corrupt": True},
    ]  # fmt: skip
    emu.controls.script([{"when": {"nth": 1}, "do": do} for do in rules])
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.get(path)
    status, body, headers = await client.get(path)
    assert (status, body, int(headers["Content-Length"])) == (200, RAW * 100, len(RAW) * 100)
    status, body, headers = await client.get(path)
    assert (status, body, "Content-Length" in headers) == (200, RAW * 100, False)
    _, body, headers = await client.get(path)
    assert sum(a != b for a, b in zip(body, RAW * 100, strict=True)) == 1
    assert int(headers["Content-Length"]) == len(body)


async def test_pages_that_go_wrong(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Rows twice, in another order, none at first, tombstones left out, a link that stays."""
    emu = await emulator()
    client = graph_client(emu)
    mails = [emu.tenant.add_message(UPN, "Inbox", RAW) for _ in range(6)]
    delta = f"{INBOX}/messages/delta?$select=id"
    immutable = {"Prefer": 'IdType="ImmutableId"'}
    plain, link = await client.pages(delta, **immutable)
    keys = [row["id"] for row in plain]
    assert keys == [m.key for m in mails]

    async def round_with(page: str) -> list[Any]:
        emu.controls.script([{"when": {"once": True}, "do": {"page": page}}])
        return (await client.pages(delta, **immutable))[0]

    assert [r["id"] for r in await round_with("duplicate_items")] == keys + keys[:3]
    shuffled = [r["id"] for r in await round_with("reorder")]
    assert shuffled != keys
    assert sorted(shuffled) == sorted(keys)
    assert [r["id"] for r in await round_with("empty_page")] == keys
    _, link = await client.pages(delta, **immutable)  # the first one is too old by now
    emu.tenant.delete_message(UPN, mails[0].key)
    emu.controls.script([{"when": {"once": True}, "do": {"page": "drop_tombstone"}}])
    assert (await client.pages(str(link), **immutable))[0] == []
    emu.controls.script([{"when": {}, "do": {"page": "repeat_nextlink"}}])
    first = await client.ok(delta)
    assert (await client.ok(first["@odata.nextLink"]))["@odata.nextLink"] == first[
        "@odata.nextLink"
    ]
    assert not emu.ledger.breaches


async def test_things_that_happen_before_a_call(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """A rule may make any control call, such as the death of sync states half-way."""
    emu = await emulator()
    client = graph_client(emu)
    emu.tenant.add_message(UPN, "Inbox", RAW)
    control = [{"call": "kill_delta_tokens", "user": UPN}, {"call": "advance", "seconds": 60}]
    path = "/users/*/mailFolders/*/messages/delta"
    emu.controls.script([{"when": {"path": path, "nth": 2}, "do": {"control": control}}])
    _, link = await client.pages(f"{INBOX}/messages/delta")
    before = emu.clock.now()
    status, body, _ = await client.get(str(link))
    assert (status, body["error"]["code"]) == (410, "SyncStateNotFound")
    assert emu.clock.now() - before >= 60
    with pytest.raises(ValueError, match="no such control call"):
        emu.services.control("nothing", {})


async def test_sign_in_and_downloads(
    emulator: StartEmulator, graph_client: MakeClient, tmp_path: Path
) -> None:
    """Scripts reach the sign-in host and pre-authenticated URLs; one may be given at the start."""
    script = tmp_path / "script.json"
    rules = [
        {"when": {"kind": "token", "nth": 1}, "do": {"status": 503}},
        {"when": {"kind": "download", "nth": 1}, "do": {"status": 503, "body": "empty"}},
    ]
    script.write_text(json.dumps(rules))
    emu = await emulator(script=script)
    client = graph_client(emu)
    emu.tenant.put_file(UPN, "a.txt", b"content")
    with pytest.raises(AssertionError):
        await client.sign_in()
    await client.sign_in()
    _, _, headers = await client.get(f"{ALICE}/drive/root:/a.txt:/content")
    assert (await client.download(headers["Location"]))[0] == 503
    assert (await client.download(headers["Location"]))[:2] == (200, b"content")
