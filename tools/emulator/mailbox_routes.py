"""
The mailbox import/export API of Exchange: folders and items of every kind, and their feeds.

Source: Graph v1.0, `mailboxFolder`, `mailboxItem`.
"""

import asyncio
from typing import Any

from tools.emulator import delta, exchange, odata
from tools.emulator.call import Call
from tools.emulator.clock import iso
from tools.emulator.errors import GraphError, bad_request
from tools.emulator.exchange import PAGE_MAX, Feed, applied, delta_body, delta_round, removed
from tools.emulator.export_stream import seal
from tools.emulator.lazy_mapping import newest_first
from tools.emulator.mail_call import store
from tools.emulator.mailbox_items import MAIL, Item, ItemFolder, MailboxItems
from tools.emulator.message import Message
from tools.emulator.paging import list_page
from tools.emulator.reply import Reply, json_reply
from tools.emulator.route import Route


def items(call: Call) -> MailboxItems:
    """The mailbox in the path."""
    return MailboxItems(call.mailbox(), store(call), call.tenant.seed, call.now)


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
    rows = newest_first(found.folder(call.params["folder"]).items)
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


_FOLDER_WRITE = ("MailboxFolder.ReadWrite.All",)
_FOLDER_READ = ("MailboxFolder.Read.All", *_FOLDER_WRITE)
_ITEM_WRITE = ("MailboxItem.ReadWrite.All",)
_ITEM_READ = ("MailboxItem.Read.All", *_ITEM_WRITE)
_FOLDERS = "/admin/exchange/mailboxes/{mailbox}/folders"
_FOLDER = _FOLDERS + "/{folder}"
_ITEMS = _FOLDER + "/items"

ROUTES = [
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
]
