"""
Calendars: every calendar the user owns, events and series with what hangs on them.

An event costs no request of its own in a first listing, one when it has changed; a series one more for exceptions and
cancellations; attachments one for their listing and one for each.
"""

import msgspec

from engine.catalog import Row
from proxy.contract import ObjectRef, Selection
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import (
    GraphItemFault,
    GraphRefused,
    GraphUnavailable,
    GraphUnsupported,
)
from proxy.graph.paging import decode_as
from proxy.pipeline.outcome import failed
from proxy.workloads.attachments import EVENT_MEMBERS, AttachmentReader, Attachments
from proxy.workloads.calendar_item import (
    EVENT_HEAD_MEMBERS,
    EVENT_TIME_MEMBERS,
    SERIES_MEMBERS,
    EventHead,
    calendar_rows,
    decode_event,
    event_head,
    event_row,
    exceptions_of,
    stored_event,
)
from proxy.workloads.item_listing import Covers, back_up_listed
from proxy.workloads.listed_items import Head
from proxy.workloads.mailbox_calls import IMMUTABLE_IDS, MailboxCalls
from proxy.workloads.members import Members, decode_members
from proxy.workloads.protocol import Shelf

__all__ = ["Calendar"]

# HTML as it is stored; unasked, the service takes out what it thinks unsafe.
PREFER = (IMMUTABLE_IDS, "outlook.allow-unsafe-html")


class Calendar:
    """The calendar workload."""

    def __init__(self, selection: Selection | None = None) -> None:
        self._covers = Covers(selection, "calendar")

    async def backup(self, client: GraphClient, target: ObjectRef, shelf: Shelf) -> None:
        """Bring the shelf up to date with the calendars of `target`."""
        source = _Events(client, target.id, shelf)
        source.dated = self._covers.items.period.restricts
        await back_up_listed(source, client, target, shelf, self._covers)


class _Group(msgspec.Struct):
    id: str


_GROUP = msgspec.json.Decoder(_Group)


class _Events:
    """Implements `ItemSource`."""

    permission = "Calendars.Read"
    kind = "event"
    dated = False  # whether listings shall say when events take place

    def __init__(self, client: GraphClient, user: str, shelf: Shelf) -> None:
        self.calls = MailboxCalls(client, user, PREFER)
        self._shelf = shelf
        self._attachments = AttachmentReader(self.calls, shelf, EVENT_MEMBERS)

    async def containers(self) -> list[Row]:
        """Rows of the calendars, group by group."""
        calls, listed = self.calls, []
        for group in await calls.all(calls.page_call("List calendar groups", "/calendarGroups")):
            path = f"/calendarGroups/{segment(decode_as(_GROUP, group).id)}/calendars"
            below = await calls.all(calls.page_call("List calendars", path))
            listed += [(group, calendar) for calendar in below]
        return calendar_rows(listed)

    def listing(self, container: str, *, full: bool) -> Call:
        """Events and series of a calendar."""
        members = EVENT_HEAD_MEMBERS + (EVENT_TIME_MEMBERS if self.dated else "")
        query = None if full else {"$select": members}
        path = f"/calendars/{segment(container)}/events"
        return self.calls.page_call("List events", path, query)

    def head(self, raw: bytes) -> Head:
        """An entry of the listing."""
        return event_head(raw)

    async def read(self, container: str, head: Head, raw: bytes | None) -> Row:
        """Read an event with exceptions and attachments."""
        if raw is None:
            call = self.calls.item_call("Read an event", _path(head.id))
            raw = await self.calls.item(call)
        event, members = decode_event(raw), decode_members(raw)
        whole = await self._add_series(event, members) if event.is_series else True
        found = Attachments()
        for one in [event, *exceptions_of(members)]:
            if one.may_have_attachments:
                await self._attachments.read(one.id, f"{_path(one.id)}/attachments", found)
        found.note(self._shelf, event.id, event.subject or "")
        parts = [await self._shelf.store("json", stored_event(members))]
        parts += await found.parts(self._shelf)
        return event_row(event, members, container, parts, whole=whole and not found.unsettled)

    async def look_up(self, row: Row) -> None:
        """Ask for an event by its id."""
        path = _path(row.id.decode())
        await self.calls.item(self.calls.item_call("Look up an event", path, {"$select": "id"}))

    async def _add_series(self, event: EventHead, members: Members) -> bool:
        """Add exceptions and cancellations to a series; False if they could not be read for now."""
        query = {"$select": ",".join(("id", *SERIES_MEMBERS)), "$expand": SERIES_MEMBERS[1]}
        what, path = "Read the exceptions of a series", _path(event.id)
        try:
            found = await self.calls.members(self.calls.item_call(what, path, query))
            listing = self.calls.item_call(what, f"{path}/{SERIES_MEMBERS[1]}")
            await self.calls.complete(found, SERIES_MEMBERS[1], listing)
        except (GraphUnavailable, GraphUnsupported, GraphRefused, GraphItemFault) as error:
            # Series of too many instances fail for ever (graph-lessons 103): the rule is kept.
            self._shelf.note(failed(event.id, event.subject or "", error))
            return isinstance(error, GraphItemFault)
        members |= {name: found[name] for name in SERIES_MEMBERS if name in found}
        return True


def _path(event: str) -> str:
    return f"/events/{segment(event)}"
