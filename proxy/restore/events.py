"""
Events back into calendars: single ones, series with exceptions and cancellations, attachments. Nobody is invited.

An event that the user organizes and that has attendees is never deleted here: Graph would send cancellations.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from engine.catalog import Row
from proxy.converters.zones import zone_of
from proxy.graph.client import segment
from proxy.pipeline.outcome import SkipCause
from proxy.restore.attachments import Attacher
from proxy.restore.contents import Contents
from proxy.restore.event_members import changed_members, new_event, original_moment
from proxy.restore.imports import Imports
from proxy.restore.protocol import Place, Present, item_key
from proxy.restore.record import stored_attachments, stored_members
from proxy.restore.target import Target

__all__ = ["EventRestorer"]

DEFAULT = "calendar"  # the well-known name of the default calendar
KEY_MEMBERS = "id,changeKey,subject,start,end,type,isOrganizer,attendees"
INSTANCE_MEMBERS = "id,type,originalStart,start"
AROUND = timedelta(days=2)


class _Calendar(msgspec.Struct, rename="camel"):
    id: str
    name: str | None = None
    is_default_calendar: bool | None = None
    can_edit: bool | None = None


class _Moment(msgspec.Struct, rename="camel"):
    date_time: str | None = None


class _There(msgspec.Struct, rename="camel"):
    id: str
    change_key: str | None = None
    subject: str | None = None
    start: _Moment | None = None
    end: _Moment | None = None
    type: str | None = None
    is_organizer: bool | None = None
    attendees: list[msgspec.Raw] | None = None


class _Instance(msgspec.Struct, rename="camel"):
    id: str
    original_start: str | None = None
    start: _Moment | None = None


class _Meta(msgspec.Struct, rename="camel"):
    start: _Moment | None = None
    end: _Moment | None = None
    recurring: bool = False
    is_default_calendar: bool | None = None
    color: str | None = None


_CALENDAR = msgspec.json.Decoder(_Calendar)
_THERE = msgspec.json.Decoder(_There)
_INSTANCE = msgspec.json.Decoder(_Instance)
_META = msgspec.json.Decoder(_Meta)


class EventRestorer:
    """Implements `Restorer` for events. Calendars cannot be in calendars."""

    nested = False

    def __init__(self, target: Target, contents: Contents) -> None:
        self.target = target
        self._contents = contents
        self._imports = Imports(target, contents, "/events")
        self._attacher = Attacher(target, "/events")

    async def places(self) -> list[Place]:
        """All calendars that may be written."""
        found = []
        async for one in self.target.listed("List calendars", "/calendars", _CALENDAR, {}):
            if one.can_edit is not False:
                known_as = DEFAULT if one.is_default_calendar else ""
                found.append(Place(one.id, "", one.name or "", known_as))
        return found

    def source_place(self, row: Row) -> Place:
        """A calendar row."""
        meta = _META.decode(row.meta)
        known_as = DEFAULT if meta.is_default_calendar else ""
        look = {"color": meta.color} if meta.color else {}
        return Place(row.id.decode(), "", row.name.decode("utf-8", "replace"), known_as, look=look)

    async def make_place(self, place: Place, parent: str) -> str:
        """A calendar."""
        body = {"name": place.name} | place.look
        return await self.target.made(self.target.call("Make a calendar", "/calendars", body))

    async def find_place(self, place: Place, parent: str) -> str | None:
        """A calendar by its name."""
        names = {one.name.casefold(): one.id for one in await self.places()}
        return names.get(place.name.casefold())

    async def present(self, place: str) -> list[Present]:
        """Single events and series of a calendar."""
        path, query = f"/calendars/{segment(place)}/events", {"$select": KEY_MEMBERS}
        found = []
        async for one in self.target.listed("List events", path, _THERE, query):
            key = _key(one.subject or "", one.start, one.end, recurring=one.type == "seriesMaster")
            tells = one.is_organizer is not False and bool(one.attendees)
            found.append(Present(one.id, key, one.change_key or "", tells_others=tells))
        return found

    def key(self, row: Row) -> str:
        """Subject, begin, end, whether it repeats."""
        meta = _META.decode(row.meta)
        name = row.name.decode("utf-8", "surrogatepass")
        return _key(name, meta.start, meta.end, recurring=meta.recurring)

    def lessened(self, row: Row) -> SkipCause | None:
        """None of them."""
        return None

    def requests(self, row: Row) -> int:
        """One, a few more for exceptions, one for each attachment."""
        attached = sum(part.role.startswith("attachment-") for part in row.parts)
        return 1 + 3 * _META.decode(row.meta).recurring + attached

    async def make(self, row: Row, place: str) -> str:
        """Import the event, or make it from its members, without attendees."""
        if (new := await self._imports.make(row, place)) is not None:
            return new
        members = new_event(await stored_members(self._contents, row))
        path = f"/calendars/{segment(place)}/events"
        return await self.target.made(self.target.call("Make an event", path, members))

    async def overwrites(self, rows: Iterable[Row]) -> set[bytes]:
        """Those with an export stream, where imports are offered."""
        return await self._imports.fit(rows)

    async def overwrite(self, row: Row, old: str, version: str, place: str) -> bool:
        """By import."""
        return await self._imports.overwrite(row, old, version, place)

    async def complete(self, row: Row, new: str, place: str) -> None:
        """Exceptions, cancellations, attachments."""
        if self._imports.imported(row):
            return
        members = await stored_members(self._contents, row)
        attached = await stored_attachments(self._contents, row)
        changed = bool(members.get("exceptionOccurrences") or members.get("cancelledOccurrences"))
        if not (attached or changed) or await self._has_attendees(new):
            return
        if own := attached.get(row.id.decode()):
            await self._attacher.add_missing(segment(new), own)
        exceptions = members.get("exceptionOccurrences") or []
        cancelled = members.get("cancelledOccurrences") or []
        if not changed:
            return
        instances = await self._instances(new, exceptions, cancelled)
        for exception in exceptions:
            moment = original_moment(str(exception.get("originalStart") or ""))
            instance = instances.get(moment) if moment is not None else None
            if instance is None:
                continue
            changes = changed_members(exception, members)
            path = f"/events/{segment(instance)}"
            call = self.target.call("Change an occurrence", path, changes)
            await self.target.writer.change(call)
            if hung := attached.get(str(exception.get("id"))):
                await self._attacher.add_missing(segment(instance), hung)
        days = {str(one).rpartition(".")[2] for one in cancelled}
        for moment, instance in instances.items():
            if _day(moment, members) in days:
                call = self.target.call("Cancel an occurrence", f"/events/{segment(instance)}")
                await self.target.writer.delete(call)

    async def _has_attendees(self, event: str) -> bool:
        """
        Whether it came in by an import whose answer was lost, for what is made from members has none.

        Nothing is missing of it, and any change would send updates.
        """
        path, query = f"/events/{segment(event)}", {"$select": "id,attendees"}
        call = self.target.call("Look at an event", path, query=query)
        return bool((await self.target.writer.get_json(call)).get("attendees"))

    async def _instances(
        self, event: str, exceptions: list[dict[str, Any]], cancelled: list[Any]
    ) -> dict[datetime, str]:
        """Ids of the instances around those that differ, by when they would be."""
        moments = [
            moment
            for one in exceptions
            for text in (one.get("originalStart"), (one.get("start") or {}).get("dateTime"))
            if (moment := original_moment(str(text or ""))) is not None
        ]
        moments += [
            moment
            for one in cancelled
            if (moment := original_moment(str(one).rpartition(".")[2])) is not None
        ]
        if not moments:
            return {}
        query = {
            "startDateTime": _utc(min(moments) - AROUND),
            "endDateTime": _utc(max(moments) + AROUND),
            "$select": INSTANCE_MEMBERS,
        }
        path = f"/events/{segment(event)}/instances"
        found = {}
        async for one in self.target.listed("List occurrences", path, _INSTANCE, query):
            start = one.original_start or (one.start.date_time if one.start is not None else None)
            moment = original_moment(start or "")
            if moment is not None:
                found[moment] = one.id
        return found

    async def remove(self, old: str, place: str) -> None:
        """Delete an event that nobody else knows of."""
        path = f"/events/{segment(old)}"
        await self.target.writer.delete(self.target.call("Delete an event", path))

    async def settle(self, place: str, made: dict[str, Row]) -> None:
        """Nothing: events are made with their state."""


def _day(moment: datetime, members: dict[str, Any]) -> str:
    """The day of an occurrence by the clock of the series."""
    zone = zone_of(str(members.get("originalStartTimeZone") or ""))
    return (moment if zone is None else moment.astimezone(zone)).date().isoformat()


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _key(subject: str, start: _Moment | None, end: _Moment | None, *, recurring: bool) -> str:
    times = [((one.date_time if one is not None else None) or "")[:19] for one in (start, end)]
    return item_key(subject, *times, "series" if recurring else "")
