"""
Calendars and events as Graph writes them in JSON.
"""

import base64
import dataclasses
import json
from datetime import date, datetime
from typing import Any

from tools.emulator import mime_reader, naming, zones
from tools.emulator.calendars import (
    CalendarGroup,
    CalendarStore,
    Event,
    Instance,
    instance_key,
    occurrence_name,
    original_start,
)
from tools.emulator.clock import iso
from tools.emulator.records import Container, RecordAttachment

_PREVIEW_CHARACTERS = 255
_GROUP_CLASS = "0006f0b7-0000-0000-c000-000000000046"
_PLAIN = (
    "categories", "transactionId", "iCalUId", "reminderMinutesBeforeStart", "isReminderOn",
    "subject", "importance", "sensitivity", "isAllDay", "isCancelled", "isOrganizer",
    "responseRequested", "showAs", "onlineMeetingUrl", "isOnlineMeeting",
    "onlineMeetingProvider", "allowNewTimeProposals", "hideAttendees", "isDraft",
    "responseStatus", "location", "locations", "attendees", "organizer", "onlineMeeting",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class EventView:
    """How a client wants events: id form, time zone, text instead of HTML bodies."""

    immutable: bool = False
    zone: str = zones.UTC_NAME
    text_body: bool = False


class EventWriter:
    """Writes the events of one store in one view."""

    def __init__(self, store: CalendarStore, view: EventView) -> None:
        self._store = store
        self.view = view

    def key(self, event: Event) -> str:
        return event.key if self.view.immutable else event.movable

    def event(self, event: Event) -> dict[str, Any]:
        """A single event or the master of a series."""
        kind = "seriesMaster" if event.is_series else "singleInstance"
        change_key = naming.change_key(self._store.seed, event.key, event.version)
        body = self._head(self.key(event), change_key, event.created, event.modified)
        body |= self._body(event.properties, kind, bool(event.attachments))
        return body | {"seriesMasterId": None, "recurrence": event.properties["recurrence"]}

    def instance(self, found: Instance) -> dict[str, Any]:
        """An occurrence or an exception of a series."""
        event, change = found.event, found.change
        version = 0 if change is None else change.version
        change_key = naming.change_key(self._store.seed, event.key, found.day, version)
        modified = event.modified if change is None else change.modified
        series = self.key(event)
        body = self._head(instance_key(series, found.day), change_key, event.created, modified)
        hung = event.attachments if change is None else change.attachments
        kind = "occurrence" if change is None else "exception"
        body |= self._body(found.properties, kind, bool(hung))
        start = original_start(event, found.day)
        body["originalStart"] = start.strftime("%Y-%m-%dT%H:%M:%SZ")
        return body | {"seriesMasterId": series, "recurrence": None}

    def short(self, found: Instance) -> dict[str, Any]:
        """An occurrence as delta gives it, with little but its times."""
        whole = self.instance(found)
        names = ("@odata.etag", "id", "seriesMasterId", "type", "start", "end")
        return {"@odata.type": "#microsoft.graph.event"} | {name: whole[name] for name in names}

    def cancelled(self, event: Event) -> list[str]:
        """The names of the instances taken out of a series."""
        return [occurrence_name(self.key(event), day) for day in sorted(event.cancelled)]

    def exceptions(self, event: Event) -> list[dict[str, Any]]:
        """The exceptions of a series."""
        days = sorted(event.exceptions)
        return [self.instance(self._store.instance(event, day)) for day in days]

    def instance_id(self, event: Event, day: date) -> str:
        return instance_key(self.key(event), day)

    def _head(self, key: str, change_key: str, created: float, modified: float) -> dict[str, Any]:
        return {
            "@odata.etag": f'W/"{change_key}"',
            "id": key,
            "createdDateTime": iso(created),
            "lastModifiedDateTime": iso(modified),
            "changeKey": change_key,
            "webLink": f"https://outlook.office365.com/owa/?itemid={key}",
        }

    def _body(self, given: dict[str, Any], kind: str, attached: bool) -> dict[str, Any]:
        text = _plain(given["body"])
        body = given["body"]
        if self.view.text_body:
            body = {"contentType": "text", "content": text}
        found = {name: given[name] for name in _PLAIN} | {
            "type": kind,
            "hasAttachments": attached,
            "bodyPreview": text[:_PREVIEW_CHARACTERS],
            "body": body,
            "originalStartTimeZone": given["start"].get("timeZone") or zones.UTC_NAME,
            "originalEndTimeZone": given["end"].get("timeZone") or zones.UTC_NAME,
        }
        for name in ("start", "end"):
            found[name] = zones.written(self._shown(given, name), self.view.zone)
        return found

    def _shown(self, given: dict[str, Any], name: str) -> datetime:
        """All-day events begin at midnight wherever one looks from."""
        if given["isAllDay"]:
            return zones.wall(given[name]["dateTime"])
        return zones.moment(given[name])


def _plain(body: dict[str, Any]) -> str:
    content = body.get("content") or ""
    if (body.get("contentType") or "").lower() == "html":
        return mime_reader.plain(content).strip()
    return content.strip()


def calendar_json(
    store: CalendarStore, calendar: Container[Event], owner: dict[str, Any]
) -> dict[str, Any]:
    """One calendar; `owner` is the emailAddress of whose mailbox it is in."""
    given = calendar.properties
    shared = given.get("owner")
    return {
        "id": calendar.key,
        "name": calendar.name,
        "color": given["color"],
        "hexColor": given["hexColor"],
        "isDefaultCalendar": calendar is store.default,
        "changeKey": naming.change_key(store.seed, calendar.key, calendar.version),
        "canShare": shared is None,
        "canViewPrivateItems": shared is None,
        "canEdit": given.get("canEdit", True),
        "allowedOnlineMeetingProviders": ["teamsForBusiness"],
        "defaultOnlineMeetingProvider": "teamsForBusiness",
        "isTallyingResponses": calendar is store.default,
        "isRemovable": calendar is not store.default,
        "owner": shared or owner,
    }


def group_json(store: CalendarStore, group: CalendarGroup) -> dict[str, Any]:
    """One calendar group."""
    return {
        "id": group.key,
        "name": group.name,
        "classId": _GROUP_CLASS,
        "changeKey": naming.change_key(store.seed, group.key, group.version),
    }


def attachment_json(attachment: RecordAttachment, *, item: bool = False) -> dict[str, Any]:
    """An attachment of an event; `item`: with the embedded item, which must be asked for."""
    body: dict[str, Any] = {
        "@odata.type": f"#microsoft.graph.{attachment.kind}Attachment",
        "id": attachment.key,
        "lastModifiedDateTime": iso(attachment.modified),
        "name": attachment.name,
        "contentType": attachment.content_type,
        "size": attachment.content.size,
        "isInline": attachment.inline,
    }
    if attachment.kind == "file":
        body |= {
            "@odata.mediaContentType": attachment.content_type,
            "contentId": attachment.content_id,
            "contentLocation": None,
            "contentBytes": base64.b64encode(attachment.content.read()).decode(),
        }
    elif attachment.kind == "reference":
        body["sourceUrl"] = attachment.content.read().decode("utf-8", "replace")
    elif item:
        body["item"] = json.loads(attachment.content.read())
    return body
