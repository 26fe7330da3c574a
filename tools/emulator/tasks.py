"""
To Do of one mailbox: task lists, tasks with their checklists, links and attachments.

The default list and the list of flagged mails always exist. The latter's tasks are views of
flagged messages; they are made here only for tests and recipes, never through Graph.
"""

import dataclasses
from typing import Any

from tools.emulator import naming, zones
from tools.emulator.clock import iso
from tools.emulator.event_rules import whole_recurrence
from tools.emulator.records import Container, Record, RecordStore

DEFAULTS: dict[str, Any] = {
    "title": "",
    "body": {"contentType": "text", "content": ""},
    "importance": "normal",
    "status": "notStarted",
    "isReminderOn": False,
    "categories": [],
    "dueDateTime": None,
    "startDateTime": None,
    "reminderDateTime": None,
    "completedDateTime": None,
    "recurrence": None,
}


@dataclasses.dataclass(slots=True, eq=False)
class Task(Record):
    """One task; checklist items and linked resources go by their ids."""

    body_modified: float = 0.0
    checklist: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    links: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)


class TaskStore(RecordStore[Task]):
    """The task lists of one mailbox."""

    def __init__(self, seed: int, owner: str) -> None:
        super().__init__(seed, owner, "tasks", Task)
        self.default = self.add_container("Tasks", well_known="defaultList")
        self.flagged = self.add_container("Flagged Emails", well_known="flaggedEmails")

    def add(self, container: Container[Task], properties: dict[str, Any], *, at: float) -> Task:
        """Put a task into a list; what is not given takes the default of To Do."""
        task = super().add(container, DEFAULTS | _whole(properties), at=at)
        task.body_modified = at
        return task

    def touch(self, record: Task, properties: dict[str, Any] | None = None, *, at: float) -> None:
        """Note a change of a task, with the properties that changed."""
        super().touch(record, _whole(properties or {}), at=at)

    def add_check(self, task: Task, given: dict[str, Any], *, at: float) -> dict[str, Any]:
        """Put a line on a task's checklist: displayName, isChecked."""
        key = naming.guid(self.seed, self.owner, "check", self.count())
        item = {"id": key, "displayName": "", "createdDateTime": iso(at), "isChecked": False}
        item |= given
        if item["isChecked"]:
            item.setdefault("checkedDateTime", iso(at))
        task.checklist[key] = item
        self.touch(task, at=at)
        return item

    def add_link(self, task: Task, given: dict[str, Any], *, at: float) -> dict[str, Any]:
        """Link a task to something: webUrl, applicationName, displayName, externalId."""
        key = naming.guid(self.seed, self.owner, "link", self.count())
        names = ("webUrl", "applicationName", "displayName", "externalId")
        item = {"id": key} | {name: given.get(name) for name in names}
        task.links[key] = item
        self.touch(task, at=at)
        return item


def _whole(properties: dict[str, Any]) -> dict[str, Any]:
    """The properties, a recurrence among them with all its members."""
    if properties.get("recurrence") is None:
        return properties
    zone = (properties.get("dueDateTime") or {}).get("timeZone") or zones.UTC_NAME
    return properties | {"recurrence": whole_recurrence(properties["recurrence"], zone)}
