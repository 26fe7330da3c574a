"""
A stored event as Graph takes it for a new one. Pure.

For where the export stream cannot be imported. Attendees are left out, because Graph would invite them and has no way
not to; who they were stands in the text. Times go back into the zone they were made in, since that is where a series
repeats.
"""

import html
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from proxy.converters.zones import zone_of
from proxy.restore.record import writable

__all__ = ["attendee_text", "changed_members", "new_event", "original_moment"]

WRITABLE = (
    "subject", "body", "isAllDay", "location", "locations", "sensitivity", "showAs", "importance",
    "isReminderOn", "reminderMinutesBeforeStart", "categories", "allowNewTimeProposals",
    "responseRequested", "hideAttendees",
)  # fmt: skip
ZONES = {"start": "originalStartTimeZone", "end": "originalEndTimeZone"}
UTC_NAME = "UTC"
NO_RANGE_MEMBERS = ("", None)


def new_event(members: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a single event or the rule of a series anew; without attendees."""
    made = writable(dict(members), WRITABLE) | _times(members)
    if (rule := members.get("recurrence")) is not None:
        span = {k: v for k, v in rule["range"].items() if v not in NO_RANGE_MEMBERS}
        made["recurrence"] = {"pattern": rule["pattern"], "range": span}
    if text := attendee_text(members):
        made["body"] = _with_text(members.get("body") or {}, text)
    return made


def changed_members(exception: Mapping[str, Any], series: Mapping[str, Any]) -> dict[str, Any]:
    """What an exception has that its series has not, to be written on the instance."""
    made = {
        name: value
        for name, value in writable(dict(exception), WRITABLE).items()
        if value != series.get(name)
    }
    if "body" in made and (text := attendee_text(exception)):
        made["body"] = _with_text(made["body"], text)
    return made if _is_in_its_place(exception, series) else made | _times(exception)


def _is_in_its_place(exception: Mapping[str, Any], series: Mapping[str, Any]) -> bool:
    """Whether an occurrence begins when the rule says, and lasts as long as the others."""
    begins = _wall(str(exception.get("originalStart") or ""))
    start, end = _wall_of(exception, "start"), _wall_of(exception, "end")
    first, last = _wall_of(series, "start"), _wall_of(series, "end")
    if not (begins and start and end and first and last):
        return False
    return begins == start and end - start == last - first


def _wall_of(members: Mapping[str, Any], name: str) -> datetime | None:
    return _wall(str((members.get(name) or {}).get("dateTime") or ""))


def attendee_text(members: Mapping[str, Any]) -> str:
    """Who was invited and by whom; empty for an event without attendees."""
    attendees = members.get("attendees") or ()
    if not attendees:
        return ""
    lines = [f"Organizer: {_person(members.get('organizer'))}"]
    for one in attendees:
        answer = (one.get("status") or {}).get("response") or "none"
        lines.append(
            f"{str(one.get('type') or 'required').capitalize()}: {_person(one)} ({answer})"
        )
    return "\n".join(lines)


def original_moment(text: str) -> datetime | None:
    """The moment when an occurrence would be by the rule; None if the text is none."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _times(members: Mapping[str, Any]) -> dict[str, Any]:
    made = {}
    for name, zone_member in ZONES.items():
        given = members.get(name) or {}
        zone_name = str(members.get(zone_member) or UTC_NAME)
        made[name] = _in_zone(given, zone_name, all_day=bool(members.get("isAllDay")))
    return made


def _in_zone(given: Mapping[str, Any], zone_name: str, *, all_day: bool) -> dict[str, str]:
    """A time in UTC by the clock of its own zone; an all-day event begins at midnight wherever one is."""
    text = str(given.get("dateTime") or "")
    if all_day:
        return {"dateTime": text, "timeZone": zone_name}
    zone, moment = zone_of(zone_name), _wall(text)
    if zone is None or moment is None or str(given.get("timeZone") or UTC_NAME) != UTC_NAME:
        return {"dateTime": text, "timeZone": str(given.get("timeZone") or UTC_NAME)}
    local = moment.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None)
    return {"dateTime": local.isoformat(), "timeZone": zone_name}


def _wall(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text[:19])  # seven decimals are one too many for some readers
    except ValueError:
        return None


def _person(given: Any) -> str:
    person = (given or {}).get("emailAddress") or {}
    name, address = str(person.get("name") or ""), str(person.get("address") or "")
    return f"{name} <{address}>" if name and name != address else address or name


def _with_text(body: Mapping[str, Any], text: str) -> dict[str, str]:
    content = str(body.get("content") or "")
    if str(body.get("contentType") or "").lower() == "html":
        lines = "<br>".join(html.escape(line) for line in text.split("\n"))
        end = content.lower().rfind("</body>")
        end = len(content) if end < 0 else end
        return {
            "contentType": "html",
            "content": f"{content[:end]}<hr><p>{lines}</p>{content[end:]}",
        }
    return {"contentType": "text", "content": f"{content}\n\n{text}\n"}
