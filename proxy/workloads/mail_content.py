"""
Reading one message: its JSON and its MIME.

The change feed already brings all JSON members that are kept, so a message costs one request, for its MIME. Where
the service cannot render MIME, the message is kept as JSON with its body and attachments instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from engine.catalog import Row
from engine.parts import Part
from proxy.graph.budget import Scope
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import GraphItemFault
from proxy.graph.transport import JSON_BYTES_MAX, BodyReader
from proxy.pipeline.outcome import skipped
from proxy.workloads.attachments import EVENT_MEMBERS as LISTED
from proxy.workloads.attachments import AttachmentReader, Attachments
from proxy.workloads.intake import store_body
from proxy.workloads.mail_item import (
    MESSAGE_MEMBERS,
    MessageHead,
    Removed,
    decode_entry,
    message_row,
    stored_json,
)
from proxy.workloads.mailbox_calls import MailboxCalls
from proxy.workloads.protocol import Shelf

__all__ = ["MessageReader"]

BODY_MEMBERS = MESSAGE_MEMBERS + ",body,uniqueBody,internetMessageHeaders"


@dataclass(frozen=True, slots=True)
class MessageReader:
    """
    Reads messages of one mailbox.

    `prefer`: what every call asks for (immutable ids). `again`: told the id and folder of a message that is not whole.
    """

    client: GraphClient
    user: str
    prefer: tuple[str, ...]
    shelf: Shelf
    again: Callable[[str, str], None]

    async def head(self, message: str) -> bytes:
        """The JSON of one message, as the feed would have it."""
        query = {"$select": MESSAGE_MEMBERS}
        return await self._bytes("Read a message", message, "", query)

    async def read(self, folder: str, head: MessageHead, raw: bytes) -> Row:
        """
        Read and store a message.

        Args:
            raw: its entry in the feed; read again by id when members are missing.

        Raises:
            GraphError: it could not be read; GraphNotFound: it is gone.
        """
        if head.change_key is None or head.created_date_time is None:
            raw = await self.head(head.id)
            full = decode_entry(raw)
            head = head if isinstance(full, Removed) else full
        try:
            mime = await self._mime(head.id)
        except GraphItemFault:
            return await self._without_mime(folder, head)
        parts = (await self.shelf.store("json", stored_json(raw)), mime)
        return message_row(head, raw, folder, parts)

    async def bare(self, folder: str, head: MessageHead, raw: bytes) -> Row:
        """A row without content, for a message that the service gives neither as MIME nor as JSON."""
        part = await self.shelf.store("json", stored_json(raw))
        return message_row(head, raw, folder, (part,), note="stored-as-stream")

    async def _mime(self, message: str) -> Part:
        async def consume(reader: BodyReader) -> Part:
            return await store_body(self.shelf, "mime", reader.chunks(), self._count)

        return await self.client.read(
            self._call("Read a message as MIME", message, "/$value"), consume
        )

    async def _without_mime(self, folder: str, head: MessageHead) -> Row:
        raw = await self._bytes(
            "Read a message with its body", head.id, "", {"$select": BODY_MEMBERS}
        )
        parts = [await self.shelf.store("json", stored_json(raw))]
        name, whole = head.subject or "", True
        # Images that the body shows do not count for `hasAttachments` (graph-lessons 81).
        if head.has_attachments is not False or b"cid:" in raw.lower():
            found = Attachments()
            reader = AttachmentReader(MailboxCalls(self.client, self.user), self.shelf, LISTED)
            path = f"/messages/{segment(head.id)}/attachments"
            await reader.read(head.id, path, found)
            found.note(self.shelf, head.id, name)
            parts += await found.parts(self.shelf)
            whole = not found.unsettled
        self.shelf.note(skipped(head.id, name, "stored-without-mime"))
        row = message_row(head, raw, folder, tuple(parts), note="stored-without-mime")
        if not whole:
            self.again(head.id, folder)
            row = replace(row, version="")  # read again even if nothing changes
        return row

    async def _bytes(self, what: str, message: str, below: str, query: Mapping[str, str]) -> bytes:
        call = self._call(what, message, below, query)
        body = await self.client.get_bytes(call, JSON_BYTES_MAX)
        self._count(body)
        return body

    def _call(
        self, what: str, message: str, below: str, query: Mapping[str, str] | None = None
    ) -> Call:
        path = f"/users/{segment(self.user)}/messages/{segment(message)}{below}"
        return Call(
            self.client.url(path, query),
            Scope.mailbox(self.user),
            what,
            prefer=self.prefer,
            patience_s=self.client.settings.item_patience_s,
        )

    def _count(self, data: bytes) -> None:
        self.client.meter.bytes_read += len(data)
