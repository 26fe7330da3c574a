"""
Exchange: contact folders, contacts and their pictures.
"""

from typing import Any

from tools.emulator import delta, exchange, naming
from tools.emulator.call import Call
from tools.emulator.clock import iso
from tools.emulator.contacts import Contact, ContactStore
from tools.emulator.errors import GraphError, no_mail_item
from tools.emulator.photo import photo_json
from tools.emulator.records import Container
from tools.emulator.reply import Reply, content_reply, json_reply
from tools.emulator.route import Route


def store(call: Call) -> ContactStore:
    """The contacts of the mailbox in the path."""
    return call.mailbox().contacts


def found_folder(call: Call) -> Container[Contact]:
    """The folder in the path, the default one when none is named."""
    held = store(call)
    return held.container(call.params["folder"]) if "folder" in call.params else held.default


def folder_json(held: ContactStore, folder: Container[Contact]) -> dict[str, Any]:
    """One contact folder; the default folder stands above all others."""
    above = folder.parent or (None if folder is held.default else held.default)
    return {
        "id": folder.key,
        "displayName": folder.name,
        "parentFolderId": above.key if above else f"{held.default.key[:-4]}ROOT",
    }


def contact_json(held: ContactStore, contact: Contact, immutable: bool) -> dict[str, Any]:
    """One contact."""
    change_key = naming.change_key(held.seed, contact.key, contact.version)
    return {
        "@odata.etag": f'W/"{change_key}"',
        "id": contact.key if immutable else contact.movable,
        "createdDateTime": iso(contact.created),
        "lastModifiedDateTime": iso(contact.modified),
        "changeKey": change_key,
        "parentFolderId": contact.container.key,
        **contact.properties,
    }


# folders


async def list_folders(call: Call) -> Reply:
    """GET .../contactFolders and .../childFolders; the default folder is in neither"""
    held = store(call)
    if "folder" in call.params and (above := found_folder(call)) is not held.default:
        rows = held.children(above)
    else:
        rows = [folder for folder in held.children(None) if folder is not held.default]
    body = exchange.listing(call, rows, lambda f: folder_json(held, f), "contactFolders")
    return json_reply(body, headers=exchange.applied(call))


async def get_folder(call: Call) -> Reply:
    """GET .../contactFolders/{folder}, which takes `contacts` for the default one"""
    return exchange.one(
        call, folder_json(store(call), found_folder(call)), "contactFolders/$entity"
    )


async def folders_delta(call: Call) -> Reply:
    """GET .../contactFolders/delta"""
    held = store(call)
    feed = exchange.Feed(f"{held.owner}/contactFolders", held.log, held.generations)

    def entries(key: str, _now: delta.Round) -> list[dict[str, Any]]:
        folder = held.containers.get(key)
        if folder is None:
            return [exchange.removed(key)]
        return [] if folder is held.default else [folder_json(held, folder)]

    body = exchange.delta_page(call, feed, "contactFolders", {}, entries)
    return json_reply(body, headers=exchange.applied(call))


# contacts


async def list_contacts(call: Call) -> Reply:
    """GET .../contacts, of the default folder when none is named"""
    held, immutable = store(call), exchange.wants_immutable(call)
    rows = list(found_folder(call).records.values())
    body = exchange.listing(
        call,
        rows,
        lambda c: contact_json(held, c, immutable),
        "contacts",
        lambda contact: contact.extended,
    )
    return json_reply(body, headers=exchange.applied(call))


async def contacts_delta(call: Call) -> Reply:
    """GET .../contactFolders/{folder}/contacts/delta"""
    held, folder, immutable = store(call), found_folder(call), exchange.wants_immutable(call)
    feed = exchange.Feed(folder.key, folder.log, folder.generations)

    def entries(key: str, _now: delta.Round) -> list[dict[str, Any]]:
        contact = folder.records.get(key)
        if contact is None:
            return [exchange.removed(key if immutable else folder.departed.get(key, key))]
        return [contact_json(held, contact, immutable)]

    body = exchange.delta_page(call, feed, "contacts", {}, entries)
    return json_reply(body, headers=exchange.applied(call))


def found_contact(call: Call, *, content: bool = False) -> Contact:
    """The contact in the path."""
    contact = store(call).record(call.params["contact"])
    call.services.faults.check_item(contact.key, contact.movable, content=content)
    if "folder" in call.params and contact.container is not found_folder(call):
        raise no_mail_item()
    return contact


async def get_contact(call: Call) -> Reply:
    """GET .../contacts/{contact}"""
    contact = found_contact(call)
    body = contact_json(store(call), contact, exchange.wants_immutable(call))
    body |= exchange.expanded(call, contact.extended)
    return exchange.one(call, body, "contacts/$entity")


# pictures


async def get_photo(call: Call) -> Reply:
    """GET .../contacts/{contact}/photo"""
    contact = found_contact(call)
    if contact.photo is None:
        raise _no_photo()
    return exchange.one(call, photo_json(contact.photo), "photo/$entity")


async def photo_content(call: Call) -> Reply:
    """GET .../contacts/{contact}/photo/$value"""
    contact = found_contact(call, content=True)
    if contact.photo is None:
        raise _no_photo()
    etag = f'"{contact.photo.sha256[:24]}"'
    cut = call.services.faults.take_cut(contact.key, contact.movable)
    return await content_reply(contact.photo, "image/jpeg", call.headers.get("Range"), etag, cut)


def _no_photo() -> GraphError:
    return GraphError(404, "ErrorItemNotFound", "The photo wasn't found.")


_READ = ("Contacts.Read", "Contacts.ReadWrite")


def _routes() -> list[Route]:
    user = "/users/{user}"
    folder = user + "/contactFolders/{folder}"
    routes = [
        Route(user + "/contactFolders", list_folders, "mail", _READ),
        Route(user + "/contactFolders/delta", folders_delta, "mail", _READ),
        Route(folder, get_folder, "mail", _READ),
        Route(folder + "/childFolders", list_folders, "mail", _READ),
        Route(folder + "/contacts/delta", contacts_delta, "mail", _READ),
    ]
    for above in (user, folder):
        one = above + "/contacts/{contact}"
        routes += [
            Route(above + "/contacts", list_contacts, "mail", _READ),
            Route(one, get_contact, "mail", _READ),
            Route(one + "/photo", get_photo, "mail", _READ),
            Route(one + "/photo/$value", photo_content, "mail", _READ),
        ]
    return routes


ROUTES = _routes()
