"""Events, contacts, tasks and their containers as rows and stored JSON: pure functions on bodies as Graph has them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from engine.parts import Part
from proxy.workloads.calendar_item import (
    calendar_rows,
    decode_event,
    event_head,
    event_row,
    exceptions_of,
    stored_event,
)
from proxy.workloads.contact_item import contact_head, contact_row, folder_rows, stored_contact
from proxy.workloads.listing_checkpoint import ListingBook
from proxy.workloads.members import decode_members
from proxy.workloads.task_item import (
    list_row,
    may_have_attachments,
    stored_task,
    task_head,
    task_row,
)

EVENT_ROW = {"@odata.etag", "changeKey", "categories"}
LINKS = ("@odata.context", "@odata.associationLink", "@odata.navigationLink", "@odata.nextLink")
PART = Part("json", 10, b"")


def bodies(folder: Path, *kinds: str) -> Iterator[bytes]:
    """Single entities of these kinds in the documentation's examples, answers and requests alike, with an id."""
    packed = (folder / "graph-json" / "graph-docs-samples.jsonl.zst").read_bytes()
    lines = zstandard.ZstdDecompressor().stream_reader(packed).read().splitlines()
    for line in lines:
        sample = json.loads(line)
        if sample["odata_type"] not in kinds:
            continue
        body = sample["body"]
        for one in body.get("value", [body]) if sample["is_collection"] else [body]:
            if isinstance(one, dict) and isinstance(one.get("id"), str):
                yield json.dumps(one, indent=1).encode()


def assert_kept(raw: bytes, stored: bytes, left_out: set[str]) -> None:
    """Each member but those is in `stored` with the very bytes of its value."""
    given = decode_members(raw)
    held = decode_members(stored)
    expected = {
        n: bytes(v) for n, v in given.items() if n not in left_out and not n.endswith(LINKS)
    }
    assert {name: bytes(value) for name, value in held.items()} == expected
    assert list(held) == list(expected)


def test_events_of_the_documentation_are_kept_member_for_member(shared_data: Path) -> None:
    """Also those that lack what the service always sends."""
    count = 0
    for raw in bodies(shared_data, "microsoft.graph.event"):
        event = decode_event(raw)
        members = decode_members(raw)
        assert_kept(raw, stored_event(members), EVENT_ROW)
        row = event_row(event, members, "calendar", [PART], whole=True)
        assert (row.id.decode(), row.version) == (event.id, event.change_key)
        assert row.name.decode() == (json.loads(raw).get("subject") or "")
        meta = json.loads(row.meta)
        assert {n: meta.get(n) for n in ("start", "end")} == {
            n: json.loads(raw).get(n) for n in ("start", "end")
        }
        assert event_head(raw).version == row.version
        count += 1
    assert count >= 30


def test_contacts_and_folders_of_the_documentation(shared_data: Path) -> None:
    """Every member is in the JSON or in the row."""
    contacts = list(bodies(shared_data, "microsoft.graph.contact"))
    for raw in contacts:
        assert_kept(raw, stored_contact(decode_members(raw)), EVENT_ROW | {"parentFolderId"})
        row = contact_row(raw, "folder", [PART, Part("photo", 5, b"")])
        assert (row.container, row.size, json.loads(row.meta)["photo"]) == (b"folder", 15, True)
        assert contact_head(raw).version == row.version
    folders = list(bodies(shared_data, "microsoft.graph.contactFolder"))
    for raw in folders:
        (row,) = folder_rows([raw])
        assert json.loads(row.meta) | {"wellKnownName": 0} == json.loads(raw) | {"wellKnownName": 0}
    assert len(contacts) >= 4
    assert len(folders) >= 3


def test_a_task_and_its_list() -> None:
    """Every member is in the JSON or in the row."""
    due = {"dateTime": "2026-05-04T00:00:00.0000000", "timeZone": "UTC"}
    task = {
        "@odata.etag": 'W/"1"',
        "id": "T",
        "title": "Dig",
        "categories": ["Green"],
        "status": "inProgress",
        "hasAttachments": False,
        "dueDateTime": due,
        "checklistItems@odata.context": "https://x/",
        "checklistItems": [{"id": "1", "displayName": "spade"}],
        "lastModifiedDateTime": "2026-05-04T00:00:00Z",
    }
    raw = json.dumps(task, indent=1).encode()
    assert_kept(raw, stored_task(decode_members(raw)), {"@odata.etag", "categories"})
    row = task_row(raw, "list", [PART], whole=True)
    assert row.version == task_head(raw).version == "1"
    assert task_row(raw, "list", [PART], whole=False).version == ""
    expected = {"@odata.etag": 'W/"1"', "categories": ["Green"], "due": due, "attachments": False}
    assert json.loads(row.meta) == expected | {"status": "inProgress"}
    assert not may_have_attachments(raw)
    assert task_head(b'{"id":"T","lastModifiedDateTime":"now"}').version == "now"
    given = {"@odata.etag": 'W/"2"', "id": "L", "displayName": "Tasks", "isShared": False}
    found = list_row(json.dumps(given).encode())
    assert (found.id, found.name, found.container) == (b"L", b"Tasks", b"")
    assert json.loads(found.meta) == {"id": "L", "displayName": "Tasks", "isShared": False}


def test_values_stay_as_they_were_written() -> None:
    """Large numbers, escapes, spaces: no value is rendered anew."""
    raw = b'{"id":"E","x":1.50e2, "subject":"\\u00e4","big":12345678901234567890,"n":{ "a" :null}}'
    assert stored_event(decode_members(raw)) == raw.replace(b", ", b",")
    assert decode_event(raw).subject == "\xe4"


def test_a_series_holds_its_exceptions() -> None:
    """They are read out of its members; a lesser form has no version."""
    exception = {"id": "X", "hasAttachments": True, "type": "exception"}
    raw = json.dumps({"id": "S", "type": "seriesMaster", "changeKey": "k", "hasAttachments": False})
    members = decode_members(raw.encode())
    assert exceptions_of(members) == []
    members["exceptionOccurrences"] = msgspec.Raw(json.dumps([exception]).encode())
    (found,) = exceptions_of(members)
    assert (found.id, found.may_have_attachments) == ("X", True)
    event = decode_event(raw.encode())
    assert not event.may_have_attachments
    assert event_row(event, members, "c", [], whole=False).version == ""
    assert event_row(event, members, "c", [], whole=True).version == "k"


@pytest.mark.parametrize(
    ("members", "asked"),
    [
        ({"hasAttachments": False}, False),
        ({"hasAttachments": None}, True),
        ({"hasAttachments": False, "body": {"content": '<img src="cid:x">'}}, True),
        ({"hasAttachments": False, "body": {"content": "cider"}}, False),
        ({"hasAttachments": False, "body": {"content": None}}, False),
    ],
)
def test_when_attachments_are_asked_for(members: dict[str, Any], asked: bool) -> None:
    """Pictures inside the text do not count for the service."""
    assert decode_event(json.dumps({"id": "E"} | members).encode()).may_have_attachments is asked


def calendar(key: str, owner: str | None, **more: Any) -> tuple[bytes, bytes]:
    address = None if owner is None else {"name": owner, "address": owner}
    body = {"id": key, "name": key, "owner": address} | more
    return b'{"id":"G","name":"My Calendars"}', json.dumps(body).encode()


def test_calendars_of_others_are_left_out() -> None:
    """The owner of the default calendar is the user; who cannot be told counts as theirs."""
    listed = [
        calendar("theirs", "Bob@example.com"),
        calendar("default", "ann@example.com", isDefaultCalendar=True),
        calendar("mine", "ANN@example.com"),
        calendar("nobody's", None),
        calendar("default", "ann@example.com", isDefaultCalendar=True),  # in two groups
    ]
    rows = calendar_rows(listed)
    assert [row.id for row in rows] == [b"default", b"mine", b"nobody's"]
    assert json.loads(rows[0].meta)["group"] == {"id": "G", "name": "My Calendars"}
    assert [row.id for row in calendar_rows([calendar("one", "x"), calendar("two", "y")])] == [
        b"one",
        b"two",
    ]


def test_contact_folders_form_a_tree() -> None:
    """A folder whose parent is not listed stands at the top, also when folders hold each other."""

    def folder(key: str, parent: str) -> bytes:
        return json.dumps({"id": key, "displayName": key, "parentFolderId": parent}).encode()

    rows = folder_rows([folder("D", "root"), folder("A", "D"), folder("B", "gone")])
    assert [(row.id, row.container) for row in rows] == [(b"D", b""), (b"A", b"D"), (b"B", b"")]
    assert json.loads(rows[0].meta)["wellKnownName"] == "contacts"
    assert "wellKnownName" not in json.loads(rows[1].meta)


@pytest.mark.parametrize("stored", [None, b"", b"{", b"[]", b'{"form":9,"reading":{"c":"l"}}'])
def test_a_checkpoint_that_cannot_be_read_is_none(stored: bytes | None) -> None:
    """It costs requests only."""
    assert ListingBook(stored).reading == {}


def test_a_checkpoint_keeps_where_first_listings_stand() -> None:
    """Containers with their next link."""
    book = ListingBook(None)
    book.reading["c"] = "https://x/next"
    assert ListingBook(book.encode()).reading == {"c": "https://x/next"}
