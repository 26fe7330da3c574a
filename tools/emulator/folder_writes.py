"""
Exchange: making, renaming, moving and deleting mail folders.
"""

from typing import Any

from tools.emulator.call import Call
from tools.emulator.errors import GraphError, bad_request
from tools.emulator.mail_json import folder_json
from tools.emulator.mailbox import Folder
from tools.emulator.reply import Reply, json_reply
from tools.emulator.route import Route

_NAME_CHARS_MAX = 255


def _name(body: dict[str, Any]) -> str:
    name = body.get("displayName")
    if not isinstance(name, str) or not name.strip() or len(name) > _NAME_CHARS_MAX:
        raise bad_request("The folder name is missing or too long.", "ErrorInvalidFolderName")
    return name


def _answer(call: Call, folder: Folder, status: int) -> Reply:
    body = {"@odata.context": call.context("mailFolders/$entity")} | folder_json(folder)
    return json_reply(body, status)


async def create_folder(call: Call) -> Reply:
    """POST .../mailFolders and .../childFolders"""
    mailbox, body = call.mailbox(), call.body()
    parent = mailbox.folder(call.params["folder"]) if "folder" in call.params else mailbox.root
    hidden = body.get("isHidden") is True
    return _answer(call, mailbox.add_folder(parent, _name(body), hidden=hidden, at=call.now), 201)


async def rename_folder(call: Call) -> Reply:
    """PATCH .../mailFolders/{folder}"""
    mailbox = call.mailbox()
    folder = mailbox.folder(call.params["folder"])
    mailbox.rename_folder(folder, _name(call.body()), at=call.now)
    return _answer(call, folder, 200)


async def delete_folder(call: Call) -> Reply:
    """DELETE .../mailFolders/{folder}: to the deleted items; from there, for good."""
    mailbox = call.mailbox()
    folder = mailbox.folder(call.params["folder"])
    if folder.well_known:
        text = "Distinguished folders cannot be deleted."
        raise GraphError(403, "ErrorDeleteDistinguishedFolder", text)
    bin_folder = mailbox.folder("deleteditems")
    if bin_folder in folder.ancestors():
        mailbox.remove_folder(folder, at=call.now)
    else:
        mailbox.move_folder(folder, bin_folder, at=call.now)
    return Reply(204)


async def move_folder(call: Call) -> Reply:
    """POST .../mailFolders/{folder}/move"""
    mailbox = call.mailbox()
    folder = mailbox.folder(call.params["folder"])
    mailbox.move_folder(folder, mailbox.folder(_destination(call)), at=call.now)
    return _answer(call, folder, 201)


def _destination(call: Call) -> str:
    found = call.body().get("destinationId")
    if not isinstance(found, str) or not found:
        raise bad_request("The destination is missing.", "ErrorInvalidRequest")
    return found


_WRITE = ("Mail.ReadWrite",)
_FOLDER = "/users/{user}/mailFolders/{folder}"

ROUTES = [
    Route("/users/{user}/mailFolders", create_folder, "mail", _WRITE, method="POST"),
    Route(_FOLDER + "/childFolders", create_folder, "mail", _WRITE, method="POST"),
    Route(_FOLDER, rename_folder, "mail", _WRITE, method="PATCH"),
    Route(_FOLDER, delete_folder, "mail", _WRITE, method="DELETE"),
    Route(_FOLDER + "/move", move_folder, "mail", _WRITE, method="POST"),
]
