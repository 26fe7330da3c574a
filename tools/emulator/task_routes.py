"""
To Do: task lists, tasks, checklists, linked resources, attachments.
"""

import base64
from typing import Any

from tools.emulator import delta, exchange, naming, odata
from tools.emulator.call import Call
from tools.emulator.clock import iso
from tools.emulator.errors import no_mail_item
from tools.emulator.records import Container, RecordAttachment
from tools.emulator.reply import Reply, content_reply, json_reply
from tools.emulator.route import Route
from tools.emulator.tasks import Task, TaskStore


def store(call: Call) -> TaskStore:
    """The tasks of the mailbox in the path."""
    return call.mailbox().tasks


def found_list(call: Call) -> Container[Task]:
    """The list in the path."""
    return store(call).container(call.params["list"])


def list_json(held: TaskStore, given: Container[Task]) -> dict[str, Any]:
    """One task list."""
    change_key = naming.change_key(held.seed, given.key, given.version)
    return {
        "@odata.etag": f'W/"{change_key}"',
        "id": given.key,
        "displayName": given.name,
        "isOwner": given.properties.get("isOwner", True),
        "isShared": given.properties.get("isShared", False),
        "wellknownListName": given.well_known or "none",
    }


def task_json(held: TaskStore, task: Task, expand: list[str]) -> dict[str, Any]:
    """One task, with what is expanded; To Do has one form of id only."""
    change_key = naming.change_key(held.seed, task.key, task.version)
    body: dict[str, Any] = {
        "@odata.etag": f'W/"{change_key}"',
        "id": task.key,
        "createdDateTime": iso(task.created),
        "lastModifiedDateTime": iso(task.modified),
        "bodyLastModifiedDateTime": iso(task.body_modified),
        "hasAttachments": bool(task.attachments),
        # what is not set is left out, as To Do does
        **{name: value for name, value in task.properties.items() if value is not None},
    }
    if "checklistitems" in expand:
        body["checklistItems"] = list(task.checklist.values())
    if "linkedresources" in expand:
        body["linkedResources"] = list(task.links.values())
    if "attachments" in expand:
        body["attachments"] = [attachment_json(each) for each in task.attachments.values()]
    return body


def attachment_json(attachment: RecordAttachment, *, content: bool = False) -> dict[str, Any]:
    """A file on a task; its bytes come only when it is asked for by its id."""
    body: dict[str, Any] = {
        "@odata.type": "#microsoft.graph.taskFileAttachment",
        "id": attachment.key,
        "lastModifiedDateTime": iso(attachment.modified),
        "name": attachment.name,
        "contentType": attachment.content_type,
        "size": attachment.content.size,
    }
    if content:
        body["contentBytes"] = base64.b64encode(attachment.content.read()).decode()
    return body


# lists


async def list_lists(call: Call) -> Reply:
    """GET .../todo/lists"""
    held = store(call)
    rows = list(held.containers.values())
    body = exchange.listing(call, rows, lambda each: list_json(held, each), "lists")
    return json_reply(body)


async def get_list(call: Call) -> Reply:
    """GET .../todo/lists/{list}"""
    return exchange.one(call, list_json(store(call), found_list(call)), "lists/$entity")


async def lists_delta(call: Call) -> Reply:
    """GET .../todo/lists/delta"""
    held = store(call)
    feed = exchange.Feed(f"{held.owner}/lists", held.log, held.generations)

    def entries(key: str, _now: delta.Round) -> list[dict[str, Any]]:
        found = held.containers.get(key)
        return [exchange.removed(key) if found is None else list_json(held, found)]

    return json_reply(exchange.delta_page(call, feed, "lists", {}, entries))


# tasks


async def list_tasks(call: Call) -> Reply:
    """GET .../todo/lists/{list}/tasks"""
    held, rows = store(call), list(found_list(call).records.values())
    expand = odata.expansion(call.query)
    body = exchange.listing(call, rows, lambda task: task_json(held, task, expand), "tasks")
    return json_reply(body)


async def tasks_delta(call: Call) -> Reply:
    """GET .../todo/lists/{list}/tasks/delta"""
    held, given = store(call), found_list(call)
    feed = exchange.Feed(given.key, given.log, given.generations)

    def entries(key: str, _now: delta.Round) -> list[dict[str, Any]]:
        task = given.records.get(key)
        return [exchange.removed(key) if task is None else task_json(held, task, [])]

    return json_reply(exchange.delta_page(call, feed, "tasks", {}, entries))


def found_task(call: Call, *, content: bool = False) -> Task:
    """The task in the path."""
    task = store(call).record(call.params["task"])
    call.services.faults.check_item(task.key, content=content)
    if task.container is not found_list(call):
        raise no_mail_item()
    return task


async def get_task(call: Call) -> Reply:
    """GET .../tasks/{task}"""
    body = task_json(store(call), found_task(call), odata.expansion(call.query))
    return exchange.one(call, body, "tasks/$entity")


# what belongs to a task


def _picked(rows: dict[str, dict[str, Any]], key: str) -> dict[str, Any]:
    if key not in rows:
        raise no_mail_item()
    return rows[key]


async def list_checks(call: Call) -> Reply:
    """GET .../checklistItems"""
    rows = list(found_task(call).checklist.values())
    return json_reply(exchange.listing(call, rows, lambda row: row, "checklistItems"))


async def get_check(call: Call) -> Reply:
    """GET .../checklistItems/{check}"""
    body = _picked(found_task(call).checklist, call.params["check"])
    return exchange.one(call, body, "checklistItems/$entity")


async def list_links(call: Call) -> Reply:
    """GET .../linkedResources"""
    rows = list(found_task(call).links.values())
    return json_reply(exchange.listing(call, rows, lambda row: row, "linkedResources"))


async def get_link(call: Call) -> Reply:
    """GET .../linkedResources/{link}"""
    body = _picked(found_task(call).links, call.params["link"])
    return exchange.one(call, body, "linkedResources/$entity")


async def list_attachments(call: Call) -> Reply:
    """GET .../attachments"""
    rows = list(found_task(call).attachments.values())
    return json_reply(exchange.listing(call, rows, attachment_json, "attachments"))


def _attachment(call: Call) -> RecordAttachment:
    found = found_task(call, content=True).attachments.get(call.params["attachment"])
    if found is None:
        raise no_mail_item()
    call.services.faults.check_item(found.key, content=True)
    return found


async def get_attachment(call: Call) -> Reply:
    """GET .../attachments/{attachment}"""
    body = attachment_json(_attachment(call), content=True)
    return exchange.one(call, body, "attachments/$entity")


async def attachment_content(call: Call) -> Reply:
    """GET .../attachments/{attachment}/$value"""
    found = _attachment(call)
    cut = call.services.faults.take_cut(found.key)
    return await content_reply(
        found.content, "application/octet-stream", call.headers.get("Range"), f'"{found.key}"', cut
    )


_READ = ("Tasks.Read.All", "Tasks.ReadWrite.All")


def _routes() -> list[Route]:
    lists = "/users/{user}/todo/lists"
    tasks = lists + "/{list}/tasks"
    one = tasks + "/{task}"
    table = [
        (lists, list_lists),
        (lists + "/delta", lists_delta),
        (lists + "/{list}", get_list),
        (tasks, list_tasks),
        (tasks + "/delta", tasks_delta),
        (one, get_task),
        (one + "/checklistItems", list_checks),
        (one + "/checklistItems/{check}", get_check),
        (one + "/linkedResources", list_links),
        (one + "/linkedResources/{link}", get_link),
        (one + "/attachments", list_attachments),
        (one + "/attachments/{attachment}", get_attachment),
        (one + "/attachments/{attachment}/$value", attachment_content),
    ]
    return [Route(template, handler, "mail", _READ) for template, handler in table]


ROUTES = _routes()
