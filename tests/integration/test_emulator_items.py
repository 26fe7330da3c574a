"""Whole items out of the emulated Exchange and back: export, import sessions, upload sessions."""

import base64
import io
import logging
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from tests.fixtures.emulator import USER_AGENT, GraphClient, StartEmulator, no_leaks
from tools.emulator import Emulator
from tools.emulator.mailbox_items import MailboxItems
from tools.emulator.message_store import MessageStore
from tools.emulator.outlook import CANARY

MakeClient = Callable[..., GraphClient]
UPN = "alice@empty.onmicrosoft.com"
ALICE = f"/users/{UPN}"
BOB = "/users/bob@empty.onmicrosoft.com"
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}
RAW = b"From: a@example.com\r\nSubject: Kept\r\nMessage-ID: <1@example.com>\r\n\r\nBytes \xff.\r\n"


async def mailbox(client: GraphClient, user: str = ALICE) -> str:
    found = await client.ok(f"{user}/settings/exchange")
    return f"/admin/exchange/mailboxes/{found['primaryMailboxId']}"


async def post(client: GraphClient, url: str, body: Any) -> tuple[int, Any]:
    """POST to a pre-authenticated URL."""
    async with client.session.post(url, json=body) as response:
        return response.status, await response.json()


def everything(emu: Emulator, user: str) -> list[dict[str, Any]]:
    """The states of all items of a user with the names of their folders, in a fixed order."""
    box = emu.tenant.mailbox(user)
    items = MailboxItems(box, MessageStore(box, 1, "", 0), emu.tenant.seed, 0)
    found = [
        {"folder": folder.held.name, "class": items.item_class(item), "state": items.state(item)}
        for folder in items.folders()
        for item in folder.items.values()
    ]
    return sorted(found, key=repr)


def fill(emu: Emulator) -> None:
    """One of everything: a mail, a draft with an attachment, an event series, a contact, a task."""
    tenant = emu.tenant
    mail = tenant.add_message(UPN, "Inbox", RAW)
    mail.categories, mail.flag = ("Red",), {"flagStatus": "flagged"}
    box = tenant.mailbox(UPN)
    now = emu.clock.now()
    series = box.calendars.add(
        box.calendars.default,
        {
            "subject": "Weekly",
            "start": {"dateTime": "2026-11-02T09:00:00", "timeZone": "UTC"},
            "end": {"dateTime": "2026-11-02T10:00:00", "timeZone": "UTC"},
            "recurrence": {
                "pattern": {"type": "daily", "interval": 1},
                "range": {"type": "numbered", "startDate": "2026-11-02", "numberOfOccurrences": 5},
            },
            "attendees": [{"emailAddress": {"address": "x@example.com"}, "type": "required"}],
        },
        at=now,
    )
    days = [day for day, _ in zip(_days(series), range(3), strict=False)]
    box.calendars.change_instance(series, days[1], {"subject": "Moved"}, at=now)
    box.calendars.cancel_instance(series, days[2], at=now)
    box.contacts.add(box.contacts.default, {"givenName": "Żaneta"}, at=now)
    task = box.tasks.add(box.tasks.default, {"title": "Do"}, at=now)
    box.tasks.add_check(task, {"displayName": "First", "isChecked": True}, at=now)


def _days(series: Any) -> Any:
    from tools.emulator import recurrence

    return recurrence.days(series.properties["recurrence"])


async def test_every_item_comes_back_whole(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Export with the backup's app, import with the restore's into another mailbox: all is equal."""
    emu = await emulator()
    fill(emu)
    source, target = graph_client(emu), graph_client(emu, "restore")
    await target.done(
        "POST", f"{ALICE}/mailFolders/drafts/messages", {"subject": "Draft", "attachments": [
            {"@odata.type": "#microsoft.graph.fileAttachment", "name": "a", "contentBytes": "QUJD"},
        ]},
    )  # fmt: skip
    here, there = await mailbox(source), await mailbox(target, BOB)
    session = await target.send("POST", f"{there}/createImportSession")
    assert session[0] in (200, 201)
    url = session[1]["importUrl"]
    assert CANARY in url
    folders = await target.pages(f"{there}/folders", Prefer="odata.maxpagesize=100")
    places = {(f["displayName"], f["type"]): f["id"] for f in folders[0]}
    kinds = []
    for folder in (await source.pages(f"{here}/folders", Prefer="odata.maxpagesize=100"))[0]:
        items, _ = await source.pages(f"{here}/folders/{folder['id']}/items")
        for item in items:
            assert item["size"] > 0
            answer = await source.done(
                "POST", f"{here}/exportItems", {"itemIds": [item["id"]]}, 200
            )
            (exported,) = answer["value"]
            assert exported["changeKey"] == item["changeKey"]
            place = places[folder["displayName"], folder["type"]]
            body = {"FolderId": place, "Mode": "create", "Data": exported["data"]}
            status, made = await post(target, url, body)
            assert status == 200, made
            kinds.append(item["type"])
            found = await source.ok(f"{there}/folders/{place}/items/{made['itemId']}")
            assert found["changeKey"] == made["changeKey"]
    assert sorted(kinds) == ["IPM.Appointment", "IPM.Contact", "IPM.Note", "IPM.Note", "IPM.Task"]
    assert everything(emu, "bob@empty.onmicrosoft.com") == everything(emu, UPN)
    assert not emu.ledger.breaches


async def test_errors_of_single_items(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """An item that cannot be exported has an error within a 200; more than 20 are refused."""
    emu = await emulator(export_bytes_max=2000)
    client = graph_client(emu)
    good = emu.tenant.add_message(UPN, "Inbox", RAW)
    bad = emu.tenant.add_message(UPN, "Inbox", RAW)
    large = emu.tenant.add_message(UPN, "Inbox", RAW + base64.b85encode(bytes(range(256)) * 20))
    large.extended = {f"String 0x{n:x}": str(hash(str(n))) for n in range(300)}
    emu.controls.fail_item(bad.key, 500, "ErrorCorruptData")
    base = await mailbox(client)
    wanted = [good.movable, bad.movable, "nothing", large.key]
    answer = await client.done("POST", f"{base}/exportItems", {"itemIds": wanted}, 200)
    assert [row["itemId"] for row in answer["value"]] == wanted
    codes = [row.get("error", {}).get("code") for row in answer["value"]]
    assert codes == [None, "ErrorCorruptData", "ErrorItemNotFound", "ErrorMessageSizeExceeded"]
    assert not emu.ledger.breaches
    status, _, _ = await client.send("POST", f"{base}/exportItems", {"itemIds": [good.key] * 21})
    assert status == 400
    assert emu.ledger.breach_counts == {"too-many-exports": 1}


async def test_imports_that_are_refused(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Changed bytes, a wrong mode, a stale change key, an old session: nothing is written."""
    emu = await emulator(import_life=60)
    fill(emu)
    client = graph_client(emu, "restore")
    base = await mailbox(client)
    (mail,) = (await client.pages(f"{ALICE}/mailFolders/inbox/messages"))[0]
    exported = await client.done("POST", f"{base}/exportItems", {"itemIds": [mail["id"]]}, 200)
    data = exported["value"][0]["data"]
    url = (await client.send("POST", f"{base}/createImportSession"))[1]["importUrl"]
    inbox = mail["parentFolderId"]
    create = {"FolderId": inbox, "Mode": "create", "Data": data}
    update = {"FolderId": inbox, "Mode": "update", "Data": data, "ItemId": mail["id"]}
    broken = base64.b64encode(base64.b64decode(data)[:-1] + b"!").decode()
    calendar = emu.tenant.mailbox(UPN).calendars.default.key
    for body, status, code in (
        (create | {"Data": broken}, 400, "ErrorCorruptData"),
        (create | {"Data": "%"}, 400, "ErrorInvalidRequest"),
        (create | {"ItemId": mail["id"]}, 400, "ErrorInvalidRequest"),
        (update, 412, "ErrorIrresolvableConflict"),
        (update | {"ChangeKey": "old"}, 412, "ErrorIrresolvableConflict"),
        (create | {"FolderId": "nothing"}, 404, "ErrorItemNotFound"),
        (create | {"FolderId": calendar}, 400, "ErrorCannotCreateItemInFolder"),
    ):
        got, answer = await post(client, url, body)
        assert (got, answer["error"]["code"]) == (status, code), body
    got, answer = await post(client, url, update | {"ChangeKey": mail["changeKey"]})
    assert got == 200
    assert answer["changeKey"] != mail["changeKey"]
    emu.clock.advance(61)
    assert (await post(client, url, create))[0] == 401
    assert (await post(client, url + "x", create))[0] == 401
    assert (await client.ok(f"{ALICE}/mailFolders/inbox"))["totalItemCount"] == 1
    assert not emu.ledger.breaches


async def test_a_double_after_a_lost_answer_is_a_breach(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Who sends a create again whose answer was lost, without looking, makes a double."""
    emu = await emulator()
    fill(emu)
    client = graph_client(emu, "restore")
    base = await mailbox(client)
    (mail,) = (await client.pages(f"{ALICE}/mailFolders/inbox/messages"))[0]
    exported = await client.done("POST", f"{base}/exportItems", {"itemIds": [mail["id"]]}, 200)
    url = (await client.send("POST", f"{base}/createImportSession"))[1]["importUrl"]
    body = {
        "FolderId": mail["parentFolderId"],
        "Mode": "create",
        "Data": exported["value"][0]["data"],
    }
    emu.controls.script(
        [{"when": {"kind": "import", "nth": 1}, "do": {"commit": True, "then": "drop"}}]
    )
    with pytest.raises(aiohttp.ClientError):
        await post(client, url, body)
    assert (await client.ok(f"{ALICE}/mailFolders/inbox"))["totalItemCount"] == 2
    assert not emu.ledger.breaches
    assert (await post(client, url, body))[0] == 200
    assert emu.ledger.breach_counts == {"duplicate-create": 1}


async def test_the_url_is_the_credential(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """A token sent to an import URL is a breach; so is the opening of a session by the backup."""
    emu = await emulator()
    client = graph_client(emu, "restore")
    base = await mailbox(client)
    url = (await client.send("POST", f"{base}/createImportSession"))[1]["importUrl"]
    await client.send("POST", url, {})
    assert emu.ledger.breach_counts == {"authorization-on-preauthenticated-url": 1}
    emu.ledger.clear()
    refused = await graph_client(emu).send("POST", f"{base}/createImportSession")
    assert refused[0] == 403
    assert emu.ledger.breach_counts == {"write-call": 1}


def test_a_logged_import_url_fails_a_test() -> None:
    """Every test with an emulator watches the product's logs for URLs that are credentials."""
    log = logging.getLogger("proxy.somewhere")
    with no_leaks():
        log.debug("imported an item of %d bytes", 7)
    url = f"https://outlook.office365.com/api/gv1.0/importItem?authtoken={CANARY}x"
    with pytest.raises(AssertionError, match=r"proxy\.somewhere"), no_leaks():
        log.debug("POST %s", url)
    with pytest.raises(AssertionError), no_leaks():
        log.error("an import failed", exc_info=ValueError(url))


async def test_item_feeds_of_every_kind(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """One delta for mails, events, contacts and tasks; it finds changes, moves and deletions."""
    emu = await emulator()
    fill(emu)
    client = graph_client(emu)
    base = await mailbox(client)
    folders, link = await client.pages(f"{base}/folders/delta", **IMMUTABLE)
    by_type = {f["type"]: f for f in folders if f["totalItemCount"]}
    assert set(by_type) == {"IPF.Note", "IPF.Appointment", "IPF.Contact", "IPF.Task"}
    links = {}
    for kind, folder in by_type.items():
        rows, links[kind] = await client.pages(
            f"{base}/folders/{folder['id']}/items/delta", **IMMUTABLE
        )
        assert len(rows) == 1
    box = emu.tenant.mailbox(UPN)
    contact = next(box.contacts.records())
    box.contacts.remove(contact, at=emu.clock.now())
    task = next(box.tasks.records())
    box.tasks.touch(task, {"title": "Done"}, at=emu.clock.now())
    emu.tenant.add_mail_folder(UPN, "New")
    assert [f["displayName"] for f in (await client.pages(link))[0]] == ["New"]
    rows, _ = await client.pages(links["IPF.Contact"], **IMMUTABLE)
    assert rows == [{"id": contact.key, "@removed": {"reason": "deleted"}}]
    rows, _ = await client.pages(links["IPF.Task"], **IMMUTABLE)
    assert [row["id"] for row in rows] == [task.key]
    assert (await client.pages(links["IPF.Note"], **IMMUTABLE))[0] == []
    emu.controls.kill_delta_tokens(UPN)
    status, answer, _ = await client.get(links["IPF.Task"])
    assert (status, answer["error"]["code"]) == (410, "SyncStateNotFound")
    assert not emu.ledger.breaches


async def test_folders_of_the_import_api(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Folders of each class are made, filtered, renamed and deleted."""
    emu = await emulator(restore_roles=("MailboxFolder.ReadWrite.All",))
    client = graph_client(emu, "restore")
    base = await mailbox(client)
    made = {}
    for kind in ("IPF.Note", "IPF.Appointment", "IPF.Contact", "IPF.Task"):
        body = {"displayName": f"New {kind}", "type": kind}
        made[kind] = await client.done("POST", f"{base}/folders", body)
        assert made[kind]["type"] == kind
    only, _ = await client.pages(f"{base}/folders?$filter=type eq 'IPF.Appointment'")
    assert {f["displayName"] for f in only} == {"Calendar", "New IPF.Appointment"}
    one = f"{base}/folders/{made['IPF.Note']['id']}"
    child = await client.done("POST", f"{one}/childFolders", {"displayName": "Child"})
    assert child["parentFolderId"] == made["IPF.Note"]["id"]
    await client.done("PATCH", one, {"displayName": "Renamed"}, 200)
    assert (await client.ok(one))["displayName"] == "Renamed"
    await client.done("DELETE", one, status=204)
    assert (await client.get(one))[0] == 404
    assert (await client.send("DELETE", f"{base}/folders/inbox"))[0] == 403
    assert not emu.ledger.breaches


@pytest.mark.parametrize("host", ["graph.microsoft.us", "microsoftgraph.chinacloudapi.cn"])
async def test_national_clouds_have_no_import_and_export(
    emulator: StartEmulator, graph_client: MakeClient, host: str
) -> None:
    """The same calls exist in the global cloud only."""
    emu = await emulator()
    client = graph_client(emu)
    base = await mailbox(client)
    for path in (f"{ALICE}/settings/exchange", base, f"{base}/folders"):
        assert (await client.get(path, Host=host))[0] == 400
        assert (await client.get(path))[0] == 200
    assert (await client.get(f"{ALICE}/mailFolders", Host=host))[0] == 200


async def put(client: GraphClient, url: str, piece: bytes, span: str) -> tuple[int, Any, Any]:
    headers = {"Content-Range": f"bytes {span}", "User-Agent": USER_AGENT}
    async with client.session.put(url, data=io.BytesIO(piece), headers=headers) as response:
        body = await response.json() if "json" in response.content_type else await response.read()
        return response.status, body, response.headers


async def test_an_attachment_in_pieces(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Outlook's dialect: 200 without a dash in the ranges, then 201 with the id in Location only."""
    emu = await emulator()
    client = graph_client(emu, "restore")
    message = await client.done("POST", f"{ALICE}/messages", {"subject": "Large"})
    many = f"{ALICE}/messages/{message['id']}/attachments"
    content = b"0123456789abcdef" * (200 << 10)
    size = len(content)
    item = {"attachmentType": "file", "name": "big.bin", "size": size, "contentType": "a/b"}
    session = await client.done("POST", f"{many}/createUploadSession", {"AttachmentItem": item})
    assert session["nextExpectedRanges"] == ["0-"]
    url, cut = session["uploadUrl"], 640 << 10
    status, body, _ = await put(client, url, content[:cut], f"0-{cut - 1}/{size}")
    assert (status, body["nextExpectedRanges"]) == (200, [str(cut)])
    assert "ExpirationDateTime" in body
    status, body, headers = await put(client, url, content[cut:], f"{cut}-{size - 1}/{size}")
    assert (status, body) == (201, b"")
    key = headers["Location"].rpartition("Attachments('")[2].removesuffix("')")
    read = await client.ok(f"{many}/{key}/$value")
    assert read == content
    assert (await put(client, url, content[cut:], f"{cut}-{size - 1}/{size}"))[0] == 404
    assert not emu.ledger.breaches
    session = await client.done("POST", f"{many}/createUploadSession", {"AttachmentItem": item})
    status, _, _ = await put(client, session["uploadUrl"], b"x" * 10, f"5-14/{size}")
    assert status == 416
    assert emu.ledger.breach_counts == {"upload-piece": 1}
    async with client.session.delete(session["uploadUrl"]) as response:
        assert response.status == 204


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"size": 1000}, 400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize"),
        ({"size": 200 << 20}, 413, "ErrorAttachmentSizeLimitExceeded"),
        (
            {"attachmentType": "item"},
            405,
            "ErrorAttachmentSessionIsSupportedOnlyForFileAttachments",
        ),
        ({"name": ""}, 400, "ErrorInvalidRequest"),
    ],
)
async def test_sessions_that_are_refused(
    emulator: StartEmulator,
    graph_client: MakeClient,
    change: dict[str, Any],
    status: int,
    code: str,
) -> None:
    emu = await emulator()
    client = graph_client(emu, "restore")
    message = await client.done("POST", f"{ALICE}/messages", {"subject": "Large"})
    item = {"attachmentType": "file", "name": "big.bin", "size": 5 << 20} | change
    target = f"{ALICE}/messages/{message['id']}/attachments/createUploadSession"
    got, answer, _ = await client.send("POST", target, {"AttachmentItem": item})
    assert (got, answer["error"]["code"]) == (status, code)


async def test_uploads_are_metered(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """150 MB in five minutes per mailbox (a hundredth of it here), then 429 with the time to wait."""
    emu = await emulator(throttling="tiny")
    emu.clock.freeze()
    client = graph_client(emu, "restore")
    body = {"subject": "x", "body": {"contentType": "text", "content": "x" * 700_000}}
    for _ in range(2):
        await client.done("POST", f"{ALICE}/messages", body)
    status, answer, headers = await client.send("POST", f"{ALICE}/messages", body)
    assert (status, answer["error"]["code"]) == (429, "ApplicationThrottled")
    assert headers["Retry-After"] == "300"
    await client.done("POST", f"{BOB}/messages", body)
    emu.clock.advance(301)
    await client.done("POST", f"{ALICE}/messages", body)
    assert not emu.ledger.breaches


async def test_the_oracle_knows_the_mail_property_by_property(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """States of a mailbox and of its imported copy are equal, and differ after any change."""
    emu = await emulator()
    fill(emu)
    client = graph_client(emu, "restore")
    here, there = await mailbox(client), await mailbox(client, BOB)
    (mail,) = (await client.pages(f"{ALICE}/mailFolders/inbox/messages"))[0]
    exported = await client.done("POST", f"{here}/exportItems", {"itemIds": [mail["id"]]}, 200)
    url = (await client.send("POST", f"{there}/createImportSession"))[1]["importUrl"]
    inbox = (await client.ok(f"{BOB}/mailFolders/inbox"))["id"]
    body = {"FolderId": inbox, "Mode": "create", "Data": exported["value"][0]["data"]}
    await post(client, url, body)

    def states(user: str) -> dict[str, list[Any]]:
        found = emu.controls.oracle(user, exact=True)[emu.tenant.user(user).upn]["mail_state"]
        return {path: sorted(f["items"].values(), key=repr) for path, f in found.items()}

    bob = "bob@empty.onmicrosoft.com"
    before = states(UPN)
    assert before["Inbox"][0]["categories"] == ["Red"]
    assert before == states(bob)
    (copied,) = (await client.pages(f"{BOB}/mailFolders/inbox/messages"))[0]
    one = f"{BOB}/messages/{copied['id']}"
    for change in (
        {"isRead": True},
        {"categories": ["Blue"]},
        {"flag": {"flagStatus": "complete"}},
        {"importance": "high"},
        {"singleValueExtendedProperties": [{"id": "String 0x1000", "value": "x"}]},
    ):
        last = states(bob)
        await client.done("PATCH", one, change, 200)
        assert states(bob) != last, change
    assert states(UPN) == before
