"""
How Exchange completes what is written on an event, and what it refuses.
"""

from datetime import timedelta
from typing import Any

from tools.emulator import recurrence, zones
from tools.emulator.errors import GraphError

_DAY = timedelta(days=1)
_ZERO_DATE = "0001-01-01"
_PATTERN = {
    "interval": 1, "month": 0, "dayOfMonth": 0, "daysOfWeek": [], "firstDayOfWeek": "sunday",
    "index": "first",
}  # fmt: skip


def completed(properties: dict[str, Any]) -> dict[str, Any]:
    """
    An event's properties as Exchange keeps them: times and recurrence with all their members.

    Raises:
        GraphError: 400, the times do not fit each other.
    """
    found = dict(properties)
    for name in ("start", "end"):
        given = found[name]
        zone = given.get("timeZone") or zones.UTC_NAME
        found[name] = zones.written(zones.wall(given["dateTime"]), zone)
    starts, ends = zones.moment(found["start"]), zones.moment(found["end"])
    if ends < starts:
        text = "The event's end is before its start."
        raise GraphError(400, "ErrorPropertyValidationFailure", text)
    if found.get("isAllDay"):
        clocks = [found[name]["dateTime"][11:19] for name in ("start", "end")]
        if clocks != ["00:00:00"] * 2 or ends - starts < _DAY - timedelta(hours=2):
            text = "An all-day event is from midnight to midnight and lasts a day at least."
            raise GraphError(400, "ErrorPropertyValidationFailure", text)
    if found.get("recurrence") is not None:
        found["recurrence"] = whole_recurrence(found["recurrence"], found["start"]["timeZone"])
    return found


def whole_recurrence(given: dict[str, Any], zone: str) -> dict[str, Any]:
    """A recurrence with all its members; 400 for one that Exchange does not take."""
    recurrence.check(given)
    span = {
        "recurrenceTimeZone": zone,
        "numberOfOccurrences": 0,
        "endDate": _ZERO_DATE,
    }
    return {"pattern": _PATTERN | given["pattern"], "range": span | given["range"]}
