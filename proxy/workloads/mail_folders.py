"""
The folder tree of a mailbox as the service lists it.

Listing is level by level: v1.0 has no flat listing of nested folders (graph-lessons 80). Search folders hold nothing
of their own and are left out. Folder ids do not change when a folder is renamed or moved.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from engine.catalog import Row
from proxy.graph.budget import Scope
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import GraphNotFound
from proxy.graph.paging import decode_as

__all__ = [
    "MailFolder",
    "folder_is_gone",
    "folder_of",
    "folder_rows",
    "list_folders",
    "well_known_folders",
]

FOLDER_PAGE = "odata.maxpagesize=250"
FOLDERS_MAX = 50_000
DEPTH_MAX = 300
MEMBERS = "id,displayName,parentFolderId,childFolderCount,isHidden"
SEARCH_FOLDER = "#microsoft.graph.mailSearchFolder"
# Names are translated and can be changed; these are how the service itself finds the folders it works with.
WELL_KNOWN = (
    "inbox",
    "drafts",
    "sentitems",
    "deleteditems",
    "archive",
    "junkemail",
    "outbox",
    "conversationhistory",
    "scheduled",
    "clutter",
    "syncissues",
    "conflicts",
    "localfailures",
    "serverfailures",
)


@dataclass(frozen=True, slots=True)
class MailFolder:
    """A folder; `parent` is the id of the folder it is in, also for those at the top; `well_known` its fixed name, if any."""

    id: str
    name: str
    parent: str
    hidden: bool
    well_known: str = ""


class _Folder(msgspec.Struct, rename="camel"):
    id: str
    display_name: str | None = None
    parent_folder_id: str | None = None
    child_folder_count: int | None = None
    is_hidden: bool | None = None
    odata_type: str | None = msgspec.field(default=None, name="@odata.type")


_DECODER = msgspec.json.Decoder(_Folder)


async def list_folders(
    client: GraphClient, user: str, prefer: tuple[str, ...], roots: Sequence[str] = ()
) -> list[MailFolder]:
    """
    All folders of a mailbox, parents before their children, hidden ones included.

    Args:
        roots: well-known names of folders beside the visible tree that are listed too, as far as they are there.

    Raises:
        GraphError: the mailbox cannot be read (`graph-service-missing`: there is none).
    """
    base = f"/users/{segment(user)}/mailFolders"
    found: dict[str, MailFolder] = {}
    level = [base]
    for name in roots:
        root = await _root(client, user, name, prefer)
        if root is not None and root.id not in found:
            found[root.id] = replace(_folder(root), well_known=name)
            level.append(f"{base}/{segment(root.id)}/childFolders")
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


async def _root(
    client: GraphClient, user: str, name: str, prefer: tuple[str, ...]
) -> "_Folder | None":
    path = f"/users/{segment(user)}/mailFolders/{name}"
    call = Call(
        client.url(path, {"$select": MEMBERS}), Scope.mailbox(user), "Look up a mail folder", prefer
    )
    try:
        return decode_as(_DECODER, await client.get_bytes(call, 1 << 20))
    except GraphNotFound:
        return None


async def well_known_folders(
    client: GraphClient, user: str, prefer: tuple[str, ...]
) -> dict[str, str]:
    """Ids of folders to their well-known names, as far as the mailbox has them; one round trip."""
    base = f"/users/{segment(user)}/mailFolders"
    calls = [
        Call(
            client.url(f"{base}/{name}", {"$select": "id"}),
            Scope.mailbox(user),
            "Look up a well-known folder",
            prefer,
        )
        for name in WELL_KNOWN
    ]
    found: dict[str, str] = {}
    for name, answer in zip(WELL_KNOWN, await client.batch(calls), strict=True):
        if isinstance(answer, bytes):
            found.setdefault(decode_as(_DECODER, answer).id, name)
        elif not isinstance(answer, GraphNotFound):
            raise answer
    return found


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
    meta: dict[str, object] = {"hidden": True} if folder.hidden else {}
    if folder.well_known:
        meta["wellKnown"] = folder.well_known
    return Row(
        id=folder.id.encode(),
        container=b"" if at_top else folder.parent.encode(),
        name=folder.name.encode(),
        kind="container",
        meta=msgspec.json.encode(meta),
    )


def folder_rows(folders: list[MailFolder], stored: Callable[[bytes], Row | None]) -> list[Row]:
    """
    Rows of a whole tree; a folder whose parent is not in it stands at the top.

    `stored` gives the row as it is kept: what it carries stays.
    """
    known = {folder.id for folder in folders}
    rows = [folder_row(folder, at_top=folder.parent not in known) for folder in folders]
    kept = [stored(row.id) for row in rows]
    return [replace(r, parts=k.parts) if k else r for r, k in zip(rows, kept, strict=True)]


def folder_of(row: Row) -> MailFolder:
    """The folder that a row is about."""
    meta: Mapping[str, object] = msgspec.json.decode(row.meta)
    return MailFolder(
        row.id.decode(),
        row.name.decode(),
        row.container.decode(),
        bool(meta.get("hidden")),
        str(meta.get("wellKnown", "")),
    )


async def folder_is_gone(client: GraphClient, user: str, folder: str) -> bool:
    """Whether the service says that there is no such folder any more."""
    path = f"/users/{segment(user)}/mailFolders/{segment(folder)}"
    call = Call(client.url(path, {"$select": "id"}), Scope.mailbox(user), "Look up a mail folder")
    try:
        await client.get_json(call)
    except GraphNotFound:
        return True
    return False
