"""
Which folders and items of a workload are covered, by one grammar for backups, restores and exports. Pure.

A pattern is a path of folder names, `Projects/2026*`: letters in any case, `*` and `?` within a name, and what fits covers
everything below it. `@inbox` stands for the folder of that well-known name, whatever it is called in the mailbox's
language; it is only looked at where a path begins. A workload in front, `calendar:Team`, says whose containers are meant
(`mail`, `calendar`, `contacts`, `tasks`); without one it is mail. A workload without patterns is covered whole.

Dates are compared here and not by the service: a change feed with a filter on dates ends after 5,000 messages (Graph,
"message: delta"), and listings of the others know no such filter for all of their items.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import translate
from typing import TypeVar

import msgspec

from engine.catalog import Row
from engine.errors import UsageError
from proxy.contract import Selection
from proxy.workloads.moments import nanoseconds

__all__ = ["FolderPatterns", "ItemSelection", "Period", "Span", "path_of", "patterns_of", "span_of"]

PATTERN_CHARACTERS_MAX = 1_000
WORKLOADS = ("mail", "calendar", "contacts", "tasks")

K = TypeVar("K")
V = TypeVar("V")
Name = re.Pattern[str]
Names = Sequence[
    tuple[str, str]
]  # name and well-known name of a folder and of those above it, the topmost first
Span = tuple[
    int, int
]  # first and last moment, nanoseconds since 1970; the last is not in it unless it is the first
ALWAYS = 1 << 63


def patterns_of(texts: Iterable[str], workload: str) -> list[str]:
    """The patterns that are about a workload, without its name in front."""
    found = []
    for text in texts:
        front, colon, rest = text.partition(":")
        named = front.casefold() if colon and front.casefold() in WORKLOADS else ""
        if (named or "mail") == workload:
            found.append(rest if named else text)
    return found


class FolderPatterns:
    """
    Which containers of a workload are covered.

    Raises:
        UsageError(selection-invalid): a pattern that is none.
    """

    def __init__(self, selection: Selection, workload: str) -> None:
        self._wanted = [_pattern(text) for text in patterns_of(selection.folders, workload)]
        self._without = [
            _pattern(text) for text in patterns_of(selection.without_folders, workload)
        ]
        self.restrict = bool(self._wanted or self._without)

    def covers(self, names: Names) -> bool:
        """Whether the container of these names is covered."""
        wanted = not self._wanted or any(_fits(pattern, names) for pattern in self._wanted)
        return wanted and not any(_fits(pattern, names) for pattern in self._without)


class Period:
    """
    From a moment (it is in) until another (it is not); "" does not restrict.

    Raises:
        UsageError(selection-invalid): a date that is none.
    """

    def __init__(self, first: str, until: str) -> None:
        self._first_ns = _moment(first)
        self._until_ns = _moment(until)
        self.restricts = self._first_ns is not None or self._until_ns is not None

    def covers(self, moment_ns: int) -> bool:
        """Whether something of this time is covered; 0, no time, always is."""
        return not moment_ns or self.meets((moment_ns, moment_ns))

    def meets(self, span: Span) -> bool:
        """Whether any of the span is covered."""
        begin, end = span
        since = self._first_ns is None or end > self._first_ns or begin >= self._first_ns
        return since and (self._until_ns is None or begin < self._until_ns)


class ItemSelection:
    """The part of a selection that is about one workload, for its catalog rows."""

    def __init__(self, selection: Selection, workload: str) -> None:
        self._patterns = FolderPatterns(selection, workload)
        received = selection.received_from, selection.received_until
        dated = selection.dated_from, selection.dated_until
        self.period = Period(
            *{"mail": received, "calendar": dated, "tasks": dated}.get(workload, ("", ""))
        )
        self.restricts = self._patterns.restrict or self.period.restricts

    def covered(self, containers: Iterable[Row]) -> set[bytes]:
        """Ids of the containers that are covered."""
        known = {row.id: row for row in containers}
        if not self._patterns.restrict:
            return set(known)
        return {key for key in known if self._patterns.covers(_names(key, known))}

    def kept(self, containers: Iterable[Row]) -> list[Row]:
        """The containers that are covered, and those above them, which only show where they are."""
        known = {row.id: row for row in containers}
        wanted = {row.id for key in self.covered(known.values()) for row in _path(key, known)}
        return [row for row in known.values() if row.id in wanted]

    def covers(self, row: Row) -> bool:
        """Whether an item is of the time that is covered."""
        return self.meets(_span(row) if self.period.restricts else None)

    def meets(self, span: Span | None) -> bool:
        """Whether an item of this time is covered; one without a time always is."""
        return span is None or self.period.meets(span)


class _Moment(msgspec.Struct, rename="camel"):
    date_time: str | None = None


class _Meta(msgspec.Struct, rename="camel"):
    """What rows of the workloads say of names and times (docs/workloads.md)."""

    received: str | None = None
    start: _Moment | None = None
    end: _Moment | None = None
    recurring: bool = False
    due: _Moment | None = None
    well_known: str | None = None
    well_known_name: str | None = None
    wellknown_list_name: str | None = None
    is_default_calendar: bool | None = None

    @property
    def known_as(self) -> str:
        """The name that the service gives a container in every language."""
        names = (self.well_known, self.well_known_name, self.wellknown_list_name)
        default = "calendar" if self.is_default_calendar else ""
        return next((name for name in names if name), default).casefold()


_META = msgspec.json.Decoder(_Meta)


def path_of(key: K, known: Mapping[K, V], above: Callable[[V], K]) -> list[V]:
    """What is known by `key` and what is above it, the topmost first; a ring is walked once."""
    path: dict[K, V] = {}
    while key in known and key not in path:
        path[key] = known[key]
        key = above(known[key])
    return list(path.values())[::-1]


def _path(key: bytes, known: Mapping[bytes, Row]) -> list[Row]:
    return path_of(key, known, lambda row: row.container)


def _names(key: bytes, known: Mapping[bytes, Row]) -> Names:
    return [
        (row.name.decode("utf-8", "replace"), _META.decode(row.meta or b"{}").known_as)
        for row in _path(key, known)
    ]


def _span(row: Row) -> Span | None:
    meta = _META.decode(row.meta or b"{}")
    if meta.start is not None:
        return span_of(
            meta.start.date_time, meta.end.date_time if meta.end else None, recurring=meta.recurring
        )
    moment = nanoseconds(meta.received or (meta.due.date_time if meta.due is not None else None))
    return (moment, moment) if moment else None


def span_of(begin: str | None, end: str | None, *, recurring: bool) -> Span | None:
    """From begin to end; what repeats may do so for ever. None if it says no time."""
    first = nanoseconds(begin)
    if not first:
        return None
    return first, ALWAYS if recurring else max(first, nanoseconds(end))


def _pattern(text: str) -> list[Name]:
    names = [name for name in text.split("/") if name]
    if not names or len(text) > PATTERN_CHARACTERS_MAX:
        raise _unfit(f"{text[:80]!r} is not a pattern of a folder's path.")
    return [re.compile(translate(name.casefold())) for name in names]


def _fits(pattern: list[Name], names: Names) -> bool:
    """Whether the pattern fits the folder or one above it."""
    if len(pattern) > len(names):
        return False
    for place, wanted in enumerate(pattern):
        name, well_known = names[place]
        if not wanted.match(name.casefold()) and not (
            place == 0 and well_known and wanted.match(f"@{well_known}")
        ):
            return False
    return True


def _moment(text: str) -> int | None:
    if not text:
        return None
    found = nanoseconds(f"{text}T00:00:00Z" if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else text)
    if not found and text[:10] != "1970-01-01":
        raise _unfit(f"{text[:40]!r} is not a date like 2026-01-31 or a moment in RFC 3339.")
    return found


def _unfit(message: str) -> UsageError:
    return UsageError(message, code="selection-invalid")
