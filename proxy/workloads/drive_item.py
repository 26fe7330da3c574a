"""
One drive item as Graph describes it, and what it means for the catalog. Pure.

The feed tells states, not events: the last word on an item counts. Whether content changed is decided by the cTag;
where that differs or is missing, by size and quickXorHash. The download address is a secret and is never kept.
"""

import enum
from collections.abc import Mapping

import msgspec

from engine.catalog import Row
from engine.parts import Part
from proxy.workloads.moments import nanoseconds

__all__ = [
    "ITEM_DECODER",
    "ITEM_MEMBERS",
    "DriveItem",
    "ItemKind",
    "container_row",
    "content_is_known",
    "decode_item",
    "file_row",
    "is_notebook",
    "link_row",
]

DOWNLOAD_URL = "@microsoft.graph.downloadUrl"
ITEM_MEMBERS = (
    "id,name,size,cTag,eTag,createdDateTime,lastModifiedDateTime,fileSystemInfo,parentReference,"
    "file,folder,package,remoteItem,deleted,root,malware,specialFolder,shared,createdBy,"
    "lastModifiedBy,description," + DOWNLOAD_URL
)
KEPT_OF_FILES = (
    "eTag",
    "cTag",
    "file",
    "createdDateTime",
    "lastModifiedDateTime",
    "fileSystemInfo",
    "createdBy",
    "lastModifiedBy",
    "description",
    "shared",
    "size",
)
KEPT_OF_FOLDERS = ("createdBy", "description", "shared", "specialFolder", "package", "root")
KEPT_OF_LINKS = (*KEPT_OF_FILES, "remoteItem")

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ItemKind(enum.Enum):
    """What an entry of the feed is."""

    DELETED = "deleted"
    CONTAINER = "container"
    FILE = "file"
    LINK = "link"
    INFECTED = "infected"
    UNKNOWN = "unknown"


class _Parent(msgspec.Struct, rename="camel"):
    id: str | None = None
    drive_id: str | None = None


class _Hashes(msgspec.Struct):
    quickXorHash: str | None = None


class _File(msgspec.Struct):
    hashes: _Hashes | None = None


class _Times(msgspec.Struct, rename="camel"):
    created_date_time: str | None = None
    last_modified_date_time: str | None = None


class DriveItem(msgspec.Struct, rename="camel"):
    """The members that decisions need."""

    id: str
    name: str | None = None
    size: int | None = None
    content_tag: str | None = msgspec.field(default=None, name="cTag")
    created_date_time: str | None = None
    last_modified_date_time: str | None = None
    file_system_info: _Times | None = None
    parent_reference: _Parent | None = None
    file: _File | None = None
    folder: dict[str, object] | None = None
    package: dict[str, object] | None = None
    remote_item: dict[str, object] | None = None
    deleted: dict[str, object] | None = None
    root: dict[str, object] | None = None
    malware: dict[str, object] | None = None
    download_url: str | None = msgspec.field(default=None, name=DOWNLOAD_URL)
    content_url: str | None = msgspec.field(default=None, name="@content.downloadUrl")

    @property
    def kind(self) -> ItemKind:
        """What it is; a deleted item is nothing else, whatever facets it still shows."""
        if self.deleted is not None:
            return ItemKind.DELETED
        if self.remote_item is not None:
            return ItemKind.LINK
        if self.malware is not None:
            return ItemKind.INFECTED
        if self.root is not None or self.folder is not None or self.package is not None:
            return ItemKind.CONTAINER
        return ItemKind.FILE if self.file is not None else ItemKind.UNKNOWN

    @property
    def parent(self) -> str:
        """Id of the folder it is in; empty for the root and for most deleted items."""
        return (self.parent_reference and self.parent_reference.id) or ""

    @property
    def url(self) -> str | None:
        """Its pre-authenticated address, under either of the names it comes by."""
        return self.download_url or self.content_url

    @property
    def hash(self) -> str | None:
        """quickXorHash in base64."""
        return self.file.hashes.quickXorHash if self.file and self.file.hashes else None

    @property
    def version(self) -> str:
        """What decides that content is unchanged."""
        return self.content_tag or (f"{self.size}:{self.hash}" if self.hash else "")


ITEM_DECODER = msgspec.json.Decoder(DriveItem)


def decode_item(raw: bytes) -> DriveItem:
    """
    An entry of the feed.

    Raises:
        msgspec.DecodeError: it has no id or members of another type than Graph documents.
    """
    return ITEM_DECODER.decode(raw)


class _FileMeta(msgspec.Struct):
    hash: str = ""


def content_is_known(known: Row | None, item: DriveItem) -> bool:
    """Whether the stored content of `known` is that of `item`, so that nothing has to be read."""
    if known is None or known.kind != "file" or not known.parts:
        return False
    if item.version and known.version == item.version:
        return True
    stored = msgspec.json.decode(known.meta, type=_FileMeta).hash
    return bool(stored) and item.hash == stored and item.size == known.size


def container_row(
    row_id: bytes, container: bytes, name: str, item: DriveItem, raw: bytes, *, notebook: bool
) -> Row:
    """The row of a folder, of a notebook (a `package`) or of the drive itself."""
    meta = _kept(raw, KEPT_OF_FOLDERS)
    if notebook:
        meta["notebook"] = True
    created_ns, modified_ns = _times(item)
    return Row(
        id=row_id,
        container=container,
        name=name.encode("utf-8", "surrogatepass"),
        kind="container",
        created_ns=created_ns,
        modified_ns=modified_ns,
        meta=msgspec.json.encode(meta),
    )


def file_row(
    row_id: bytes, container: bytes, item: DriveItem, raw: bytes, part: Part, found_hash: str
) -> Row:
    """
    The row of a file.

    `found_hash` is the quickXorHash of the bytes that were stored; the service's own word stays in `file`.
    """
    meta = _kept(raw, KEPT_OF_FILES)
    meta["hash"] = found_hash
    created_ns, modified_ns = _times(item)
    return Row(
        id=row_id,
        container=container,
        name=(item.name or "").encode("utf-8", "surrogatepass"),
        kind="file",
        size=part.size,
        created_ns=created_ns,
        modified_ns=modified_ns,
        version=item.version,
        meta=msgspec.json.encode(meta),
        parts=(part,),
    )


def link_row(row_id: bytes, container: bytes, item: DriveItem, raw: bytes) -> Row:
    """The row of a shortcut into another drive: kept as a link, never followed."""
    created_ns, modified_ns = _times(item)
    return Row(
        id=row_id,
        container=container,
        name=(item.name or "").encode("utf-8", "surrogatepass"),
        kind="link",
        created_ns=created_ns,
        modified_ns=modified_ns,
        version=item.version,
        meta=msgspec.json.encode(_kept(raw, KEPT_OF_LINKS)),
    )


class _FolderMeta(msgspec.Struct):
    notebook: bool = False


def is_notebook(row: Row | None) -> bool:
    """Whether a container is a notebook or inside one."""
    if row is None or row.kind != "container":
        return False
    return msgspec.json.decode(row.meta, type=_FolderMeta).notebook


def stored_hash(row: Row) -> str:
    """quickXorHash of a file's stored bytes."""
    return msgspec.json.decode(row.meta, type=_FileMeta).hash


def _kept(raw: bytes, names: tuple[str, ...]) -> dict[str, object]:
    members: Mapping[str, msgspec.Raw] = _MEMBERS.decode(raw)
    return {name: members[name] for name in names if name in members}


def _times(item: DriveItem) -> tuple[int, int]:
    info = item.file_system_info or _Times()
    created = info.created_date_time or item.created_date_time
    modified = info.last_modified_date_time or item.last_modified_date_time
    return nanoseconds(created), nanoseconds(modified)
