"""
Attachments of events and tasks: a listing without contents, and each content as a part of its own.

Contents are read one by one, because reading all at once fails over large or damaged ones (graph-lessons 82, 84), and
streamed, so that they may have any size.
"""

from dataclasses import dataclass, field

import msgspec

from engine.parts import Part
from proxy.graph.client import segment
from proxy.graph.errors import (
    GraphDenied,
    GraphError,
    GraphItemFault,
    GraphRefused,
    GraphThrottled,
    GraphUnsupported,
)
from proxy.graph.paging import decode_as
from proxy.graph.transport import BodyReader
from proxy.pipeline.outcome import failed, skipped
from proxy.workloads.intake import store_body
from proxy.workloads.mailbox_calls import MailboxCalls
from proxy.workloads.members import (
    Members,
    array,
    decode_members,
    encode_members,
    without,
    without_links,
)
from proxy.workloads.protocol import Shelf

__all__ = ["EVENT_MEMBERS", "TASK_MEMBERS", "AttachmentReader", "Attachments"]

EVENT_MEMBERS = (
    "id,name,contentType,size,isInline,lastModifiedDateTime,"
    "microsoft.graph.fileAttachment/contentId,microsoft.graph.fileAttachment/contentLocation"
)
TASK_MEMBERS = "id,name,contentType,size,lastModifiedDateTime"
REFERENCE = "#microsoft.graph.referenceAttachment"
ITEM = "#microsoft.graph.itemAttachment"
EXPAND_ITEM = {"$expand": "microsoft.graph.itemAttachment/item"}
LEFT_OUT = ("@odata.mediaContentType", "contentBytes")


class _Head(msgspec.Struct, rename="camel"):
    id: str
    name: str | None = None
    odata_type: str | None = msgspec.field(default=None, name="@odata.type")


_HEAD = msgspec.json.Decoder(_Head)


@dataclass(slots=True)
class Attachments:
    """
    What was read of one item's attachments.

    Attributes:
        entries: of the part `attachments`, in order. contents: the parts they name.
        unread: what could not be read, for good or for now, with names.
    """

    entries: list[bytes] = field(default_factory=list)
    contents: list[Part] = field(default_factory=list)
    unread: list[tuple[str, GraphError]] = field(default_factory=list)

    @property
    def unsettled(self) -> bool:
        """Whether reading again may bring more."""
        return any(not isinstance(error, GraphItemFault) for _, error in self.unread)

    def note(self, shelf: Shelf, item: str, name: str) -> None:
        """Name what could not be read."""
        for attachment, error in self.unread:
            if isinstance(error, GraphItemFault):
                shelf.note(skipped(item, name, "attachment-unreadable", attachment))
            else:
                shelf.note(failed(item, name, error))

    async def parts(self, shelf: Shelf) -> list[Part]:
        """The listing and the contents, as parts of the item's row; none if there are no attachments."""
        if not self.entries:
            return []
        listing = await shelf.store("attachments", bytes(array(self.entries)))
        return [listing, *self.contents]


@dataclass(frozen=True, slots=True)
class AttachmentReader:
    """Reads attachments of one mailbox. `members`: what their listings are asked for."""

    calls: MailboxCalls
    shelf: Shelf
    members: str

    async def read(self, owner: str, path: str, found: Attachments) -> None:
        """
        Add the attachments of one item to `found`.

        Args:
            owner: id of the event or task. path: of its attachments, below the user.

        Errors end in `found.unread`, and an attachment that is gone meanwhile has changed its item.

        Raises:
            GraphDenied, GraphThrottled: not the attachments' fault.
        """
        try:
            members = await self._listing(path)
        except (GraphDenied, GraphThrottled):
            raise
        except GraphError as error:
            found.unread.append(("its attachments", error))
            return
        for raw in members:
            head = decode_as(_HEAD, encode_members(raw))
            role = f"attachment-{len(found.contents)}"
            try:
                one = await self._one(head, raw, f"{path}/{segment(head.id)}", role)
            except (GraphDenied, GraphThrottled):
                raise
            except GraphError as error:
                found.unread.append((head.name or "an attachment", error))
                one = raw, None
            found.contents += [part for part in one[1:] if part is not None]
            found.entries.append(_entry(owner, role if one[1] is not None else None, one[0]))

    async def _listing(self, path: str) -> list[Members]:
        call = self.calls.item_call("List attachments", path, {"$select": self.members})
        listed = await self.calls.all(call)
        return [without(decode_members(raw), LEFT_OUT) for raw in listed]

    async def _one(
        self, head: _Head, members: Members, path: str, role: str
    ) -> tuple[Members, Part | None]:
        """Members and content of an attachment; those of an attached item or cloud link have all there is."""
        if head.odata_type not in (REFERENCE, ITEM):
            return members, await self._content(role, path)
        expand = EXPAND_ITEM if head.odata_type == ITEM else None
        call = self.calls.item_call("Read an attached item or link", path, expand)
        members = without_links(await self.calls.members(call))
        if head.odata_type == REFERENCE:
            return members, None
        try:
            return members, await self._content(role, path)
        except (GraphRefused, GraphUnsupported):
            return members, None  # it cannot be rendered; its members are there

    async def _content(self, role: str, path: str) -> Part:
        async def consume(reader: BodyReader) -> Part:
            return await store_body(self.shelf, role, reader.chunks(), self._count)

        call = self.calls.item_call("Read an attachment", f"{path}/$value")
        return await self.calls.client.read(call, consume)

    def _count(self, data: bytes) -> None:
        self.calls.client.meter.bytes_read += len(data)


def _entry(owner: str, role: str | None, members: Members) -> bytes:
    return encode_members(
        {
            "of": msgspec.json.encode(owner),
            "content": msgspec.json.encode(role),
            "members": encode_members(members),
        }
    )
