"""
A stored message as Graph takes it for a new one. Pure.

For where the export stream cannot be imported. The members come from the stored JSON and the row, the body and the
attachments from the MIME (or from the JSON, where there was none). Three MAPI properties, which count at creation only,
make it a message with its own dates instead of a draft of today: flags, time of submission, time of delivery.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from engine.catalog import Row
from proxy.restore.mime_content import MimeContent
from proxy.restore.new_attachment import NewAttachment, from_listing
from proxy.restore.stored_json import decoded

__all__ = ["NewMessage", "new_message"]

# MAPI property tags as Graph names them (MS-OXPROPS: PidTagMessageFlags, PidTagClientSubmitTime,
# PidTagMessageDeliveryTime).
MESSAGE_FLAGS, SUBMIT_TIME, DELIVERY_TIME = (
    "Integer 0x0E07",
    "SystemTime 0x0039",
    "SystemTime 0x0E06",
)
FLAG_READ = 0x1  # 0x8, a draft, stays clear
COPIED = (
    "subject",
    "importance",
    "internetMessageId",
    "isDeliveryReceiptRequested",
    "isReadReceiptRequested",
    "inferenceClassification",
)
STATE = ("categories", "flag", "isRead")
PEOPLE = ("toRecipients", "ccRecipients", "bccRecipients", "replyTo")
PERSON = ("from", "sender")
LEGACY_ADDRESS = re.compile(r"(?i)/o=[^/]+/ou=")
SMTP_ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+")


@dataclass(slots=True)
class NewMessage:
    """Body of the request that makes it, and what is attached. `dropped`: addresses that Graph would refuse."""

    members: dict[str, Any]
    attachments: list[NewAttachment] = field(default_factory=list)
    dropped: int = 0


def new_message(
    row: Row, stored: bytes, mime: MimeContent | None, listing: bytes | None
) -> NewMessage:
    """
    What makes the message of `row` anew.

    Args:
        stored: its `json` part. mime: its content, None if the service could not render it. listing: its `attachments` part.
    """
    source, meta = decoded(stored), decoded(row.meta)
    made = NewMessage({name: source[name] for name in COPIED if source.get(name) is not None})
    made.members |= {name: meta[name] for name in STATE if meta.get(name) is not None}
    for name in PEOPLE:
        made.members[name] = _people(source.get(name), made)
    for name in PERSON:
        if kept := _people([source.get(name)], made):
            made.members[name] = kept[0]
    if mime is None:
        made.members["body"] = source.get("body") or {"contentType": "text", "content": ""}
        made.attachments = from_listing(listing)
    else:
        made.members["body"] = mime.body
        made.attachments = list(mime.attachments)
    if properties := _properties(source, meta):
        made.members["singleValueExtendedProperties"] = properties
    return made


def _properties(source: dict[str, Any], meta: dict[str, Any]) -> list[dict[str, str]]:
    properties = []
    if not source.get("isDraft"):
        flags = FLAG_READ if meta.get("isRead") else 0
        properties.append({"id": MESSAGE_FLAGS, "value": str(flags)})
    for tag, member in ((SUBMIT_TIME, "sentDateTime"), (DELIVERY_TIME, "receivedDateTime")):
        if moment := source.get(member):
            properties.append({"id": tag, "value": moment})
    return properties


def _people(entries: Any, made: NewMessage) -> list[Any]:
    """Recipients whose address Graph takes: SMTP or a legacy Exchange name (graph-lessons 92)."""
    kept = []
    for entry in entries or ():
        person = entry.get("emailAddress") if isinstance(entry, dict) else None
        address = str((person or {}).get("address") or "")
        if SMTP_ADDRESS.fullmatch(address) or LEGACY_ADDRESS.match(address):
            kept.append(entry)
        elif person:
            made.dropped += 1
    return kept
