"""
One message as Graph describes it, turned into what is stored. Pure.

The JSON of a message is kept member for member, each value exactly as it was sent. Members that change without the
content changing (read state, categories, flag, change key) are cut out and live in the row, so that setting a flag
does not make a new JSON part.
"""

import dataclasses

import msgspec

from engine.catalog import Row
from engine.parts import Part
from proxy.workloads.members import (
    decode_lenient,
    decode_members,
    encode_members,
    pick,
    without,
)
from proxy.workloads.moments import nanoseconds

__all__ = [
    "MESSAGE_MEMBERS",
    "MessageHead",
    "Removed",
    "decode_entry",
    "is_bare",
    "message_row",
    "received_ns",
    "stored_json",
    "with_state",
]

MESSAGE_MEMBERS = (
    "id,createdDateTime,lastModifiedDateTime,changeKey,categories,receivedDateTime,sentDateTime,"
    "hasAttachments,internetMessageId,subject,importance,parentFolderId,conversationId,"
    "conversationIndex,isDeliveryReceiptRequested,isReadReceiptRequested,isRead,isDraft,webLink,"
    "inferenceClassification,sender,from,toRecipients,ccRecipients,bccRecipients,replyTo,flag"
)
VOLATILE = ("@odata.etag", "changeKey", "isRead", "categories", "flag")
PLACE = ("parentFolderId",)  # the row's container says it
ENVELOPE = ("@odata.context",)


class _Address(msgspec.Struct):
    name: str | None = None
    address: str | None = None


class _Person(msgspec.Struct):
    emailAddress: _Address | None = None


class _Gone(msgspec.Struct):
    reason: str = ""


class MessageHead(msgspec.Struct, rename="camel"):
    """The members that decisions need; everything else stays raw."""

    id: str
    change_key: str | None = None
    created_date_time: str | None = None
    last_modified_date_time: str | None = None
    received_date_time: str | None = None
    subject: str | None = None
    parent_folder_id: str | None = None
    has_attachments: bool | None = None
    is_draft: bool | None = None
    importance: str | None = None
    sender: _Person | None = None
    author: _Person | None = msgspec.field(default=None, name="from")
    removed: _Gone | None = msgspec.field(default=None, name="@removed")


class _State(msgspec.Struct):
    received: str | None = None
    note: str = ""


class Removed(msgspec.Struct, frozen=True):
    """An entry of the feed that says: not in this folder any more."""

    id: str


_STATE = msgspec.json.Decoder(_State)
_HEAD = msgspec.json.Decoder(MessageHead)


def decode_entry(raw: bytes) -> MessageHead | Removed:
    """
    An entry of a message feed.

    Raises:
        msgspec.DecodeError: it has no id or members of another type than Graph documents.
    """
    head = decode_lenient(_HEAD, raw)
    return Removed(head.id) if head.removed is not None else head


def stored_json(raw: bytes) -> bytes:
    """The JSON part: all members but the volatile ones, in their order, byte for byte."""
    return encode_members(without(decode_members(raw), {*VOLATILE, *PLACE, *ENVELOPE}))


def with_state(row: Row, raw: bytes) -> Row | None:
    """The row with the volatile members of a short feed entry applied; None if nothing differs."""
    changed = pick(decode_members(raw), VOLATILE)
    merged = msgspec.json.encode({**decode_members(row.meta), **changed})
    return None if merged == row.meta else dataclasses.replace(row, meta=merged)


def received_ns(row: Row) -> int:
    """When the message of a row was received, nanoseconds since 1970 UTC; 0 if that is not known."""
    return nanoseconds(_STATE.decode(row.meta).received)


def is_bare(row: Row) -> bool:
    """Whether the row has neither MIME nor body."""
    return _STATE.decode(row.meta).note == "stored-as-stream"


def message_row(
    head: MessageHead, raw: bytes, folder: str, parts: tuple[Part, ...], note: str = ""
) -> Row:
    """
    The catalog row of a message.

    Args:
        folder: id of the folder it is in.
        parts: `json` and, where the service could render it, `mime`.
        note: why it is not stored as usual; a skip cause, or nothing.
    """
    meta = pick(decode_members(raw), VOLATILE)
    person = head.author or head.sender
    if person is not None and person.emailAddress is not None:
        meta["from"] = person.emailAddress.address or person.emailAddress.name or ""
    meta["received"] = head.received_date_time
    meta["attachments"] = bool(head.has_attachments)
    if head.is_draft:
        meta["draft"] = True
    if note:
        meta["note"] = note
    content = next((part for part in parts if part.role == "mime"), None)
    return Row(
        id=head.id.encode(),
        container=folder.encode(),
        name=(head.subject or "").encode("utf-8", "surrogatepass"),
        kind="message",
        size=content.size if content else sum(part.size for part in parts),
        created_ns=nanoseconds(head.created_date_time or head.received_date_time),
        modified_ns=nanoseconds(head.last_modified_date_time or head.received_date_time),
        version=head.change_key or "",
        meta=msgspec.json.encode(meta),
        parts=parts,
    )
