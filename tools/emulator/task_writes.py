"""
To Do: task lists, tasks and what belongs to them created, changed and deleted.
"""

import base64
import binascii
from typing import Any

from tools.emulator import exchange, naming
from tools.emulator.blob import BytesBlob
from tools.emulator.call import Call
from tools.emulator.clock import iso
from tools.emulator.errors import GraphError, bad_request, no_mail_item
from tools.emulator.record_input import (
    ATTACHMENT_BYTES_MAX,
    Check,
    check_match,
    checked,
    is_flag,
    is_list,
    is_moment,
    is_object,
    is_recurrence,
    is_text,
    one_of,
)
from tools.emulator.records import Container
from tools.emulator.reply import Reply, json_reply
from tools.emulator.route import Method, Route
from tools.emulator.task_routes import attachment_json, found_list, found_task, list_json, task_json
from tools.emulator.task_routes import store as tasks
from tools.emulator.tasks import Task
from tools.emulator.upload_sessions import LIFE, progress, put_piece

WRITABLE: dict[str, Check] = {
    "title": is_text,
    "body": is_object,
    "importance": one_of("low", "normal", "high"),
    "status": one_of("notStarted", "inProgress", "completed", "waitingOnOthers", "deferred"),
    "isReminderOn": is_flag,
    "categories": is_list,
    "dueDateTime": is_moment,
    "startDateTime": is_moment,
    "reminderDateTime": is_moment,
    "recurrence": is_recurrence,
}
FILE_BYTES_MAX = 25 << 20
_WITH_IT = ("linkedResources", "checklistItems")  # may come with a new task
_LINK: dict[str, Check] = {
    "webUrl": is_text, "applicationName": is_text, "displayName": is_text, "externalId": is_text,
}  # fmt: skip
_CHECK: dict[str, Check] = {
    "displayName": is_text, "isChecked": is_flag, "createdDateTime": is_text,
    "checkedDateTime": is_text,
}  # fmt: skip


# lists


def _name(body: dict[str, Any]) -> str:
    name = body.get("displayName")
    if not isinstance(name, str) or not name.strip() or set(body) - {"displayName", "@odata.type"}:
        raise bad_request("A list has a name and nothing else to be written.", "invalidRequest")
    return name


def _writable(given: Container[Task]) -> Container[Task]:
    """A list that is not one of those that To Do keeps itself; else 400."""
    if given.well_known:
        raise bad_request("The list is kept by To Do.", "invalidRequest")
    return given


async def create_list(call: Call) -> Reply:
    """POST .../todo/lists"""
    held = tasks(call)
    made = held.add_container(_name(call.body()), at=call.now)
    return json_reply(list_json(held, made), 201)


async def rename_list(call: Call) -> Reply:
    """PATCH .../todo/lists/{list}"""
    held, given = tasks(call), _writable(found_list(call))
    held.change_container(given, at=call.now, name=_name(call.body()))
    return json_reply(list_json(held, given))


async def delete_list(call: Call) -> Reply:
    """DELETE .../todo/lists/{list}"""
    tasks(call).remove_container(_writable(found_list(call)), at=call.now)
    return Reply(204)


# tasks


def _completing(call: Call, before: str, properties: dict[str, Any]) -> dict[str, Any]:
    """To Do notes itself when a task was finished; nobody can say it."""
    status = properties.get("status", before)
    if status == before:
        return properties
    done = {"dateTime": f"{iso(call.now)[:10]}T00:00:00.0000000", "timeZone": "UTC"}
    return properties | {"completedDateTime": done if status == "completed" else None}


async def create_task(call: Call) -> Reply:
    """POST .../todo/lists/{list}/tasks"""
    held, given, body = tasks(call), found_list(call), call.body()
    if given is held.flagged:
        raise bad_request("Flagged mails are no tasks to be made.", "invalidRequest")
    properties = checked(body, WRITABLE, _WITH_IT)
    links = [checked(each, _LINK) for each in body.get("linkedResources") or ()]
    checks = [checked(each, _CHECK) for each in body.get("checklistItems") or ()]
    task = held.add(given, _completing(call, "notStarted", properties), at=call.now)
    for link in links:
        held.add_link(task, link, at=call.now)
    for check in checks:
        held.add_check(task, check, at=call.now)
    return _answer(call, task, 201)


def _answer(call: Call, task: Task, status: int) -> Reply:
    body = task_json(tasks(call), task, [])
    return json_reply({"@odata.context": call.context("tasks/$entity")} | body, status)


def _target(call: Call) -> Task:
    task = found_task(call)
    check_match(call.headers, naming.change_key(tasks(call).seed, task.key, task.version))
    return task


async def change_task(call: Call) -> Reply:
    """PATCH .../tasks/{task}"""
    task = _target(call)
    properties = checked(call.body(), WRITABLE)
    if "body" in properties:
        task.body_modified = call.now
    properties = _completing(call, task.properties["status"], properties)
    tasks(call).touch(task, properties, at=call.now)
    return _answer(call, task, 200)


async def delete_task(call: Call) -> Reply:
    """DELETE .../tasks/{task}"""
    tasks(call).remove(_target(call), at=call.now)
    return Reply(204)


# what belongs to a task


async def create_check(call: Call) -> Reply:
    """POST .../checklistItems"""
    made = tasks(call).add_check(_target(call), checked(call.body(), _CHECK), at=call.now)
    return json_reply(made, 201)


async def create_link(call: Call) -> Reply:
    """POST .../linkedResources"""
    made = tasks(call).add_link(_target(call), checked(call.body(), _LINK), at=call.now)
    return json_reply(made, 201)


async def change_part(call: Call) -> Reply:
    """PATCH of a checklist item or a linked resource"""
    task = _target(call)
    rows, key = _rows(call, task)
    if key not in rows:
        raise no_mail_item()
    rows[key] |= checked(call.body(), _CHECK if "check" in call.params else _LINK)
    tasks(call).touch(task, at=call.now)
    return json_reply(rows[key])


async def delete_part(call: Call) -> Reply:
    """DELETE of a checklist item, a linked resource or an attachment"""
    task = _target(call)
    rows, key = _rows(call, task)
    if rows.pop(key, None) is None:
        raise no_mail_item()
    tasks(call).touch(task, at=call.now)
    return Reply(204)


def _rows(call: Call, task: Task) -> tuple[dict[str, Any], str]:
    if "check" in call.params:
        return task.checklist, call.params["check"]
    if "link" in call.params:
        return task.links, call.params["link"]
    return task.attachments, call.params["attachment"]


async def create_attachment(call: Call) -> Reply:
    """POST .../attachments, up to 3 MB"""
    task, body = _target(call), call.body()
    try:
        data = base64.b64decode(body.get("contentBytes") or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise bad_request("contentBytes is no base64.", "invalidRequest") from None
    if not body.get("name"):
        raise bad_request("An attachment needs a name.", "invalidRequest")
    if len(data) > ATTACHMENT_BYTES_MAX:
        raise GraphError(413, "RequestEntityTooLarge", "The attachment is too large.")
    held = tasks(call)
    made = held.attach(task, str(body["name"]), BytesBlob(data), at=call.now)
    made.content_type = body.get("contentType") or "application/octet-stream"
    return json_reply(attachment_json(made), 201, headers=exchange.applied(call))


async def create_upload_session(call: Call) -> Reply:
    """POST .../attachments/createUploadSession, for files over 3 MB"""
    task, info = _target(call), call.body().get("attachmentInfo")
    size = info.get("size") if isinstance(info, dict) else None
    if not isinstance(info, dict) or not isinstance(size, int) or not info.get("name"):
        raise bad_request("attachmentInfo is missing or incomplete.", "invalidRequest")
    if not 0 < size <= FILE_BYTES_MAX:
        raise bad_request("The size cannot be.", "invalidRequest")
    name, kind = str(info["name"]), info.get("contentType") or "application/octet-stream"

    def attach(content: bytes) -> str:
        held = tasks(call)
        made = held.attach(held.record(task.key), name, BytesBlob(content), at=call.now)
        made.content_type = kind
        above = call.path.removesuffix("/attachments/createUploadSession")
        return f"{call.request.base}{above}/attachments/{made.key}"

    expires = call.now + LIFE
    key = call.services.uploads.open(size, expires, attach)
    above = call.path.removesuffix("/attachments/createUploadSession")
    body = {
        "@odata.context": call.context("uploadSession"),
        "uploadUrl": f"{call.request.base}{above}/attachmentSessions/{key}",
        "expirationDateTime": iso(expires),
        "nextExpectedRanges": ["0-"],
    }
    return json_reply(body, 201)


async def put_content(call: Call) -> Reply:
    """PUT .../attachmentSessions/{session}/content: with the token, unlike those of mail"""
    found_task(call)
    uploads, key = call.services.uploads, call.params["session"]
    session = uploads.find(key, call.now)
    try:
        location = put_piece(session, call.headers.get("Content-Range", ""), call.request.body)
    except GraphError as error:
        if error.status in (413, 416):
            call.breach("upload-piece", error.message)
        raise
    if location is None:
        return json_reply(progress(session))
    uploads.close(key)
    return Reply(201, headers={"Location": location})


_WRITE = ("Tasks.ReadWrite.All",)


def _routes() -> list[Route]:
    lists = "/users/{user}/todo/lists"
    one = lists + "/{list}/tasks/{task}"
    check, link = one + "/checklistItems/{check}", one + "/linkedResources/{link}"
    table: list[tuple[Method, str, Any]] = [
        ("POST", lists, create_list),
        ("PATCH", lists + "/{list}", rename_list),
        ("DELETE", lists + "/{list}", delete_list),
        ("POST", lists + "/{list}/tasks", create_task),
        ("PATCH", one, change_task),
        ("DELETE", one, delete_task),
        ("POST", one + "/checklistItems", create_check),
        ("PATCH", check, change_part),
        ("DELETE", check, delete_part),
        ("POST", one + "/linkedResources", create_link),
        ("PATCH", link, change_part),
        ("DELETE", link, delete_part),
        ("POST", one + "/attachments", create_attachment),
        ("POST", one + "/attachments/createUploadSession", create_upload_session),
        ("PUT", one + "/attachmentSessions/{session}/content", put_content),
        ("DELETE", one + "/attachments/{attachment}", delete_part),
    ]
    return [Route(path, handler, "mail", _WRITE, method=method) for method, path, handler in table]


ROUTES = _routes()
