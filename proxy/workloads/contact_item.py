"""One contact, and the tree of contact folders, turned into what is stored. Pure."""

from collections.abc import Sequence

import msgspec

from engine.catalog import Row
from engine.parts import Part
from proxy.workloads.listed_items import Head
from proxy.workloads.members import (
    Members,
    decode_members,
    encode_members,
    pick,
    without,
    without_links,
)
from proxy.workloads.moments import nanoseconds

__all__ = [
    "CONTACT_HEAD_MEMBERS",
    "DEFAULT_FOLDER",
    "contact_head",
    "contact_row",
    "folder_id",
    "folder_rows",
    "stored_contact",
]

CONTACT_HEAD_MEMBERS = "id,changeKey,displayName"
DEFAULT_FOLDER = "contacts"  # the well-known name; people see it in their language
VOLATILE = ("@odata.etag", "changeKey", "categories")


class _Address(msgspec.Struct):
    address: str | None = None


class _Contact(msgspec.Struct, rename="camel"):
    id: str
    change_key: str = ""
    display_name: str | None = None
    file_as: str | None = None
    company_name: str | None = None
    email_addresses: list[_Address] | None = None
    created_date_time: str | None = None
    last_modified_date_time: str | None = None

    @property
    def email(self) -> str:
        """The first address."""
        return next((one.address for one in self.email_addresses or [] if one.address), "")

    @property
    def name(self) -> str:
        """What people call it."""
        return self.display_name or self.file_as or self.email or self.company_name or ""


class _Folder(msgspec.Struct, rename="camel"):
    id: str
    display_name: str | None = None
    parent_folder_id: str | None = None


_CONTACT = msgspec.json.Decoder(_Contact)
_FOLDER = msgspec.json.Decoder(_Folder)


def contact_head(raw: bytes) -> Head:
    """An entry of a listing."""
    contact = _CONTACT.decode(raw)
    return Head(contact.id, contact.change_key, contact.name)


def stored_contact(members: Members) -> bytes:
    """The JSON part: all members but those the row holds."""
    left_out = (*VOLATILE, "parentFolderId")  # the row's container says it
    return encode_members(without(without_links(members), left_out))


def contact_row(raw: bytes, folder: str, parts: Sequence[Part]) -> Row:
    """
    The catalog row of a contact.

    Args:
        raw: all its members. folder: id of the folder it is in.
    """
    contact = _CONTACT.decode(raw)
    meta = pick(decode_members(raw), VOLATILE)
    meta["email"] = contact.email
    meta["company"] = contact.company_name or ""
    meta["photo"] = any(part.role == "photo" for part in parts)
    return Row(
        id=contact.id.encode(),
        container=folder.encode(),
        name=contact.name.encode("utf-8", "surrogatepass"),
        kind="contact",
        size=sum(part.size for part in parts),
        created_ns=nanoseconds(contact.created_date_time or contact.last_modified_date_time),
        modified_ns=nanoseconds(contact.last_modified_date_time or contact.created_date_time),
        version=contact.change_key,
        meta=msgspec.json.encode(meta),
        parts=tuple(parts),
    )


def folder_id(raw: bytes) -> str:
    """The id of a contact folder. msgspec.DecodeError if it has none."""
    return _FOLDER.decode(raw).id


def folder_rows(folders: Sequence[bytes]) -> list[Row]:
    """Rows of all folders, the default one first; one whose parent is not among them stands at the top."""
    found = [(_FOLDER.decode(raw), decode_members(raw)) for raw in folders]
    known = {folder.id for folder, _ in found}
    rows = []
    for number, (folder, members) in enumerate(found):
        meta = without_links(members)
        if number == 0:
            meta["wellKnownName"] = msgspec.Raw(msgspec.json.encode(DEFAULT_FOLDER))
        parent = folder.parent_folder_id or ""
        rows.append(
            Row(
                id=folder.id.encode(),
                container=parent.encode() if parent in known else b"",
                name=(folder.display_name or "").encode("utf-8", "surrogatepass"),
                kind="container",
                meta=encode_members(meta),
            )
        )
    return rows
