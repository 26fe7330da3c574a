"""The emulator's calendars, contacts and tasks as a client reads them; every answer conforms to the subset."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator
from tests.integration.test_emulator_conformance import Conforming
from tools.emulator import Emulator

pytestmark = pytest.mark.slow  # the subset of Graph is loaded once
MakeClient = Callable[[Emulator], GraphClient]
ALICE = "alice@empty.onmicrosoft.com"
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}
BERLIN = "W. Europe Standard Time"
YEAR = "startDateTime=2026-01-01T00:00:00Z&endDateTime=2026-12-31T00:00:00Z"


def weekly(**more: Any) -> dict[str, Any]:
    """A series on six Mondays from 2 March 2026, 09:00 to 10:00 in Berlin."""
    return {
        "subject": "Weekly",
        "start": {"dateTime": "2026-03-02T09:00:00", "timeZone": BERLIN},
        "end": {"dateTime": "2026-03-02T10:00:00", "timeZone": BERLIN},
        "recurrence": {
            "pattern": {
                "type": "weekly",
                "interval": 1,
                "daysOfWeek": ["monday"],
                "firstDayOfWeek": "monday",
            },
            "range": {"type": "numbered", "startDate": "2026-03-02", "numberOfOccurrences": 6},
        },
    } | more


def single(day: str = "2026-05-04", **more: Any) -> dict[str, Any]:
    return {
        "subject": "Once",
        "start": {"dateTime": f"{day}T12:00:00", "timeZone": "UTC"},
        "end": {"dateTime": f"{day}T13:00:00", "timeZone": "UTC"},
    } | more


async def test_a_series_with_an_exception_and_a_cancelled_instance(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Instances keep their wall clock over the change to summer time; exceptions and cancellations are told."""
    emu = await emulator()
    client = Conforming(graph_client(emu))
    series = emu.controls.add_record(ALICE, "calendar", "Calendar", weekly())["id"]
    moved = {"dateTime": "2026-03-17T15:00:00", "timeZone": BERLIN}
    until = {"dateTime": "2026-03-17T16:00:00", "timeZone": BERLIN}
    emu.controls.change_instance(
        ALICE, series, "2026-03-16", {"subject": "Moved", "start": moved, "end": until}
    )
    emu.controls.cancel_instance(ALICE, series, "2026-03-23")

    base = f"/users/{ALICE}"
    masters = await client.walk(f"{base}/events", **IMMUTABLE)
    assert [(m["id"], m["type"]) for m in masters] == [(series, "seriesMaster")]
    found = await client.walk(f"{base}/events/{series}/instances?{YEAR}", **IMMUTABLE)
    assert [(i["start"]["dateTime"][:16], i["type"]) for i in found] == [
        ("2026-03-02T08:00", "occurrence"),
        ("2026-03-09T08:00", "occurrence"),
        ("2026-03-17T14:00", "exception"),
        ("2026-03-30T07:00", "occurrence"),
        ("2026-04-06T07:00", "occurrence"),
    ]
    exception = found[2]
    assert (exception["originalStart"], exception["subject"]) == ("2026-03-16T08:00:00Z", "Moved")
    again = await client.get(
        f"{base}/events/{exception['id']}", Prefer='outlook.timezone="Tokyo Standard Time"'
    )
    assert again["start"] == {
        "dateTime": "2026-03-17T23:00:00.0000000",
        "timeZone": "Tokyo Standard Time",
    }
    asked = (
        "?$select=subject,cancelledOccurrences,exceptionOccurrences&$expand=exceptionOccurrences"
    )
    master = await client.get(f"{base}/events/{series}{asked}", **IMMUTABLE)
    assert master["cancelledOccurrences"] == [f"OID.{series}.2026-03-23"]
    assert [e["id"] for e in master["exceptionOccurrences"]] == [exception["id"]]
    await client.get(f"{base}/events/{exception['id'].replace('20260316', '20260323')}", 404)
    await client.get(f"{base}/events/{exception['id'].replace('20260316', '20260317')}", 404)

    state = next(iter(emu.controls.oracle(ALICE)[ALICE]["calendars"].values()))["items"][series]
    assert state["graph"] == masters[0]
    assert state["state"]["cancelled"] == ["2026-03-23"]
    assert state["state"]["exceptions"]["2026-03-16"]["properties"]["subject"] == "Moved"


async def test_calendar_view_delta_tells_changes_outside_its_window_as_removals(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """The trap of the service: an event that moved out of the window, and one never in it, come as deleted."""
    emu = await emulator()
    client = Conforming(graph_client(emu))
    inside = emu.controls.add_record(ALICE, "calendar", "Calendar", single())["id"]
    outside = emu.controls.add_record(ALICE, "calendar", "Calendar", single("2031-05-04"))["id"]
    emu.controls.add_record(ALICE, "calendar", "Calendar", weekly())
    first = await client.get(
        f"/users/{ALICE}/calendarView/delta?{YEAR}", Prefer='IdType="ImmutableId"'
    )
    assert inside in {e["id"] for e in first["value"]}
    assert outside not in {e["id"] for e in first["value"]}
    assert sorted(e["type"] for e in first["value"]) == ["occurrence"] * 6 + [
        "seriesMaster",
        "singleInstance",
    ]
    emu.controls.change_record(ALICE, "calendar", outside, {"subject": "Changed"})
    emu.controls.change_record(ALICE, "calendar", inside, single("2027-05-04"))
    later = await client.get(first["@odata.deltaLink"], Prefer='IdType="ImmutableId"')
    assert {(e["id"], e["@removed"]["reason"]) for e in later["value"]} == {
        (inside, "deleted"),
        (outside, "deleted"),
    }
    await client.get(f"/users/{ALICE}/events/{outside}")
    await client.get(f"/users/{ALICE}/calendarView/delta?{YEAR}&$select=subject", 400)
    await client.get(f"/users/{ALICE}/calendarView", 400)


async def test_calendars_groups_attachments_and_filters(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Calendars of all groups are listed; events filter by time of change; attachments come in three kinds."""
    emu = await emulator()
    client = Conforming(graph_client(emu))
    work = emu.controls.add_container(
        ALICE, "calendar", "Work", {"group": "Projects", "color": "lightRed"}
    )["id"]
    emu.controls.add_container(ALICE, "calendar", "Work")
    groups = await client.client.ok(f"/users/{ALICE}/calendarGroups")
    assert [g["name"] for g in groups["value"]] == ["My Calendars", "Projects"]
    calendars = await client.walk(f"/users/{ALICE}/calendars")
    assert [c["name"] for c in calendars] == ["Calendar", "Work", "Work"]
    assert [c["isDefaultCalendar"] for c in calendars] == [True, False, False]
    event = emu.controls.add_record(ALICE, "calendar", work, single())["id"]
    data = base64.b64encode(b"x" * 3000).decode()
    emu.controls.attach(ALICE, "calendar", event, "plan.txt", data, {"contentType": "text/plain"})
    note = base64.b64encode(
        b'{"@odata.type": "#microsoft.graph.contact", "id": "c", "displayName": "C"}'
    ).decode()
    emu.controls.attach(ALICE, "calendar", event, "card", note, {"kind": "item"})
    emu.controls.attach(ALICE, "calendar", event, "link", "", {"kind": "reference"})
    base = f"/users/{ALICE}/events/{event}/attachments"
    hung = await client.walk(base)
    assert [a["@odata.type"].rsplit(".")[-1] for a in hung] == [
        "fileAttachment",
        "itemAttachment",
        "referenceAttachment",
    ]
    assert hung[0]["contentBytes"] == data
    assert "item" not in hung[1]
    expanded = await client.walk(f"{base}?$expand=microsoft.graph.itemAttachment/item")
    assert expanded[1]["item"]["displayName"] == "C"
    status, raw, _ = await client.client.get(f"{base}/{hung[0]['id']}/$value")
    assert (status, raw) == (200, b"x" * 3000)

    changed = (await client.get(f"/users/{ALICE}/events/{event}"))["lastModifiedDateTime"]
    listing = f"/users/{ALICE}/calendars/{work}/events?$filter=lastModifiedDateTime"
    assert len(await client.walk(f"{listing} ge {changed}&$orderby=lastModifiedDateTime")) == 1
    assert await client.walk(f"{listing} gt {changed}") == []


async def test_contacts_with_folders_pictures_and_delta(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """The default folder is in no listing but has the well-known id; each folder has its own delta."""
    emu = await emulator()
    client = Conforming(graph_client(emu))
    ann = emu.controls.add_record(
        ALICE, "contacts", "contacts", {"givenName": "Ann", "surname": "Bö"}
    )["id"]
    emu.controls.add_container(ALICE, "contacts", "Suppliers")
    emu.controls.add_container(ALICE, "contacts", "Old ones", {"parent": "Suppliers"})
    base = f"/users/{ALICE}"
    folders = await client.walk(f"{base}/contactFolders")
    assert [f["displayName"] for f in folders] == ["Suppliers"]
    below = await client.walk(f"{base}/contactFolders/{folders[0]['id']}/childFolders")
    assert [f["displayName"] for f in below] == ["Old ones"]
    assert {f["displayName"] for f in await client.walk(f"{base}/contactFolders/delta")} == {
        "Suppliers",
        "Old ones",
    }
    assert [c["id"] for c in await client.walk(f"{base}/contacts", **IMMUTABLE)] == [ann]
    default = await client.client.ok(f"{base}/contactFolders/contacts")
    assert folders[0]["parentFolderId"] == default["id"]

    first = await client.get(f"{base}/contactFolders/contacts/contacts/delta", **IMMUTABLE)
    assert [(c["id"], c["displayName"], c["fileAs"]) for c in first["value"]] == [
        (ann, "Ann Bö", "Bö, Ann")
    ]
    await client.get(f"{base}/contacts/{ann}/photo/$value", 404)
    picture = b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x30\x00\x40\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xd9"
    emu.controls.set_photo(ALICE, ann, base64.b64encode(picture).decode())
    photo = await client.client.ok(f"{base}/contacts/{ann}/photo")
    assert (photo["width"], photo["height"]) == (64, 48)
    assert (await client.client.get(f"{base}/contacts/{ann}/photo/$value"))[1] == picture
    emu.controls.move_record(ALICE, "contacts", ann, "Suppliers")
    later = await client.get(first["@odata.deltaLink"], **IMMUTABLE)
    assert later["value"] == [{"id": ann, "@removed": {"reason": "deleted"}}]
    there = await client.walk(
        f"{base}/contactFolders/{folders[0]['id']}/contacts/delta", **IMMUTABLE
    )
    assert [c["id"] for c in there] == [ann]


async def test_tasks_with_checklist_links_attachments_and_delta(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Two lists always exist; what belongs to a task has its own calls; an unset time is left out."""
    emu = await emulator()
    client = Conforming(graph_client(emu))
    lists = await client.walk(f"/users/{ALICE}/todo/lists")
    assert [each["wellknownListName"] for each in lists] == ["defaultList", "flaggedEmails"]
    due = {"dateTime": "2026-05-04T00:00:00.0000000", "timeZone": "UTC"}
    task = emu.controls.add_record(
        ALICE, "tasks", "defaultList", {"title": "Tidy", "dueDateTime": due}
    )["id"]
    emu.controls.add_check(ALICE, task, "first", True)
    emu.controls.add_link(ALICE, task, {"webUrl": "https://example.com", "displayName": "there"})
    data = base64.b64encode(b"y" * 500).decode()
    emu.controls.attach(ALICE, "tasks", task, "notes.txt", data, {"contentType": "text/plain"})
    base = f"/users/{ALICE}/todo/lists/{lists[0]['id']}/tasks"
    first = await client.get(f"{base}/delta")
    assert (first["value"][0]["dueDateTime"], "startDateTime" in first["value"][0]) == (due, False)
    one = await client.get(f"{base}/{task}?$expand=checklistItems,linkedResources")
    assert one["checklistItems"] == await client.walk(f"{base}/{task}/checklistItems")
    assert one["linkedResources"] == await client.walk(f"{base}/{task}/linkedResources")
    hung = await client.walk(f"{base}/{task}/attachments")
    assert one["hasAttachments"]
    assert "contentBytes" not in hung[0]
    assert (await client.client.get(f"{base}/{task}/attachments/{hung[0]['id']}/$value"))[
        1
    ] == b"y" * 500
    emu.controls.delete_record(ALICE, "tasks", task)
    later = await client.get(first["@odata.deltaLink"])
    assert later["value"] == [{"id": task, "@removed": {"reason": "deleted"}}]
    await client.get(f"{base}/{task}", 404)
    assert not emu.ledger.breaches


async def test_every_workload_needs_its_role(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """An app that may read mail only gets 403 for calendars, contacts and tasks, and keeps its mail."""
    emu = await emulator(roles=("Mail.Read",))
    client = graph_client(emu)
    for target in ("calendars", "contactFolders", "todo/lists"):
        status, body, _ = await client.get(f"/users/{ALICE}/{target}")
        assert (status, body["error"]["code"]) == (403, "ErrorAccessDenied")
    await client.ok(f"/users/{ALICE}/mailFolders")
