"""Messages written to the emulator: what Exchange makes of them, and what it refuses."""

import base64
import email
import email.policy
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator

MakeClient = Callable[..., GraphClient]
ALICE = "/users/alice@empty.onmicrosoft.com"
INBOX = f"{ALICE}/mailFolders/inbox/messages"
RAW = b"From: a@example.com\r\nSubject: Kept\r\nMessage-ID: <1@example.com>\r\n\r\nBytes \xff.\r\n"
SENT = [
    {"id": "Integer 0x0E07", "value": "1"},
    {"id": "SystemTime 0x0039", "value": "2020-02-03T04:05:06Z"},
    {"id": "SystemTime 0x0E06", "value": "2020-02-03T04:06:00Z"},
]


def person(address: str, name: str = "") -> dict[str, Any]:
    return {"emailAddress": {"name": name or address, "address": address}}


MESSAGE = {
    "subject": "Żółw & co",
    "body": {"contentType": "html", "content": "<p>Grüße</p>\r\n"},
    "from": person("ann@example.com", "Ann Ström"),
    "toRecipients": [person("bob@example.com", "Bob"), person("eve@example.com")],
    "ccRecipients": [person("cc@example.com")],
    "bccRecipients": [person("bcc@example.com")],
    "replyTo": [person("reply@example.com")],
    "importance": "high",
    "categories": ["Red", "Project X"],
    "flag": {"flagStatus": "flagged"},
    "isRead": False,
    "internetMessageId": "<mine@example.com>",
    "inferenceClassification": "other",
}


async def test_a_message_of_json_is_a_draft(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Everything given is kept, but a message made of JSON alone is a draft of now."""
    emu = await emulator()
    emu.clock.freeze()
    client = graph_client(emu, "restore")
    made = await client.done("POST", INBOX, MESSAGE | {"isDraft": False})
    read = await client.ok(f"{ALICE}/messages/{made['id']}")
    assert {name: read[name] for name in MESSAGE} == MESSAGE
    assert read["isDraft"] is True
    assert read["receivedDateTime"] == read["createdDateTime"]
    parsed = email.message_from_bytes(
        await client.ok(f"{ALICE}/messages/{made['id']}/$value"), policy=email.policy.default
    )
    assert (parsed["Subject"], parsed["To"]) == (
        MESSAGE["subject"], "Bob <bob@example.com>, eve@example.com",
    )  # fmt: skip
    assert parsed.get_body().get_content() == "<p>Grüße</p>\r\n"
    assert not emu.ledger.breaches


async def test_mapi_properties_make_it_an_old_message(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Flags without the unsent bit, submit and delivery times: not a draft, and not of today."""
    emu = await emulator()
    client = graph_client(emu, "restore")
    named = "String {00020329-0000-0000-c000-000000000046} Name Stamp"
    body = MESSAGE | {
        "singleValueExtendedProperties": [*SENT, {"id": named, "value": "item 7"}],
    }
    del body["isRead"]
    made = await client.done("POST", INBOX, body)
    asked = f"id eq 'Integer 0xE07' or id eq '{named}' or id eq 'Integer 0x1'"
    expand = f"$expand=singleValueExtendedProperties($filter={asked})"
    read = await client.ok(f"{ALICE}/messages/{made['id']}?{expand}")
    assert (read["isDraft"], read["isRead"]) == (False, True)
    assert (read["sentDateTime"], read["receivedDateTime"]) == (
        "2020-02-03T04:05:06Z", "2020-02-03T04:06:00Z",
    )  # fmt: skip
    assert read["singleValueExtendedProperties"] == [
        {"id": "Integer 0xe07", "value": "1"},
        {"id": named, "value": "item 7"},
    ]
    stamped = f"singleValueExtendedProperties/Any(e: e/id eq '{named}' and e/value eq 'item 7')"
    for text in (stamped, "internetMessageId eq '<mine@example.com>'"):
        found, _ = await client.pages(f"{INBOX}?$filter={text}")
        assert [one["id"] for one in found] == [made["id"]], text
    other, _ = await client.pages(f"{INBOX}?$filter={stamped.replace('item 7', 'item 8')}")
    assert other == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"receivedDateTime": "2020-01-01T00:00:00Z"}, "ErrorInvalidPropertySet"),
        ({"id": "x"}, "ErrorInvalidPropertySet"),
        ({"color": "red"}, "BadRequest"),
        ({"importance": "urgent"}, "ErrorPropertyValidationFailure"),
        ({"replyTo": [person("nobody")]}, "ErrorInvalidRecipients"),
        ({"flag": {"flagStatus": "flagged", "dueDateTime": {}}}, None),
        ({"flag": {"flagStatus": "red"}}, "ErrorPropertyValidationFailure"),
        (
            {"internetMessageHeaders": [{"name": "Received", "value": "x"}]},
            "InvalidInternetMessageHeader",
        ),
        (
            {"internetMessageHeaders": [{"name": f"x-{n}", "value": "x"} for n in range(6)]},
            "InvalidInternetMessageHeaderCollection",
        ),
        (
            {"singleValueExtendedProperties": [{"id": "nonsense", "value": "1"}]},
            "ErrorInvalidExtendedProperty",
        ),
    ],
)
async def test_what_a_message_cannot_be(
    emulator: StartEmulator, graph_client: MakeClient, change: dict[str, Any], code: str | None
) -> None:
    emu = await emulator()
    client = graph_client(emu, "restore")
    status, answer, _ = await client.send("POST", INBOX, MESSAGE | change)
    assert (status, answer.get("error", {}).get("code")) == ((400, code) if code else (201, None))


async def test_mime_is_kept_byte_for_byte_but_is_a_draft(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    emu = await emulator()
    client = graph_client(emu, "restore")
    made = await client.done("POST", INBOX, base64.b64encode(RAW), Content_Type="text/plain")
    assert (made["subject"], made["isDraft"]) == ("Kept", True)
    value = f"{ALICE}/messages/{made['id']}/$value"
    assert await client.ok(value) == RAW
    await client.done("PATCH", f"{ALICE}/messages/{made['id']}", {"isRead": True}, 200)
    assert await client.ok(value) == RAW
    for bad, code in ((b"%%%", "ErrorMimeContentInvalidBase64String"), (b"AAAA", None)):
        status, answer, _ = await client.send("POST", INBOX, bad, Content_Type="text/plain")
        assert status == 400
        assert answer["error"]["code"] == (code or "ErrorMimeContentInvalid")
    assert (await client.send("POST", INBOX, b"x", Content_Type="text/xml"))[0] == 415


async def test_updates(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """State of any message may change, content of drafts only; old change keys are refused."""
    emu = await emulator()
    client = graph_client(emu, "restore")
    mail = emu.tenant.add_message("alice@empty.onmicrosoft.com", "Inbox", RAW)
    base = f"{ALICE}/messages/{mail.movable}"
    before = await client.ok(base)
    state = {
        "isRead": True,
        "categories": ["Blue"],
        "flag": {"flagStatus": "complete"},
        "importance": "low",
    }
    after = await client.done("PATCH", base, state, 200, If_Match=before["@odata.etag"])
    assert {name: after[name] for name in state} == state
    assert after["changeKey"] != before["changeKey"]
    stale, answer, _ = await client.send("PATCH", base, state, If_Match=before["@odata.etag"])
    assert (stale, answer["error"]["code"]) == (412, "ErrorIrresolvableConflict")
    sent, answer, _ = await client.send("PATCH", base, {"subject": "New"})
    assert (sent, answer["error"]["code"]) == (400, "ErrorInvalidPropertyUpdateSentMessage")
    folder = await client.ok(f"{ALICE}/mailFolders/inbox")
    assert (folder["unreadItemCount"], folder["totalItemCount"]) == (0, 1)
    draft = await client.done("POST", INBOX, base64.b64encode(RAW), Content_Type="text/plain")
    changed = await client.done("PATCH", f"{ALICE}/messages/{draft['id']}", {"subject": "New"}, 200)
    assert (changed["subject"], changed["internetMessageId"]) == ("New", "<1@example.com>")
    assert b"New" in await client.ok(f"{ALICE}/messages/{draft['id']}/$value")


async def test_moves_copies_and_deletions(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """A move keeps the immutable id only; deleting goes by the deleted items to the dumpster."""
    emu = await emulator()
    client = graph_client(emu, "restore")
    mail = emu.tenant.add_message("alice@empty.onmicrosoft.com", "Inbox", RAW, is_read=False)
    before = mail.movable
    moved = await client.done(
        "POST", f"{ALICE}/messages/{before}/move", {"destinationId": "archive"}
    )
    assert moved["id"] == mail.movable != before
    assert (await client.get(f"{ALICE}/messages/{before}"))[0] == 404
    copied = await client.done(
        "POST", f"{ALICE}/messages/{mail.key}/copy", {"destinationId": "inbox"},
        Prefer='IdType="ImmutableId"',
    )  # fmt: skip
    assert copied["id"] != mail.key
    assert (copied["isRead"], copied["isDraft"]) == (False, False)
    assert await client.ok(f"{ALICE}/messages/{copied['id']}/$value") == RAW
    one = f"{ALICE}/messages/{mail.key}"
    for place in ("deleteditems", "recoverableitemsdeletions", "recoverableitemspurges"):
        await client.done("DELETE", one, status=204)
        folder = await client.ok(f"{ALICE}/mailFolders/{place}")
        assert (await client.ok(one))["parentFolderId"] == folder["id"]
    listed, _ = await client.pages(f"{ALICE}/messages")
    assert [m["subject"] for m in listed] == ["Kept"]
    await client.done("DELETE", one, status=204)
    assert (await client.get(one))[0] == 404
    await client.done("POST", f"{ALICE}/messages/{copied['id']}/permanentDelete", status=204)
    dumpster = f"{ALICE}/mailFolders/recoverableitemspurges/messages"
    assert len((await client.pages(dumpster))[0]) == 1
    shown, _ = await client.pages(f"{ALICE}/mailFolders?includeHiddenFolders=true")
    tracked, _ = await client.pages(f"{ALICE}/mailFolders/delta?includeHiddenFolders=true")
    assert "Purges" not in {f["displayName"] for f in shown + tracked}


async def test_attachments(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Files up to 3 MB, links and embedded messages; what hangs on a message is in its MIME too."""
    emu = await emulator()
    client = graph_client(emu, "restore")
    made = await client.done("POST", INBOX, MESSAGE | {"singleValueExtendedProperties": SENT})
    base = f"{ALICE}/messages/{made['id']}"
    many = f"{base}/attachments"
    content = bytes(range(256)) * 40
    file = {
        "@odata.type": "#microsoft.graph.fileAttachment",
        "name": "süß.bin",
        "contentType": "application/x-thing",
        "contentBytes": base64.b64encode(content).decode(),
        "isInline": True,
        "contentId": "cid-1",
    }
    link = {
        "@odata.type": "#microsoft.graph.referenceAttachment",
        "name": "Plan",
        "sourceUrl": "https://example.com/plan",
        "providerType": "oneDriveBusiness",
        "permission": "view",
    }
    inner = {"@odata.type": "microsoft.graph.message"} | {
        name: MESSAGE[name] for name in ("subject", "body", "toRecipients")
    }
    item = {"@odata.type": "#microsoft.graph.itemAttachment", "name": "In", "item": inner}
    for body in (file, link, item):
        await client.done("POST", many, body)
    found = (await client.ok(many))["value"]
    assert [one["@odata.type"].rpartition(".")[2] for one in found] == [
        "fileAttachment", "referenceAttachment", "itemAttachment",
    ]  # fmt: skip
    assert {name: found[0][name] for name in file} == file
    assert await client.ok(f"{many}/{found[0]['id']}/$value") == content
    assert {name: found[1][name] for name in link} == link
    assert (await client.get(f"{many}/{found[1]['id']}/$value"))[0] == 405
    expand = "?$expand=microsoft.graph.itemAttachment/item"
    shown = (await client.ok(f"{many}/{found[2]['id']}{expand}"))["item"]
    assert (shown["subject"], shown["body"]) == (MESSAGE["subject"], MESSAGE["body"])
    assert "item" not in await client.ok(f"{many}/{found[2]['id']}")
    parsed = email.message_from_bytes(
        await client.ok(f"{base}/$value"), policy=email.policy.default
    )
    kinds = [part.get_content_type() for part in parsed.iter_parts()]
    assert kinds == ["text/html", "application/x-thing", "message/rfc822"]
    assert (await client.ok(base))["hasAttachments"] is True
    await client.done("DELETE", f"{many}/{found[0]['id']}", status=204)
    assert len((await client.ok(many))["value"]) == 2
    for bad in (
        file | {"name": ""},
        file | {"contentBytes": "?"},
        {"name": "x"},
        item | {"item": 1},
    ):
        assert (await client.send("POST", many, bad))[0] == 400
    large = file | {"contentBytes": base64.b64encode(bytes(3 << 20) + b"x").decode()}
    status, answer, _ = await client.send("POST", many, large)
    assert (status, answer["error"]["code"]) == (413, "RequestEntityTooLarge")
    assert not emu.ledger.breaches
