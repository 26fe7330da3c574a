"""
Everything that an event, contact or task has, taken off it and put onto another one.
"""

import dataclasses
from datetime import date
from typing import Any

from tools.emulator.blob import BytesBlob
from tools.emulator.calendars import Change, Event
from tools.emulator.contacts import Contact
from tools.emulator.records import Container, Record, RecordAttachment, RecordStore
from tools.emulator.tasks import Task

_ATTACHMENT = ("name", "modified", "kind", "content_type", "inline", "content_id")


def record_state(record: Record) -> dict[str, Any]:
    """Everything the record has, without its ids and place."""
    state: dict[str, Any] = {
        "properties": record.properties,
        "created": record.created,
        "modified": record.modified,
        "attachments": [_attachment(one) for one in record.attachments.values()],
    }
    if isinstance(record, Event):
        state["cancelled"] = sorted(day.isoformat() for day in record.cancelled)
        state["exceptions"] = {
            day.isoformat(): {
                "properties": change.properties,
                "modified": change.modified,
                "attachments": [_attachment(one) for one in change.attachments.values()],
            }
            for day, change in record.exceptions.items()
        }
    if isinstance(record, Contact):
        state["photo"] = record.photo.read() if record.photo else None
    if isinstance(record, Task):
        state["body_modified"] = record.body_modified
        state["checklist"] = list(record.checklist.values())
        state["links"] = list(record.links.values())
    return state


def _attachment(one: RecordAttachment) -> dict[str, Any]:
    found = {name: getattr(one, name) for name in _ATTACHMENT}
    return found | {"content": one.content.read()}


def add_record(
    store: RecordStore[Any], container: Container[Any], state: dict[str, Any], *, at: float
) -> Record:
    """A new record in a container with everything that `state` holds."""
    record: Record = store.add(container, state["properties"], at=at)
    _assume(store, record, state)
    return record


def replace_record(
    store: RecordStore[Any], record: Record, state: dict[str, Any], *, at: float
) -> None:
    """Let a record become what `state` holds of one."""
    record.properties = dict(state["properties"])
    store.touch(record, at=at)
    _assume(store, record, state)


def _assume(store: RecordStore[Any], record: Record, state: dict[str, Any]) -> None:
    record.created, record.modified = state["created"], state["modified"]
    record.attachments = _hung(store, state["attachments"])
    if isinstance(record, Event):
        record.cancelled = {date.fromisoformat(day) for day in state["cancelled"]}
        record.exceptions = {
            date.fromisoformat(day): Change(
                dict(one["properties"]), one["modified"], 1, _hung(store, one["attachments"])
            )
            for day, one in state["exceptions"].items()
        }
    if isinstance(record, Contact):
        record.photo = None if state["photo"] is None else BytesBlob(state["photo"])
    if isinstance(record, Task):
        record.body_modified = state["body_modified"]
        record.checklist = {one["id"]: dict(one) for one in state["checklist"]}
        record.links = {one["id"]: dict(one) for one in state["links"]}


def _hung(store: RecordStore[Any], given: list[dict[str, Any]]) -> dict[str, RecordAttachment]:
    found = {}
    for one in given:
        made = store.attachment(one["name"], BytesBlob(one["content"]), one["modified"])
        for field in dataclasses.fields(made):
            if field.name in _ATTACHMENT:
                setattr(made, field.name, one[field.name])
        found[made.key] = made
    return found
