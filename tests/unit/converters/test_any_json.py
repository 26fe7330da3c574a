"""Whatever types members have, the converters give files that can be read: one odd item must not end an export."""

import csv
import io
import os
from typing import Any

import icalendar
import vobject
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.converters.attachment import attachment_of
from proxy.converters.html_page import message_page
from proxy.converters.ics import calendar_chunks, event_component
from proxy.converters.ics_task import task_component
from proxy.converters.letter import letter_of_json, letter_of_mime
from proxy.converters.sheets import SHEETS, Entry, sheet_chunks
from proxy.converters.vcf import vcard
from tests.unit.converters.graph import at, event, person, series

SEEDED = "STRONGROOM_ANY_JSON" not in os.environ
EXAMPLES = int(os.environ.get("STRONGROOM_ANY_JSON", "80"))  # more of them are others each time

TEXTS = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["2026-02-30T00:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-07-01T08:00:00.1234567",
     "W. Europe Standard Time", "monday", "html", "<p>x", "a@b.example", "\x00\r\n;:,"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
DAILY = {"type": "daily"}
FULL = series(DAILY, {"type": "endDate", "endDate": "2026-02-01"}) | {
    "body": {"contentType": "html", "content": "<p>x"},
    "attendees": [person("B", "b@example.com")],
    "organizer": person("A", "a@example.com"),
    "location": {"displayName": "R", "coordinates": {"latitude": 1.5, "longitude": 2}},
    "locations": [],
    "categories": ["x"],
    "isAllDay": False,
    "isReminderOn": True,
    "reminderMinutesBeforeStart": 5,
    "exceptionOccurrences": [event(originalStart="2026-01-08T08:00:00Z")],
    "cancelledOccurrences": ["OID.x.2026-01-09"],
    "showAs": "free",
    "sensitivity": "private",
    "dueDateTime": at("2026-07-01T00:00:00"),
    "reminderDateTime": at("2026-07-01T00:00:00"),
    "completedDateTime": at("2026-07-01T00:00:00"),
    "status": "completed",
    "checklistItems": [{"displayName": "a"}],
    "linkedResources": [{"webUrl": "x"}],
    "emailAddresses": [{"address": "a@b.example"}],
    "homePhones": ["1"],
    "homeAddress": {"street": "x"},
    "birthday": "1980-01-01T11:59:00Z",
    "imAddresses": ["x"],
    "toRecipients": [person("B", "b@example.com")],
    "from": person("A", "a@example.com"),
}


@st.composite
def changed(draw: st.DrawFn) -> dict[str, Any]:
    """The full item with a few members, at any depth, replaced by anything."""

    def walk(value: Any, depth: int) -> Any:
        if draw(st.integers(0, 12)) == 0:
            return draw(VALUES)
        if isinstance(value, dict) and depth < 4:
            return {name: walk(one, depth + 1) for name, one in value.items()}
        if isinstance(value, list) and depth < 4:
            return [walk(one, depth + 1) for one in value]
        return value

    made = walk(FULL, 0)
    return made if isinstance(made, dict) else {}


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=SEEDED,
)
@given(changed(), TEXTS)
def test_any_members_give_files_that_can_be_read(members: dict[str, Any], name: str) -> None:
    """Events, tasks, contacts, pages and tables."""
    attached = attachment_of({"name": name, "contentType": name, "contentId": name}, b"x")
    for component in (event_component(members, [attached]), task_component(members, [attached])):
        data = b"".join(calendar_chunks([component], name=name))
        calendar = icalendar.Calendar.from_ical(data)
        assert len(calendar.walk("VEVENT")) + len(calendar.walk("VTODO")) >= 1
        list(vobject.readComponents(data.decode()))
    [card] = vobject.readComponents(vcard(members).decode())
    assert card.fn.value
    assert message_page(letter_of_json(members, [attached])).startswith(b"<!DOCTYPE html>")
    for workload in SHEETS:
        entry = Entry(name, name, 1, "", "", name, members)
        table = b"".join(sheet_chunks(workload, [entry])).decode("utf-8-sig")
        assert len(list(csv.reader(io.StringIO(table, newline="")))) == 2


PIECES = [
    b"Content-Type: ",
    b"multipart/mixed; boundary=b",
    b"text/html; charset=x-bad",
    b"\r\n",
    b"\r\n\r\n",
    b"--b",
    b"--b--",
    b"Subject: =?utf-8?b?4?=",
    b"=?x?q?=FF?=",
    b"From: ",
    b"\xff\x00",
    b"Content-Disposition: attachment; filename*=x''%FF",
    b"Content-Transfer-Encoding: base64",
    b"AAA",
    b"message/rfc822",
    b"Content-ID: <1>",
    b"image/png",
    b"<img src=cid:1>",
]


@settings(max_examples=EXAMPLES, deadline=None, derandomize=SEEDED)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join))
def test_any_bytes_have_a_page(mime: bytes) -> None:
    """Mail that is none."""
    assert message_page(letter_of_mime(mime)).startswith(b"<!DOCTYPE html>")
