"""
What a MIME message says: body, attachments, people. Pure; whatever it is given, it finds something.

The standard library parses; headers that it cannot decode are taken as they are.
"""

import email
import email.errors
import email.header
import email.message
import email.utils
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from proxy.restore.new_attachment import NewAttachment

__all__ = ["MimeContent", "as_item", "read_mime"]

DEPTH_MAX = 50
PEOPLE = {
    "from": "From",
    "sender": "Sender",
    "toRecipients": "To",
    "ccRecipients": "Cc",
    "replyTo": "Reply-To",
}
ONE_PERSON = frozenset({"from", "sender"})


@dataclass(slots=True)
class MimeContent:
    """`body` and `people` as Graph has them; `people` by member name."""

    subject: str
    body: dict[str, str]
    attachments: list[NewAttachment] = field(default_factory=list)
    people: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def read_mime(data: bytes) -> MimeContent:
    """Take a message apart."""
    return _content(email.message_from_bytes(data), 0)


def _content(message: email.message.Message, depth: int) -> MimeContent:
    texts: dict[str, str] = {}
    attachments: list[NewAttachment] = []
    for part in _leaves(message, depth):
        kind = part.get_content_type()
        if kind in ("text/plain", "text/html") and not _is_attached(part) and kind not in texts:
            texts[kind] = _text(part)
        elif kind == "message/rfc822":
            attachments.append(_embedded(part, depth))
        else:
            attachments.append(_attachment(part))
    html = texts.get("text/html")
    body = {
        "contentType": "text" if html is None else "html",
        "content": texts.get("text/plain", "") if html is None else html,
    }
    people = {member: _people(message, header) for member, header in PEOPLE.items()}
    return MimeContent(_decoded(message.get("Subject", "")), body, attachments, people)


def _leaves(part: email.message.Message, depth: int) -> Iterator[email.message.Message]:
    """Parts that hold something; a message in a message is one."""
    if not part.is_multipart() or part.get_content_type() == "message/rfc822":
        yield part
        return
    if depth < DEPTH_MAX:
        for inner in part.get_payload():
            if isinstance(inner, email.message.Message):
                yield from _leaves(inner, depth + 1)


def _is_attached(part: email.message.Message) -> bool:
    return part.get_content_disposition() == "attachment" or bool(part.get_filename())


def _text(part: email.message.Message) -> str:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return _characters(str(part.get_payload()))
    charset = part.get_content_charset() or "utf-8"
    try:
        return data.decode(charset)
    except (LookupError, UnicodeDecodeError):
        return data.decode("utf-8", "replace")


def _attachment(part: email.message.Message) -> NewAttachment:
    data = part.get_payload(decode=True)
    identifier = _characters(str(part.get("Content-ID") or "")).strip().strip("<>")
    inline = part.get_content_disposition() == "inline" or (
        bool(identifier) and part.get_content_disposition() is None
    )
    return NewAttachment(
        name=_decoded(part.get_filename() or "") or identifier or "attachment",
        content_type=_characters(part.get_content_type()),
        content=data if isinstance(data, bytes) else b"",
        inline=inline,
        content_id=identifier,
    )


def _embedded(part: email.message.Message, depth: int) -> NewAttachment:
    inner = next((m for m in part.get_payload() if isinstance(m, email.message.Message)), None)
    if inner is None or depth >= DEPTH_MAX:
        return _attachment(part)
    content = _content(inner, depth + 1)
    return NewAttachment(
        name=_decoded(part.get_filename() or "") or content.subject or "message",
        content_type="message/rfc822",
        content=inner.as_bytes(),
        item=None if content.attachments else as_item(content),
    )


def as_item(content: MimeContent) -> dict[str, Any]:
    """A message inside a message. One with attachments of its own stays a file: Graph takes none there."""
    made: dict[str, Any] = {
        "@odata.type": "#microsoft.graph.message",
        "subject": content.subject,
        "body": content.body,
    }
    for name, people in content.people.items():
        if people:
            made[name] = people[0] if name in ONE_PERSON else people
    return made


def _people(message: email.message.Message, header: str) -> list[dict[str, Any]]:
    values = [str(value) for value in message.get_all(header, [])]
    return [
        {"emailAddress": {"name": _decoded(name) or address, "address": _characters(address)}}
        for name, address in email.utils.getaddresses(values)
        if address
    ]


def _decoded(value: object) -> str:
    try:
        text = str(email.header.make_header(email.header.decode_header(str(value))))
    except (LookupError, UnicodeError, ValueError, email.errors.HeaderParseError):
        text = str(value)
    return " ".join(_characters(text).split())


def _characters(text: str) -> str:
    """Text that can be written as UTF-8: raw bytes of a header are read as what most of them are."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # half a pair that stands for no byte
        return text.encode("utf-8", "replace").decode()
