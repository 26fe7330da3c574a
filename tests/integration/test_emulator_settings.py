"""Settings of emulated mailboxes, and every answer to a write against the OpenAPI subset of Graph."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator
from tests.integration.test_emulator_conformance import checker

MakeClient = Callable[..., GraphClient]
UPN = "alice@empty.onmicrosoft.com"
ALICE = f"/users/{UPN}"
RAW = b"From: a@example.com\r\nSubject: Kept\r\n\r\nBytes \xff.\r\n"


class Writing:
    """A client whose every answer is held against the subset."""

    def __init__(self, client: GraphClient) -> None:
        self.client = client
        self.checked = 0

    async def __call__(self, method: str, target: str, body: Any = None, status: int = 201) -> Any:
        given = {"Content_Type": "text/plain"} if isinstance(body, bytes) else {}
        got, answer, _ = await self.client.send(method, target, body, **given)
        assert got == status, (method, target, got, answer)
        path = target.partition("?")[0]
        problems = checker().check(method, path, got, answer)
        if not (problems and problems[0].startswith(("no such path", f"{method} not described"))):
            assert not problems, (method, target, problems)
            self.checked += 1
        return answer


async def test_mailbox_settings(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Settings change member by member; what the service sets cannot be set."""
    emu = await emulator()
    call = Writing(graph_client(emu, "restore"))
    target = f"{ALICE}/mailboxSettings"
    before = await call("GET", target, status=200)
    change = {
        "timeZone": "Central European Standard Time",
        "automaticRepliesSetting": {"status": "alwaysEnabled", "internalReplyMessage": "Away"},
    }
    after = await call("PATCH", target, change, 200)
    assert after["timeZone"] == change["timeZone"]
    replies = before["automaticRepliesSetting"] | change["automaticRepliesSetting"]
    assert after["automaticRepliesSetting"] == replies
    for bad in ({"userPurpose": "room"}, {"nothing": 1}, {"workingHours": "always"}):
        await call("PATCH", target, bad, 400)
    state = emu.controls.oracle(UPN, exact=True)[UPN]["settings"]["settings"]
    assert state["automaticRepliesSetting"] == replies
    assert call.checked == 5


async def test_rules_categories_and_overrides(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    emu = await emulator()
    call = Writing(graph_client(emu, "restore"))
    folder = await call("POST", f"{ALICE}/mailFolders", {"displayName": "Target"})
    rules = f"{ALICE}/mailFolders/inbox/messageRules"
    rule = {
        "displayName": "Sort",
        "sequence": 1,
        "conditions": {"senderContains": ["boss"]},
        "actions": {"moveToFolder": folder["id"], "stopProcessingRules": True},
    }
    made = await call("POST", rules, rule)
    assert {name: made[name] for name in rule} == rule
    await call("POST", rules, rule | {"actions": {"moveToFolder": "nothing"}}, 400)
    await call("POST", f"{ALICE}/mailFolders/drafts/messageRules", rule, 400)
    await call("PATCH", f"{rules}/{made['id']}", {"isEnabled": False}, 200)
    assert [r["isEnabled"] for r in (await call("GET", rules, status=200))["value"]] == [False]

    categories = f"{ALICE}/outlook/masterCategories"
    red = await call("POST", categories, {"displayName": "Red", "color": "preset0"})
    await call("POST", categories, {"displayName": "RED", "color": "preset1"}, 409)
    await call("POST", categories, {"displayName": "Blue", "color": "blue"}, 400)
    await call("PATCH", f"{categories}/{red['id']}", {"displayName": "Pink"}, 400)
    changed = await call("PATCH", f"{categories}/{red['id']}", {"color": "preset9"}, 200)
    assert changed["color"] == "preset9"

    overrides = f"{ALICE}/inferenceClassification/overrides"
    sender = {"name": "Ann", "address": "ann@example.com"}
    first = await call("POST", overrides, {"classifyAs": "other", "senderEmailAddress": sender})
    again = await call("POST", overrides, {"classifyAs": "focused", "senderEmailAddress": sender})
    assert (again["id"], again["classifyAs"]) == (first["id"], "focused")

    state = emu.controls.oracle(UPN, exact=True)[UPN]["settings"]
    assert [len(state[name]) for name in ("rules", "categories", "overrides")] == [1, 1, 1]
    for path, row in ((rules, made), (categories, red), (overrides, first)):
        await call("DELETE", f"{path}/{row['id']}", status=204)
        await call("GET", f"{path}/{row['id']}", status=404)
    assert not emu.ledger.breaches


async def test_the_backup_only_reads_settings(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    emu = await emulator()
    client = graph_client(emu)
    for path in (
        "mailboxSettings", "mailFolders/inbox/messageRules", "outlook/masterCategories",
        "inferenceClassification/overrides",
    ):  # fmt: skip
        await client.ok(f"{ALICE}/{path}")
    assert not emu.ledger.breaches


async def test_ids_are_translated(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Between the default form, the immutable one, and that of older protocols."""
    emu = await emulator()
    client = graph_client(emu)
    mails = [emu.tenant.add_message(UPN, "Inbox", RAW) for _ in range(30)]

    async def translate(ids: list[str], source: str, target: str) -> list[Any]:
        body = {"inputIds": ids, "sourceIdType": source, "targetIdType": target}
        path = f"{ALICE}/translateExchangeIds"
        answer = await client.done("POST", path, body, 200)
        assert not checker().check("POST", path, 200, answer)
        return [row.get("targetId") for row in answer["value"]]

    default, immutable = [m.movable for m in mails], [m.key for m in mails]
    assert await translate(default, "restId", "restImmutableEntryId") == immutable
    assert await translate(immutable, "restImmutableEntryId", "restId") == default
    old = await translate(default, "restId", "ewsId")
    assert any("/" in key or "+" in key for key in old)
    assert await translate(old, "ewsId", "restImmutableEntryId") == immutable
    assert await translate(["nothing"], "restId", "ewsId") == [None]


@pytest.mark.slow
async def test_answers_to_writes_conform(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Every kind of write to mail, and the import/export API, as Graph's metadata has them."""
    roles = (
        "Mail.ReadWrite", "MailboxFolder.ReadWrite.All", "MailboxItem.ReadWrite.All",
        "MailboxItem.ImportExport.All",
    )  # fmt: skip
    emu = await emulator(restore_roles=roles)
    client = graph_client(emu, "restore")
    call = Writing(client)
    folder = await call("POST", f"{ALICE}/mailFolders", {"displayName": "One"})
    base = f"{ALICE}/mailFolders/{folder['id']}"
    await call("POST", f"{base}/childFolders", {"displayName": "Two"})
    await call("PATCH", base, {"displayName": "Renamed"}, 200)
    draft = await call("POST", f"{base}/messages", base64.b64encode(RAW))
    full = await call(
        "POST", f"{ALICE}/messages", {"subject": "x", "flag": {"flagStatus": "flagged"}}
    )
    one = f"{ALICE}/messages/{full['id']}"
    await call("PATCH", one, {"subject": "y", "categories": ["Red"]}, 200)
    file = {
        "@odata.type": "#microsoft.graph.fileAttachment", "name": "a", "contentBytes": "QUJD",
    }  # fmt: skip
    await call("POST", f"{one}/attachments", file)
    item = {"attachmentType": "file", "name": "b", "size": 4 << 20}
    await call("POST", f"{one}/attachments/createUploadSession", {"AttachmentItem": item})
    await call("GET", f"{one}?$expand=attachments", status=200)
    moved = await call("POST", f"{one}/move", {"destinationId": "archive"})
    await call("POST", f"{ALICE}/messages/{moved['id']}/copy", {"destinationId": "inbox"})
    await call("DELETE", f"{ALICE}/messages/{draft['id']}", status=204)
    await call("POST", f"{ALICE}/messages/{moved['id']}/permanentDelete", status=204)
    found = await call("GET", f"{ALICE}/settings/exchange", status=200)
    mailbox = f"/admin/exchange/mailboxes/{found['primaryMailboxId']}"
    await call("GET", mailbox, status=200)
    made = await call("POST", f"{mailbox}/folders", {"displayName": "New", "type": "IPF.Note"})
    await call("PATCH", f"{mailbox}/folders/{made['id']}", {"displayName": "Newer"}, 200)
    for path in ("folders", "folders/delta", "folders/inbox", "folders/inbox/childFolders"):
        await call("GET", f"{mailbox}/{path}", status=200)
    listed = await call("GET", f"{mailbox}/folders/inbox/items", status=200)
    key = listed["value"][0]["id"]
    await call("GET", f"{mailbox}/folders/inbox/items/{key}", status=200)
    await call("GET", f"{mailbox}/folders/inbox/items/delta", status=200)
    await call("POST", f"{mailbox}/exportItems", {"itemIds": [key, "nothing"]}, 200)
    for status in (200, 201):
        await call("POST", f"{mailbox}/createImportSession", status=status)
    await call("DELETE", f"{mailbox}/folders/inbox/items/{key}", status=204)
    await call("DELETE", f"{mailbox}/folders/{made['id']}", status=204)
    await call("POST", "/$batch", {"requests": [{"id": "1", "method": "GET", "url": mailbox}]}, 200)
    assert call.checked >= 28
    assert not emu.ledger.breaches
