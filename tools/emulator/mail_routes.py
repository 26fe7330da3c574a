"""
Exchange: mail folders, messages, attachments, and their change tracking.
"""

import asyncio
from typing import Any

from tools.emulator import delta, exchange, odata
from tools.emulator.blob import BytesBlob
from tools.emulator.call import Call
from tools.emulator.changelog import Change
from tools.emulator.errors import GraphError, no_mail_item
from tools.emulator.exchange import PAGE_MAX, Feed, applied, delta_body, delta_round
from tools.emulator.mail_json import (
    MessageReading,
    View,
    attachment_json,
    attachment_key,
    folder_json,
    message_json,
    needs_mime,
)
from tools.emulator.mailbox import Folder, Message
from tools.emulator.mime_reader import Attachment
from tools.emulator.paging import list_page
from tools.emulator.reply import Reply, content_reply, json_reply
from tools.emulator.route import Route


def _view(call: Call) -> View:
    """How the client wants messages."""
    text = call.prefer.get("outlook.body-content-type", "").lower() == "text"
    return View(exchange.wants_immutable(call), text)


def _folder(call: Call) -> Folder:
    return call.mailbox().folder(call.params["folder"])


def _reading(call: Call, *, content: bool = False) -> MessageReading:
    message = call.mailbox().message(call.params["message"])
    call.services.faults.check_item(message.key, message.movable, content=content)
    return MessageReading(message, _view(call), call.tenant.seed)


# folders


async def list_folders(call: Call) -> Reply:
    """GET .../mailFolders and .../childFolders"""
    parent = _folder(call) if "folder" in call.params else call.mailbox().root
    hidden = _flag(call, "includehiddenfolders")
    rows = [f for f in parent.children.values() if hidden or not f.hidden]
    select = odata.selection(call.query)
    body = list_page(
        call,
        rows,
        lambda f: odata.pick(folder_json(f), select),
        "mailFolders",
        exchange.page_size(call),
    )
    return json_reply(body, headers=applied(call))


def _flag(call: Call, name: str) -> bool:
    return (odata.option(call.query, name) or "").lower() == "true"


async def get_folder(call: Call) -> Reply:
    """GET .../mailFolders/{folder}"""
    body = odata.pick(folder_json(_folder(call)), odata.selection(call.query))
    return json_reply({"@odata.context": call.context("mailFolders/$entity")} | body)


async def folders_delta(call: Call) -> Reply:
    """GET .../mailFolders/delta"""
    mailbox = call.mailbox()
    asked = {
        "select": odata.selection(call.query),
        "size": exchange.page_size(call, 200),
        "hidden": _flag(call, "includehiddenfolders"),
    }
    feed = Feed(f"{mailbox.owner}/folders", mailbox.folder_log, mailbox.folder_generations)
    now = delta_round(call, feed, asked)
    size = odata.page_size(call.prefer, now.asked["size"], PAGE_MAX)
    page, token, done = delta.step(call, feed.log, feed.generations, now, size)
    value = []
    for change in page:
        folder = mailbox.folders.get(change.key)
        if folder is None:
            value.append({"id": change.key, "@removed": {"reason": "deleted"}})
        elif now.asked["hidden"] or not folder.hidden:
            value.append(odata.pick(folder_json(folder), now.asked["select"]))
    return json_reply(delta_body(call, "mailFolders", value, token, done), headers=applied(call))


# messages


async def list_messages(call: Call) -> Reply:
    """GET .../messages and .../mailFolders/{folder}/messages"""
    if odata.option(call.query, "filter") or odata.option(call.query, "search"):
        raise GraphError(501, "NotImplemented", "The emulator does not filter messages.")
    if "folder" in call.params:
        rows = list(_folder(call).messages.values())
    else:
        rows = list(call.mailbox().messages())
    rows.reverse()  # newest first
    view, headers = _view(call), applied(call)
    select = odata.selection(call.query)
    seed = call.tenant.seed

    def render(message: Message) -> dict[str, Any]:
        return message_json(MessageReading(message, view, seed), select)

    size = exchange.page_size(call)
    if needs_mime(select):
        body = await asyncio.to_thread(list_page, call, rows, render, "messages", size)
    else:
        body = list_page(call, rows, render, "messages", size)
    return json_reply(body, headers=headers)


async def messages_delta(call: Call) -> Reply:
    """GET .../mailFolders/{folder}/messages/delta"""
    if odata.option(call.query, "filter"):
        raise GraphError(501, "NotImplemented", "The emulator does not filter messages.")
    mailbox, folder = call.mailbox(), _folder(call)
    asked = {"select": odata.selection(call.query), "size": exchange.page_size(call)}
    feed = Feed(f"{mailbox.owner}/{folder.key}", folder.log, folder.generations)
    now = delta_round(call, feed, asked)
    size = odata.page_size(call.prefer, now.asked["size"], PAGE_MAX)
    page, token, done = delta.step(call, folder.log, folder.generations, now, size)
    view, headers = _view(call), applied(call)
    select = now.asked["select"]
    if needs_mime(select):
        value = await asyncio.to_thread(_entries, call, folder, page, view, select)
    else:
        value = _entries(call, folder, page, view, select)
    return json_reply(delta_body(call, "messages", value, token, done), headers=headers)


def _entries(
    call: Call, folder: Folder, page: list[Change[str]], view: View, select: list[str] | None
) -> list[dict[str, Any]]:
    value = []
    for change in page:
        message = folder.messages.get(change.key)
        if message is not None:
            value.append(message_json(MessageReading(message, view, call.tenant.seed), select))
        else:
            key = change.key if view.immutable else folder.departed.get(change.key, change.key)
            value.append({"id": key, "@removed": {"reason": "deleted"}})
    return value


async def get_message(call: Call) -> Reply:
    """GET .../messages/{message}"""
    reading = _reading(call)
    select = odata.selection(call.query)
    body = await asyncio.to_thread(message_json, reading, select)
    expand = (odata.option(call.query, "expand") or "").lower()
    if expand.startswith("attachments"):
        found = await asyncio.to_thread(lambda: reading.content.attachments)
        body["attachments"] = [attachment_json(reading, i, a) for i, a in enumerate(found)]
    body = {"@odata.context": call.context("messages/$entity")} | body
    return json_reply(body, headers=applied(call))


async def message_mime(call: Call) -> Reply:
    """GET .../messages/{message}/$value"""
    message = _reading(call, content=True).message
    blob = message.mime
    message.fetches += 1
    if call.services.mime_drift:
        drifted = f"X-Emulator-Fetch: {message.fetches}\r\n".encode() + blob.read()
        blob = BytesBlob(drifted)
    cut = call.services.faults.take_cut(message.key, message.movable)
    etag = f'"{message.key}.{message.version}"'
    return await content_reply(blob, "text/plain", call.headers.get("Range"), etag, cut)


# attachments


async def list_attachments(call: Call) -> Reply:
    """GET .../messages/{message}/attachments"""
    reading = _reading(call)
    found = await asyncio.to_thread(lambda: list(enumerate(reading.content.attachments)))
    select = odata.selection(call.query)

    def render(row: tuple[int, Attachment]) -> dict[str, Any]:
        return odata.pick(attachment_json(reading, *row), select)

    body = list_page(call, found, render, "attachments", exchange.page_size(call, 1000))
    return json_reply(body, headers=applied(call))


async def _attachment(call: Call) -> tuple[MessageReading, int, Attachment]:
    reading = _reading(call)
    found = await asyncio.to_thread(lambda: reading.content.attachments)
    message = reading.message
    for index, attachment in enumerate(found):
        for view in (View(immutable=True), View()):
            named = MessageReading(message, view, call.tenant.seed)
            if attachment_key(named, index) == call.params["attachment"]:
                return reading, index, attachment
    raise no_mail_item()


async def get_attachment(call: Call) -> Reply:
    """GET .../attachments/{attachment}"""
    body = attachment_json(*await _attachment(call))
    body = odata.pick(body, odata.selection(call.query))
    return json_reply({"@odata.context": call.context("attachments/$entity")} | body)


async def attachment_content(call: Call) -> Reply:
    """GET .../attachments/{attachment}/$value"""
    reading, index, attachment = await _attachment(call)
    etag = f'"{attachment_key(reading, index)}"'
    return await content_reply(
        BytesBlob(attachment.content),
        "application/octet-stream",
        call.headers.get("Range"),
        etag,
        None,
    )


_READ = ("Mail.Read", "Mail.ReadWrite")
_READ_BASIC = ("Mail.ReadBasic.All", "Mail.ReadBasic", *_READ)


def _routes() -> list[Route]:
    user = "/users/{user}"
    folder = user + "/mailFolders/{folder}"
    routes = [
        Route(user + "/mailFolders", list_folders, "mail", _READ_BASIC),
        Route(user + "/mailFolders/delta", folders_delta, "mail", _READ_BASIC),
        Route(folder, get_folder, "mail", _READ_BASIC),
        Route(folder + "/childFolders", list_folders, "mail", _READ_BASIC),
        Route(folder + "/messages", list_messages, "mail", _READ_BASIC),
        Route(folder + "/messages/delta", messages_delta, "mail", _READ_BASIC),
        Route(user + "/messages", list_messages, "mail", _READ_BASIC),
    ]
    for above in (user, folder):
        one = above + "/messages/{message}"
        many = one + "/attachments"
        routes += [
            Route(one, get_message, "mail", _READ),
            Route(one + "/$value", message_mime, "mail", _READ),
            Route(many, list_attachments, "mail", _READ),
            Route(many + "/{attachment}", get_attachment, "mail", _READ),
            Route(many + "/{attachment}/$value", attachment_content, "mail", _READ),
        ]
    return routes


ROUTES = _routes()
