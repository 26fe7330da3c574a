"""
Contacts: the default folder and all others, contacts with their photos.

A contact costs no request of its own in a first listing and one when it has changed, and one for its photo: whether it
has one is not among its members.
"""

from contextlib import suppress

from engine.catalog import Row
from engine.parts import Part
from proxy.contract import ObjectRef, Selection
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import GraphNotFound
from proxy.graph.transport import BodyReader
from proxy.workloads.contact_item import (
    CONTACT_HEAD_MEMBERS,
    DEFAULT_FOLDER,
    contact_head,
    contact_row,
    folder_id,
    folder_rows,
    stored_contact,
)
from proxy.workloads.intake import store_body
from proxy.workloads.item_listing import Covers, back_up_listed
from proxy.workloads.listed_items import Head
from proxy.workloads.mailbox_calls import MailboxCalls
from proxy.workloads.members import decode_members
from proxy.workloads.protocol import Shelf

__all__ = ["Contacts"]

FOLDERS_MAX = 10_000


class Contacts:
    """The contacts workload."""

    def __init__(self, selection: Selection | None = None) -> None:
        self._covers = Covers(selection, "contacts")

    async def backup(self, client: GraphClient, target: ObjectRef, shelf: Shelf) -> None:
        """Bring the shelf up to date with the contacts of `target`."""
        source = _People(client, target.id, shelf)
        await back_up_listed(source, client, target, shelf, self._covers)


class _People:
    """Implements `ItemSource`."""

    permission = "Contacts.Read"
    kind = "contact"

    def __init__(self, client: GraphClient, user: str, shelf: Shelf) -> None:
        self.calls = MailboxCalls(client, user)
        self._shelf = shelf

    async def containers(self) -> list[Row]:
        """Rows of the folders. No listing has the default one (graph-lessons 111)."""
        calls = self.calls
        path = f"/contactFolders/{DEFAULT_FOLDER}"
        default = await calls.item(calls.page_call("Look up the contact folder", path))
        listed = await calls.all(calls.page_call("List contact folders", "/contactFolders"))
        found: dict[str, bytes] = {}
        waiting = [default, *listed]
        while waiting and len(found) < FOLDERS_MAX:
            folder = waiting.pop(0)
            key = folder_id(folder)
            if key in found:
                continue
            found[key] = folder
            below = f"/contactFolders/{segment(key)}/childFolders"
            try:
                waiting += await calls.all(calls.page_call("List contact folders", below))
            except GraphNotFound:
                del found[key]  # gone meanwhile
        return folder_rows(list(found.values()))

    def listing(self, container: str, *, full: bool) -> Call:
        """Contacts of a folder."""
        query = None if full else {"$select": CONTACT_HEAD_MEMBERS}
        path = f"/contactFolders/{segment(container)}/contacts"
        return self.calls.page_call("List contacts", path, query)

    def head(self, raw: bytes) -> Head:
        """An entry of the listing."""
        return contact_head(raw)

    async def read(self, container: str, head: Head, raw: bytes | None) -> Row:
        """Read a contact with its photo."""
        if raw is None:
            raw = await self.calls.item(self.calls.item_call("Read a contact", _path(head.id)))
        parts = [await self._shelf.store("json", stored_contact(decode_members(raw)))]
        with suppress(GraphNotFound):  # most have none
            parts.append(await self._photo(head.id))
        return contact_row(raw, container, parts)

    async def look_up(self, row: Row) -> None:
        """Ask for a contact by its id."""
        path, query = _path(row.id.decode()), {"$select": "id"}
        await self.calls.item(self.calls.item_call("Look up a contact", path, query))

    async def _photo(self, contact: str) -> Part:
        meter = self.calls.client.meter

        def count(data: bytes) -> None:
            meter.bytes_read += len(data)

        async def consume(reader: BodyReader) -> Part:
            return await store_body(self._shelf, "photo", reader.chunks(), count)

        path = f"{_path(contact)}/photo/$value"
        call = self.calls.item_call("Read the photo of a contact", path)
        return await self.calls.client.read(call, consume)


def _path(contact: str) -> str:
    return f"/contacts/{segment(contact)}"
