"""
The exact state of calendars, contacts and tasks, for tests to compare a backup or restore with.

Everything is given twice: `graph` is what a client reads (immutable ids, times in UTC), `state` is
what makes the thing what it is, without ids, change keys and times of change. After a restore the
states are the same again, as far as the service lets a client write them.
"""

from typing import Any

from tools.emulator.calendars import Event
from tools.emulator.contact_routes import contact_json
from tools.emulator.event_json import EventView, EventWriter
from tools.emulator.mailbox import Mailbox
from tools.emulator.records import Container, RecordAttachment
from tools.emulator.task_routes import task_json


def records_state(mailbox: Mailbox) -> dict[str, Any]:
    """
    `calendars`, `contacts`, `tasks`: container id -> `name`, `well_known`, `parent`, `properties`,
    and `items`: immutable id -> `graph`, `state`.

    An event's state has `exceptions` and `cancelled` by their original day, a contact's the
    SHA-256 of its picture, a task's its checklist and links; attachments are described with the
    SHA-256 of their content, in order of their names.
    """
    calendars, contacts, tasks = mailbox.calendars, mailbox.contacts, mailbox.tasks
    writer = EventWriter(calendars, EventView(immutable=True))
    found: dict[str, Any] = {"calendars": {}, "contacts": {}, "tasks": {}}
    for calendar in calendars.containers.values():
        shown = calendar.properties | {"group": calendars.groups[calendar.properties["group"]].name}
        found["calendars"][calendar.key] = _container(calendar, shown) | {
            "items": {
                event.key: {"graph": writer.event(event), "state": _event(event)}
                for event in calendar.records.values()
            }
        }
    for folder in contacts.containers.values():
        found["contacts"][folder.key] = _container(folder, folder.properties) | {
            "items": {
                contact.key: {
                    "graph": contact_json(contacts, contact, True),
                    "state": {
                        "properties": contact.properties,
                        "photo": contact.photo.sha256 if contact.photo else None,
                    },
                }
                for contact in folder.records.values()
            }
        }
    for given in tasks.containers.values():
        found["tasks"][given.key] = _container(given, given.properties) | {
            "items": {
                task.key: {
                    "graph": task_json(tasks, task, ["checklistitems", "linkedresources"]),
                    "state": {
                        "properties": task.properties,
                        "checklist": [_without_id(each) for each in task.checklist.values()],
                        "links": [_without_id(each) for each in task.links.values()],
                        "attachments": _attachments(task.attachments),
                    },
                }
                for task in given.records.values()
            }
        }
    return found


def _container(given: Container[Any], properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": given.name,
        "well_known": given.well_known,
        "parent": given.parent.key if given.parent else None,
        "properties": properties,
    }


def _event(event: Event) -> dict[str, Any]:
    exceptions = {
        day.isoformat(): {
            "properties": change.properties,
            "attachments": _attachments(change.attachments),
        }
        for day, change in sorted(event.exceptions.items())
    }
    return {
        "properties": event.properties,
        "attachments": _attachments(event.attachments),
        "exceptions": exceptions,
        "cancelled": [day.isoformat() for day in sorted(event.cancelled)],
    }


def _attachments(hung: dict[str, RecordAttachment]) -> list[dict[str, Any]]:
    return [
        {
            "kind": each.kind,
            "name": each.name,
            "contentType": each.content_type,
            "isInline": each.inline,
            "contentId": each.content_id,
            "size": each.content.size,
            "sha256": each.content.sha256,
        }
        for each in sorted(hung.values(), key=lambda one: (one.name, one.content.sha256))
    ]


def _without_id(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "id"}
