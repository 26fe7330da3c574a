"""
The mailbox import/export API of Exchange: where a mailbox is, export, and import sessions.

Source: Graph v1.0, `exchangeSettings`, `mailbox`, `exportItemResponse`, `mailboxItemImportSession`.
"""

import asyncio
import base64
from typing import Any

from tools.emulator.call import Call
from tools.emulator.clock import iso
from tools.emulator.errors import GraphError, bad_request
from tools.emulator.export_stream import seal
from tools.emulator.mailbox_items import MailboxItems
from tools.emulator.mailbox_routes import items
from tools.emulator.outlook import import_url
from tools.emulator.reply import Reply, json_reply
from tools.emulator.route import Route

EXPORT_ITEMS_MAX = 20


async def exchange_settings(call: Call) -> Reply:
    """GET /users/{user}/settings/exchange"""
    call.check_global()
    call.mailbox()
    user = call.user()
    body = {"id": user.key, "primaryMailboxId": call.tenant.mailbox_id(user)}
    return json_reply({"@odata.context": call.context("exchangeSettings")} | body)


async def get_mailbox(call: Call) -> Reply:
    """GET /admin/exchange/mailboxes/{mailbox}"""
    body = {"id": call.tenant.mailbox_id(call.user())}
    return json_reply({"@odata.context": call.context("mailboxes/$entity")} | body)


async def export_items(call: Call) -> Reply:
    """POST .../exportItems: an error of one item stands in its place within a 200"""
    body = {name.lower(): value for name, value in call.body().items()}
    wanted = body.get("itemids")
    if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
        raise bad_request("itemIds is missing.", "ErrorInvalidRequest")
    if not 1 <= len(wanted) <= EXPORT_ITEMS_MAX:
        text = f"Between 1 and {EXPORT_ITEMS_MAX} items can be exported in a request."
        call.breach("too-many-exports", f"{len(wanted)} items in one request")
        raise bad_request(text, "ErrorInvalidRequest")
    found = items(call)
    value = await asyncio.to_thread(lambda: [_exported(call, found, key) for key in wanted])
    context = call.context("Collection(microsoft.graph.exportItemResponse)")
    return json_reply({"@odata.context": context, "value": value})


def _exported(call: Call, found: MailboxItems, key: str) -> dict[str, Any]:
    services = call.services
    try:
        item = found.item(key)
        services.faults.check_item(item.key, item.movable, content=True)
        stream = seal(found.item_class(item), found.state(item))
        if len(stream) > services.options.export_bytes_max:
            raise GraphError(413, "ErrorMessageSizeExceeded", "The item is too large.")
    except GraphError as error:
        return {"itemId": key, "error": {"code": error.code, "message": error.message}}
    data = base64.b64encode(stream).decode()
    return {"itemId": key, "changeKey": found.change_key(item), "data": data}


async def create_import_session(call: Call) -> Reply:
    """POST .../createImportSession; the documentation has it answer 200 and 201: it does both"""
    call.mailbox()
    services = call.services
    services.import_sessions += 1
    expires = call.now + services.options.import_life
    body = {
        "@odata.context": call.context("mailboxItemImportSession"),
        "importUrl": import_url(call, expires),
        "expirationDateTime": iso(expires),
    }
    return json_reply(body, 200 + (services.import_sessions + 1) % 2)


_IMPORT = ("MailboxItem.ImportExport.All",)
_EXPORT = ("MailboxItem.Export.All", *_IMPORT)
_READ = (
    "MailboxFolder.Read.All",
    "MailboxFolder.ReadWrite.All",
    "MailboxItem.Read.All",
    "MailboxItem.ReadWrite.All",
)
_SETTINGS = ("MailboxSettings.Read", "MailboxSettings.ReadWrite")
_MAILBOX = "/admin/exchange/mailboxes/{mailbox}"

ROUTES = [
    Route(
        "/users/{user}/settings/exchange",
        exchange_settings,
        "mail",
        (*_SETTINGS, *_READ, *_EXPORT),
    ),
    Route(_MAILBOX, get_mailbox, "mail", _READ),
    Route(_MAILBOX + "/exportItems", export_items, "mail", _EXPORT, method="POST", reads=True),
    Route(_MAILBOX + "/createImportSession", create_import_session, "mail", _IMPORT, method="POST"),
]
