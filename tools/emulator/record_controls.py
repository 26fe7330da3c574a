"""
Control calls on calendars, contacts and tasks: what their owner does in Outlook, silently.

A workload is `calendar`, `contacts` or `tasks`; a container is an id, a display name or a
well-known name; properties are those of Graph. None of these calls sends mail to anybody.
"""

import base64
import dataclasses
from datetime import date
from typing import Any, Literal

from tools.emulator.blob import BytesBlob
from tools.emulator.calendars import CalendarStore
from tools.emulator.call import Services
from tools.emulator.contacts import ContactStore
from tools.emulator.tasks import TaskStore
from tools.emulator.tenant import Kind


class RecordControls:
    """The part of `Controls` that is about calendars, contacts and tasks."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def _now(self) -> float:
        return self._services.clock.now()

    def _calendars(self, user: str) -> CalendarStore:
        return self._services.tenant.mailbox(user).calendars

    # containers

    def add_container(
        self, user: str, workload: Kind, name: str, properties: dict[str, Any] | None = None
    ) -> dict[str, str]:
        """Make a calendar, contact folder or task list; `parent` names a folder to make it in."""
        store, given = self._services.tenant.records(user, workload), dict(properties or {})
        parent = store.named(given.pop("parent")) if "parent" in given else None
        if isinstance(store, CalendarStore):
            group = next(
                (g for g in store.groups.values() if g.name == given.get("group")), None
            ) or (store.add_group(given["group"]) if "group" in given else None)
            given.pop("group", None)
            return {"id": store.add_calendar(name, at=self._now, group=group, properties=given).key}
        made = store.add_container(name, at=self._now, parent=parent, properties=given)
        return {"id": made.key}

    def change_container(
        self,
        user: str,
        workload: Kind,
        container: str,
        name: str | None = None,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """Rename a container, or give it other properties."""
        store = self._services.tenant.records(user, workload)
        store.change_container(
            store.named(container), at=self._now, name=name, properties=properties
        )

    def delete_container(self, user: str, workload: Kind, container: str) -> None:
        """Delete a container with everything in it."""
        store = self._services.tenant.records(user, workload)
        store.remove_container(store.named(container), at=self._now)

    # records

    def add_record(
        self, user: str, workload: Kind, container: str, properties: dict[str, Any]
    ) -> dict[str, str]:
        """Make an event, contact or task."""
        store = self._services.tenant.records(user, workload)
        if workload == "calendar":
            owner = self._services.tenant.user(user).mail_address
            properties = {"organizer": {"emailAddress": owner}} | properties
        made = store.add(store.named(container), properties, at=self._now)
        return {"id": made.key, "movable_id": made.movable}

    def change_record(
        self, user: str, workload: Kind, record: str, properties: dict[str, Any]
    ) -> None:
        """Change properties of an event, contact or task."""
        store = self._services.tenant.records(user, workload)
        found = store.record(record)
        if isinstance(store, CalendarStore):
            store.change(found, properties, at=self._now)
        else:
            store.touch(found, properties, at=self._now)

    def move_record(self, user: str, workload: Kind, record: str, container: str) -> dict[str, str]:
        """Move a record to another container; gives its ids."""
        store = self._services.tenant.records(user, workload)
        moved = store.record(record)
        store.move(moved, store.named(container), at=self._now)
        return {"id": moved.key, "movable_id": moved.movable}

    def delete_record(self, user: str, workload: Kind, record: str) -> None:
        """Delete a record for good."""
        store = self._services.tenant.records(user, workload)
        store.remove(store.record(record), at=self._now)

    def attach(
        self,
        user: str,
        workload: Kind,
        record: str,
        name: str,
        content: str,
        details: dict[str, Any] | None = None,
    ) -> dict[str, str]:
        """
        Hang a file (base64) on a record, or on the instance whose id is given.

        `details` may have `kind` (file, item, reference), `contentType`, `isInline`, `contentId`.
        """
        store, given = self._services.tenant.records(user, workload), details or {}
        blob = BytesBlob(base64.b64decode(content, validate=True))
        kind: Literal["file", "item", "reference"] = given.get("kind", "file")
        if isinstance(store, CalendarStore):
            event, day = store.find(record)
            made = store.attachment(name, blob, self._now)
            if day is None:
                event.attachments[made.key] = made
                store.touch(event, at=self._now)
            else:
                change = store.change_instance(event, day, {}, at=self._now)
                change.attachments[made.key] = made
        else:
            made = store.attach(store.record(record), name, blob, at=self._now)
        made.kind, made.content_type = kind, given.get("contentType")
        made.inline, made.content_id = given.get("isInline", False), given.get("contentId")
        return {"id": made.key}

    # series

    def change_instance(self, user: str, event: str, day: str, properties: dict[str, Any]) -> None:
        """Make the instance of a day (2026-05-04) an exception, or change one."""
        store = self._calendars(user)
        store.change_instance(
            store.record(event), date.fromisoformat(day), properties, at=self._now
        )

    def cancel_instance(self, user: str, event: str, day: str) -> None:
        """Take the instance of a day out of a series."""
        store = self._calendars(user)
        store.cancel_instance(store.record(event), date.fromisoformat(day), at=self._now)

    def outbox(self, clear: bool = False) -> list[dict[str, Any]]:
        """The invitations, updates, cancellations and answers that were sent so far."""
        outbox = self._services.tenant.outbox
        sent = [dataclasses.asdict(mail) for mail in outbox]
        if clear:
            outbox.clear()
        return sent

    # what only contacts or tasks have

    def set_photo(self, user: str, contact: str, content: str | None) -> None:
        """Give a contact a picture (base64), or take it away."""
        store: ContactStore = self._services.tenant.mailbox(user).contacts
        photo = BytesBlob(base64.b64decode(content, validate=True)) if content else None
        store.set_photo(store.record(contact), photo, at=self._now)

    def add_check(self, user: str, task: str, name: str, checked: bool = False) -> dict[str, str]:
        """Put a line on a task's checklist."""
        store: TaskStore = self._services.tenant.mailbox(user).tasks
        given = {"displayName": name, "isChecked": checked}
        made = store.add_check(store.record(task), given, at=self._now)
        return {"id": made["id"]}

    def add_link(self, user: str, task: str, link: dict[str, Any]) -> dict[str, str]:
        """Link a task to something: webUrl, applicationName, displayName, externalId."""
        store: TaskStore = self._services.tenant.mailbox(user).tasks
        return {"id": store.add_link(store.record(task), link, at=self._now)["id"]}
