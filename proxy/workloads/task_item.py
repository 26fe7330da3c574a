"""One task and one task list, turned into what is stored. Pure."""

import re
from collections.abc import Sequence

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
    "TASK_COLLECTIONS",
    "TASK_HEAD_MEMBERS",
    "list_row",
    "may_have_attachments",
    "stored_task",
    "task_head",
    "task_row",
]

TASK_HEAD_MEMBERS = "id,title,lastModifiedDateTime"
TASK_COLLECTIONS = ("checklistItems", "linkedResources")
VOLATILE = ("@odata.etag", "categories")
ETAG = re.compile(r'(?:W/)?"(.*)"')


class _Moment(msgspec.Struct, rename="camel"):
    date_time: str | None = None


class _Task(msgspec.Struct, rename="camel"):
    id: str
    title: str | None = None
    status: str | None = None
    has_attachments: bool | None = None
    created_date_time: str | None = None
    last_modified_date_time: str | None = None
    due_date_time: _Moment | None = None
    etag: str | None = msgspec.field(default=None, name="@odata.etag")

    @property
    def version(self) -> str:
        """The change key, which tasks show in their ETag alone."""
        match = ETAG.fullmatch(self.etag or "")
        return match[1] if match is not None else self.etag or self.last_modified_date_time or ""


class _List(msgspec.Struct, rename="camel"):
    id: str
    display_name: str | None = None


_TASK = msgspec.json.Decoder(_Task)
_LIST = msgspec.json.Decoder(_List)


def task_head(raw: bytes) -> Head:
    """An entry of a listing."""
    task = _TASK.decode(raw)
    due = task.due_date_time.date_time if task.due_date_time is not None else None
    return Head(task.id, task.version, task.title or "", span_of(due, due, recurring=False))


def may_have_attachments(raw: bytes) -> bool:
    """Whether to ask for them."""
    return _TASK.decode(raw).has_attachments is not False


def stored_task(members: Members) -> bytes:
    """The JSON part: all members but those the row holds."""
    return encode_members(without(without_links(members), VOLATILE))


def task_row(raw: bytes, list_id: str, parts: Sequence[Part], *, whole: bool) -> Row:
    """
    The catalog row of a task.

    Args:
        raw: all its members. list_id: of the list it is in.
        whole: everything of it is stored; else the row has no version, and the next session reads it again.
    """
    task = _TASK.decode(raw)
    members = decode_members(raw)
    meta = pick(members, VOLATILE)
    meta["status"] = task.status or ""
    meta["due"] = members.get("dueDateTime")
    meta["attachments"] = any(part.role == "attachments" for part in parts)
    return Row(
        id=task.id.encode(),
        container=list_id.encode(),
        name=(task.title or "").encode("utf-8", "surrogatepass"),
        kind="task",
        size=sum(part.size for part in parts),
        created_ns=nanoseconds(task.created_date_time or task.last_modified_date_time),
        modified_ns=nanoseconds(task.last_modified_date_time or task.created_date_time),
        version=task.version if whole else "",
        meta=msgspec.json.encode(meta),
        parts=tuple(parts),
    )


def list_row(raw: bytes) -> Row:
    """The catalog row of a task list."""
    found = _LIST.decode(raw)
    return Row(
        id=found.id.encode(),
        container=b"",
        name=(found.display_name or "").encode("utf-8", "surrogatepass"),
        kind="container",
        meta=encode_members(without(without_links(decode_members(raw)), ("@odata.etag",))),
    )
