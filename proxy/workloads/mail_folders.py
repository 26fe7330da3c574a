"""
The folder tree of a mailbox.

Listing is level by level: v1.0 has no flat listing of nested folders (graph-lessons 80). Search folders hold nothing
of their own and are left out. Folder ids do not change when a folder is renamed or moved.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from engine.catalog import Row
from proxy.graph.budget import Scope
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import GraphNotFound
from proxy.graph.paging import decode_as

__all__ = ["MailFolder", "folder_is_gone", "folder_rows", "list_folders"]

FOLDER_PAGE = "odata.maxpagesize=250"
FOLDERS_MAX = 50_000
DEPTH_MAX = 300
MEMBERS = "id,displayName,parentFolderId,childFolderCount,isHidden"
SEARCH_FOLDER = "#microsoft.graph.mailSearchFolder"


@dataclass(frozen=True, slots=True)
class MailFolder:
    """A folder; `parent` is the id of the folder it is in, also for those at the top."""

    id: str
    name: str
    parent: str
    hidden: bool


class _Folder(msgspec.Struct, rename="camel"):
    id: str
    display_name: str | None = None
    parent_folder_id: str | None = None
    child_folder_count: int | None = None
    is_hidden: bool | None = None
    odata_type: str | None = msgspec.field(default=None, name="@odata.type")


_DECODER = msgspec.json.Decoder(_Folder)


async def list_folders(client: GraphClient, user: str, prefer: tuple[str, ...]) -> list[MailFolder]:
    """
    All folders of a mailbox, parents before their children, hidden ones included.

    Raises:
        GraphError: the mailbox cannot be read (`graph-service-missing`: there is none).
    """
    base = f"/users/{segment(user)}/mailFolders"
    found: dict[str, MailFolder] = {}
    level = [base]
    for _ in range(DEPTH_MAX):
        below: list[str] = []
        for path in level:
            nested = path is not base
            async for folder in _listing(client, user, path, prefer, nested=nested):
                if folder.odata_type == SEARCH_FOLDER or folder.id in found:
                    continue
                found[folder.id] = _folder(folder)
                if folder.child_folder_count:
                    below.append(f"{base}/{segment(folder.id)}/childFolders")
        if not below or len(found) > FOLDERS_MAX:
            break
        level = below
    return list(found.values())


async def _listing(
    client: GraphClient, user: str, path: str, prefer: tuple[str, ...], *, nested: bool
) -> AsyncIterator[_Folder]:
    query = {"includeHiddenFolders": "true", "$select": MEMBERS}
    call = Call(
        client.url(path, query),
        Scope.mailbox(user),
        "List mail folders",
        prefer=(*prefer, FOLDER_PAGE),
    )
    try:
        async for page in client.pages(call):
            for raw in page.items:
                yield decode_as(_DECODER, raw)
    except GraphNotFound:
        if not nested:
            raise  # no mailbox; a folder that went away meanwhile is nothing to speak of


def _folder(folder: _Folder) -> MailFolder:
    return MailFolder(
        folder.id,
        folder.display_name or "",
        folder.parent_folder_id or "",
        bool(folder.is_hidden),
    )


def folder_row(folder: MailFolder, *, at_top: bool) -> Row:
    """The catalog row of a folder."""
    meta = {"hidden": True} if folder.hidden else {}
    return Row(
        id=folder.id.encode(),
        container=b"" if at_top else folder.parent.encode(),
        name=folder.name.encode(),
        kind="container",
        meta=msgspec.json.encode(meta),
    )


def folder_rows(folders: list[MailFolder]) -> list[Row]:
    """Rows of a whole tree; a folder whose parent is not in it stands at the top."""
    known = {folder.id for folder in folders}
    return [folder_row(folder, at_top=folder.parent not in known) for folder in folders]


async def folder_is_gone(client: GraphClient, user: str, folder: str) -> bool:
    """Whether the service says that there is no such folder any more."""
    path = f"/users/{segment(user)}/mailFolders/{segment(folder)}"
    call = Call(client.url(path, {"$select": "id"}), Scope.mailbox(user), "Look up a mail folder")
    try:
        await client.get_json(call)
    except GraphNotFound:
        return True
    return False
