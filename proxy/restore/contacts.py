"""Contacts back into a mailbox: folders, contacts with all members that Graph takes, photos."""

from collections.abc import Iterable
from dataclasses import replace

import msgspec

from engine.catalog import Row
from proxy.graph.client import Content, segment
from proxy.pipeline.outcome import SkipCause
from proxy.restore.contents import Contents
from proxy.restore.imports import Imports
from proxy.restore.protocol import Place, Present, item_key
from proxy.restore.record import stored_members, writable
from proxy.restore.target import Target
from proxy.workloads.contact_item import DEFAULT_FOLDER

__all__ = ["ContactRestorer"]

WRITABLE = (
    "assistantName", "birthday", "businessAddress", "businessHomePage", "businessPhones",
    "categories", "children", "companyName", "department", "displayName", "emailAddresses",
    "fileAs", "generation", "givenName", "homeAddress", "homePhones", "imAddresses", "initials",
    "jobTitle", "manager", "middleName", "mobilePhone", "nickName", "officeLocation",
    "otherAddress", "personalNotes", "profession", "spouseName", "surname", "title",
    "yomiCompanyName", "yomiGivenName", "yomiSurname",
)  # fmt: skip
KEY_MEMBERS = "id,changeKey,displayName,fileAs,companyName,emailAddresses"
JPEG, PNG = b"\xff\xd8", b"\x89PNG"


class _Folder(msgspec.Struct, rename="camel"):
    id: str
    display_name: str | None = None
    parent_folder_id: str | None = None


class _Address(msgspec.Struct):
    address: str | None = None


class _There(msgspec.Struct, rename="camel"):
    id: str
    change_key: str | None = None
    display_name: str | None = None
    file_as: str | None = None
    company_name: str | None = None
    email_addresses: list[_Address] | None = None


class _Meta(msgspec.Struct):
    email: str = ""
    company: str = ""
    known_as: str = msgspec.field(default="", name="wellKnownName")


_FOLDER = msgspec.json.Decoder(_Folder)
_THERE = msgspec.json.Decoder(_There)
_META = msgspec.json.Decoder(_Meta)


class ContactRestorer:
    """Implements `Restorer` for contacts."""

    nested = True

    def __init__(self, target: Target, contents: Contents) -> None:
        self.target = target
        self._contents = contents
        self._imports = Imports(target, contents, "/contacts")

    async def places(self) -> list[Place]:
        """All contact folders; no listing has the default one (graph-lessons 111)."""
        call = self.target.call("Look up the contact folder", f"/contactFolders/{DEFAULT_FOLDER}")
        default = _FOLDER.decode(await self.target.writer.get_bytes(call, 1 << 20))
        found = {default.id: _place(default, DEFAULT_FOLDER)}
        waiting = ["/contactFolders", _below(default.id)]
        while waiting:
            path = waiting.pop()
            async for folder in self.target.listed("List contact folders", path, _FOLDER, {}):
                if folder.id not in found:
                    found[folder.id] = _place(folder)
                    waiting.append(_below(folder.id))
        return list(found.values())

    def source_place(self, row: Row) -> Place:
        """A folder row."""
        known_as = _META.decode(row.meta).known_as
        name = row.name.decode("utf-8", "replace")
        return Place(row.id.decode(), row.container.decode(), name, known_as)

    async def make_place(self, place: Place, parent: str) -> str:
        """A contact folder."""
        path = _below(parent) if parent else "/contactFolders"
        body = {"displayName": place.name}
        return await self.target.made(self.target.call("Make a contact folder", path, body))

    async def find_place(self, place: Place, parent: str) -> str | None:
        """A folder by its name."""
        path = _below(parent) if parent else "/contactFolders"
        async for folder in self.target.listed("List contact folders", path, _FOLDER, {}):
            if (folder.display_name or "").casefold() == place.name.casefold():
                return folder.id
        return None

    async def present(self, place: str) -> list[Present]:
        """What lies in a folder."""
        path = f"/contactFolders/{segment(place)}/contacts"
        found = []
        async for one in self.target.listed(
            "List contacts", path, _THERE, {"$select": KEY_MEMBERS}
        ):
            addresses = one.email_addresses or []
            email = next((a.address for a in addresses if a.address), "")
            name = one.display_name or one.file_as or email or one.company_name or ""
            key = item_key(name, email.casefold(), one.company_name or "")
            found.append(Present(one.id, key, one.change_key or ""))
        return found

    def key(self, row: Row) -> str:
        """Name, first address, company."""
        meta = _META.decode(row.meta)
        name = row.name.decode("utf-8", "surrogatepass")
        return item_key(name, meta.email.casefold(), meta.company)

    def lessened(self, row: Row) -> SkipCause | None:
        """None of them."""
        return None

    def requests(self, row: Row) -> int:
        """One, and one for a photo."""
        return 1 + any(part.role == "photo" for part in row.parts)

    async def make(self, row: Row, place: str) -> str:
        """Import the contact, or make it from its members."""
        if (new := await self._imports.make(row, place)) is not None:
            return new
        members = writable(await stored_members(self._contents, row), WRITABLE)
        path = f"/contactFolders/{segment(place)}/contacts"
        return await self.target.made(self.target.call("Make a contact", path, members))

    async def overwrites(self, rows: Iterable[Row]) -> set[bytes]:
        """Those with an export stream, where imports are offered."""
        return await self._imports.fit(rows)

    async def overwrite(self, row: Row, old: str, version: str, place: str) -> bool:
        """By import."""
        return await self._imports.overwrite(row, old, version, place)

    async def complete(self, row: Row, new: str, place: str) -> None:
        """Its photo."""
        photo = await self._contents.part(row, "photo")
        if photo is None or self._imports.imported(row):
            return
        kind = "image/png" if photo.startswith(PNG) else "image/jpeg"
        call = self.target.call("Set a photo", f"/contacts/{segment(new)}/photo/$value")
        await self.target.writer.change(replace(call, content=Content(kind, photo)), "PUT")

    async def remove(self, old: str, place: str) -> None:
        """Delete a contact."""
        path = f"/contacts/{segment(old)}"
        await self.target.writer.delete(self.target.call("Delete a contact", path))

    async def settle(self, place: str, made: dict[str, Row]) -> None:
        """Nothing: the row holds no state that an import does not bring."""


def _place(folder: _Folder, known_as: str = "") -> Place:
    return Place(folder.id, folder.parent_folder_id or "", folder.display_name or "", known_as)


def _below(folder: str) -> str:
    return f"/contactFolders/{segment(folder)}/childFolders"
