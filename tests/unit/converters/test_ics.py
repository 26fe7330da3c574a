"""Events and tasks as iCalendar, read back by `icalendar` and `vobject`, with dates computed by dateutil."""

import base64
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import pytest
import vobject
from dateutil.rrule import rrulestr

from proxy.converters.attachment import Attachment
from proxy.converters.ics import calendar_chunks, event_component
from proxy.converters.ics_task import task_component
from proxy.converters.recurrence import rrule
from proxy.converters.zone_names import IANA_NAMES
from proxy.converters.zones import vtimezone, zone_of
from tests.unit.converters.graph import at, event, person, samples, series

BERLIN = ZoneInfo("Europe/Berlin")


def file_of(
    *events: dict[str, Any], attachments: Iterable[Attachment] = (), name: str = ""
) -> bytes:
    given = list(attachments)
    return b"".join(calendar_chunks((event_component(e, given) for e in events), name=name))


def attached(value: Any) -> bytes:
    return base64.b64decode(value.to_ical())


def read(data: bytes) -> list[Any]:
    """The events as `icalendar` sees them; `vobject` must read the file as well."""
    assert b"\r\n" in data
    assert all(len(line) <= 75 for line in data.split(b"\r\n"))
    list(vobject.readComponents(data.decode()))
    calendar = icalendar.Calendar.from_ical(data)
    assert [error for c in calendar.walk() for error in c.errors] == []
    return list(calendar.walk("VEVENT"))


# -- single events -------------------------------------------------------------------------------


def test_a_meeting_keeps_its_time_zone_people_and_texts() -> None:
    """Start by the clock of the zone it was made in; texts, people, state as they were."""
    [found] = read(
        file_of(
            event(
                body={"contentType": "html", "content": "<p>Grüße</p><ul><li>one<li>two</ul>"},
                location={"displayName": "Room, 5"},
                organizer=person("Ann", "ann@example.com"),
                attendees=[
                    {**person('Bob "B" O\'Neil; x', "bob@example.com"), "type": "optional"}
                    | {"status": {"response": "tentativelyAccepted"}},
                    {**person("Old", "/o=Org/cn=Old"), "type": "required"},
                ],
                categories=["Red, blue", "x"],
                sensitivity="private",
                importance="high",
                showAs="oof",
                isReminderOn=True,
                reminderMinutesBeforeStart=15,
            )
        )
    )
    assert found.decoded("dtstart") == datetime(2026, 7, 1, 10, tzinfo=BERLIN)
    assert found["dtstart"].params["TZID"] == "Europe/Berlin"
    assert found.decoded("dtend") - found.decoded("dtstart") == timedelta(hours=1)
    assert str(found["summary"]) == "Plan; review, next"
    assert str(found["description"]) == "Grüße\n- one\n- two"
    assert "Gr&#252;&#223;e" in str(found["x-alt-desc"]).replace("\\;", ";")
    assert str(found["location"]) == "Room, 5"
    assert str(found["organizer"]) == "mailto:ann@example.com"
    bob, old = found["attendee"]
    assert (str(bob), bob.params["PARTSTAT"]) == ("mailto:bob@example.com", "TENTATIVE")
    assert bob.params["ROLE"] == "OPT-PARTICIPANT"
    assert (str(old), old.params["CN"]) == ("invalid:nomail", "Old")
    assert found["categories"].cats == ["Red, blue", "x"]
    assert (found["class"], found["priority"]) == ("PRIVATE", 1)
    assert found["x-microsoft-cdo-busystatus"] == "OOF"
    [alarm] = found.walk("VALARM")
    assert alarm.decoded("trigger") == timedelta(minutes=-15)


def test_nobody_is_invited_by_a_file() -> None:
    """The method is PUBLISH, also of a meeting with attendees."""
    data = file_of(event(attendees=[person("Bob", "bob@example.com")]))
    assert icalendar.Calendar.from_ical(data)["method"] == "PUBLISH"


@pytest.mark.parametrize(
    ("start", "end", "zone"),
    [
        (at("2026-03-29T00:00:00"), at("2026-03-31T00:00:00"), "Pacific Standard Time"),
        (at("2026-03-28T23:00:00"), at("2026-03-30T22:00:00"), "W. Europe Standard Time"),
    ],
)
def test_whole_days_are_dates_whatever_the_zone(
    start: dict[str, str], end: dict[str, str], zone: str
) -> None:
    """Two days in March, across the change of the clock, given as midnight or in UTC."""
    [found] = read(file_of(event(isAllDay=True, start=start, end=end, originalStartTimeZone=zone)))
    assert found.decoded("dtstart") == date(2026, 3, 29)
    assert found.decoded("dtend") == date(2026, 3, 31)


@pytest.mark.parametrize(
    "name", ["tzone://Microsoft/Custom", "Customized Time Zone", "", "../../etc/passwd"]
)
def test_a_zone_that_nobody_knows_leaves_the_right_instant(name: str) -> None:
    """Without a zone the time is written in UTC."""
    [found] = read(file_of(event(originalStartTimeZone=name, originalEndTimeZone=name)))
    assert found.decoded("dtstart") == datetime(2026, 7, 1, 8, tzinfo=UTC)


def test_attachments_travel_inside_and_links_as_links() -> None:
    """Bytes come back whole under their name; a cloud attachment is its address."""
    content = bytes(range(256)) * 40
    given = [
        Attachment('Plan: "v2".pdf', "application/pdf", content),
        Attachment("empty.txt", "text/plain", b""),
        Attachment("cloud.docx", "application/octet-stream", None, "https://contoso.example/x y"),
        Attachment("lost", "application/octet-stream"),
    ]
    [found] = read(file_of(event(), attachments=given))
    first, empty, cloud = found["attach"]
    assert attached(first) == content
    assert first.params["FMTTYPE"] == "application/pdf"
    assert first.params["X-FILENAME"].startswith("Plan")
    assert attached(empty) == b""
    assert str(found["comment"]).endswith("lost")
    assert str(cloud) == "https://contoso.example/x%20y"


def test_control_characters_do_not_make_the_file_unreadable() -> None:
    """Characters that RFC 5545 forbids are left out; line ends are kept."""
    [found] = read(
        file_of(
            event(
                subject="a\x00b\x0bc\ud83dd\u2028e",
                body={"contentType": "text", "content": "one\r\ntwo\rthree\nfour"},
            )
        )
    )
    assert str(found["summary"]) == "abcde"
    assert str(found["description"]) == "one\ntwo\nthree\nfour"


# -- series --------------------------------------------------------------------------------------

WORKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday"]
NO_END = {"type": "noEnd"}
UNTIL = {"type": "endDate", "endDate": "2026-12-31"}


def days_of(pattern: dict[str, Any], span: dict[str, Any], count: int = 8) -> list[str]:
    found = series(pattern, span)
    text = rrule(found["recurrence"], BERLIN, dates=False)
    assert text is not None
    start = datetime(2026, 1, 7, 9, tzinfo=BERLIN)
    dates = []
    for one in rrulestr(text, dtstart=start):
        dates.append(f"{one:%m-%d}" if one.year == 2026 else f"{one:%Y-%m-%d}")
        if len(dates) == count:
            break
    return dates


@pytest.mark.parametrize(
    ("pattern", "span", "expected"),
    [
        ({"type": "daily", "interval": 3}, NO_END, "01-07 01-10 01-13"),
        (
            {"type": "weekly", "interval": 2, "daysOfWeek": ["monday", "wednesday"]},
            NO_END,
            "01-07 01-19 01-21 02-02",
        ),
        ({"type": "weekly", "daysOfWeek": ["wednesday"]}, {"type": "numbered", "numberOfOccurrences": 2}, "01-07 01-14"),
        ({"type": "absoluteMonthly", "dayOfMonth": 7}, UNTIL, "01-07 02-07 03-07"),
        ({"type": "absoluteMonthly", "dayOfMonth": 31}, NO_END, "01-31 02-28 03-31 04-30"),
        ({"type": "absoluteMonthly", "dayOfMonth": 30}, NO_END, "01-30 02-28 03-30 04-30"),
        ({"type": "relativeMonthly", "index": "last", "daysOfWeek": ["friday"]}, NO_END, "01-30 02-27 03-27"),
        (
            {"type": "relativeMonthly", "index": "second", "daysOfWeek": WORKDAYS},
            NO_END,
            "02-03 03-03 04-02",
        ),
        ({"type": "absoluteYearly", "month": 2, "dayOfMonth": 29}, NO_END, "02-28 2027-02-28 2028-02-29"),
        (
            {"type": "relativeYearly", "month": 11, "index": "fourth", "daysOfWeek": ["thursday"]},
            NO_END,
            "11-26 2027-11-25",
        ),
    ],
)  # fmt: skip
def test_patterns_give_the_days_that_outlook_shows(
    pattern: dict[str, Any], span: dict[str, Any], expected: str
) -> None:
    """Each kind of pattern, short months and leap days included."""
    days = expected.split()
    assert days_of(pattern, span, len(days)) == days


def test_the_last_day_counts_to_its_end_in_the_zone_of_the_series() -> None:
    """UNTIL is the end of the day where the series repeats, not of the day in UTC."""
    found = series({"type": "daily"}, {"type": "endDate", "endDate": "2026-01-09"})
    assert rrule(found["recurrence"], BERLIN, dates=False) == "FREQ=DAILY;UNTIL=20260109T225959Z"
    assert rrule(found["recurrence"], BERLIN, dates=True) == "FREQ=DAILY;UNTIL=20260109"


@pytest.mark.parametrize("pattern", [{}, {"type": "hourly"}, {"type": "weekly", "daysOfWeek": "x"}])
def test_a_pattern_that_graph_does_not_document_is_a_single_event(pattern: dict[str, Any]) -> None:
    """Rather one event than a wrong series."""
    [found] = read(file_of(series(pattern, NO_END)))
    assert "rrule" not in found


def test_exceptions_and_cancellations_name_their_instances() -> None:
    """A moved instance, a cancelled one in winter and one in summer; the attachment of the exception stays with it."""
    moved = event(
        id="EX1",
        subject="Moved",
        originalStart="2026-01-14T08:00:00Z",
        start=at("2026-01-15T13:00:00"),
        end=at("2026-01-15T14:00:00"),
        type="exception",
        iCalUId="other",
    )
    weekly = series(
        {"type": "weekly", "daysOfWeek": ["wednesday"]},
        NO_END,
        exceptionOccurrences=[moved],
        cancelledOccurrences=["OID.AA.b=.2026-01-21", "OID.AA.b=.2026-07-01", "nonsense"],
    )
    given = [
        Attachment("a", "text/plain", b"own"),
        Attachment("b", "text/plain", b"of it", owner="EX1"),
    ]
    master, exception = read(file_of(weekly, attachments=given))
    assert master.decoded("rrule")["BYDAY"] == ["WE"]
    gone = [one.dt for group in master["exdate"] for one in group.dts]
    assert gone == [datetime(2026, 1, 21, 9, tzinfo=BERLIN), datetime(2026, 7, 1, 9, tzinfo=BERLIN)]
    assert exception["uid"] == master["uid"]
    assert exception.decoded("recurrence-id") == datetime(2026, 1, 14, 9, tzinfo=BERLIN)
    assert exception.decoded("dtstart") == datetime(2026, 1, 15, 14, tzinfo=BERLIN)
    assert [attached(one["attach"]) for one in (master, exception)] == [b"own", b"of it"]


# -- zones ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(IANA_NAMES))
def test_every_zone_of_windows_has_the_offsets_of_the_zone_data(name: str) -> None:
    """VTIMEZONE, read by `icalendar` without its own zone data, agrees with the machine's at 60 moments of 15 years."""
    zone = zone_of(name)
    assert zone is not None or name == "coordinated universal time"
    if zone is None:
        return
    component = icalendar.Timezone.from_ical("".join(vtimezone(zone, 2015)))
    told = component.to_tz(lookup_tzid=False)
    for quarter in range(60):
        instant = datetime(2015 + quarter // 4, 1 + quarter % 4 * 3, 15, 12, tzinfo=UTC)
        clock = instant.astimezone(zone)
        assert clock.replace(tzinfo=told).utcoffset() == clock.utcoffset(), instant


def test_a_calendar_tells_each_zone_once_and_before_its_events() -> None:
    """Two events of one zone and one of another; old events follow rules of their time."""
    old = event(id="2", start=at("1995-07-01T08:00:00"), end=at("1995-07-01T09:00:00"))
    other = event(id="3", originalStartTimeZone="Eastern Standard Time")
    data = file_of(event(), old, other, name="Team")
    assert data.count(b"TZID:Europe/Berlin") == 1
    assert data.index(b"TZID:America/New_York") > data.index(b"TZID:Europe/Berlin")
    assert b"TZOFFSETFROM" in data.split(b"BEGIN:VEVENT")[0]
    assert str(icalendar.Calendar.from_ical(data)["x-wr-calname"]) == "Team"
    assert len(read(data)) == 3


# -- real data -----------------------------------------------------------------------------------


def test_every_event_of_the_documentation_is_readable(shared_data: Path) -> None:
    """Each sample of an event becomes one that two independent readers take, at the instant the sample says."""
    count = 0
    for sample in samples(shared_data, "event"):
        [found, *_] = read(file_of(sample))
        count += 1
        if sample.get("start") and not sample.get("isAllDay"):
            zone = zone_of(sample["start"]["timeZone"]) or UTC
            said = datetime.fromisoformat(sample["start"]["dateTime"][:19]).replace(tzinfo=zone)
            assert found.decoded("dtstart") == said
    assert count > 20


# -- tasks ---------------------------------------------------------------------------------------


def test_a_task_keeps_its_days_state_and_checklist() -> None:
    """To Do's task as VTODO."""
    task = {
        "id": "T1",
        "title": "Report",
        "status": "completed",
        "importance": "high",
        "createdDateTime": "2026-06-01T08:00:00Z",
        "dueDateTime": at("2026-07-03T00:00:00"),
        "completedDateTime": at("2026-07-02T00:00:00"),
        "reminderDateTime": at("2026-07-02T07:00:00"),
        "isReminderOn": True,
        "body": {"contentType": "text", "content": "Numbers"},
        "checklistItems": [{"displayName": "a", "isChecked": True}, {"displayName": "b"}],
        "linkedResources": [{"displayName": "Mail", "webUrl": "https://x.example"}],
        "recurrence": series({"type": "daily"}, NO_END)["recurrence"],
    }
    data = b"".join(calendar_chunks([task_component(task, [Attachment("n", "text/plain", b"x")])]))
    [found] = icalendar.Calendar.from_ical(data).walk("VTODO")
    assert found.errors == []
    assert (found["uid"], found["summary"], found["status"]) == ("T1", "Report", "COMPLETED")
    assert found.decoded("due") == date(2026, 7, 3)
    assert found.decoded("completed") == datetime(2026, 7, 2, tzinfo=UTC)
    assert str(found["description"]) == "Numbers\n[x] a\n[ ] b\nMail <https://x.example>"
    assert found.decoded("rrule")["FREQ"] == ["DAILY"]
    [alarm] = found.walk("VALARM")
    assert alarm.decoded("trigger") == datetime(2026, 7, 2, 7, tzinfo=UTC)
