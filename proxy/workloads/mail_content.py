"""
Reading one message: its JSON and its MIME.

The change feed already brings all JSON members that are kept, so a message costs one request, for its MIME. Where
the service cannot render MIME, the message is kept as JSON with its body and attachments instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.catalog import Row
from engine.parts import Part
from proxy.graph.budget import Scope
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import GraphError, GraphItemFault
from proxy.graph.transport import JSON_BYTES_MAX, BodyReader
from proxy.pipeline.outcome import skipped
from proxy.workloads.intake import store_body
from proxy.workloads.mail_item import (
    MESSAGE_MEMBERS,
    MessageHead,
    Removed,
    decode_entry,
    message_row,
    stored_json,
)
from proxy.workloads.protocol import Shelf

__all__ = ["MessageReader"]

BODY_MEMBERS = MESSAGE_MEMBERS + ",body,uniqueBody,internetMessageHeaders"


@dataclass(frozen=True, slots=True)
class MessageReader:
    """Reads messages of one mailbox. `prefer`: what every call asks for (immutable ids)."""

    client: GraphClient
    user: str
    prefer: tuple[str, ...]
    shelf: Shelf

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
        except GraphItemFault as error:
            if error.code != "graph-mime-conversion":
                raise
            return await self._without_mime(folder, head)
        parts = (await self.shelf.store("json", stored_json(raw)), mime)
        return message_row(head, raw, folder, parts)

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
        note = ""
        if head.has_attachments is not False:
            try:
                listing = await self._bytes("Read attachments", head.id, "/attachments", {})
                parts.append(await self.shelf.store("attachments", listing))
            except GraphError:
                note = "; its attachments could not be read"
        name = head.subject or ""
        detail = "kept as JSON, because the service cannot render it as MIME" + note
        self.shelf.note(skipped(head.id, name, "stored-without-mime", detail))
        return message_row(head, raw, folder, tuple(parts), note="stored-without-mime")

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
