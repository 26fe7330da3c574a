"""
The days on which a series takes place: Graph's recurrence patterns and ranges, as pure functions.
"""

import calendar
import itertools
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from tools.emulator.errors import GraphError

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_INDEX = {"first": 0, "second": 1, "third": 2, "fourth": 3, "last": -1}
_KINDS = ("daily", "weekly", "absoluteMonthly", "relativeMonthly", "absoluteYearly",
          "relativeYearly")  # fmt: skip
_RANGES = ("endDate", "noEnd", "numbered")
YEARS_MAX = 500  # days beyond are never asked for; ends every walk


def check(recurrence: dict[str, Any]) -> None:
    """400 for a recurrence that Exchange would not take."""
    pattern, span = recurrence.get("pattern") or {}, recurrence.get("range") or {}
    good = pattern.get("type") in _KINDS and span.get("type") in _RANGES
    good = good and (pattern.get("interval") or 0) >= 1 and _is_date(span.get("startDate"))
    if good and span["type"] == "endDate":
        good = _is_date(span.get("endDate")) and span["endDate"] >= span["startDate"]
    if good and span["type"] == "numbered":
        good = (span.get("numberOfOccurrences") or 0) >= 1
    if good and pattern["type"] in ("weekly", "relativeMonthly", "relativeYearly"):
        good = bool(pattern.get("daysOfWeek"))
    if not good:
        raise GraphError(400, "ErrorPropertyValidationFailure", "The recurrence is not valid.")


def _is_date(text: Any) -> bool:
    try:
        date.fromisoformat(text)
    except (TypeError, ValueError):
        return False
    return True


def days(recurrence: dict[str, Any]) -> Iterator[date]:
    """The days of a series in order, cancelled ones too; ends with its range."""
    pattern, span = recurrence["pattern"], recurrence["range"]
    first = date.fromisoformat(span["startDate"])
    found = (day for day in _pattern_days(pattern, first) if day >= first)
    if span["type"] == "endDate":
        last = date.fromisoformat(span["endDate"])
        return itertools.takewhile(lambda day: day <= last, found)
    if span["type"] == "numbered":
        return itertools.islice(found, span["numberOfOccurrences"])
    return found


def _pattern_days(pattern: dict[str, Any], first: date) -> Iterator[date]:
    kind, interval = pattern["type"], pattern["interval"]
    if kind == "daily":
        for step in range(0, YEARS_MAX * 366, interval):
            yield first + timedelta(days=step)
    elif kind == "weekly":
        yield from _weekly(pattern, first)
    elif kind in ("absoluteMonthly", "relativeMonthly"):
        begin = first.year * 12 + first.month - 1
        for month in range(begin, begin + YEARS_MAX * 12, interval):
            yield from _in_month(pattern, month // 12, month % 12 + 1)
    else:
        month = pattern.get("month") or first.month
        for year in range(first.year, first.year + YEARS_MAX, interval):
            yield from _in_month(pattern, year, month)


def _weekly(pattern: dict[str, Any], first: date) -> Iterator[date]:
    begins = _DAYS.index((pattern.get("firstDayOfWeek") or "sunday").lower())
    week = first - timedelta(days=(first.weekday() - begins) % 7)
    wanted = sorted((_DAYS.index(name.lower()) - begins) % 7 for name in set(pattern["daysOfWeek"]))
    for step in range(0, YEARS_MAX * 53, pattern["interval"]):
        for day in wanted:
            yield week + timedelta(days=7 * step + day)


def _in_month(pattern: dict[str, Any], year: int, month: int) -> Iterator[date]:
    """The one day of a month, if it has it; a day 31 is the last of a shorter month."""
    length = calendar.monthrange(year, month)[1]
    if pattern["type"].startswith("absolute"):
        yield date(year, month, min(pattern.get("dayOfMonth") or 1, length))
        return
    wanted = {_DAYS.index(name.lower()) for name in pattern["daysOfWeek"]}
    found = [day for day in range(1, length + 1) if date(year, month, day).weekday() in wanted]
    index = _INDEX[pattern.get("index") or "first"]
    if index < len(found):
        yield date(year, month, found[index])
