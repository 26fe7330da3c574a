"""The writing side of the emulator: who may, what is kept, and answers that get lost."""

from collections.abc import Callable

import aiohttp
import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator

MakeClient = Callable[..., GraphClient]
ALICE = "/users/alice@empty.onmicrosoft.com"


async def test_only_the_restore_app_writes(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """The backup's app is refused by its roles, and the try is a breach."""
    emu = await emulator()
    body = {"displayName": "Restored"}
    refused, answer, _ = await graph_client(emu).send("POST", f"{ALICE}/mailFolders", body)
    assert (refused, answer["error"]["code"]) == (403, "ErrorAccessDenied")
    assert emu.ledger.breach_counts == {"write-call": 1}
    emu.ledger.clear()
    made = await graph_client(emu, "restore").done("POST", f"{ALICE}/mailFolders", body)
    assert made["displayName"] == "Restored"
    assert not emu.ledger.breaches


async def test_one_app_for_everything_may_be_allowed(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Where the backup's app has writing roles and is meant to write, that is no breach."""
    emu = await emulator()
    emu.controls.set_roles(["Mail.ReadWrite"])
    emu.controls.allow_writes()
    await graph_client(emu).done("POST", f"{ALICE}/mailFolders", {"displayName": "Restored"})
    assert not emu.ledger.breaches


async def test_folder_writes(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Folders are made, renamed, moved and deleted; names are unique below one parent."""
    emu = await emulator()
    client = graph_client(emu, "restore")
    top = await client.done("POST", f"{ALICE}/mailFolders", {"displayName": "Top"})
    base = f"{ALICE}/mailFolders/{top['id']}"
    child = await client.done("POST", f"{base}/childFolders", {"displayName": "Child"})
    again, answer, _ = await client.send("POST", f"{base}/childFolders", {"displayName": "CHILD"})
    assert (again, answer["error"]["code"]) == (409, "ErrorFolderExists")
    assert (await client.send("POST", f"{base}/childFolders", {"displayName": " "}))[0] == 400
    assert (await client.send("POST", f"{base}/childFolders", b"[1"))[0] == 400
    one = f"{ALICE}/mailFolders/{child['id']}"
    await client.done("PATCH", one, {"displayName": "Renamed"}, 200)
    moved = await client.done("POST", f"{one}/move", {"destinationId": "inbox"})
    inbox = await client.ok(f"{ALICE}/mailFolders/inbox")
    assert (moved["id"], moved["parentFolderId"]) == (child["id"], inbox["id"])
    assert (await client.send("DELETE", f"{ALICE}/mailFolders/inbox"))[0] == 403
    await client.done("DELETE", one, status=204)
    bin_folder = await client.ok(f"{ALICE}/mailFolders/deleteditems")
    assert (await client.ok(one))["parentFolderId"] == bin_folder["id"]
    await client.done("DELETE", one, status=204)
    assert (await client.get(one))[0] == 404
    assert (await client.send("PUT", one, {}))[0] == 405
    assert not emu.ledger.breaches


@pytest.mark.parametrize("commit", [True, False])
async def test_an_answer_that_gets_lost(
    emulator: StartEmulator, graph_client: MakeClient, commit: bool
) -> None:
    """A dropped write may have been done or not; the client cannot tell without looking."""
    emu = await emulator()
    client = graph_client(emu, "restore")
    rule = {"when": {"kind": "write", "nth": 2}, "do": {"then": "drop", "commit": commit}}
    emu.controls.script([rule])
    await client.done("POST", f"{ALICE}/mailFolders", {"displayName": "One"})
    with pytest.raises(aiohttp.ClientError):
        await client.send("POST", f"{ALICE}/mailFolders", {"displayName": "Two"})
    names = [f["displayName"] for f in (await client.pages(f"{ALICE}/mailFolders"))[0]]
    assert "One" in names
    assert ("Two" in names) is commit
    assert emu.services.script.fired() == [1]


async def test_bodies_are_limited(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Graph takes requests of 4 MiB at most."""
    emu = await emulator()
    body = {"displayName": "x" * (4 << 20)}
    status, answer, _ = await graph_client(emu, "restore").send(
        "POST", f"{ALICE}/mailFolders", body
    )
    assert (status, answer["error"]["code"]) == (413, "RequestEntityTooLarge")


async def test_every_write_to_mail_may_lose_its_answer(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Each kind of write is done though the connection is closed, and leaves the state it should."""
    emu = await emulator(
        restore_roles=("Mail.ReadWrite", "MailboxSettings.ReadWrite", "MailboxFolder.ReadWrite.All")
    )
    client = graph_client(emu, "restore")
    await client.sign_in()
    client.session._retry_connection = False  # aiohttp would send a DELETE again by itself
    raw = b"From: a@example.com\r\nSubject: Kept\r\n\r\nText.\r\n"
    mail = emu.tenant.add_message("alice@empty.onmicrosoft.com", "Inbox", raw)
    spare = emu.tenant.add_message("alice@empty.onmicrosoft.com", "Inbox", raw)
    one, other = f"{ALICE}/messages/{mail.key}", f"{ALICE}/messages/{spare.key}"
    owner = emu.tenant.user("alice@empty.onmicrosoft.com")
    box = f"/admin/exchange/mailboxes/{emu.tenant.mailbox_id(owner)}"
    file = {"@odata.type": "#microsoft.graph.fileAttachment", "name": "a", "contentBytes": "QUJD"}
    emu.controls.script([{"when": {"kind": "write"}, "do": {"commit": True, "then": "drop"}}])
    mailbox = emu.tenant.mailbox("alice@empty.onmicrosoft.com")

    def folder(name: str) -> str:
        return next(key for key, f in mailbox.folders.items() if f.name == name)

    async def lost(method: str, target: str, body: object = None) -> None:
        before = (emu.controls.oracle(exact=True), [f.path for f in mailbox.folders.values()])
        with pytest.raises(aiohttp.ClientError):
            await client.send(method, target, body)
        after = (emu.controls.oracle(exact=True), [f.path for f in mailbox.folders.values()])
        assert before != after, (method, target)

    await lost("POST", f"{ALICE}/mailFolders", {"displayName": "One"})
    await lost("POST", f"{ALICE}/mailFolders/{folder('One')}/childFolders", {"displayName": "Two"})
    await lost("PATCH", f"{ALICE}/mailFolders/{folder('Two')}", {"displayName": "Three"})
    await lost("POST", f"{ALICE}/mailFolders/{folder('Three')}/move", {"destinationId": "inbox"})
    await lost("DELETE", f"{ALICE}/mailFolders/{folder('Three')}")
    await lost("POST", f"{box}/folders", {"displayName": "Four", "type": "IPF.Note"})
    await lost("PATCH", f"{box}/folders/{folder('Four')}", {"displayName": "Five"})
    await lost("DELETE", f"{box}/folders/{folder('Five')}")
    await lost("POST", f"{ALICE}/messages", {"subject": "New"})
    await lost("PATCH", one, {"isRead": True})
    await lost("POST", f"{one}/attachments", file)
    await lost("POST", f"{one}/move", {"destinationId": "archive"})
    await lost("POST", f"{one}/copy", {"destinationId": "inbox"})
    await lost("DELETE", one)
    await lost("POST", f"{other}/permanentDelete")
    await lost("PATCH", f"{ALICE}/mailboxSettings", {"timeZone": "W. Europe Standard Time"})
    rule = {"displayName": "Sort", "sequence": 1, "actions": {"markAsRead": True}}
    await lost("POST", f"{ALICE}/mailFolders/inbox/messageRules", rule)
    await lost("POST", f"{ALICE}/outlook/masterCategories", {"displayName": "Red"})
    assert not emu.ledger.breaches
