"""
iCalendar files as events of Graph: what Outlook makes of them when it imports them.

What Outlook has no form for (rules by the hour, several days by position) becomes a single event.
"""

import base64
import binascii
import dataclasses
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tools.emulator import zones
from tools.emulator.content_lines import Block, Line, blocks
from tools.emulator.errors import GraphError

_DAYS = {
    "MO": "monday", "TU": "tuesday", "WE": "wednesday", "TH": "thursday", "FR": "friday",
    "SA": "saturday", "SU": "sunday",
}  # fmt: skip
_INDEX = {1: "first", 2: "second", 3: "third", 4: "fourth", -1: "last"}
_ANSWERS = {"ACCEPTED": "accepted", "DECLINED": "declined", "TENTATIVE": "tentativelyAccepted"}
_CLASSES = {"PRIVATE": "private", "CONFIDENTIAL": "confidential"}
_DURATION = re.compile(r"^([+-]?)P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$")
_ORDINAL = re.compile(r"^([+-]?\d+)?(MO|TU|WE|TH|FR|SA|SU)$")


@dataclasses.dataclass(slots=True)
class ReadEvent:
    """An event of a file: properties of Graph, attached files, and what is special of a series."""

    uid: str
    properties: dict[str, Any]
    files: list[tuple[str, str, bytes]] = dataclasses.field(default_factory=list)
    original: date | None = None
    cancelled: list[date] = dataclasses.field(default_factory=list)
    exceptions: list["ReadEvent"] = dataclasses.field(default_factory=list)


def read_events(raw: bytes) -> list[ReadEvent]:
    """The events of a file, exceptions with their series; those without a usable time are left out."""
    found: list[ReadEvent] = []
    for outer in blocks(raw):
        for block in [outer, *outer.inner]:
            if block.name == "VEVENT":
                try:
                    found.append(_event(block))
                except (GraphError, ValueError, OverflowError, KeyError):
                    continue
    series = {e.uid: e for e in found if e.original is None and "recurrence" in e.properties}
    kept = []
    for event in found:
        master = series.get(event.uid) if event.original is not None else None
        if master is None:
            kept.append(event)
        else:
            master.exceptions.append(event)
    return kept


def _event(block: Block) -> ReadEvent:
    first = block.first("DTSTART")
    if first is None:
        raise ValueError("an event without a start")
    start, all_day = _time(first)
    end = _end(block, start, all_day)
    properties: dict[str, Any] = {
        "subject": block.text("SUMMARY"),
        "start": start,
        "end": end,
        "isAllDay": all_day,
        "body": _body(block),
        "categories": [name for line in block.all("CATEGORIES") for name in line.list()],
        "sensitivity": _CLASSES.get(block.text("CLASS").upper(), "normal"),
        "showAs": "free" if block.text("TRANSP").upper() == "TRANSPARENT" else "busy",
        "isCancelled": block.text("STATUS").upper() == "CANCELLED",
        "attendees": [_attendee(line) for line in block.all("ATTENDEE")],
    }
    if place := block.text("LOCATION"):
        properties["location"] = {
            "displayName": place, "locationType": "default", "uniqueId": place,
            "uniqueIdType": "private",
        }  # fmt: skip
    if organizer := block.first("ORGANIZER"):
        properties["organizer"] = {"emailAddress": _address(organizer)}
    properties |= _priority(block) | _reminder(block)
    uid = block.text("UID")
    if uid:
        properties["iCalUId"] = uid
    read = ReadEvent(uid, properties, _files(block))
    rule = block.first("RRULE")
    if identity := block.first("RECURRENCE-ID"):
        read.original = _day(_time(identity)[0], start["timeZone"])
    elif rule and (pattern := _recurrence(rule.value, start)):
        properties["recurrence"] = pattern
        for line in block.all("EXDATE"):
            for one in line.value.split(","):
                given, _ = _time(dataclasses.replace(line, value=one))
                read.cancelled.append(_day(given, start["timeZone"]))
    return read


# times


def zone_name(line: Line) -> str:
    """The zone of a time: its TZID where it is known, also behind a prefix; UTC otherwise."""
    given = line.parameters.get("TZID", "")
    parts = given.strip("/").split("/")
    for name in (given, "/".join(parts[-3:]), "/".join(parts[-2:])):
        if not name:
            continue
        try:
            zones.find(name)
        except GraphError:
            continue
        return zones.outlook_name(name)
    return zones.UTC_NAME


def _time(line: Line) -> tuple[dict[str, str], bool]:
    """A time as dateTimeTimeZone, and whether it is a whole day."""
    text = line.value.strip()
    if len(text) == 8:
        return zones.written(datetime.strptime(text, "%Y%m%d"), zone_name(line)), True
    read = datetime.strptime(text[:15], "%Y%m%dT%H%M%S")
    name = zones.UTC_NAME if text.endswith("Z") else zone_name(line)
    return zones.written(read, name), False


def _day(given: dict[str, str], zone: str) -> date:
    """The day of a time in the zone of its series."""
    if given["timeZone"] == zone:
        return zones.wall(given["dateTime"]).date()
    return zones.moment(given).astimezone(zones.find(zone)).date()


def _end(block: Block, start: dict[str, str], all_day: bool) -> dict[str, str]:
    if line := block.first("DTEND"):
        end, _ = _time(line)
    else:
        length = duration(block.text("DURATION"))
        end = zones.later(start, length or timedelta(days=1 if all_day else 0))
    if zones.moment(end) < zones.moment(start) or (
        all_day and end["dateTime"] <= start["dateTime"]
    ):
        end = zones.later(start, timedelta(days=1 if all_day else 0))
    return end


def duration(text: str) -> timedelta | None:
    """A duration such as `PT1H30M`, negative ones too; None for anything else."""
    match = _DURATION.match(text.strip().upper())
    if match is None or not any(match.groups()[1:]):
        return None
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    found = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    return -found if match[1] == "-" else found


# rules


def _recurrence(rule: str, start: dict[str, str]) -> dict[str, Any] | None:
    """A rule as a recurrence of Graph; None where Graph has no form for it."""
    parts = dict(part.upper().split("=", 1) for part in rule.split(";") if "=" in part)
    pattern = _pattern(parts, zones.wall(start["dateTime"]).date())
    if pattern is None:
        return None
    pattern["interval"] = max(1, int(parts.get("INTERVAL") or 1))
    pattern["firstDayOfWeek"] = _DAYS.get(parts.get("WKST", "MO"), "monday")
    span: dict[str, Any] = {"type": "noEnd", "startDate": start["dateTime"][:10]}
    span["recurrenceTimeZone"] = start["timeZone"]
    if count := parts.get("COUNT"):
        span |= {"type": "numbered", "numberOfOccurrences": max(1, int(count))}
    elif until := parts.get("UNTIL"):
        last = _until(until, start["timeZone"])
        span |= {"type": "endDate", "endDate": max(last, span["startDate"])}
    return {"pattern": pattern, "range": span}


def _until(text: str, zone: str) -> str:
    """The last day of a series in its own zone."""
    if len(text) >= 16 and text.endswith("Z"):
        read = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return read.astimezone(zones.find(zone)).date().isoformat()
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}"


def _pattern(parts: dict[str, str], first: date) -> dict[str, Any] | None:
    freq = parts.get("FREQ", "")
    if set(parts) & {"BYHOUR", "BYMINUTE", "BYSECOND", "BYYEARDAY", "BYWEEKNO"}:
        return None
    ordinals = [m for m in map(_ORDINAL.match, parts.get("BYDAY", "").split(",")) if m]
    names = [_DAYS[match[2]] for match in ordinals]
    if freq == "DAILY" and "BYMONTH" not in parts and "BYMONTHDAY" not in parts:
        return {"type": "weekly", "daysOfWeek": names} if names else {"type": "daily"}
    own = list(_DAYS.values())[first.weekday()]
    if freq == "WEEKLY" and "BYMONTH" not in parts:
        return {"type": "weekly", "daysOfWeek": names or [own]}
    kind = {"MONTHLY": "Monthly", "YEARLY": "Yearly"}.get(freq)
    months = parts.get("BYMONTH", str(first.month)).split(",")
    if kind is None or len(months) > 1 or (kind == "Monthly" and "BYMONTH" in parts):
        return None
    yearly = {"month": int(months[0])} if kind == "Yearly" else {}
    if names:
        position = ordinals[0][1] or parts.get("BYSETPOS") or ""
        index = _INDEX.get(int(position)) if position.lstrip("+-").isdigit() else None
        if index is None or "BYMONTHDAY" in parts or len({m[1] for m in ordinals}) > 1:
            return None
        return {"type": f"relative{kind}", "daysOfWeek": names, "index": index} | yearly
    days = parts.get("BYMONTHDAY", str(first.day)).split(",")
    if len(days) > 1 or not days[0].isdigit():
        return None
    return {"type": f"absolute{kind}", "dayOfMonth": int(days[0])} | yearly


# what else an event has


def _body(block: Block) -> dict[str, str]:
    markup = block.first("X-ALT-DESC")
    if markup is not None and "html" in markup.parameters.get("FMTTYPE", "").lower():
        return {"contentType": "html", "content": markup.text}
    return {"contentType": "text", "content": block.text("DESCRIPTION")}


def _address(line: Line) -> dict[str, str]:
    address = re.sub(r"^mailto:", "", line.value.strip(), flags=re.I)
    return {"name": line.parameters.get("CN") or address, "address": address}


def _attendee(line: Line) -> dict[str, Any]:
    role = line.parameters.get("ROLE", "").upper()
    kind = "optional" if role == "OPT-PARTICIPANT" else "required"
    if line.parameters.get("CUTYPE", "").upper() in ("ROOM", "RESOURCE"):
        kind = "resource"
    answer = _ANSWERS.get(line.parameters.get("PARTSTAT", "").upper(), "none")
    status = {"response": answer, "time": "0001-01-01T00:00:00Z"}
    return {"type": kind, "status": status, "emailAddress": _address(line)}


def _priority(block: Block) -> dict[str, str]:
    text = block.text("PRIORITY").strip()
    if not text.isdigit() or text in ("0", "5"):
        return {}
    return {"importance": "high" if int(text) < 5 else "low"}


def _reminder(block: Block) -> dict[str, Any]:
    for alarm in block.inner:
        before = duration(alarm.text("TRIGGER")) if alarm.name == "VALARM" else None
        if before is not None and before <= timedelta():
            minutes = int(-before.total_seconds() // 60)
            return {"isReminderOn": True, "reminderMinutesBeforeStart": minutes}
    return {"isReminderOn": False}


def _files(block: Block) -> list[tuple[str, str, bytes]]:
    """Name, type and bytes of each attachment that the file holds itself."""
    found = []
    for number, line in enumerate(block.all("ATTACH"), 1):
        if line.parameters.get("VALUE", "").upper() != "BINARY":
            continue
        try:
            data = base64.b64decode(line.value.strip(), validate=True)
        except (binascii.Error, ValueError):
            continue
        name = line.parameters.get("X-FILENAME") or line.parameters.get("FILENAME")
        kind = line.parameters.get("FMTTYPE") or "application/octet-stream"
        found.append((name or f"attachment {number}", kind, data))
    return found
