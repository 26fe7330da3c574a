"""
What the Outlook host answers: imports of items, and pieces of attachments.

Order as for Graph: outage, ticket, admission by the throttle of the mailbox, fault script, handler.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from tools.emulator.call import Request, Services
from tools.emulator.errors import GraphError, bad_request
from tools.emulator.exchange_door import admitted
from tools.emulator.export_stream import unseal
from tools.emulator.fault_script import Event
from tools.emulator.mailbox import Mailbox
from tools.emulator.mailbox_items import Item, MailboxItems
from tools.emulator.message_store import MessageStore
from tools.emulator.outlook import open_ticket
from tools.emulator.reply import Reply, json_reply
from tools.emulator.staging import error_reply, fingerprint, staged
from tools.emulator.tenant import User
from tools.emulator.upload_sessions import progress, put_piece

IMPORT, UPLOAD = "(import)", "(attachment session)"
_IMPORT_PATH = re.compile(r"/Mailboxes\('[^']*'\)/importItem$", re.I)
_UPLOAD_PATH = re.compile(r"/AttachmentSessions\('[^']*'\)$", re.I)


class Outlook:
    """Answers requests on pre-authenticated URLs of Exchange."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, request: Request) -> Reply:
        """Answer one request."""
        services = self._services
        path = unquote(request.path)
        kind = IMPORT if _IMPORT_PATH.search(path) else UPLOAD
        name = f"{request.method} {kind}"
        now = services.clock.now()
        if "Authorization" in request.headers:
            services.ledger.breach("authorization-on-preauthenticated-url", name, now)
        try:
            services.faults.check_service()
            if kind is UPLOAD and not _UPLOAD_PATH.search(path):
                raise GraphError(404, "ErrorItemNotFound", "No such place.")
            purpose = "import" if kind is IMPORT else "upload"
            ticket = open_ticket(services, purpose, request.query.get("authtoken", ""))
            user = services.tenant.users.get(ticket["user"])
            if user is None or user.mailbox is None:
                raise GraphError(404, "ErrorMailboxNotFound", "The mailbox was not found.")
            reply = await self._admitted(request, purpose, user, user.mailbox, ticket)
        except GraphError as error:
            reply = error_reply(services, error, request.headers)
        services.ledger.finish(name, reply.status, len(reply.body), 0)
        return reply

    async def _admitted(
        self,
        request: Request,
        purpose: str,
        user: User,
        mailbox: Mailbox,
        ticket: Mapping[str, Any],
    ) -> Reply:
        services = self._services
        event = Event(
            request.method,
            (purpose,),
            frozenset({purpose, "write"}),
            ticket["app"],
            user.names,
            fingerprint(request, user.key, purpose),
        )

        async def handle() -> Reply:
            if purpose == "import":
                return await self._import(request, mailbox)
            return await self._upload(request, ticket["session"])

        async with admitted(services, user, len(request.body)):
            return await staged(services, event, "", handle)

    async def _import(self, request: Request, mailbox: Mailbox) -> Reply:
        """POST importItem"""
        if request.method != "POST":
            raise GraphError(405, "ErrorInvalidRequest", "Only POST is accepted.")
        services = self._services
        body = _import_body(request.body)
        folder, mode, data = body.get("folderid"), body.get("mode"), body.get("data")
        key, change_key = body.get("itemid"), body.get("changekey")
        if not isinstance(folder, str) or not isinstance(data, str):
            raise bad_request("FolderId or Data is missing.", "ErrorInvalidRequest")
        if mode not in ("create", "update") or (mode == "create") == bool(key or change_key):
            text = "Mode is create without ItemId and ChangeKey, or update with both."
            raise bad_request(text, "ErrorInvalidRequest")
        item_class, state = await asyncio.to_thread(_unsealed, services, data)
        tenant, now = services.tenant, services.clock.now()
        messages = MessageStore(mailbox, tenant.seed, tenant.domain, now)
        items = MailboxItems(mailbox, messages, tenant.seed, now)
        place = items.folder(folder)
        if mode == "create":
            item = items.create(place, item_class, state)
        else:
            item = items.item(str(key))
            _check_update(items, item, place.key, str(change_key))
            items.update(item, item_class, state)
        immutable = "immutableid" in request.headers.get("Prefer", "").lower()
        shown = item.key if immutable else item.movable
        return json_reply({"itemId": shown, "changeKey": items.change_key(item)})

    async def _upload(self, request: Request, key: str) -> Reply:
        """PUT of a piece, DELETE of a session"""
        services = self._services
        session = services.uploads.find(key, services.clock.now())
        if request.method == "DELETE":
            services.uploads.close(key)
            return Reply(204)
        if request.method != "PUT":
            raise GraphError(405, "ErrorInvalidRequest", "Only PUT and DELETE are accepted.")
        try:
            location = put_piece(session, request.headers.get("Content-Range", ""), request.body)
        except GraphError as error:
            if error.status in (413, 416):
                now = services.clock.now()
                services.ledger.breach("upload-piece", error.message, now)
            raise
        if location is None:
            return json_reply(progress(session))
        services.uploads.close(key)
        return Reply(201, headers={"Location": location})


def _import_body(raw: bytes) -> dict[str, Any]:
    """The members of an import by their names in lower case."""
    try:
        body = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        body = None
    if not isinstance(body, dict):
        raise bad_request("Unable to read JSON request payload.")
    return {name.lower(): value for name, value in body.items()}


def _unsealed(services: Services, data: str) -> tuple[str, dict[str, Any]]:
    if len(data) * 3 // 4 > services.options.export_bytes_max:
        raise GraphError(413, "ErrorMessageSizeExceeded", "The item is too large.")
    try:
        return unseal(base64.b64decode(data, validate=True))
    except binascii.Error:
        raise bad_request("Data is not valid base64.", "ErrorInvalidRequest") from None


def _check_update(items: MailboxItems, item: Item, folder: str, change_key: str) -> None:
    if items.place(item).key != folder:
        raise GraphError(404, "ErrorItemNotFound", "The item is not in the folder.")
    if items.change_key(item) != change_key:
        raise GraphError(412, "ErrorIrresolvableConflict", "The change key is old.")
