"""Tasks back into To Do: lists, tasks with steps, links and attachments."""

from collections.abc import Iterable
from typing import Any

import msgspec

from engine.catalog import Row
from proxy.graph.client import segment
from proxy.pipeline.outcome import SkipCause
from proxy.restore.attachments import Attacher, Kind
from proxy.restore.contents import Contents
from proxy.restore.protocol import Place, Present, item_key
from proxy.restore.record import stored_attachments, stored_members, writable
from proxy.restore.target import Target
from proxy.workloads.task_item import task_head

__all__ = ["TaskRestorer"]

WRITABLE = (
    "title", "body", "importance", "status", "isReminderOn", "categories", "dueDateTime",
    "startDateTime", "reminderDateTime", "recurrence",
)  # fmt: skip
STEP = ("displayName", "isChecked", "createdDateTime", "checkedDateTime")
LINK = ("webUrl", "applicationName", "displayName", "externalId")
FLAGGED = "flaggedEmails"  # views of messages: no tasks to be made
NOT_KNOWN = "none"  # the well-known name of lists that people made


class _List(msgspec.Struct, rename="camel"):
    id: str
    display_name: str | None = None
    wellknown_list_name: str | None = None


class _Moment(msgspec.Struct, rename="camel"):
    date_time: str | None = None


class _There(msgspec.Struct, rename="camel"):
    due_date_time: _Moment | None = None


class _Meta(msgspec.Struct, rename="camel"):
    due: _Moment | None = None
    wellknown_list_name: str | None = None


_LIST = msgspec.json.Decoder(_List)
_THERE = msgspec.json.Decoder(_There)
_RAW = msgspec.json.Decoder(msgspec.Raw)
_META = msgspec.json.Decoder(_Meta)


class TaskRestorer:
    """Implements `Restorer` for tasks. Lists cannot be in lists."""

    nested = False

    def __init__(self, target: Target, contents: Contents) -> None:
        self.target = target
        self._contents = contents

    async def places(self) -> list[Place]:
        """All lists."""
        listed = self.target.listed("List task lists", "/todo/lists", _LIST, {})
        return [_place(one.id, one.display_name, one.wellknown_list_name) async for one in listed]

    def source_place(self, row: Row) -> Place | None:
        """A list row; none for the list that shows flagged messages."""
        known_as = _META.decode(row.meta).wellknown_list_name
        if known_as == FLAGGED:
            return None
        return _place(row.id.decode(), row.name.decode("utf-8", "replace"), known_as)

    async def make_place(self, place: Place, parent: str) -> str:
        """A list."""
        body = {"displayName": place.name}
        return await self.target.made(self.target.call("Make a task list", "/todo/lists", body))

    async def find_place(self, place: Place, parent: str) -> str | None:
        """A list by its name."""
        names = {one.name.casefold(): one.id for one in await self.places()}
        return names.get(place.name.casefold())

    async def present(self, place: str) -> list[Present]:
        """What is in a list."""
        query = {"$select": "id,title,dueDateTime"}
        found = []
        async for raw in self.target.listed("List tasks", _path(place), _RAW, query):
            head, one = task_head(bytes(raw)), _THERE.decode(raw)
            found.append(Present(head.id, _key(head.name, one.due_date_time), head.version))
        return found

    def key(self, row: Row) -> str:
        """Title and due date."""
        return _key(row.name.decode("utf-8", "surrogatepass"), _META.decode(row.meta).due)

    def lessened(self, row: Row) -> SkipCause | None:
        """None of them."""
        return None

    def requests(self, row: Row) -> int:
        """One, and what its attachments take."""
        return 1 + sum(part.role.startswith("attachment") for part in row.parts)

    async def make(self, row: Row, place: str) -> str:
        """Make the task with its steps and links."""
        stored = await stored_members(self._contents, row)
        members: dict[str, Any] = writable(stored, WRITABLE)
        steps = [writable(one, STEP) for one in stored.get("checklistItems") or ()]
        links = [writable(one, LINK) for one in stored.get("linkedResources") or ()]
        members |= {"checklistItems": steps} if steps else {}
        members |= {"linkedResources": links} if links else {}
        return await self.target.made(self.target.call("Make a task", _path(place), members))

    async def overwrites(self, rows: Iterable[Row]) -> set[bytes]:
        """None: nobody says that a list's id is its folder's, so nothing is imported."""
        return set()

    async def overwrite(self, row: Row, old: str, version: str, place: str) -> bool:
        """Never."""
        return False

    async def complete(self, row: Row, new: str, place: str) -> None:
        """Its attachments."""
        found = await stored_attachments(self._contents, row)
        wanted = found.get(row.id.decode(), [])
        if wanted:
            await Attacher(self.target, _path(place), Kind.TASK).add_missing(segment(new), wanted)

    async def remove(self, old: str, place: str) -> None:
        """Delete a task."""
        path = f"{_path(place)}/{segment(old)}"
        await self.target.writer.delete(self.target.call("Delete a task", path))

    async def settle(self, place: str, made: dict[str, Row]) -> None:
        """Nothing: tasks are made with their state."""


def _place(key: str, name: str | None, known_as: str | None) -> Place:
    return Place(key, "", name or "", "" if known_as in (None, NOT_KNOWN) else str(known_as))


def _path(list_id: str) -> str:
    return f"/todo/lists/{segment(list_id)}/tasks"


def _key(title: str, due: _Moment | None) -> str:
    return item_key(title, ((due.date_time if due is not None else None) or "")[:10])
