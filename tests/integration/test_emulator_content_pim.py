"""Calendars and contacts of a content folder, also the real ones."""

import base64
import contextlib
from collections.abc import Callable
from pathlib import Path

import icalendar
import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator
from tests.integration.test_emulator_conformance import Conforming
from tools.emulator import Emulator
from tools.emulator.ical_reader import read_events
from tools.emulator.vcard_reader import read_contacts

MakeClient = Callable[[Emulator], GraphClient]
ANN = "/users/ann@content.onmicrosoft.com"
YEAR = "startDateTime=2026-01-01T00:00:00Z&endDateTime=2027-01-01T00:00:00Z"
SERIES = """BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:series-1
DTSTART;TZID=Europe/Berlin:20260302T090000
DTEND;TZID=Europe/Berlin:20260302T100000
RRULE:FREQ=WEEKLY;BYDAY=MO,WE;COUNT=6
EXDATE;TZID=Europe/Berlin:20260309T090000
SUMMARY:Stand-up\\, weekly
 with a folded line
LOCATION:Room 4
ATTENDEE;CN="Bob B";PARTSTAT=ACCEPTED;ROLE=OPT-PARTICIPANT:mailto:bob@x.example
ORGANIZER;CN=Ann:mailto:ann@content.onmicrosoft.com
ATTACH;VALUE=BINARY;ENCODING=BASE64;FMTTYPE=text/plain;X-FILENAME=a.txt:aGVsbG8=
BEGIN:VALARM
TRIGGER:-PT30M
END:VALARM
END:VEVENT
BEGIN:VEVENT
UID:series-1
RECURRENCE-ID;TZID=Europe/Berlin:20260304T090000
DTSTART;TZID=Europe/Berlin:20260304T140000
DTEND;TZID=Europe/Berlin:20260304T150000
SUMMARY:Moved
END:VEVENT
BEGIN:VEVENT
UID:holiday
DTSTART;VALUE=DATE:20260501
SUMMARY:Holiday
TRANSP:TRANSPARENT
END:VEVENT
END:VCALENDAR
"""
CARD = """BEGIN:VCARD
VERSION:3.0
N:Ng;Eva;Maria;Dr.;
FN:Dr. Eva Ng
ORG:Brightwater;Pumps
TEL;TYPE=CELL:+44 1
TEL;TYPE=HOME:+44 2
EMAIL:eva@x.example
ADR;TYPE=WORK:;;Quay 1;Porto;;4000;Portugal
BDAY:1980-02-29
PHOTO;ENCODING=b;TYPE=JPEG:/9j/2Q==
END:VCARD
"""


@pytest.mark.slow
async def test_layout(emulator: StartEmulator, graph_client: MakeClient, tmp_path: Path) -> None:
    """Files in `calendar/` and `contacts/` are the default containers, folders in them are others."""
    (tmp_path / "Ann" / "calendar" / "Trips").mkdir(parents=True)
    (tmp_path / "Ann" / "contacts" / "Clients" / "Old").mkdir(parents=True)
    (tmp_path / "Ann" / "calendar" / "work.ics").write_bytes(SERIES.replace("\n", "\r\n").encode())
    (tmp_path / "Ann" / "calendar" / "broken.ics").write_bytes(b"BEGIN:VEVENT\nSUMMARY:no time")
    (tmp_path / "Ann" / "calendar" / "Trips" / "t.ics").write_text(
        SERIES.replace("Holiday", "Away")
    )
    (tmp_path / "Ann" / "contacts" / "Clients" / "Old" / "eva.vcf").write_text(CARD)
    emu = await emulator(content=tmp_path)
    client = Conforming(graph_client(emu))
    assert [c["name"] for c in await client.walk(f"{ANN}/calendars")] == ["Calendar", "Trips"]
    view = await client.walk(
        f"{ANN}/calendarView?{YEAR}", Prefer='outlook.timezone="Europe/Berlin"'
    )
    assert [(e["subject"][:8], e["start"]["dateTime"][:16]) for e in view] == [
        ("Stand-up", "2026-03-02T09:00"),
        ("Moved", "2026-03-04T14:00"),
        ("Stand-up", "2026-03-11T09:00"),
        ("Stand-up", "2026-03-16T09:00"),
        ("Stand-up", "2026-03-18T09:00"),
        ("Holiday", "2026-05-01T00:00"),
    ]
    first = view[0]
    assert first["subject"] == "Stand-up, weeklywith a folded line"
    assert (first["isOrganizer"], first["reminderMinutesBeforeStart"]) == (True, 30)
    assert first["originalStartTimeZone"] == "W. Europe Standard Time"
    (bob,) = first["attendees"]
    assert (bob["type"], bob["status"]["response"]) == ("optional", "accepted")
    assert (view[-1]["isAllDay"], view[-1]["showAs"]) == (True, "free")
    hung = await client.walk(f"{ANN}/events/{first['seriesMasterId']}/attachments")
    assert base64.b64decode(hung[0]["contentBytes"]) == b"hello"

    folders = await client.walk(f"{ANN}/contactFolders/delta")
    old = next(f["id"] for f in folders if f["displayName"] == "Old")
    (eva,) = await client.walk(f"{ANN}/contactFolders/{old}/contacts")
    assert (eva["surname"], eva["companyName"], eva["mobilePhone"]) == (
        "Ng",
        "Brightwater",
        "+44 1",
    )
    assert eva["businessAddress"] == {
        "street": "Quay 1", "city": "Porto", "postalCode": "4000", "countryOrRegion": "Portugal",
    }  # fmt: skip
    photo = await client.client.ok(f"{ANN}/contacts/{eva['id']}/photo/$value")
    assert photo == b"\xff\xd8\xff\xd9"


@pytest.mark.slow
async def test_real_calendars_and_contacts(
    emulator: StartEmulator, graph_client: MakeClient, shared_agenda: Path
) -> None:
    """Whatever real files hold, each answer is one that Graph could give, and next to nothing is lost."""
    emu = await emulator(content=shared_agenda)
    client = Conforming(graph_client(emu))
    base = "/users/agenda@content.onmicrosoft.com"
    large, small = {"Prefer": "odata.maxpagesize=1000"}, {"Prefer": "odata.maxpagesize=100"}
    events = []
    for calendar in await client.walk(f"{base}/calendars", **large):
        one = f"{base}/calendars/{calendar['id']}"
        events += (await client.client.pages(f"{one}/events", **large))[0]
        await client.get(f"{one}/events", **small)
        await client.get(f"{one}/calendarView?{YEAR}", **small)
    series = [event for event in events if event["type"] == "seriesMaster"]
    for one in series[:60]:
        await client.get(f"{base}/events/{one['id']}/instances?{YEAR}", **small)
    contacts = []
    for folder in await client.walk(f"{base}/contactFolders/delta", **large):
        contacts += await client.walk(f"{base}/contactFolders/{folder['id']}/contacts", **small)
    assert len(events) > 5_500
    assert len(series) > 500
    assert len(contacts) > 90
    assert not emu.ledger.breaches


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::Warning:icalendar")
def test_events_are_found_where_another_reader_finds_them(shared_agenda: Path) -> None:
    """Against `icalendar`: the same number of events with a usable start in all but a few files."""
    compared, differing = 0, []
    for path in sorted((shared_agenda / "agenda" / "calendar").rglob("*.ics")):
        raw = path.read_bytes()
        with contextlib.suppress(ValueError, KeyError, IndexError, TypeError, AttributeError):
            theirs = icalendar.Calendar.from_ical(raw, multiple=True)
            wanted = sum(
                1
                for cal in theirs
                for event in cal.walk("VEVENT")
                if event.get("DTSTART") is not None
            )
            found = read_events(raw)
            got = len(found) + sum(len(event.exceptions) for event in found)
            compared += 1
            if got != wanted:
                differing.append((path.name, got, wanted))
    assert compared > 500
    assert len(differing) < compared / 25, differing


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("FREQ=DAILY;INTERVAL=2", "daily"),
        ("FREQ=MONTHLY;BYMONTHDAY=15", "absoluteMonthly"),
        ("FREQ=MONTHLY;BYDAY=-1FR", "relativeMonthly"),
        ("FREQ=YEARLY;BYMONTH=3;BYDAY=2SU", "relativeYearly"),
        ("FREQ=YEARLY", "absoluteYearly"),
        ("FREQ=MONTHLY;BYMONTHDAY=1,15", None),
        ("FREQ=HOURLY", None),
    ],
)
def test_rules(rule: str, kind: str | None) -> None:
    """A rule becomes the pattern that Outlook has for it; one that it has none for is a single event."""
    raw = f"BEGIN:VEVENT\nUID:u\nDTSTART:20260302T090000Z\nRRULE:{rule}\nEND:VEVENT\n".encode()
    (event,) = read_events(raw)
    found = event.properties.get("recurrence")
    assert (found["pattern"]["type"] if found else None) == kind


def test_cards_of_version_2_1() -> None:
    """Quoted-printable with soft breaks, charsets, bare types, and a picture in base64."""
    raw = (
        b"BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:M=FCller;J=\r\n=F6rg\r\n"
        b"TEL;HOME;VOICE:1\r\nPHOTO;TYPE=JPEG;ENCODING=BASE64:/9j/\r\n 2Q==\r\n\r\nEND:VCARD\r\n"
    )
    ((properties, photo),) = read_contacts(raw)
    assert (properties["surname"], properties["givenName"]) == ("Müller", "Jörg")
    assert properties["homePhones"] == ["1"]
    assert photo == b"\xff\xd8\xff\xd9"
