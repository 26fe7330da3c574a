"""
One event or series as Graph describes it, turned into what is stored. Pure.

A series is one item: exceptions and cancelled occurrences are members of its JSON. Occurrences follow from the rule.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from engine.catalog import Row
from engine.parts import Part
from proxy.workloads.listed_items import Head
from proxy.workloads.members import (
    Members,
    decode_members,
    encode_members,
    pick,
    without,
    without_links,
)
from proxy.workloads.moments import nanoseconds
from proxy.workloads.selection import span_of

__all__ = [
    "EVENT_HEAD_MEMBERS",
    "EVENT_TIME_MEMBERS",
    "SERIES_MEMBERS",
    "EventHead",
    "calendar_rows",
    "decode_event",
    "event_head",
    "event_row",
    "exceptions_of",
    "stored_event",
]

EVENT_HEAD_MEMBERS = "id,changeKey,subject"
EVENT_TIME_MEMBERS = ",type,start,end"
SERIES_MEMBERS = ("cancelledOccurrences", "exceptionOccurrences")
VOLATILE = ("@odata.etag", "changeKey", "categories")
SERIES = "seriesMaster"


class _Address(msgspec.Struct):
    name: str | None = None
    address: str | None = None


class _Person(msgspec.Struct, rename="camel"):
    email_address: _Address | None = None


class _Moment(msgspec.Struct, rename="camel"):
    date_time: str | None = None


class _Body(msgspec.Struct):
    content: str | None = None


class EventHead(msgspec.Struct, rename="camel"):
    """The members that decisions need; everything else stays raw."""

    id: str
    change_key: str = ""
    subject: str | None = None
    type: str | None = None
    has_attachments: bool | None = None
    is_all_day: bool | None = None
    is_cancelled: bool | None = None
    created_date_time: str | None = None
    last_modified_date_time: str | None = None
    organizer: _Person | None = None
    body: _Body | None = None
    start: _Moment | None = None
    end: _Moment | None = None

    @property
    def is_series(self) -> bool:
        """Whether it repeats."""
        return self.type == SERIES

    @property
    def may_have_attachments(self) -> bool:
        """Whether to ask for them: pictures inside the text do not count for the service (graph-lessons 81)."""
        text = self.body.content if self.body is not None else None
        return self.has_attachments is not False or "cid:" in (text or "")


_HEAD = msgspec.json.Decoder(EventHead)
_EVENTS = msgspec.json.Decoder(list[msgspec.Raw])


def decode_event(raw: bytes | msgspec.Raw) -> EventHead:
    """
    An event.

    Raises:
        msgspec.DecodeError: it has no id or members of another type than Graph documents.
    """
    return _HEAD.decode(raw)


def event_head(raw: bytes) -> Head:
    """An entry of a listing."""
    event = decode_event(raw)
    begin, end = (one.date_time if one is not None else None for one in (event.start, event.end))
    span = span_of(begin, end, recurring=event.is_series)
    return Head(event.id, event.change_key, event.subject or "", span)


def exceptions_of(members: Members) -> list[EventHead]:
    """The exceptions of a series."""
    raw = members.get("exceptionOccurrences")
    return [] if raw is None else [decode_event(one) for one in _EVENTS.decode(raw)]


def stored_event(members: Members) -> bytes:
    """The JSON part: all members but those the row holds."""
    return encode_members(without(without_links(members), VOLATILE))


def event_row(
    event: EventHead, members: Members, calendar: str, parts: Sequence[Part], *, whole: bool
) -> Row:
    """
    The catalog row of an event.

    Args:
        calendar: id of the calendar it is in.
        whole: everything of it is stored; else the row has no version, and the next session reads it again.
    """
    meta = pick(members, (*VOLATILE, "start", "end"))
    meta["all_day"] = bool(event.is_all_day)
    meta["recurring"] = event.is_series
    meta["cancelled"] = bool(event.is_cancelled)
    meta["attachments"] = any(part.role == "attachments" for part in parts)
    person = event.organizer.email_address if event.organizer is not None else None
    meta["organizer"] = (person.address or person.name or "") if person is not None else ""
    return Row(
        id=event.id.encode(),
        container=calendar.encode(),
        name=(event.subject or "").encode("utf-8", "surrogatepass"),
        kind="event",
        size=sum(part.size for part in parts),
        created_ns=nanoseconds(event.created_date_time or event.last_modified_date_time),
        modified_ns=nanoseconds(event.last_modified_date_time or event.created_date_time),
        version=event.change_key if whole else "",
        meta=msgspec.json.encode(meta),
        parts=tuple(parts),
    )


class _Calendar(msgspec.Struct, rename="camel"):
    id: str
    name: str | None = None
    is_default_calendar: bool | None = None
    owner: _Address | None = None


_CALENDAR = msgspec.json.Decoder(_Calendar)


def calendar_rows(listed: Iterable[tuple[bytes, bytes]]) -> list[Row]:
    """
    Rows of the calendars that belong to the mailbox, given pairs of a calendar group and a calendar in it.

    Somebody else's calendar that was shared with the user stands among them; the owner of the default calendar is the
    user. Where no owner is named it counts as theirs.

    Raises:
        msgspec.DecodeError: a calendar has another shape than Graph documents.
    """
    found = [(group, raw, _CALENDAR.decode(raw)) for group, raw in listed]
    owner = next((_owner(one) for _, _, one in found if one.is_default_calendar), "")
    own = {}
    for group, raw, calendar in found:
        if owner and _owner(calendar) not in ("", owner):
            continue
        about = encode_members(without_links(decode_members(group)))
        meta = without_links(decode_members(raw)) | {"group": msgspec.Raw(about)}
        name = (calendar.name or "").encode("utf-8", "surrogatepass")
        row = Row(calendar.id.encode(), b"", name, "container")
        own[calendar.id] = replace(row, meta=encode_members(meta))
    return list(own.values())


def _owner(calendar: _Calendar) -> str:
    return (calendar.owner.address or "").lower() if calendar.owner is not None else ""
