"""
The calendars of one mailbox: groups, calendars, events, and the instances of series.

A series is one record. Its instances are computed; what was changed on a single instance (an
exception) or cancelled is kept with the series, under the day on which it would have begun.
"""

import dataclasses
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tools.emulator import naming, recurrence, zones
from tools.emulator.errors import GraphError, no_mail_item
from tools.emulator.event_rules import completed
from tools.emulator.records import Container, Record, RecordAttachment, RecordStore

DEFAULT = "calendar"
INSTANCES_MAX = 20_000  # of one series in one window
_INSTANCE = re.compile(r"^(.+)FRAAg(\d{4})(\d\d)(\d\d)AAAQ==$")
_NOBODY = {"emailAddress": {"name": "", "address": ""}}
_NOWHERE = {
    "displayName": "", "locationType": "default", "uniqueIdType": "unknown",
    "address": {}, "coordinates": {},
}  # fmt: skip
DEFAULTS: dict[str, Any] = {
    "subject": "",
    "body": {"contentType": "html", "content": ""},
    "isAllDay": False,
    "location": _NOWHERE,
    "locations": [],
    "attendees": [],
    "organizer": _NOBODY,
    "isOrganizer": True,
    "recurrence": None,
    "sensitivity": "normal",
    "showAs": "busy",
    "importance": "normal",
    "isReminderOn": True,
    "reminderMinutesBeforeStart": 15,
    "categories": [],
    "responseRequested": True,
    "responseStatus": {"response": "organizer", "time": "0001-01-01T00:00:00Z"},
    "allowNewTimeProposals": True,
    "hideAttendees": False,
    "isCancelled": False,
    "isDraft": False,
    "isOnlineMeeting": False,
    "onlineMeetingProvider": "unknown",
    "onlineMeeting": None,
    "onlineMeetingUrl": None,
    "transactionId": None,
}


@dataclasses.dataclass(slots=True, eq=False)
class Change:
    """What differs on one instance of a series from the series."""

    properties: dict[str, Any]
    modified: float
    version: int = 1
    attachments: dict[str, RecordAttachment] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True, eq=False)
class Event(Record):
    """A single event or a series; `exceptions` and `cancelled` go by the original day."""

    exceptions: dict[date, Change] = dataclasses.field(default_factory=dict)
    cancelled: set[date] = dataclasses.field(default_factory=set)

    @property
    def is_series(self) -> bool:
        return self.properties["recurrence"] is not None


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """One occurrence of a series; `properties` are those in force on it."""

    event: Event
    day: date
    change: Change | None
    properties: dict[str, Any]


@dataclasses.dataclass(slots=True, eq=False)
class CalendarGroup:
    """A named group of calendars."""

    key: str
    name: str
    version: int = 1


class CalendarStore(RecordStore[Event]):
    """The calendars of one mailbox; the default one always exists."""

    def __init__(self, seed: int, owner: str) -> None:
        super().__init__(seed, owner, "calendar", Event)
        self.groups: dict[str, CalendarGroup] = {}
        self.default_group = self.add_group("My Calendars")
        self.default = self.add_calendar("Calendar", well_known=DEFAULT)

    def add_group(self, name: str) -> CalendarGroup:
        """Make a calendar group."""
        key = naming.folder_id(self.seed, self.owner, "calendar group", name, self.count())
        made = self.groups[key] = CalendarGroup(key, name)
        return made

    def group(self, key: str) -> CalendarGroup:
        """The group with this id; 404 when there is none."""
        if key not in self.groups:
            raise no_mail_item()
        return self.groups[key]

    def add_calendar(
        self,
        name: str,
        *,
        at: float = 0.0,
        group: CalendarGroup | None = None,
        well_known: str | None = None,
        properties: dict[str, Any] | None = None,
    ) -> Container[Event]:
        """Make a calendar in a group, the default one when none is named."""
        values = {"group": (group or self.default_group).key, "color": "auto", "hexColor": ""}
        values |= properties or {}
        return self.add_container(name, at=at, well_known=well_known, properties=values)

    def add(self, container: Container[Event], properties: dict[str, Any], *, at: float) -> Event:
        """Put an event into a calendar; what is not given takes the default of Outlook."""
        if "start" not in properties or "end" not in properties:
            raise GraphError(400, "ErrorPropertyValidationFailure", "An event has start and end.")
        given = completed(DEFAULTS | properties)
        if not given["locations"] and given["location"].get("displayName"):
            given["locations"] = [given["location"]]
        uid = naming.guid(self.seed, self.owner, "uid", self.count()).replace("-", "").upper()
        given.setdefault("iCalUId", f"040000008200E00074C5B7101A82E00800000000{uid}")
        return super().add(container, given, at=at)

    def change(self, event: Event, properties: dict[str, Any], *, at: float) -> None:
        """Change an event; a series that takes place at other times loses its exceptions."""
        after = completed(event.properties | properties)
        if any(after[name] != event.properties[name] for name in ("start", "end", "recurrence")):
            event.exceptions.clear()
            event.cancelled.clear()
        self.touch(event, after, at=at)

    # instances

    def find(self, key: str) -> tuple[Event, date | None]:
        """The event with this id, or the series and the day of an instance's id; 404."""
        match = _INSTANCE.match(key)
        if match is None:
            return self.record(key), None
        for padding in ("=", "==", ""):
            try:
                event = self.record(match[1] + padding)
                day = date(int(match[2]), int(match[3]), int(match[4]))
            except (GraphError, ValueError):
                continue
            self.instance(event, day)
            return event, day
        raise no_mail_item()

    def instance(self, event: Event, day: date) -> Instance:
        """The instance that belongs to `day`; 404 when the series has none or it is cancelled."""
        if event.is_series and day not in event.cancelled:
            for each in recurrence.days(event.properties["recurrence"]):
                if each == day:
                    return _instance(event, day)
                if each > day:
                    break
        raise no_mail_item()

    def change_instance(
        self, event: Event, day: date, properties: dict[str, Any], *, at: float
    ) -> Change:
        """Make an instance an exception, or change one that is."""
        completed(self.instance(event, day).properties | properties)
        change = event.exceptions.setdefault(day, Change({}, at, 0))
        change.properties |= properties
        change.version += 1
        change.modified = at
        self.touch(event, at=at)
        return change

    def cancel_instance(self, event: Event, day: date, *, at: float) -> None:
        """Take an instance out of its series."""
        self.instance(event, day)
        event.exceptions.pop(day, None)
        event.cancelled.add(day)
        self.touch(event, at=at)


def instance_key(series: str, day: date) -> str:
    """The id of an instance, made of the id of its series."""
    return f"{series.rstrip('=')}FRAAg{day:%Y%m%d}AAAQ=="


def occurrence_name(series: str, day: date) -> str:
    """How `cancelledOccurrences` names an instance."""
    return f"OID.{series}.{day.isoformat()}"


def span(properties: dict[str, Any]) -> tuple[datetime, datetime]:
    """Start and end in UTC."""
    return zones.moment(properties["start"]), zones.moment(properties["end"])


def meets(properties: dict[str, Any], begin: datetime, end: datetime) -> bool:
    """True when the event takes place within the window, at least in part."""
    starts, ends = span(properties)
    return starts < end and (ends > begin or starts >= begin)


def instances(event: Event, begin: datetime, end: datetime) -> Iterator[Instance]:
    """The instances of a series within a window, in order of their days; 503 when too many."""
    start, finish = event.properties["start"], event.properties["end"]
    length = zones.wall(finish["dateTime"]) - zones.wall(start["dateTime"])
    last = (end + timedelta(days=2)).date()
    first = (begin - length - timedelta(days=2)).date()
    days = {day for day in event.exceptions if not first <= day <= last}
    for day in recurrence.days(event.properties["recurrence"]):
        if day > last:
            break
        if day >= first:
            days.add(day)
        if len(days) > INSTANCES_MAX:
            raise GraphError(503, "ErrorServerBusy", "The series has too many instances.")
    for day in sorted(days - event.cancelled):
        found = _instance(event, day)
        if meets(found.properties, begin, end):
            yield found


def _instance(event: Event, day: date) -> Instance:
    """The instance of a day that is known to be in the series."""
    properties = dict(event.properties)
    shift = datetime(day.year, day.month, day.day) - _midnight(properties["start"])
    properties["start"] = zones.later(properties["start"], shift)
    properties["end"] = zones.later(properties["end"], shift)
    properties["recurrence"] = None
    change = event.exceptions.get(day)
    if change is not None:
        properties |= change.properties
    return Instance(event, day, change, properties)


def _midnight(start: dict[str, Any]) -> datetime:
    return zones.wall(start["dateTime"]).replace(hour=0, minute=0, second=0)


def original_start(event: Event, day: date) -> datetime:
    """When the instance of `day` would begin by the pattern, in UTC."""
    start = event.properties["start"]
    shift = datetime(day.year, day.month, day.day) - _midnight(start)
    return zones.moment(zones.later(start, shift)).astimezone(UTC)
