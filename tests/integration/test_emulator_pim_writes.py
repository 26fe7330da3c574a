"""The emulator's calendars, contacts and tasks as a client writes them, and the mail that this sends."""

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator
from tests.integration.test_emulator_pim import ALICE, YEAR, single, weekly
from tools.emulator import Emulator

MakeClient = Callable[..., GraphClient]
BOB = "bob@empty.onmicrosoft.com"
EVENTS = f"/users/{ALICE}/events"


def guests(*addresses: str) -> list[dict[str, Any]]:
    return [
        {"emailAddress": {"address": each, "name": each}, "type": "required"} for each in addresses
    ]


def sent(emu: Emulator) -> list[tuple[str, tuple[str, ...]]]:
    return [(mail["kind"], mail["to"]) for mail in emu.controls.outbox(clear=True)]


async def writer(emulator: StartEmulator, graph_client: MakeClient) -> tuple[Emulator, GraphClient]:
    emu = await emulator()
    return emu, graph_client(emu, "restore")


async def test_writing_to_a_meeting_sends_mail(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Create, change, cancel and delete reach the attendees; each is in the outbox, and a breach."""
    emu, client = await writer(emulator, graph_client)
    made = await client.done("POST", EVENTS, single(attendees=guests("a@x.example", "b@x.example")))
    assert made["organizer"]["emailAddress"]["address"] == ALICE
    assert sent(emu) == [("invitation", ("a@x.example", "b@x.example"))]
    one = f"{EVENTS}/{made['id']}"
    await client.done("PATCH", one, {"attendees": guests("b@x.example", "c@x.example")}, 200)
    assert sent(emu) == [
        ("invitation", ("c@x.example",)),
        ("update", ("b@x.example",)),
        ("cancellation", ("a@x.example",)),
    ]
    await client.done("DELETE", one, status=204)
    assert sent(emu) == [("cancellation", ("b@x.example", "c@x.example"))]
    kinds = emu.ledger.breach_counts
    assert kinds == {"mail-sent": 5}


async def test_silent_ways(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Without attendees nothing is sent, nor for a meeting of somebody else, nor by permanentDelete."""
    emu, client = await writer(emulator, graph_client)
    made = await client.done("POST", EVENTS, weekly())
    await client.done("PATCH", f"{EVENTS}/{made['id']}", {"subject": "New"}, 200)
    theirs = {"isOrganizer": False, "organizer": guests(BOB)[0], "attendees": guests(ALICE)}
    copy = emu.controls.add_record(ALICE, "calendar", "Calendar", single(**theirs))["id"]
    await client.done("PATCH", f"{EVENTS}/{copy}", {"showAs": "free"}, 200)
    await client.done("DELETE", f"{EVENTS}/{copy}", status=204)
    mine = emu.controls.add_record(ALICE, "calendar", "Calendar", single(attendees=guests(BOB)))[
        "id"
    ]
    await client.done("POST", f"{EVENTS}/{mine}/permanentDelete", {}, 204)
    assert sent(emu) == []
    assert not emu.ledger.breaches
    assert len(await _events(client)) == 1


async def _events(client: GraphClient) -> list[Any]:
    return (await client.pages(EVENTS))[0]


async def test_a_series_is_rebuilt_instance_by_instance(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """A patched instance is an exception, a deleted one is cancelled; the oracle's state is that of the original."""
    emu, client = await writer(emulator, graph_client)
    first = emu.controls.add_record(ALICE, "calendar", "Calendar", weekly())["id"]
    emu.controls.change_instance(ALICE, first, "2026-03-16", {"subject": "Moved"})
    emu.controls.cancel_instance(ALICE, first, "2026-03-23")
    made = await client.done("POST", EVENTS, weekly(), Prefer='IdType="ImmutableId"')
    instances, _ = await client.pages(f"{EVENTS}/{made['id']}/instances?{YEAR}")
    by_day = {each["originalStart"][:10]: each["id"] for each in instances}
    changed = await client.done(
        "PATCH", f"{EVENTS}/{by_day['2026-03-16']}", {"subject": "Moved"}, 200
    )
    assert changed["type"] == "exception"
    await client.done("DELETE", f"{EVENTS}/{by_day['2026-03-23']}", status=204)
    items = next(iter(emu.controls.oracle(ALICE)[ALICE]["calendars"].values()))["items"]
    states = [items[key]["state"] for key in (first, made["id"])]
    for state in states:
        del state["properties"]["iCalUId"]
    assert states[0] == states[1]
    assert not emu.ledger.breaches


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (single(iCalUId="x"), "ErrorInvalidPropertySet"),
        (single(id="x"), "ErrorInvalidPropertySet"),
        (single(webLink="x"), "ErrorInvalidPropertySet"),
        (single(showAs="maybe"), "ErrorPropertyValidationFailure"),
        (single(isAllDay=True), "ErrorPropertyValidationFailure"),
        (
            single(end={"dateTime": "2026-05-04T11:00:00", "timeZone": "UTC"}),
            "ErrorPropertyValidationFailure",
        ),
        (
            single(start={"dateTime": "2026-05-04T11:00:00", "timeZone": "Nowhere"}),
            "TimeZoneNotSupportedException",
        ),
        (single(attendees=[{"type": "required"}]), "ErrorInvalidRecipients"),
        (
            weekly(recurrence={"pattern": {"type": "weekly", "interval": 1}}),
            "ErrorPropertyValidationFailure",
        ),
        ({"subject": "no times"}, "ErrorPropertyValidationFailure"),
    ],
)
async def test_events_that_cannot_be(
    emulator: StartEmulator, graph_client: MakeClient, body: dict[str, Any], code: str
) -> None:
    """Properties that are read-only, unknown or wrong are refused, and nothing is made or sent."""
    emu, client = await writer(emulator, graph_client)
    got = await client.done("POST", EVENTS, body, 400)
    assert got["error"]["code"] == code
    assert await _events(client) == []
    assert sent(emu) == []


async def test_a_transaction_id_makes_one_event_only(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """The second create with the same transactionId is refused with 409."""
    _, client = await writer(emulator, graph_client)
    await client.done("POST", EVENTS, single(transactionId="t-1"))
    got = await client.done("POST", EVENTS, single(transactionId="t-1"), 409)
    assert got["error"]["code"] == "ErrorDuplicateTransactionId"
    assert len(await _events(client)) == 1


async def test_calendars_groups_and_attachments(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Calendars are made, renamed and deleted, but not the default one; an old change key gives 412."""
    emu, client = await writer(emulator, graph_client)
    base = f"/users/{ALICE}"
    group = await client.done("POST", f"{base}/calendarGroups", {"name": "Team"})
    made = await client.done(
        "POST", f"{base}/calendarGroups/{group['id']}/calendars", {"name": "Trips"}
    )
    await client.done("POST", f"{base}/calendars", {"name": "Trips"}, 409)
    await client.done(
        "PATCH", f"{base}/calendars/{made['id']}", {"color": "lightRed", "name": "Journeys"}, 200
    )
    event = await client.done("POST", f"{base}/calendars/{made['id']}/events", single())
    one = f"{EVENTS}/{event['id']}"
    data = base64.b64encode(b"z" * 100).decode()
    file = {"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.bin", "contentBytes": data}
    hung = await client.done("POST", f"{one}/attachments", file)
    await client.done("PATCH", one, {"subject": "x"}, 412, If_Match=event["@odata.etag"])
    await client.done("DELETE", f"{one}/attachments/{hung['id']}", status=204)
    assert (await client.pages(f"{one}/attachments"))[0] == []
    await client.done("DELETE", f"{base}/calendars/{made['id']}", status=204)
    default = (await client.ok(f"{base}/calendar"))["id"]
    await client.done("DELETE", f"{base}/calendars/{default}", status=400)
    assert not emu.ledger.breaches


async def test_contacts_are_written(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Folders, contacts and pictures; the state after a rebuild is that of the original."""
    emu, client = await writer(emulator, graph_client)
    base = f"/users/{ALICE}"
    folder = await client.done("POST", f"{base}/contactFolders", {"displayName": "Clients"})
    await client.done("POST", f"{base}/contactFolders", {"displayName": "clients"}, 409)
    properties = {
        "givenName": "Eva", "surname": "Ng", "birthday": "1980-02-29T00:00:00Z",
        "emailAddresses": [{"name": "Eva", "address": "eva@x.example"}], "businessAddress": {"city": "Porto"},
    }  # fmt: skip
    made = await client.done("POST", f"{base}/contactFolders/{folder['id']}/contacts", properties)
    assert made["fileAs"] == "Ng, Eva"
    await client.done("PATCH", f"{base}/contacts/{made['id']}", {"title": "Dr"}, 200)
    await client.done("PATCH", f"{base}/contacts/{made['id']}", {"parentFolderId": "x"}, 400)
    photo = f"{base}/contacts/{made['id']}/photo/$value"
    await client.done("PUT", photo, b"no picture", 400, Content_Type="image/jpeg")
    await client.done("PUT", photo, b"\xff\xd8\xff\xd9", 200, Content_Type="image/jpeg")
    assert (await client.get(photo))[1] == b"\xff\xd8\xff\xd9"
    state = emu.controls.oracle(ALICE)[ALICE]["contacts"][folder["id"]]["items"]
    (only,) = state.values()
    assert properties.items() <= only["state"]["properties"].items()
    await client.done("DELETE", f"{base}/contactFolders/contacts", status=400)
    await client.done("DELETE", f"{base}/contactFolders/{folder['id']}", status=204)
    await client.done("GET", f"{base}/contacts/{made['id']}", status=404)


async def test_tasks_are_written(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Lists that To Do keeps stay as they are; the time of completion is noted by To Do alone."""
    emu, client = await writer(emulator, graph_client)
    base = f"/users/{ALICE}/todo/lists"
    lists, _ = await client.pages(base)
    await client.done("DELETE", f"{base}/{lists[0]['id']}", status=400)
    await client.done("POST", f"{base}/{lists[1]['id']}/tasks", {"title": "flag"}, 400)
    made = await client.done("POST", base, {"displayName": "Garden"})
    links = [
        {
            "webUrl": "https://x.example",
            "applicationName": "App",
            "displayName": "d",
            "externalId": "1",
        }
    ]
    task = await client.done(
        "POST", f"{base}/{made['id']}/tasks", {"title": "Dig", "linkedResources": links}
    )
    one = f"{base}/{made['id']}/tasks/{task['id']}"
    check = await client.done("POST", f"{one}/checklistItems", {"displayName": "spade"})
    await client.done("PATCH", f"{one}/checklistItems/{check['id']}", {"isChecked": True}, 200)
    data = base64.b64encode(b"q" * 10).decode()
    await client.done("POST", f"{one}/attachments", {"name": "map.txt", "contentBytes": data})
    done = await client.done("PATCH", one, {"status": "completed"}, 200)
    assert done["completedDateTime"]["timeZone"] == "UTC"
    await client.done("PATCH", one, {"completedDateTime": done["completedDateTime"]}, 400)
    (only,) = emu.controls.oracle(ALICE)[ALICE]["tasks"][made["id"]]["items"].values()
    assert (len(only["state"]["links"]), only["state"]["checklist"][0]["isChecked"]) == (1, True)
    assert only["state"]["attachments"][0]["name"] == "map.txt"
    await client.done("DELETE", one, status=204)


async def test_the_backup_app_may_not_write(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Its roles give it 403 for every write, and the attempt is a breach."""
    emu = await emulator()
    client = graph_client(emu)
    got = await client.done("POST", EVENTS, single(), 403)
    assert got["error"]["code"] == "ErrorAccessDenied"
    assert {breach.kind for breach in emu.ledger.breaches} == {"write-call"}
    assert await _events(client) == []


async def test_stamps_are_found(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """A MAPI property set on an event or contact is given on request, and finds it with `$filter`."""
    _, client = await writer(emulator, graph_client)
    name = "String {00020329-0000-0000-c000-000000000046} Name Stamp"
    stamp = {"singleValueExtendedProperties": [{"id": name, "value": "s-1"}]}
    query = f"$filter=singleValueExtendedProperties/any(p: p/id eq '{name}' and p/value eq 's-1')"
    expand = f"$expand=singleValueExtendedProperties($filter=id eq '{name}')"
    for target, body in ((EVENTS, single()), (f"/users/{ALICE}/contacts", {"givenName": "A"})):
        await client.done("POST", target, body)
        made = await client.done("POST", target, body | stamp)
        assert "singleValueExtendedProperties" not in made
        found, _ = await client.pages(f"{target}?{query}&{expand}")
        assert [each["id"] for each in found] == [made["id"]]
        assert found[0]["singleValueExtendedProperties"] == stamp["singleValueExtendedProperties"]


async def test_large_files_come_in_pieces(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """An upload session for an event goes to the Outlook host without a token, that of a task to Graph with it."""
    emu, client = await writer(emulator, graph_client)
    half = b"h" * (2 << 20)
    event = await client.done("POST", EVENTS, single())
    about = {"attachmentType": "file", "name": "big.bin", "size": 2 * len(half)}
    hung = f"{EVENTS}/{event['id']}/attachments"
    opened = await client.done("POST", f"{hung}/createUploadSession", {"AttachmentItem": about})
    for number, status in ((0, 200), (1, 201)):
        span = f"bytes {number * len(half)}-{(number + 1) * len(half) - 1}/{2 * len(half)}"
        async with client.session.put(
            opened["uploadUrl"], data=io.BytesIO(half), headers={"Content-Range": span}
        ) as answer:
            assert answer.status == status
    (found,) = (await client.pages(hung))[0]
    assert (found["name"], found["size"]) == ("big.bin", 4 << 20)

    lists = (await client.pages(f"/users/{ALICE}/todo/lists"))[0]
    tasks = f"/users/{ALICE}/todo/lists/{lists[0]['id']}/tasks"
    task = await client.done("POST", tasks, {"title": "t"})
    info = {"attachmentInfo": about}
    opened = await client.done(
        "POST", f"{tasks}/{task['id']}/attachments/createUploadSession", info
    )
    for number, status in ((0, 200), (1, 201)):
        span = f"bytes {number * len(half)}-{(number + 1) * len(half) - 1}/{2 * len(half)}"
        await client.done("PUT", f"{opened['uploadUrl']}/content", half, status, Content_Range=span)
    (found,) = (await client.pages(f"{tasks}/{task['id']}/attachments"))[0]
    assert found["size"] == 4 << 20
    assert not emu.ledger.breaches
    opened = await client.done(
        "POST", f"{tasks}/{task['id']}/attachments/createUploadSession", info
    )
    span = f"bytes {len(half)}-{2 * len(half) - 1}/{2 * len(half)}"  # the second piece before the first
    await client.done("PUT", f"{opened['uploadUrl']}/content", half, 416, Content_Range=span)
    assert emu.ledger.breach_counts == {"upload-piece": 1}
