"""
The exact state of the mail of a mailbox, property by property, for tests to compare a restore with.
"""

import hashlib
from typing import Any

from tools.emulator.attachment_json import attachments
from tools.emulator.clock import iso
from tools.emulator.mail_json import MessageReading, View
from tools.emulator.mailbox import Folder, Mailbox
from tools.emulator.message import Message, MessageAttachment

_AS_SHOWN = (
    "subject", "from", "sender", "toRecipients", "ccRecipients", "bccRecipients", "replyTo",
    "isRead", "isDraft", "importance", "flag", "inferenceClassification", "internetMessageId",
    "receivedDateTime", "sentDateTime", "createdDateTime", "lastModifiedDateTime",
    "isReadReceiptRequested",
)  # fmt: skip


def mail_state(mailbox: Mailbox, seed: int) -> dict[str, dict[str, Any]]:
    """
    By folder path, the dumpster's folders below `Recoverable Items/`: `well_known`, `hidden`, and
    `items`: immutable id -> state.

    A state has what Graph shows, in its names, and: `categories` in order, `body` (contentType,
    SHA-256 of the text), `attachments` (kind, name, contentType, isInline, contentId, size,
    SHA-256, details) in order, `mime` (SHA-256), `itemClass`, `extended` (MAPI properties by id).
    There are no ids, change keys or places in it: after a restore states are the same again.
    """
    return {
        _path(folder): {
            "well_known": folder.well_known,
            "hidden": folder.hidden,
            "items": {m.key: message_state(m, seed) for m in folder.messages.values()},
        }
        for folder in mailbox.folders.values()
        if folder.parent is not None and not folder.search
    }


def _path(folder: Folder) -> str:
    return f"Recoverable Items/{folder.path}" if folder.recoverable else folder.path


def message_state(message: Message, seed: int) -> dict[str, Any]:
    """The state of one message; see `mail_state`."""
    reading = MessageReading(message, View(immutable=True), seed)
    body = reading.body()
    return {name: reading.value(name) for name in _AS_SHOWN} | {
        "categories": list(message.categories),
        "body": {
            "contentType": body["contentType"],
            "sha256": hashlib.sha256(body["content"].encode("utf-8", "surrogatepass")).hexdigest(),
        },
        "attachments": [_attachment(one) for one in attachments(reading)],
        "mime": message.mime.sha256,
        "itemClass": message.item_class,
        "extended": dict(message.extended),
    }


def _attachment(one: MessageAttachment) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "name": one.name,
        "contentType": one.content_type,
        "isInline": one.inline,
        "contentId": one.content_id,
        "size": one.content.size,
        "sha256": one.content.sha256,
        "details": one.details,
        "modified": None if one.modified is None else iso(one.modified),
    }
