"""
Exchange: messages created, changed, moved, copied and deleted.
"""

import asyncio
import base64
import binascii

from tools.emulator import exchange, message_input
from tools.emulator.attachment_input import read_attachment
from tools.emulator.call import Call
from tools.emulator.errors import GraphError, bad_request
from tools.emulator.mail_call import addressed, store, view
from tools.emulator.mail_json import MessageReading, message_json
from tools.emulator.mailbox import Folder
from tools.emulator.message import Message
from tools.emulator.reply import Reply, json_reply
from tools.emulator.route import Route


async def answer(call: Call, message: Message, status: int) -> Reply:
    """The whole message as JSON."""
    reading = MessageReading(message, view(call), call.tenant.seed)
    body = await asyncio.to_thread(message_json, reading, None)
    body = {"@odata.context": call.context("messages/$entity")} | body
    headers = exchange.applied(call)
    if status == 201:
        user = call.params["user"]
        headers["Location"] = f"{call.request.base}/users/{user}/messages/{reading.key}"
    return json_reply(body, status, headers)


def _target(call: Call) -> Folder:
    return call.mailbox().folder(call.params.get("folder", "drafts"))


async def create_message(call: Call) -> Reply:
    """POST .../messages, JSON or base64 MIME"""
    folder = _target(call)
    if folder.search:
        raise bad_request("A search folder holds no items.", "ErrorInvalidRequest")
    kind = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "text/plain":
        return await answer(call, store(call).create_mime(folder, _mime(call)), 201)
    if kind != "application/json":
        text = "The request's content type is not supported."
        raise GraphError(415, "UnsupportedMediaType", text)
    written = message_input.read(call.body())
    hanging = [read_attachment(one) for one in written.attachments]
    writer = store(call)
    message = writer.create(folder, written)
    for attachment in hanging:
        writer.attach(message, attachment)
    return await answer(call, message, 201)


def _mime(call: Call) -> bytes:
    try:
        content = base64.b64decode(b"".join(call.request.body.split()), validate=True)
    except binascii.Error:
        text = "The MIME content is not valid base64."
        raise bad_request(text, "ErrorMimeContentInvalidBase64String") from None
    if b":" not in content.partition(b"\n")[0]:
        raise bad_request("The MIME content is invalid.", "ErrorMimeContentInvalid")
    return content


async def update_message(call: Call) -> Reply:
    """PATCH .../messages/{message}"""
    message = addressed(call)
    written = message_input.read(call.body())
    message_input.check_update(written, is_draft=message.is_draft)
    store(call).update(message, written)
    return await answer(call, message, 200)


async def delete_message(call: Call) -> Reply:
    """DELETE .../messages/{message}: to the deleted items, from there to the dumpster"""
    call.mailbox().discard(addressed(call), at=call.now)
    return Reply(204)


async def purge_message(call: Call) -> Reply:
    """POST .../messages/{message}/permanentDelete"""
    call.mailbox().purge(addressed(call), at=call.now)
    return Reply(204)


def _destination(call: Call) -> Folder:
    found = call.body().get("destinationId")
    if not isinstance(found, str) or not found:
        raise bad_request("The destination is missing.", "ErrorInvalidRequest")
    folder = call.mailbox().folder(found)
    if folder.search:
        raise bad_request("A search folder holds no items.", "ErrorInvalidRequest")
    return folder


async def move_message(call: Call) -> Reply:
    """POST .../messages/{message}/move"""
    message = addressed(call)
    call.mailbox().move(message, _destination(call), at=call.now)
    return await answer(call, message, 201)


async def copy_message(call: Call) -> Reply:
    """POST .../messages/{message}/copy"""
    message = addressed(call)
    folder = _destination(call)
    state = await asyncio.to_thread(message.state)
    return await answer(call, store(call).put(state, folder), 201)


_WRITE = ("Mail.ReadWrite",)


def _routes() -> list[Route]:
    user = "/users/{user}"
    routes = []
    for above in (user, user + "/mailFolders/{folder}"):
        one = above + "/messages/{message}"
        routes += [
            Route(above + "/messages", create_message, "mail", _WRITE, method="POST"),
            Route(one, update_message, "mail", _WRITE, method="PATCH"),
            Route(one, delete_message, "mail", _WRITE, method="DELETE"),
            Route(one + "/move", move_message, "mail", _WRITE, method="POST"),
            Route(one + "/copy", copy_message, "mail", _WRITE, method="POST"),
            Route(one + "/permanentDelete", purge_message, "mail", _WRITE, method="POST"),
        ]
    return routes


ROUTES = _routes()
