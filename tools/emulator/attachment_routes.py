"""
Exchange: attachments of messages, read and written.
"""

import asyncio
from typing import Any

from tools.emulator import odata
from tools.emulator.attachment_input import read_attachment
from tools.emulator.attachment_json import attachment_json, attachment_key, attachments, item_json
from tools.emulator.blob import BytesBlob
from tools.emulator.call import Call
from tools.emulator.errors import GraphError, no_mail_item
from tools.emulator.exchange import applied, page_size
from tools.emulator.mail_call import addressed, reading, store, view
from tools.emulator.mail_json import MessageReading, View
from tools.emulator.message import MessageAttachment
from tools.emulator.outlook import upload_reply
from tools.emulator.paging import list_page
from tools.emulator.reply import Reply, content_reply, json_reply
from tools.emulator.route import Route
from tools.emulator.upload_sessions import read_item


def _expands_items(call: Call) -> bool:
    """True for `$expand=microsoft.graph.itemAttachment/item`."""
    text = (odata.option(call.query, "expand") or "").lower()
    return "itemattachment/item" in text


def _json(call: Call, one: MessageReading, attachment: MessageAttachment) -> dict[str, Any]:
    body = attachment_json(one, attachment)
    body = odata.pick(body, odata.selection(call.query))
    if attachment.kind == "item" and _expands_items(call):
        body["item"] = item_json(one, attachment)
    return body


async def list_attachments(call: Call) -> Reply:
    """GET .../messages/{message}/attachments"""
    one = reading(call)
    found = await asyncio.to_thread(attachments, one)
    select = odata.selection(call.query)
    if select is None or "contentbytes" in select:  # a listing without contents opens none
        for attachment in found:
            _check_fault(call, one, attachment)
    body = list_page(
        call, found, lambda row: _json(call, one, row), "attachments", page_size(call, 1000)
    )
    return json_reply(body, headers=applied(call))


def _check_fault(call: Call, one: MessageReading, attachment: MessageAttachment) -> None:
    """Raise the fault set for the attachment by its id of either kind."""
    call.services.faults.check_item(*_keys(one, attachment.number), content=True)


def _keys(one: MessageReading, number: int) -> list[str]:
    readings = (MessageReading(one.message, View(immutable=form), 0) for form in (True, False))
    return [attachment_key(each, number) for each in readings]


async def _attachment(call: Call) -> tuple[MessageReading, MessageAttachment]:
    one = reading(call)
    for attachment in await asyncio.to_thread(attachments, one):
        if call.params["attachment"] in _keys(one, attachment.number):
            _check_fault(call, one, attachment)
            return one, attachment
    raise no_mail_item()


async def get_attachment(call: Call) -> Reply:
    """GET .../attachments/{attachment}"""
    one, attachment = await _attachment(call)
    body = await asyncio.to_thread(_json, call, one, attachment)
    context = {"@odata.context": call.context("attachments/$entity")}
    return json_reply(context | body, headers=applied(call))


async def attachment_content(call: Call) -> Reply:
    """GET .../attachments/{attachment}/$value"""
    one, attachment = await _attachment(call)
    if attachment.kind == "reference" or attachment.details:
        text = "The attachment has no content of its own."
        raise GraphError(405, "ErrorInvalidRequest", text)
    key = attachment_key(one, attachment.number)
    kind = "application/octet-stream" if attachment.kind == "file" else "text/plain"
    cut = call.services.faults.take_cut(*_keys(one, attachment.number))
    return await content_reply(attachment.content, kind, call.headers.get("Range"), f'"{key}"', cut)


async def create_attachment(call: Call) -> Reply:
    """POST .../messages/{message}/attachments"""
    message = addressed(call)
    attachment = store(call).attach(message, read_attachment(call.body()))
    body = attachment_json(reading(call), attachment)
    return json_reply({"@odata.context": call.context("attachments/$entity")} | body, 201)


async def create_upload_session(call: Call) -> Reply:
    """POST .../attachments/createUploadSession"""
    message = addressed(call)
    item = read_item(call.body())
    key, user = message.key, call.params["user"]

    def attach(content: bytes) -> str:
        attachment = MessageAttachment(
            0,
            "file",
            item["name"],
            item.get("contentType") or "application/octet-stream",
            BytesBlob(content),
            item.get("isInline") is True,
            item.get("contentId"),
        )
        target = call.mailbox().message(key)  # it may have gone meanwhile
        made = store(call).attach(target, attachment)
        one = MessageReading(target, view(call), call.tenant.seed)
        name = attachment_key(one, made.number)
        place = f"users('{user}')/messages('{one.key}')/Attachments('{name}')"
        return f"https://outlook.office.com/api/gv1.0/{place}"

    return upload_reply(call, item["size"], attach)


async def delete_attachment(call: Call) -> Reply:
    """DELETE .../attachments/{attachment}"""
    _, attachment = await _attachment(call)
    store(call).detach(addressed(call), attachment.number)
    return Reply(204)


_READ = ("Mail.Read", "Mail.ReadWrite")
_WRITE = ("Mail.ReadWrite",)


def _routes() -> list[Route]:
    routes = []
    for above in ("/users/{user}", "/users/{user}/mailFolders/{folder}"):
        many = above + "/messages/{message}/attachments"
        one = many + "/{attachment}"
        routes += [
            Route(many, list_attachments, "mail", _READ),
            Route(many, create_attachment, "mail", _WRITE, method="POST"),
            Route(
                many + "/createUploadSession", create_upload_session, "mail", _WRITE, method="POST"
            ),
            Route(one, get_attachment, "mail", _READ),
            Route(one, delete_attachment, "mail", _WRITE, method="DELETE"),
            Route(one + "/$value", attachment_content, "mail", _READ),
        ]
    return routes


ROUTES = _routes()
