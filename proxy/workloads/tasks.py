"""
Tasks: the lists of To Do, tasks with steps, links and attachments.

A task costs no request of its own in a first listing and one when it has changed; attachments one for their listing
and one for each.
"""

from engine.catalog import Row
from proxy.contract import ObjectRef, Selection
from proxy.graph.client import Call, GraphClient, segment
from proxy.workloads.attachments import TASK_MEMBERS, AttachmentReader, Attachments
from proxy.workloads.item_listing import Covers, back_up_listed
from proxy.workloads.listed_items import Head
from proxy.workloads.mailbox_calls import MailboxCalls
from proxy.workloads.members import decode_members
from proxy.workloads.protocol import Shelf
from proxy.workloads.task_item import (
    TASK_COLLECTIONS,
    TASK_HEAD_MEMBERS,
    list_row,
    may_have_attachments,
    stored_task,
    task_head,
    task_row,
)

__all__ = ["Tasks"]

EXPAND = {"$expand": ",".join(TASK_COLLECTIONS)}


class Tasks:
    """The tasks workload."""

    def __init__(self, selection: Selection | None = None) -> None:
        self._covers = Covers(selection, "tasks")

    async def backup(self, client: GraphClient, target: ObjectRef, shelf: Shelf) -> None:
        """Bring the shelf up to date with the tasks of `target`."""
        source = _ToDo(client, target.id, shelf)
        source.dated = self._covers.items.period.restricts
        await back_up_listed(source, client, target, shelf, self._covers)


class _ToDo:
    """Implements `ItemSource`."""

    permission = "Tasks.Read.All"
    kind = "task"
    dated = False  # whether listings shall say when tasks are due

    def __init__(self, client: GraphClient, user: str, shelf: Shelf) -> None:
        self.calls = MailboxCalls(client, user)
        self._shelf = shelf
        self._attachments = AttachmentReader(self.calls, shelf, TASK_MEMBERS)

    async def containers(self) -> list[Row]:
        """Rows of the lists."""
        listed = await self.calls.all(self.calls.page_call("List task lists", "/todo/lists"))
        return [list_row(raw) for raw in listed]

    def listing(self, container: str, *, full: bool) -> Call:
        """Tasks of a list."""
        members = TASK_HEAD_MEMBERS + (",dueDateTime" if self.dated else "")
        query = EXPAND if full else {"$select": members}
        return self.calls.page_call("List tasks", _list_path(container), query)

    def head(self, raw: bytes) -> Head:
        """An entry of the listing."""
        return task_head(raw)

    async def read(self, container: str, head: Head, raw: bytes | None) -> Row:
        """Read a task with steps, links and attachments."""
        path = f"{_list_path(container)}/{segment(head.id)}"
        if raw is None:
            raw = await self.calls.item(self.calls.item_call("Read a task", path, EXPAND))
        members = decode_members(raw)
        for name in TASK_COLLECTIONS:
            call = self.calls.item_call("Read steps and links of a task", f"{path}/{name}")
            await self.calls.complete(members, name, call)
        found = Attachments()
        if may_have_attachments(raw):
            await self._attachments.read(head.id, f"{path}/attachments", found)
        found.note(self._shelf, head.id, head.name)
        parts = [await self._shelf.store("json", stored_task(members))]
        parts += await found.parts(self._shelf)
        return task_row(raw, container, parts, whole=not found.unsettled)

    async def look_up(self, row: Row) -> None:
        """Ask for a task by its id, in the list where it was."""
        path = f"{_list_path(row.container.decode())}/{segment(row.id.decode())}"
        query = {"$select": "id"}
        await self.calls.item(self.calls.item_call("Look up a task", path, query))


def _list_path(list_id: str) -> str:
    return f"/todo/lists/{segment(list_id)}/tasks"
