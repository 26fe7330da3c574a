"""
Time zones of events: from the names that Graph uses to VTIMEZONE.

Rules come from the time zone data of the machine. A zone that is not known there (an administrator's own zone, a
machine without data) is None: the event is then written in UTC, which is right for each single one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from proxy.converters.content_lines import content_line
from proxy.converters.zone_names import IANA_NAMES, UTC_NAMES

__all__ = ["is_utc", "vtimezone", "zone_of"]

LAST_YEAR = 2037  # of rules looked at; the last rule goes on without an end
DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


@dataclass(frozen=True, slots=True)
class _Onset:
    """A change of the offset. `local`: by the clock before it; `weeks`: which weekday of the month it is (-1: last)."""

    local: datetime
    before: timedelta
    after: timedelta
    name: str
    daylight: bool
    weeks: frozenset[int]

    @property
    def rule(self) -> tuple[object, ...]:
        """Onsets of one rule agree in this."""
        at = self.local
        return (at.month, at.weekday(), at.time(), self.before, self.after, self.name)


def is_utc(name: str) -> bool:
    """Whether a name of Graph means UTC."""
    return name.strip().lower() in UTC_NAMES


@lru_cache(maxsize=256)
def zone_of(name: str) -> ZoneInfo | None:
    """The zone by its Windows or IANA name; None when it is unknown or UTC."""
    if is_utc(name):
        return None
    try:
        return ZoneInfo(IANA_NAMES.get(name.strip().lower(), name.strip()))
    except (KeyError, ValueError, OSError):  # not found; not a name; a folder of the zone data
        return None


@lru_cache(maxsize=256)
def vtimezone(zone: ZoneInfo, first_year: int) -> tuple[str, ...]:
    """
    The lines of a VTIMEZONE that is right from `first_year` on.

    Each rule is one observance with RRULE, because Outlook reads no lists of dates (MS-OXCICAL 2.1.3.1.1.19).
    """
    # The year before as well, so that January has a rule in force.
    onsets = list(_onsets(zone, max(first_year - 1, 1), max(LAST_YEAR, first_year + 1)))
    lines = [content_line("BEGIN", "VTIMEZONE"), content_line("TZID", zone.key)]
    start = datetime(max(first_year - 1, 1), 1, 1, tzinfo=zone)
    if not onsets or onsets[0].local.year >= first_year:
        lines += _observance(_steady(start), None)
    runs = list(_runs(onsets))
    for run in runs:
        last = run[-1].local.year >= LAST_YEAR
        lines += _observance(run[0], _rule(run, endless=last) if len(run) > 1 else None)
    lines.append(content_line("END", "VTIMEZONE"))
    return tuple(lines)


def _steady(start: datetime) -> _Onset:
    offset = start.utcoffset() or timedelta()
    local = start.replace(tzinfo=None)
    return _Onset(local, offset, offset, start.tzname() or "", bool(start.dst()), frozenset())


def _onsets(zone: ZoneInfo, first_year: int, last_year: int) -> Iterator[_Onset]:
    """Every change of the offset: days are compared, then the hour and minute are found by halving."""
    moment = datetime(first_year, 1, 1, tzinfo=UTC)
    end = datetime(last_year, 12, 31, tzinfo=UTC)
    step = timedelta(days=5)  # no zone has two changes within it that matter
    state = _state(moment, zone)
    while moment < end:
        following = moment + step
        if (after := _state(following, zone)) != state:
            yield _onset(_first_instant(moment, following, zone), zone)
            state = after
        moment = following


def _state(moment: datetime, zone: ZoneInfo) -> tuple[timedelta | None, bool]:
    local = moment.astimezone(zone)
    return local.utcoffset(), bool(local.dst())


def _first_instant(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    before = _state(low, zone)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if middle <= low:
            break
        if _state(middle, zone) == before:
            low = middle
        else:
            high = middle
    return high


def _onset(moment: datetime, zone: ZoneInfo) -> _Onset:
    after = moment.astimezone(zone)
    before = (moment - timedelta(seconds=1)).astimezone(zone).utcoffset() or timedelta()
    local = (moment + before).replace(tzinfo=None)
    weeks = {(local.day - 1) // 7 + 1}
    if (local + timedelta(days=7)).month != local.month:
        weeks.add(-1)
    return _Onset(
        local,
        before,
        after.utcoffset() or timedelta(),
        after.tzname() or "",
        bool(after.dst()),
        frozenset(weeks),
    )


def _runs(onsets: list[_Onset]) -> Iterator[list[_Onset]]:
    """Onsets that one yearly rule gives: same place in the year, no year left out."""
    open_runs: dict[tuple[object, ...], list[_Onset]] = {}
    weeks: dict[tuple[object, ...], frozenset[int]] = {}
    done: list[list[_Onset]] = []
    for onset in onsets:
        run = open_runs.get(onset.rule)
        common = weeks.get(onset.rule, frozenset()) & onset.weeks
        if run is not None and common and run[-1].local.year + 1 == onset.local.year:
            run.append(onset)
            weeks[onset.rule] = common
            continue
        if run is not None:
            done.append(run)
        open_runs[onset.rule] = [onset]
        weeks[onset.rule] = onset.weeks
    done += open_runs.values()
    return iter(sorted(done, key=lambda run: run[0].local))


def _rule(run: list[_Onset], *, endless: bool) -> str:
    first = run[0]
    week = min(frozenset.intersection(*(onset.weeks for onset in run)))  # "last" before "fourth"
    rule = f"FREQ=YEARLY;BYMONTH={first.local.month};BYDAY={week}{DAYS[first.local.weekday()]}"
    if endless:
        return rule
    # A day too late, on purpose: some readers compare UNTIL with the local time of the last onset.
    until = run[-1].local - run[-1].before + timedelta(days=1)
    return f"{rule};UNTIL={_stamp(until)}Z"


def _observance(onset: _Onset, rule: str | None) -> list[str]:
    kind = "DAYLIGHT" if onset.daylight else "STANDARD"
    lines = [
        content_line("BEGIN", kind),
        content_line("DTSTART", _stamp(onset.local)),
        content_line("TZOFFSETFROM", _offset(onset.before)),
        content_line("TZOFFSETTO", _offset(onset.after)),
        content_line("TZNAME", onset.name),
    ]
    if rule is not None:
        lines.append(content_line("RRULE", rule))
    lines.append(content_line("END", kind))
    return lines


def _stamp(local: datetime) -> str:
    return f"{local.year:04}{local:%m%dT%H%M%S}"  # strftime does not pad years


def _offset(offset: timedelta) -> str:
    seconds = int(offset.total_seconds())
    hours, rest = divmod(abs(seconds), 3600)
    minutes, left = divmod(rest, 60)
    sign = "-" if seconds < 0 else "+"
    return f"{sign}{hours:02}{minutes:02}" + (f"{left:02}" if left else "")
