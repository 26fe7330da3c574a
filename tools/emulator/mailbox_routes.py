"""
The mailbox import/export API of Exchange: folders, items, export, and import sessions.

Source: Graph v1.0, `exchangeSettings`, `mailbox`, `mailboxFolder`, `mailboxItem`.
"""

import asyncio
import base64
from typing import Any

from tools.emulator import delta, exchange, odata
from tools.emulator.call import Call
from tools.emulator.clock import iso
from tools.emulator.errors import GraphError, bad_request
from tools.emulator.exchange import PAGE_MAX, Feed, applied, delta_body, delta_round, removed
from tools.emulator.export_stream import seal
from tools.emulator.mail_call import store
from tools.emulator.mailbox_items import MAIL, Item, ItemFolder, MailboxItems
from tools.emulator.message import Message
from tools.emulator.outlook import import_url
from tools.emulator.paging import list_page
from tools.emulator.reply import Reply, json_reply
from tools.emulator.route import Route

EXPORT_ITEMS_MAX = 20


def items(call: Call) -> MailboxItems:
    """The mailbox in the path."""
    return MailboxItems(call.mailbox(), store(call), call.tenant.seed, call.now)


async def exchange_settings(call: Call) -> Reply:
    """GET /users/{user}/settings/exchange"""
    call.mailbox()
    user = call.user()
    body = {"id": user.key, "primaryMailboxId": call.tenant.mailbox_id(user)}
    return json_reply({"@odata.context": call.context("exchangeSettings")} | body)


async def get_mailbox(call: Call) -> Reply:
    """GET /admin/exchange/mailboxes/{mailbox}"""
    body = {"id": call.tenant.mailbox_id(call.user())}
    return json_reply({"@odata.context": call.context("mailboxes/$entity")} | body)


# folders


def _folder_json(found: MailboxItems, folder: ItemFolder) -> dict[str, Any]:
    return {
        "id": folder.key,
        "displayName": folder.held.name,
        "parentFolderId": folder.parent,
        "type": folder.kind,
        "childFolderCount": len(found.children(folder.key)),
        "totalItemCount": len(folder.items),
    }


def _one_folder(call: Call, folder: ItemFolder, status: int = 200) -> Reply:
    body = odata.pick(_folder_json(items(call), folder), odata.selection(call.query))
    return json_reply({"@odata.context": call.context("folders/$entity")} | body, status)


async def list_folders(call: Call) -> Reply:
    """GET .../folders and .../childFolders"""
    found = items(call)
    parent = found.folder(call.params["folder"]).key if "folder" in call.params else None
    rows = [_folder_json(found, folder) for folder in found.listed(parent)]
    if text := odata.option(call.query, "filter"):
        rows = [row for row in rows if odata.matches(row, text)]
    select = odata.selection(call.query)
    size = exchange.page_size(call)
    body = list_page(call, rows, lambda row: odata.pick(row, select), "folders", size)
    return json_reply(body, headers=applied(call))


async def get_folder(call: Call) -> Reply:
    """GET .../folders/{folder}"""
    return _one_folder(call, items(call).folder(call.params["folder"]))


async def folders_delta(call: Call) -> Reply:
    """GET .../folders/delta"""
    mailbox, found = call.mailbox(), items(call)
    feed = Feed(
        f"{mailbox.owner}/hierarchy", mailbox.hierarchy_log, mailbox.item_generations["hierarchy"]
    )

    def entries(key: str, now: delta.Round) -> list[dict[str, Any]]:
        folder = found.find_folder(key)
        if folder is None:
            return [] if key == mailbox.tasks.flagged.key else [removed(key)]
        return [odata.pick(_folder_json(found, folder), now.asked["select"])]

    asked = {"select": odata.selection(call.query)}
    body = exchange.delta_page(call, feed, "folders", asked, entries)
    return json_reply(body, headers=applied(call))


def _name(body: dict[str, Any]) -> str:
    name = body.get("displayName")
    if not isinstance(name, str) or not name.strip():
        raise bad_request("The folder name is missing.", "ErrorInvalidFolderName")
    return name


async def create_folder(call: Call) -> Reply:
    """POST .../folders and .../childFolders"""
    found, body = items(call), call.body()
    parent = found.folder(call.params.get("folder", "msgfolderroot"))
    made = found.add_folder(parent, _name(body), str(body.get("type") or MAIL))
    return _one_folder(call, made, 201)


async def rename_folder(call: Call) -> Reply:
    """PATCH .../folders/{folder}"""
    found = items(call)
    folder = found.folder(call.params["folder"])
    found.rename_folder(folder, _name(call.body()))
    return _one_folder(call, found.folder(folder.key))


async def delete_folder(call: Call) -> Reply:
    """DELETE .../folders/{folder}"""
    found = items(call)
    found.remove_folder(found.folder(call.params["folder"]))
    return Reply(204)


# items


def _shown_id(call: Call, item: Item) -> str:
    return item.key if exchange.wants_immutable(call) else item.movable


def _item_json(call: Call, found: MailboxItems, item: Item) -> dict[str, Any]:
    change_key = found.change_key(item)
    if isinstance(item, Message):
        categories, size = list(item.categories), item.mime.size
    else:
        categories = item.properties.get("categories", [])
        size = len(seal("", found.state(item)))
    return {
        "@odata.etag": f'W/"{change_key}"',
        "id": _shown_id(call, item),
        "createdDateTime": iso(item.created),
        "lastModifiedDateTime": iso(item.modified),
        "changeKey": change_key,
        "categories": categories,
        "type": found.item_class(item),
        "size": size,
    }


async def list_items(call: Call) -> Reply:
    """GET .../folders/{folder}/items"""
    found = items(call)
    rows = list(found.folder(call.params["folder"]).items.values())[::-1]
    select, size = odata.selection(call.query), exchange.page_size(call)

    def render(item: Item) -> dict[str, Any]:
        return odata.pick(_item_json(call, found, item), select)

    body = await asyncio.to_thread(list_page, call, rows, render, "items", size)
    return json_reply(body, headers=applied(call))


async def get_item(call: Call) -> Reply:
    """GET .../folders/{folder}/items/{item}"""
    found = items(call)
    item = _item(call, found)
    body = odata.pick(_item_json(call, found, item), odata.selection(call.query))
    body = {"@odata.context": call.context("items/$entity")} | body
    return json_reply(body, headers=applied(call))


def _item(call: Call, found: MailboxItems) -> Item:
    item = found.item(call.params["item"])
    if found.place(item).key != found.folder(call.params["folder"]).key:
        raise GraphError(404, "ErrorItemNotFound", "The item is not in the folder.")
    call.services.faults.check_item(item.key, item.movable)
    return item


async def delete_item(call: Call) -> Reply:
    """DELETE .../folders/{folder}/items/{item}"""
    found = items(call)
    found.remove(_item(call, found))
    return Reply(204)


async def items_delta(call: Call) -> Reply:
    """GET .../folders/{folder}/items/delta: one feed for items of every kind"""
    mailbox, found = call.mailbox(), items(call)
    folder = found.folder(call.params["folder"])
    feed = Feed(
        f"{mailbox.owner}/{folder.key}/items", folder.log, mailbox.item_generations[folder.key]
    )
    asked = {"select": odata.selection(call.query), "size": exchange.page_size(call)}
    now = delta_round(call, feed, asked)
    size = odata.page_size(call.prefer, now.asked["size"], PAGE_MAX)
    page, token, done = delta.step(call, feed.log, feed.generations, now, size)

    def entry(key: str) -> dict[str, Any]:
        item = folder.items.get(key)
        if item is not None:
            return odata.pick(_item_json(call, found, item), now.asked["select"])
        departed = folder.held.departed.get(key, key)
        return removed(key if exchange.wants_immutable(call) else departed)

    value = await asyncio.to_thread(lambda: [entry(change.key) for change in page])
    return json_reply(delta_body(call, "items", value, token, done), headers=applied(call))


# export and import


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


_SETTINGS = ("MailboxSettings.Read", "MailboxSettings.ReadWrite")
_FOLDER_WRITE = ("MailboxFolder.ReadWrite.All",)
_FOLDER_READ = ("MailboxFolder.Read.All", *_FOLDER_WRITE)
_ITEM_WRITE = ("MailboxItem.ReadWrite.All",)
_ITEM_READ = ("MailboxItem.Read.All", *_ITEM_WRITE)
_IMPORT = ("MailboxItem.ImportExport.All",)
_EXPORT = ("MailboxItem.Export.All", *_IMPORT)
_MAILBOX = "/admin/exchange/mailboxes/{mailbox}"
_FOLDERS = _MAILBOX + "/folders"
_FOLDER = _FOLDERS + "/{folder}"
_ITEMS = _FOLDER + "/items"

ROUTES = [
    Route(
        "/users/{user}/settings/exchange",
        exchange_settings,
        "mail",
        (*_SETTINGS, *_FOLDER_READ, *_ITEM_READ, *_EXPORT),
    ),
    Route(_MAILBOX, get_mailbox, "mail", (*_FOLDER_READ, *_ITEM_READ)),
    Route(_FOLDERS, list_folders, "mail", _FOLDER_READ),
    Route(_FOLDERS, create_folder, "mail", _FOLDER_WRITE, method="POST"),
    Route(_FOLDERS + "/delta", folders_delta, "mail", _FOLDER_READ),
    Route(_FOLDER, get_folder, "mail", _FOLDER_READ),
    Route(_FOLDER, rename_folder, "mail", _FOLDER_WRITE, method="PATCH"),
    Route(_FOLDER, delete_folder, "mail", _FOLDER_WRITE, method="DELETE"),
    Route(_FOLDER + "/childFolders", list_folders, "mail", _FOLDER_READ),
    Route(_FOLDER + "/childFolders", create_folder, "mail", _FOLDER_WRITE, method="POST"),
    Route(_ITEMS, list_items, "mail", _ITEM_READ),
    Route(_ITEMS + "/delta", items_delta, "mail", _ITEM_READ),
    Route(_ITEMS + "/{item}", get_item, "mail", _ITEM_READ),
    Route(_ITEMS + "/{item}", delete_item, "mail", _ITEM_WRITE, method="DELETE"),
    Route(_MAILBOX + "/exportItems", export_items, "mail", _EXPORT, method="POST", reads=True),
    Route(
        _MAILBOX + "/createImportSession",
        create_import_session,
        "mail",
        _IMPORT,
        method="POST",
    ),
]
