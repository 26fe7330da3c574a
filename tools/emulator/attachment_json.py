"""
Attachments as Graph writes them in JSON, of messages that came as MIME and of written ones.
"""

from collections.abc import Sequence
from typing import Any

from tools.emulator import mime_reader as mime
from tools.emulator.blob import BytesBlob
from tools.emulator.clock import iso
from tools.emulator.mail_json import MessageReading, View, message_json
from tools.emulator.mailbox import Folder
from tools.emulator.message import Message, MessageAttachment


def attachment_key(reading: MessageReading, number: int) -> str:
    """The id of an attachment: the message's id and its number."""
    return f"{reading.key.rstrip('=')}BEgAQ{number:04d}AA=="


def attachment_json(reading: MessageReading, attachment: MessageAttachment) -> dict[str, Any]:
    """One attachment; files carry their bytes, embedded items only when expanded."""
    modified = attachment.modified
    body: dict[str, Any] = {
        "@odata.type": f"#microsoft.graph.{attachment.kind}Attachment",
        "id": attachment_key(reading, attachment.number),
        "lastModifiedDateTime": iso(reading.message.modified if modified is None else modified),
        "name": attachment.name,
        "contentType": attachment.content_type,
        "size": attachment.content.size,
        "isInline": attachment.inline,
    }
    if attachment.kind == "file":
        body["@odata.mediaContentType"] = attachment.content_type
        body["contentId"] = attachment.content_id
        body["contentLocation"] = None
        body["contentBytes"] = mime.base64_text(attachment.content.read())
    elif attachment.kind == "reference":
        body |= attachment.details
    return body


def item_json(reading: MessageReading, attachment: MessageAttachment) -> dict[str, Any]:
    """The item in an item attachment; one in it is not shown, as `$expand` goes one level deep."""
    if attachment.details:
        return attachment.details
    parent = reading.message
    nobody = Folder("", "", None)
    inner = Message("", "", nobody, attachment.content, parent.created, parent.modified)
    whole = message_json(MessageReading(inner, View(), 0), None)
    for name in ("id", "@odata.etag", "parentFolderId", "webLink", "changeKey"):
        del whole[name]
    return {"@odata.type": "#microsoft.graph.message", "id": ""} | whole


def of_mime(found: Sequence[mime.Attachment]) -> list[MessageAttachment]:
    """The attachments that the MIME of a message holds."""
    return [
        MessageAttachment(
            number,
            "file" if one.embedded is None else "item",
            one.name,
            one.content_type,
            BytesBlob(one.content),
            one.inline,
            one.content_id,
        )
        for number, one in enumerate(found)
    ]


def attachments(reading: MessageReading) -> list[MessageAttachment]:
    """All attachments of a message, in order."""
    attached = reading.message.attached
    return of_mime(reading.content.attachments) if attached is None else attached
