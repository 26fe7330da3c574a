"""
Recurrences of Graph as RRULE.

Exchange puts an event of the 29th to 31st on a shorter month's last day; RRULE alone would leave the month out, so such
days are written as "the last of these that exists".

Source: Graph resource types recurrencePattern and recurrenceRange; RFC 5545, section 3.3.10.
"""

from datetime import UTC, date, datetime, time, tzinfo
from typing import Any

from proxy.converters.graph_json import member, text

__all__ = ["rrule"]

DAYS = {
    "sunday": "SU",
    "monday": "MO",
    "tuesday": "TU",
    "wednesday": "WE",
    "thursday": "TH",
    "friday": "FR",
    "saturday": "SA",
}
WEEKS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
SAFE_DAYS_MAX = 28  # every month has them


def rrule(recurrence: Any, zone: tzinfo, *, dates: bool) -> str | None:
    """
    The value of RRULE; None if the pattern is none that Graph documents.

    Args:
        recurrence: a patternedRecurrence. zone: in which its last day ends.
        dates: the events are whole days, so UNTIL is a date.
    """
    parts = _pattern(member(recurrence, "pattern"))
    if parts is None:
        return None
    bound = _bound(member(recurrence, "range"), zone, dates=dates)
    return ";".join([*parts, *([bound] if bound else [])])


def _pattern(pattern: Any) -> list[str] | None:
    kind = text(member(pattern, "type")).lower()
    days = [DAYS[d] for d in _words(member(pattern, "daysOfWeek")) if d in DAYS]
    interval = _number(member(pattern, "interval"), 1)
    every = [f"INTERVAL={interval}"] if interval > 1 else []
    month = _number(member(pattern, "month"), 0)
    in_month = [f"BYMONTH={month}"] if 1 <= month <= 12 else []
    day = _number(member(pattern, "dayOfMonth"), 0)
    if kind == "daily":
        return ["FREQ=DAILY", *every]
    if kind == "weekly" and days:
        first = DAYS.get(text(member(pattern, "firstDayOfWeek")).lower(), "SU")
        return ["FREQ=WEEKLY", *every, f"BYDAY={','.join(days)}", f"WKST={first}"]
    if kind == "absolutemonthly" and 1 <= day <= 31:
        return ["FREQ=MONTHLY", *every, *_days_of_month(day)]
    if kind == "relativemonthly" and days:
        return ["FREQ=MONTHLY", *every, *_days_of_week(pattern, days)]
    if kind == "absoluteyearly" and in_month and 1 <= day <= 31:
        rare = month == 2 and day > SAFE_DAYS_MAX
        chosen = _days_of_month(day) if rare else [f"BYMONTHDAY={day}"]
        return ["FREQ=YEARLY", *every, *in_month, *chosen]
    if kind == "relativeyearly" and in_month and days:
        return ["FREQ=YEARLY", *every, *in_month, *_days_of_week(pattern, days)]
    return None


def _days_of_month(day: int) -> list[str]:
    if day <= SAFE_DAYS_MAX:
        return [f"BYMONTHDAY={day}"]
    if day == 31:
        return ["BYMONTHDAY=-1"]
    return [f"BYMONTHDAY={','.join(map(str, range(SAFE_DAYS_MAX, day + 1)))}", "BYSETPOS=-1"]


def _days_of_week(pattern: Any, days: list[str]) -> list[str]:
    week = WEEKS.get(text(member(pattern, "index")).lower(), 1)
    if len(days) == 1:
        return [f"BYDAY={week}{days[0]}"]
    return [f"BYDAY={','.join(days)}", f"BYSETPOS={week}"]


def _bound(span: Any, zone: tzinfo, *, dates: bool) -> str | None:
    kind = text(member(span, "type")).lower()
    count = _number(member(span, "numberOfOccurrences"), 0)
    if kind == "numbered" and count > 0:
        return f"COUNT={count}"
    if kind != "enddate":
        return None
    try:
        last = date.fromisoformat(text(member(span, "endDate"))[:10])
    except ValueError:
        return None
    if last.year <= 1 or dates:
        return f"UNTIL={last:%Y%m%d}" if last.year > 1 else None
    end = datetime.combine(last, time(23, 59, 59), zone).astimezone(UTC)
    return f"UNTIL={end:%Y%m%dT%H%M%SZ}"


def _words(value: Any) -> list[str]:
    return [text(word).lower() for word in value] if isinstance(value, list) else []


def _number(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
