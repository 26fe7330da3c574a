"""
Everything that an event, contact or task has, as plain values: what an export of mailbox items
holds, and what an import makes the same again, silently and under a new id.
"""

import copy
from datetime import date
from typing import Any

from tools.emulator.blob import BytesBlob
from tools.emulator.calendars import Change, Event
from tools.emulator.contacts import Contact
from tools.emulator.records import Container, Record, RecordAttachment, RecordStore
from tools.emulator.tasks import Task

ITEM_CLASS = {"calendar": "IPM.Appointment", "contacts": "IPM.Contact", "tasks": "IPM.Task"}
FOLDER_CLASS = {"calendar": "IPF.Appointment", "contacts": "IPF.Contact", "tasks": "IPF.Task"}


def state_of(record: Record) -> dict[str, Any]:
    """The whole state, without ids and place; contents as bytes, days and times as they are kept."""
    state: dict[str, Any] = {
        "properties": copy.deepcopy(record.properties),
        "created": record.created,
        "modified": record.modified,
        "attachments": _hung(record.attachments),
        "extended": dict(record.extended),
    }
    if isinstance(record, Event):
        state["cancelled"] = sorted(day.isoformat() for day in record.cancelled)
        state["exceptions"] = {
            day.isoformat(): {
                "properties": copy.deepcopy(change.properties),
                "modified": change.modified,
                "attachments": _hung(change.attachments),
            }
            for day, change in record.exceptions.items()
        }
    elif isinstance(record, Contact):
        state["photo"] = record.photo.read() if record.photo else None
    elif isinstance(record, Task):
        state["body_modified"] = record.body_modified
        state["checklist"] = copy.deepcopy(list(record.checklist.values()))
        state["links"] = copy.deepcopy(list(record.links.values()))
    return state


def put(
    store: RecordStore[Any], container: Container[Any], state: dict[str, Any], *, at: float
) -> Record:
    """Make a record of the state that another one had."""
    record: Record = store.add(container, copy.deepcopy(state["properties"]), at=at)
    assume(store, record, state, at=at)
    return record


def assume(store: RecordStore[Any], record: Record, state: dict[str, Any], *, at: float) -> None:
    """Let a record become what `state` was taken of."""
    record.properties = copy.deepcopy(state["properties"])
    record.created = state["created"]
    record.extended = dict(state["extended"])
    record.attachments = _hanging(store, state["attachments"])
    if isinstance(record, Event):
        record.cancelled = {date.fromisoformat(day) for day in state["cancelled"]}
        record.exceptions = {
            date.fromisoformat(day): Change(
                copy.deepcopy(change["properties"]),
                change["modified"],
                attachments=_hanging(store, change["attachments"]),
            )
            for day, change in state["exceptions"].items()
        }
    elif isinstance(record, Contact):
        record.photo = BytesBlob(state["photo"]) if state["photo"] is not None else None
    elif isinstance(record, Task):
        record.body_modified = state["body_modified"]
        record.checklist = {each["id"]: dict(each) for each in state["checklist"]}
        record.links = {each["id"]: dict(each) for each in state["links"]}
    store.touch(record, at=at)
    record.modified = state["modified"]


def _hung(attachments: dict[str, RecordAttachment]) -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "content": each.content.read(),
            "modified": each.modified,
            "kind": each.kind,
            "content_type": each.content_type,
            "inline": each.inline,
            "content_id": each.content_id,
        }
        for each in attachments.values()
    ]


def _hanging(store: RecordStore[Any], states: list[dict[str, Any]]) -> dict[str, RecordAttachment]:
    found = {}
    for state in states:
        made = store.attachment(state["name"], BytesBlob(state["content"]), state["modified"])
        made.kind, made.content_type = state["kind"], state["content_type"]
        made.inline, made.content_id = state["inline"], state["content_id"]
        found[made.key] = made
    return found
