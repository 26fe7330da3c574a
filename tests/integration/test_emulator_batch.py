"""`$batch` of the emulator: each request on its own, in any order, within limits."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator

MakeClient = Callable[..., GraphClient]
UPN = "alice@empty.onmicrosoft.com"
ALICE = f"/users/{UPN}"
RAW = b"From: a@example.com\r\nSubject: Kept\r\n\r\nBytes \xff.\r\n"
JSON = {"Content-Type": "application/json"}


def step(key: str, url: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    return {"id": key, "method": method, "url": url} | more


async def batch(client: GraphClient, *steps: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The answers by id."""
    body = await client.done("POST", "/$batch", {"requests": list(steps)}, 200)
    assert len(body["responses"]) == len(steps)
    return {one["id"]: one for one in body["responses"]}


async def test_reading_and_writing_in_one_request(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """JSON, bytes in base64, errors, redirects and MIME; every request is metered by itself."""
    emu = await emulator()
    client = graph_client(emu, "restore")
    mail = emu.tenant.add_message(UPN, "Inbox", RAW)
    found = await batch(
        client,
        step("1", f"{ALICE}/messages/{mail.movable}"),
        step("2", f"{ALICE}/messages/{mail.key}/$value".lstrip("/")),
        step("3", f"{ALICE}/messages/none"),
        step("4", f"{ALICE}/mailFolders", "POST", headers=JSON, body={"displayName": "New"}),
        step(
            "5", f"{ALICE}/messages", "POST",
            headers={"Content-Type": "text/plain"}, body=base64.b64encode(RAW).decode(),
        ),
        step("6", f"{ALICE}/messages?$select=subject", headers={"Prefer": "odata.maxpagesize=1"}),
    )  # fmt: skip
    assert found["1"]["body"]["subject"] == "Kept"
    assert base64.b64decode(found["2"]["body"]) == RAW
    assert found["3"]["status"] == 404
    assert found["3"]["body"]["error"]["code"] == "ErrorItemNotFound"
    assert found["4"]["status"] == 201
    assert (found["5"]["status"], found["5"]["body"]["subject"]) == (201, "Kept")
    assert len(found["6"]["body"]["value"]) == 1
    assert emu.ledger.requests("POST /$batch") == 1
    assert emu.ledger.requests("/users/{user}/messages/{message}") == 2
    assert not emu.ledger.breaches


async def test_dependants_of_a_failure_are_not_done(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    emu = await emulator()
    client = graph_client(emu, "restore")
    new = {"headers": JSON, "body": {"displayName": "New"}}
    found = await batch(
        client,
        step("a", f"{ALICE}/mailFolders", "POST", **new),
        step("b", f"{ALICE}/mailFolders", "POST", dependsOn=["a"], **new),
        step("c", f"{ALICE}/mailFolders/inbox", dependsOn=["b"]),
        step("d", f"{ALICE}/mailFolders/inbox", dependsOn=["a"]),
    )
    assert {key: one["status"] for key, one in found.items()} == {
        "a": 201, "b": 409, "c": 424, "d": 200,
    }  # fmt: skip


async def test_at_most_four_at_a_time(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Graph keeps a batch within the concurrency of a mailbox by itself."""
    emu = await emulator(latency=0.005)
    client = graph_client(emu)
    await batch(client, *(step(str(n), f"{ALICE}/mailFolders/inbox") for n in range(20)))
    assert list(emu.ledger.peaks.values()) == [4]
    assert not emu.ledger.breaches


async def test_throttling_within_a_batch(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """The batch is a 200 though some of it is throttled, with its own Retry-After."""
    emu = await emulator()
    client = graph_client(emu)
    emu.controls.force_throttle(f"mailbox:{UPN}", 60)
    found = await batch(
        client,
        step("1", f"{ALICE}/mailFolders/inbox"),
        step("2", "/users/bob@empty.onmicrosoft.com/mailFolders/inbox"),
    )
    assert (found["1"]["status"], found["1"]["headers"]["Retry-After"]) == (429, "60")
    assert found["2"]["status"] == 200


@pytest.mark.parametrize(
    ("steps", "breach"),
    [
        ([step(str(n), "/users") for n in range(21)], True),
        ([], True),
        ([step("1", "/users"), step("1", "/users")], True),
        ([step("1", "/$batch", "POST", headers=JSON, body={})], True),
        ([step("1", "/users", dependsOn=["2"])], False),
        ([step("1", "/users", "POST", body={})], False),
        ([{"id": 1}], False),
    ],
)
async def test_batches_that_are_refused(
    emulator: StartEmulator, graph_client: MakeClient, steps: list[Any], breach: bool
) -> None:
    emu = await emulator()
    status, _, _ = await graph_client(emu).send("POST", "/$batch", {"requests": steps})
    assert status == 400
    assert (emu.ledger.breach_counts["batch"] == 1) is breach


async def test_a_batch_needs_a_token(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator()
    client = graph_client(emu)
    client.token = "nonsense"
    status, _, _ = await client.send("POST", "/$batch", {"requests": [step("1", "/users")]})
    assert status == 401
