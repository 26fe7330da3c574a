"""
Mail back into a mailbox.

By import of the export stream where there is one and the cloud takes it; else from JSON and MIME, with the properties
that make it no draft. Either way nothing is sent.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from engine.catalog import Row
from engine.errors import NotFound
from proxy.graph.client import segment
from proxy.pipeline.outcome import SkipCause
from proxy.restore.attachments import INSIDE_BYTES_MAX, Attacher, inside
from proxy.restore.contents import Contents
from proxy.restore.imports import Imports
from proxy.restore.mail_message import NewMessage, new_message
from proxy.restore.mime_content import read_mime
from proxy.restore.protocol import Place, Present, item_key
from proxy.restore.target import Target
from proxy.workloads.mail_folders import folder_of, list_folders, well_known_folders

__all__ = ["MailRestorer"]

STATE = ("isRead", "categories", "flag")


class _Address(msgspec.Struct):
    address: str | None = None
    name: str | None = None


class _Person(msgspec.Struct):
    emailAddress: _Address | None = None


class _There(msgspec.Struct, rename="camel"):
    id: str
    change_key: str | None = None
    subject: str | None = None
    received_date_time: str | None = None
    sender: _Person | None = None
    author: _Person | None = msgspec.field(default=None, name="from")


class _Meta(msgspec.Struct):
    received: str | None = None
    author: str = msgspec.field(default="", name="from")


class _Folder(msgspec.Struct, rename="camel"):
    id: str
    display_name: str | None = None


_THERE = msgspec.json.Decoder(_There)
_FOLDER = msgspec.json.Decoder(_Folder)
_META = msgspec.json.Decoder(_Meta)
KEY_MEMBERS = "id,changeKey,subject,receivedDateTime,from,sender"


class MailRestorer:
    """Implements `Restorer` for mail."""

    nested = True

    def __init__(self, target: Target, contents: Contents) -> None:
        self.target = target
        self._contents = contents
        self._attacher = Attacher(target, "/messages")
        self._imports = Imports(target, contents, "/messages")

    async def places(self) -> list[Place]:
        """All mail folders."""
        writer, user = self.target.writer, self.target.id
        found = await list_folders(writer, user, ())
        known = await well_known_folders(writer, user, ())
        return [Place(f.id, f.parent, f.name, known.get(f.id, ""), f.hidden) for f in found]

    def source_place(self, row: Row) -> Place:
        """A folder row."""
        folder = folder_of(row)
        return Place(folder.id, folder.parent, folder.name, folder.well_known, folder.hidden)

    async def make_place(self, place: Place, parent: str) -> str:
        """A folder."""
        body: dict[str, Any] = {"displayName": place.name}
        if place.hidden:
            body["isHidden"] = True
        path = _below(parent)
        return await self.target.made(self.target.call("Make a mail folder", path, body))

    async def find_place(self, place: Place, parent: str) -> str | None:
        """A folder by its name."""
        query = {"includeHiddenFolders": "true", "$select": "id,displayName"}
        wanted = place.name.casefold()
        path = _below(parent)
        async for folder in self.target.listed("List mail folders", path, _FOLDER, query):
            if (folder.display_name or "").casefold() == wanted:
                return folder.id
        return None

    async def present(self, place: str) -> list[Present]:
        """What lies in a folder."""
        path = f"/mailFolders/{segment(place)}/messages"
        query = {"$select": KEY_MEMBERS}
        found = []
        async for one in self.target.listed("List messages", path, _THERE, query):
            person = one.author or one.sender
            address = person.emailAddress if person is not None else None
            sender = (address.address or address.name or "") if address is not None else ""
            key = _key(one.subject or "", one.received_date_time, sender)
            found.append(Present(one.id, key, one.change_key or ""))
        return found

    def key(self, row: Row) -> str:
        """Subject, time of receipt, sender."""
        meta = _META.decode(row.meta)
        return _key(row.name.decode("utf-8", "surrogatepass"), meta.received, meta.author)

    def lessened(self, row: Row) -> SkipCause | None:
        """None of them."""
        return None

    def requests(self, row: Row) -> int:
        """One to make it; attachments that do not fit are a few more."""
        return 1 + row.size // 3_000_000

    async def make(self, row: Row, place: str) -> str:
        """Import the message, or make it from its parts."""
        if (new := await self._imports.make(row, place)) is not None:
            return new
        message = await self._message(row)
        members = dict(message.members)
        if inside(message.attachments):
            members["attachments"] = [one.members() for one in message.attachments]
        path = f"/mailFolders/{segment(place)}/messages"
        return await self.target.made(self.target.call("Make a message", path, members))

    async def overwrites(self, rows: Iterable[Row]) -> set[bytes]:
        """Those with an export stream, where imports are offered."""
        return await self._imports.fit(rows)

    async def overwrite(self, row: Row, old: str, version: str, place: str) -> bool:
        """By import."""
        return await self._imports.overwrite(row, old, version, place)

    async def complete(self, row: Row, new: str, place: str) -> None:
        """Attachments that did not go with it."""
        small = row.size <= INSIDE_BYTES_MAX and any(part.role == "mime" for part in row.parts)
        if small or self._imports.imported(row):
            return
        message = await self._message(row)
        if not inside(message.attachments):
            await self._attacher.add_missing(segment(new), message.attachments)

    async def remove(self, old: str, place: str) -> None:
        """To the deleted items, where people find it for a while."""
        path = f"/messages/{segment(old)}"
        await self.target.writer.delete(self.target.call("Delete a message", path))

    async def settle(self, place: str, made: dict[str, Row]) -> None:
        """Read state, categories and flag, where the stream had older ones than the row."""
        path = f"/mailFolders/{segment(place)}/messages"
        query = {"$select": "id," + ",".join(STATE)}
        decoder = msgspec.json.Decoder(dict[str, Any])
        async for members in self.target.listed("List messages", path, decoder, query):
            row = made.get(str(members.get("id")))
            if row is None:
                continue
            meta = msgspec.json.decode(row.meta)
            wanted = {n: meta[n] for n in STATE if n in meta and meta[n] != members.get(n)}
            if wanted:
                call = self.target.call(
                    "Set the state of a message",
                    f"/messages/{segment(str(members['id']))}",
                    wanted,
                )
                await self.target.writer.change(call)

    async def _message(self, row: Row) -> NewMessage:
        stored = await self._contents.part(row, "json")
        if stored is None:
            raise NotFound("The message has no content.", code="item-empty")
        mime = await self._contents.part(row, "mime")
        listing = await self._contents.part(row, "attachments") if mime is None else None
        content = None if mime is None else await asyncio.to_thread(read_mime, mime)
        return new_message(row, stored, content, listing)


def _below(parent: str) -> str:
    return f"/mailFolders/{segment(parent)}/childFolders" if parent else "/mailFolders"


def _key(subject: str, received: str | None, sender: str) -> str:
    return item_key(subject, _second(received), sender.casefold())


def _second(moment: str | None) -> str:
    """To the second, whatever form the service gave it."""
    try:
        return str(int(datetime.fromisoformat((moment or "").replace("Z", "+00:00")).timestamp()))
    except ValueError:
        return moment or ""
