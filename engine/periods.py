"""
Periods of the calendar ("30 days", "6 months", "5 years") and the moment that lies one of them back. All in UTC.

A month that lacks the day counts as ended: a month before the 31st of March is the first moment of March. So the moment
never moves back while the clock goes on, and nothing goes earlier than the calendar says.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from engine.errors import UsageError

Unit = Literal["hours", "days", "weeks", "months", "years"]
PERIOD_MAX = {"hours": 876_000, "days": 36_500, "weeks": 5_200, "months": 1_200, "years": 100}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT = re.compile(r"([0-9]{1,6}) *(hour|day|week|month|year)s?")


@dataclass(frozen=True, slots=True)
class Period:
    """`count` units, at least 1 and at most a hundred years."""

    count: int
    unit: Unit

    def __str__(self) -> str:
        return f"{self.count} {self.unit if self.count != 1 else self.unit[:-1]}"

    def before(self, now: datetime) -> datetime:
        """The moment that lies this period before `now` (aware, UTC)."""
        match self.unit:
            case "hours":
                return now - timedelta(hours=self.count)
            case "days":
                return now - timedelta(days=self.count)
            case "weeks":
                return now - timedelta(weeks=self.count)
            case "months":
                return _months_before(now, self.count)
            case "years":
                return _months_before(now, 12 * self.count)


def parse_period(text: str) -> Period:
    """A period as people write it. UsageError otherwise."""
    match = _TEXT.fullmatch(text.strip())
    if match is not None:
        count, unit = int(match[1]), f"{match[2]}s"
        if 1 <= count <= PERIOD_MAX[unit]:
            return Period(count, unit)  # type: ignore[arg-type]
    raise UsageError(
        f"{text!r} is no period: write for example 30 days, 8 weeks, 6 months or 5 years, up to 100 years",
        code="period-invalid",
    )


def _months_before(now: datetime, count: int) -> datetime:
    year, month = divmod(now.year * 12 + now.month - 1 - count, 12)
    try:
        return now.replace(year=year, month=month + 1)
    except ValueError:  # no such day: the month has ended (December never lacks one)
        return datetime(year, month + 2, 1, tzinfo=UTC)


def nanoseconds(moment: datetime) -> int:
    """Nanoseconds since 1970 of a moment, whole microseconds."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
