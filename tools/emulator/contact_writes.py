"""
Exchange: contact folders, contacts and pictures created, changed and deleted.
"""

from typing import Any

from tools.emulator import exchange, naming
from tools.emulator.blob import BytesBlob
from tools.emulator.call import Call
from tools.emulator.contact_routes import contact_json, folder_json, found_contact, found_folder
from tools.emulator.contact_routes import store as contacts
from tools.emulator.contacts import DEFAULTS, Contact
from tools.emulator.errors import GraphError, bad_request, no_mail_item
from tools.emulator.record_input import (
    MAPI,
    Check,
    check_match,
    checked,
    is_list,
    is_object,
    is_text,
    mapi_properties,
)
from tools.emulator.reply import Reply, json_reply
from tools.emulator.route import Method, Route

_EMAIL_ADDRESSES_MAX = 3
_PHOTO_BYTES_MAX = 4 << 20
_PHOTO_STARTS = (b"\xff\xd8", b"\x89PNG")
_CHECKS: dict[type, Check] = {dict: is_object, list: is_list, str: is_text, type(None): is_text}
WRITABLE = {name: _CHECKS[type(value)] for name, value in DEFAULTS.items()}


# folders


def _name(body: dict[str, Any]) -> str:
    name = body.get("displayName")
    if not isinstance(name, str) or not name.strip():
        raise bad_request("The folder has no name.", "ErrorInvalidFolderName")
    return name


async def create_folder(call: Call) -> Reply:
    """POST .../contactFolders and .../childFolders: 409 where there is one of that name"""
    held, name = contacts(call), _name(call.body())
    above = found_folder(call)
    parent = None if above is held.default else above
    if any(each.name.lower() == name.lower() for each in held.children(parent)):
        text = "A folder with the specified name already exists."
        raise GraphError(409, "ErrorFolderExists", text)
    made = held.add_container(name, at=call.now, parent=parent)
    return json_reply(folder_json(held, made), 201)


async def rename_folder(call: Call) -> Reply:
    """PATCH .../contactFolders/{folder}"""
    held, folder = contacts(call), found_folder(call)
    held.change_container(folder, at=call.now, name=_name(call.body()))
    return json_reply(folder_json(held, folder))


async def delete_folder(call: Call) -> Reply:
    """DELETE .../contactFolders/{folder}"""
    contacts(call).remove_container(found_folder(call), at=call.now)
    return Reply(204)


# contacts


def _read(call: Call) -> dict[str, Any]:
    found = checked(call.body(), WRITABLE, (MAPI,))
    if len(found.get("emailAddresses") or ()) > _EMAIL_ADDRESSES_MAX:
        text = "A contact has three addresses at most."
        raise bad_request(text, "ErrorPropertyValidationFailure")
    return found


def _answer(call: Call, contact: Contact, status: int) -> Reply:
    body = contact_json(contacts(call), contact, exchange.wants_immutable(call))
    headers = exchange.applied(call)
    if status == 201:
        user = call.params["user"]
        headers["Location"] = f"{call.request.base}/users/{user}/contacts/{body['id']}"
    context = {"@odata.context": call.context("contacts/$entity")}
    return json_reply(context | body, status, headers)


async def create_contact(call: Call) -> Reply:
    """POST .../contacts, into the default folder when none is named"""
    beside = mapi_properties(call.body())
    made = contacts(call).add(found_folder(call), _read(call), at=call.now)
    made.extended = beside
    return _answer(call, made, 201)


def _target(call: Call) -> Contact:
    contact = found_contact(call)
    held = contacts(call)
    check_match(call.headers, naming.change_key(held.seed, contact.key, contact.version))
    return contact


async def change_contact(call: Call) -> Reply:
    """PATCH .../contacts/{contact}"""
    contact = _target(call)
    contact.extended |= mapi_properties(call.body())
    contacts(call).touch(contact, _read(call), at=call.now)
    return _answer(call, contact, 200)


async def delete_contact(call: Call) -> Reply:
    """DELETE .../contacts/{contact}, and POST .../permanentDelete"""
    contacts(call).remove(_target(call), at=call.now)
    return Reply(204)


async def put_photo(call: Call) -> Reply:
    """PUT or PATCH .../contacts/{contact}/photo/$value"""
    data = call.request.body
    if not data.startswith(_PHOTO_STARTS) or len(data) > _PHOTO_BYTES_MAX:
        raise bad_request("The content is no picture.", "ErrorInvalidImage")
    contacts(call).set_photo(_target(call), BytesBlob(data), at=call.now)
    return Reply(200)


async def delete_photo(call: Call) -> Reply:
    """DELETE .../contacts/{contact}/photo/$value"""
    contact = _target(call)
    if contact.photo is None:
        raise no_mail_item()
    contacts(call).set_photo(contact, None, at=call.now)
    return Reply(204)


_WRITE = ("Contacts.ReadWrite",)


def _routes() -> list[Route]:
    user = "/users/{user}"
    folder = user + "/contactFolders/{folder}"
    table: list[tuple[Method, str, Any]] = [
        ("POST", user + "/contactFolders", create_folder),
        ("POST", folder + "/childFolders", create_folder),
        ("PATCH", folder, rename_folder),
        ("DELETE", folder, delete_folder),
    ]
    for above in (user, folder):
        one = above + "/contacts/{contact}"
        table += [
            ("POST", above + "/contacts", create_contact),
            ("PATCH", one, change_contact),
            ("DELETE", one, delete_contact),
            ("POST", one + "/permanentDelete", delete_contact),
            ("PUT", one + "/photo/$value", put_photo),
            ("PATCH", one + "/photo/$value", put_photo),
            ("DELETE", one + "/photo/$value", delete_photo),
        ]
    return [Route(path, handler, "mail", _WRITE, method=method) for method, path, handler in table]


ROUTES = _routes()
