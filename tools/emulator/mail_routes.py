"""
Exchange: mail folders, messages, attachments, and their change tracking.
"""

import asyncio
import dataclasses
import re
from collections.abc import Sequence

from tools.emulator import delta, exchange, odata
from tools.emulator.blob import BytesBlob
from tools.emulator.call import Call
from tools.emulator.errors import GraphError
from tools.emulator.exchange import PAGE_MAX, Feed, applied, delta_body, delta_round, removed
from tools.emulator.lazy_mapping import newest_first
from tools.emulator.mail_call import reading
from tools.emulator.mail_json import folder_json
from tools.emulator.mail_rendering import asked, filtered, rendering
from tools.emulator.mailbox import Folder
from tools.emulator.message import Message
from tools.emulator.paging import list_page
from tools.emulator.reply import Reply, content_reply, json_reply
from tools.emulator.route import Route

_FILTERED_MAX = 5000  # messages that a filtered round gives


def _folder(call: Call) -> Folder:
    return call.mailbox().folder(call.params["folder"])


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
    first = {
        "select": odata.selection(call.query),
        "size": exchange.page_size(call, 200),
        "hidden": _flag(call, "includehiddenfolders"),
    }
    feed = Feed(f"{mailbox.owner}/folders", mailbox.folder_log, mailbox.folder_generations)
    now = delta_round(call, feed, first)
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
    if odata.option(call.query, "search"):
        raise GraphError(501, "NotImplemented", "The emulator does not search messages.")
    rows: Sequence[Message]
    if "folder" in call.params:
        rows = newest_first(_folder(call).messages)
    else:
        rows = list(call.mailbox().messages())[::-1]
    how = asked(call)
    if text := odata.option(call.query, "filter"):
        rows = await asyncio.to_thread(filtered, call, rows, text)
    size = exchange.page_size(call)
    if how.costly:
        body = await asyncio.to_thread(list_page, call, rows, how.json, "messages", size)
    else:
        body = list_page(call, rows, how.json, "messages", size)
    return json_reply(body, headers=applied(call))


async def messages_delta(call: Call) -> Reply:
    """GET .../mailFolders/{folder}/messages/delta"""
    if "changetype" in {name.lower() for name in call.query}:
        raise GraphError(501, "NotImplemented", "The emulator does not sort out kinds of change.")
    mailbox, folder = call.mailbox(), _folder(call)
    first = {
        "select": odata.selection(call.query),
        "size": exchange.page_size(call),
        "expand": odata.option(call.query, "expand") or "",
        "filter": _since(odata.option(call.query, "filter")),
        "given": 0,
    }
    feed = Feed(f"{mailbox.owner}/{folder.key}", folder.log, folder.generations)
    now = delta_round(call, feed, first)
    size = odata.page_size(call.prefer, now.asked["size"], PAGE_MAX)
    if now.asked["filter"]:
        now = _counted(call, now, folder, size)
    page, token, done = delta.step(call, folder.log, folder.generations, now, size)
    how = rendering(call, now.asked["select"], now.asked["expand"])
    present = [m for change in page if (m := folder.messages.get(change.key))]
    if text := now.asked["filter"]:
        present = await asyncio.to_thread(filtered, call, present, text)
    written = dict(zip((m.key for m in present), await how.all(present), strict=True))
    value = []
    for change in page:
        if change.key in written:
            value.append(written[change.key])
        elif change.key not in folder.messages:
            departed = folder.departed.get(change.key, change.key)
            value.append(removed(change.key if how.view.immutable else departed))
    return json_reply(delta_body(call, "messages", value, token, done), headers=applied(call))


def _since(text: str | None) -> str | None:
    """The filter of a round: `receivedDateTime` with `ge` or `gt`, nothing else."""
    if text is not None and not re.match(r"^\s*receivedDateTime\s+g[et]\s+\S+\s*$", text, re.I):
        raise GraphError(400, "ErrorInvalidUrlQueryFilter", "The filter is not supported here.")
    return text


def _counted(call: Call, now: delta.Round, folder: Folder, size: int) -> delta.Round:
    """A filtered round ends once it has given `_FILTERED_MAX` messages, whatever is left."""
    if now.asked["given"] >= _FILTERED_MAX:
        return dataclasses.replace(now, cursor=folder.log.head)
    page, _, _ = folder.log.after(now.cursor, size, now.seen_from if now.first else 0)
    present = [m for change in page if (m := folder.messages.get(change.key))]
    given = now.asked["given"] + len(filtered(call, present, now.asked["filter"]))
    return dataclasses.replace(now, asked=now.asked | {"given": given})


async def get_message(call: Call) -> Reply:
    """GET .../messages/{message}"""
    message = reading(call).message
    body = await asyncio.to_thread(asked(call).json, message)
    body = {"@odata.context": call.context("messages/$entity")} | body
    return json_reply(body, headers=applied(call))


async def message_mime(call: Call) -> Reply:
    """GET .../messages/{message}/$value"""
    message = reading(call, content=True).message
    blob = message.mime
    message.fetches += 1
    if call.services.mime_drift:
        drifted = f"X-Emulator-Fetch: {message.fetches}\r\n".encode() + blob.read()
        blob = BytesBlob(drifted)
    cut = call.services.faults.take_cut(message.key, message.movable)
    etag = f'"{message.key}.{message.version}"'
    return await content_reply(blob, "text/plain", call.headers.get("Range"), etag, cut)


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
        routes += [
            Route(one, get_message, "mail", _READ),
            Route(one + "/$value", message_mime, "mail", _READ),
        ]
    return routes


ROUTES = _routes()
