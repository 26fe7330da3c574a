"""
Events of Graph as iCalendar.

Everything is said with METHOD:PUBLISH: who opens or imports a file answers nobody and invites nobody.

Source: RFC 5545; Graph resource type event; MS-OXCICAL for what Outlook adds.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from proxy.converters.attachment import Attachment
from proxy.converters.calendar_parts import (
    PRIORITIES,
    alarm_lines,
    attachment_lines,
    category_lines,
    date_line,
    description_lines,
    minutes_before,
    person_lines,
    stamp_lines,
    time_line,
    whole_days,
)
from proxy.converters.content_lines import content_line, encoded, text_value
from proxy.converters.graph_json import (
    YEARS,
    Members,
    entries,
    line,
    local_time,
    member,
    moment,
    text,
)
from proxy.converters.recurrence import rrule
from proxy.converters.zones import vtimezone, zone_of

__all__ = ["Component", "calendar_chunks", "event_component"]

PRODUCT = "-//Strongroom//Strongroom//EN"
CLASSES = {"personal": "PRIVATE", "private": "PRIVATE", "confidential": "CONFIDENTIAL"}
BUSY = {
    "free": "FREE",
    "tentative": "TENTATIVE",
    "busy": "BUSY",
    "oof": "OOF",
    "workingelsewhere": "WORKINGELSEWHERE",
}
ANSWERS = {
    "accepted": "ACCEPTED",
    "organizer": "ACCEPTED",
    "tentativelyaccepted": "TENTATIVE",
    "declined": "DECLINED",
}
ROLES = {
    "required": "REQ-PARTICIPANT",
    "optional": "OPT-PARTICIPANT",
    "resource": "NON-PARTICIPANT",
}
MONTH_MINUTES = 60 * 24 * 31


class Component:
    """Lines of one item, and the zones they name with the first year in which they do."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.zones: dict[ZoneInfo, int] = {}

    def add_time(self, name: str, at: datetime, parameters: dict[str, str] | None = None) -> None:
        """A property with a time."""
        self.lines.append(time_line(name, at, parameters))
        if isinstance(at.tzinfo, ZoneInfo):
            self.zones[at.tzinfo] = min(at.year, self.zones.get(at.tzinfo, at.year))


def calendar_chunks(
    components: Iterable[Component], *, name: str = "", method: str = "PUBLISH"
) -> Iterator[bytes]:
    """
    One iCalendar file, piece by piece: a zone stands before the first item that names it.

    Args:
        name: of the calendar. A file of one item has rules from its first year on; one of a calendar, which may hold
            older events further on, all since 1970.
    """
    head = [
        content_line("BEGIN", "VCALENDAR"),
        content_line("VERSION", "2.0"),
        content_line("PRODID", PRODUCT),
        content_line("METHOD", method),
    ]
    if name:
        head.append(content_line("X-WR-CALNAME", text_value(name)))
    yield encoded(head)
    told: set[ZoneInfo] = set()
    for component in components:
        for zone, year in component.zones.items():
            if zone not in told:
                told.add(zone)
                yield encoded(vtimezone(zone, min(year, 1970) if name else year))
        yield encoded(component.lines)
    yield encoded([content_line("END", "VCALENDAR")])


def event_component(event: Members, attachments: Sequence[Attachment] = ()) -> Component:
    """
    A single event or a series with its exceptions and cancellations.

    Args:
        event: members as Graph gives them; of a series with `exceptionOccurrences` and `cancelledOccurrences`.
        attachments: those of the exceptions name their `owner`.
    """
    made = Component()
    zone = _zone(event)
    exceptions = entries(event.get("exceptionOccurrences"))
    others = {text(exception.get("id")) for exception in exceptions}
    own = [one for one in attachments if one.owner not in others]
    _event(made, event, event, zone, own)
    for exception in exceptions:
        theirs = [one for one in attachments if one.owner == text(exception.get("id"))]
        _event(made, {**exception, "recurrence": None}, event, zone, theirs)
    return made


def _event(
    made: Component,
    event: Members,
    master: Members,
    zone: tzinfo,
    attachments: Sequence[Attachment],
) -> None:
    made.lines.append(content_line("BEGIN", "VEVENT"))
    uid = text(master.get("iCalUId")) or text(master.get("uid")) or text(master.get("id"))
    made.lines.append(content_line("UID", text_value(line(uid) or "no-id")))
    made.lines += stamp_lines(event)
    _times(made, event, zone)
    if event is not master:
        _recurrence_id(made, event, master, zone)
    if member(event, "recurrence") is not None:
        _recurrence(made, event, zone)
    subject = text(event.get("subject"))
    made.lines.append(content_line("SUMMARY", text_value(subject)))
    made.lines += _place(event)
    made.lines += description_lines(event.get("body"))
    made.lines += category_lines(event)
    made.lines += _state(event)
    made.lines += _people(event)
    made.lines += attachment_lines(attachments)
    made.lines += _alarm(event, subject)
    made.lines.append(content_line("END", "VEVENT"))


def _zone(event: Members) -> tzinfo:
    """Where the series repeats, or where the event was made; UTC where that is unknown."""
    names = (
        member(event, "recurrence", "range", "recurrenceTimeZone"),
        event.get("originalStartTimeZone"),
        member(event, "start", "timeZone"),
    )
    return next((zone for name in names if (zone := zone_of(text(name)))), None) or UTC


def _times(made: Component, event: Members, zone: tzinfo) -> None:
    start, end = local_time(event.get("start")), local_time(event.get("end"))
    start = start or datetime(1970, 1, 1, tzinfo=UTC)
    end = max(end or start, start)
    if event.get("isAllDay") is True:
        first = _day(start, zone)
        made.lines.append(date_line("DTSTART", first))
        made.lines.append(date_line("DTEND", whole_days(first, _day(end, zone))))
        made.lines.append(content_line("X-MICROSOFT-CDO-ALLDAYEVENT", "TRUE"))
        return
    made.add_time("DTSTART", start.astimezone(zone))
    end_zone = zone_of(text(event.get("originalEndTimeZone"))) or zone
    made.add_time("DTEND", end.astimezone(end_zone))


def _day(at: datetime, zone: tzinfo) -> date:
    """The day that a midnight begins: of whole days Graph gives the date at 0:00, in whatever zone it says."""
    return at.date() if (at.hour, at.minute) == (0, 0) else at.astimezone(zone).date()


def _recurrence_id(made: Component, event: Members, master: Members, zone: tzinfo) -> None:
    at = moment(event.get("originalStart")) or local_time(event.get("start"))
    if at is None:
        return
    if master.get("isAllDay") is True:
        made.lines.append(date_line("RECURRENCE-ID", _day(at, zone)))
    else:
        made.add_time("RECURRENCE-ID", at.astimezone(zone))


def _recurrence(made: Component, event: Members, zone: tzinfo) -> None:
    dates = event.get("isAllDay") is True
    rule = rrule(event.get("recurrence"), zone, dates=dates)
    if rule is None:
        return
    made.lines.append(content_line("RRULE", rule))
    start = local_time(event.get("start"))
    for day in sorted(_cancelled(event)):
        if dates:
            made.lines.append(date_line("EXDATE", day))
        elif start is not None:
            clock = start.astimezone(zone)
            made.add_time("EXDATE", clock.replace(year=day.year, month=day.month, day=day.day))


def _cancelled(event: Members) -> Iterator[date]:
    """
    Days without the event: an id ends in its day, after the last dot.

    Source: Graph resource type event, cancelledOccurrences; the ids themselves hold dots too.
    """
    found = event.get("cancelledOccurrences")
    for one in found if isinstance(found, list) else []:
        try:
            day = date.fromisoformat(text(one).rpartition(".")[2][:10])
        except ValueError:
            continue
        if day.year in YEARS:
            yield day


def _place(event: Members) -> list[str]:
    names = [line(member(place, "displayName")) for place in entries(event.get("locations"))]
    if not any(names):
        names = [line(member(event, "location", "displayName"))]
    lines = []
    if shown := "; ".join(name for name in dict.fromkeys(names) if name):
        lines.append(content_line("LOCATION", text_value(shown)))
    where = member(event, "location", "coordinates")
    latitude, longitude = member(where, "latitude"), member(where, "longitude")
    if isinstance(latitude, int | float) and isinstance(longitude, int | float):
        lines.append(content_line("GEO", f"{latitude:.6f};{longitude:.6f}"))
    meeting = member(event, "onlineMeeting", "joinUrl") or event.get("onlineMeetingUrl")
    if (address := line(meeting)).startswith("https://"):
        lines.append(content_line("CONFERENCE", address, {"VALUE": "URI", "FEATURE": "VIDEO"}))
    return lines


def _state(event: Members) -> list[str]:
    busy = BUSY.get(text(event.get("showAs")).lower(), "BUSY")
    status = "TENTATIVE" if busy == "TENTATIVE" else "CONFIRMED"
    if event.get("isCancelled") is True:
        status = "CANCELLED"
    private = CLASSES.get(text(event.get("sensitivity")).lower(), "PUBLIC")
    priority = PRIORITIES.get(text(event.get("importance")).lower(), "5")
    return [
        content_line("STATUS", status),
        content_line("TRANSP", "TRANSPARENT" if busy == "FREE" else "OPAQUE"),
        content_line("X-MICROSOFT-CDO-BUSYSTATUS", busy),
        content_line("CLASS", private),
        content_line("PRIORITY", priority),
    ]


def _people(event: Members) -> list[str]:
    attendees = entries(event.get("attendees"))
    if not attendees and event.get("isOrganizer") is not False:
        return []  # an organizer makes a meeting of it, and this is none
    lines = person_lines("ORGANIZER", event.get("organizer"))
    for one in attendees:
        kind = text(one.get("type")).lower()
        answer = text(member(one, "status", "response")).lower()
        parameters = {
            "CUTYPE": "RESOURCE" if kind == "resource" else "INDIVIDUAL",
            "ROLE": ROLES.get(kind, "REQ-PARTICIPANT"),
            "PARTSTAT": ANSWERS.get(answer, "NEEDS-ACTION"),
        }
        lines += person_lines("ATTENDEE", one, parameters)
    return lines


def _alarm(event: Members, subject: str) -> list[str]:
    minutes: Any = event.get("reminderMinutesBeforeStart")
    if event.get("isReminderOn") is not True or type(minutes) is not int:
        return []
    if not 0 <= minutes <= MONTH_MINUTES * 12:
        return []
    return alarm_lines(minutes_before(minutes), subject)
