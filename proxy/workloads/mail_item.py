"""
One message as Graph describes it, turned into what is stored. Pure.

The JSON of a message is kept member for member, each value exactly as it was sent. Members that change without the
content changing (read state, categories, flag, change key) are cut out and live in the row, so that setting a flag
does not make a new JSON part.
"""

import dataclasses
import json

import msgspec

from engine.catalog import Row
from engine.parts import Part
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

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


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
    try:
        head = _HEAD.decode(raw)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # Half a surrogate pair in a subject: legal JSON text, but no character.
        lenient = json.dumps(json.loads(raw), ensure_ascii=False).encode("utf-8", "replace")
        head = _HEAD.decode(lenient)
    return Removed(head.id) if head.removed is not None else head


def stored_json(raw: bytes) -> bytes:
    """The JSON part: all members but the volatile ones, in their order, byte for byte."""
    left_out = {*VOLATILE, *PLACE, *ENVELOPE}
    members = _MEMBERS.decode(raw)
    kept = (
        msgspec.json.encode(name) + b":" + bytes(value)
        for name, value in members.items()
        if name not in left_out
    )
    return b"{" + b",".join(kept) + b"}"


def with_state(row: Row, raw: bytes) -> Row | None:
    """The row with the volatile members of a short feed entry applied; None if nothing differs."""
    members = _MEMBERS.decode(raw)
    meta = _MEMBERS.decode(row.meta)
    changed = {name: members[name] for name in VOLATILE if name in members}
    merged = msgspec.json.encode({**meta, **changed})
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
    members = _MEMBERS.decode(raw)
    meta: dict[str, object] = {name: members[name] for name in VOLATILE if name in members}
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
