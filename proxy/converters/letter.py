"""
A message as a person reads it: people, texts to show, pictures they show, names of attachments.

Read from MIME, however broken it is, or from Graph JSON. Nothing is decoded that is not shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from typing import Any

from proxy.converters.attachment import Attachment, media_type
from proxy.converters.graph_json import Members, line, member, text

__all__ = ["Block", "Enclosure", "Letter", "letter_of_json", "letter_of_mime"]

DEPTH_MAX = 50  # of parts within parts
HEADERS = ("From", "Sender", "To", "Cc", "Bcc", "Reply-To", "Date")
PEOPLE = (
    ("From", "from"),
    ("To", "toRecipients"),
    ("Cc", "ccRecipients"),
    ("Bcc", "bccRecipients"),
    ("Reply-To", "replyTo"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """One text to show."""

    content: str
    html: bool


@dataclass(frozen=True, slots=True)
class Enclosure:
    """An attachment that is named. `size`: bytes, None if unknown. `content_id`: by which HTML may show it."""

    name: str
    media_type: str
    size: int | None
    content_id: str = ""


@dataclass(slots=True)
class Letter:
    """
    Attributes:
        headers: name and text of those that are shown. blocks: in their order.
        pictures: media type and bytes by content id, of images that the HTML may show.
    """

    subject: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    pictures: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    enclosures: list[Enclosure] = field(default_factory=list)


def letter_of_mime(mime: bytes) -> Letter:
    """Whatever can be read of a message; what cannot is shown as text."""
    try:
        message = BytesParser(policy=compat32).parsebytes(mime)
    except (MessageError, RecursionError, ValueError, LookupError):
        return Letter(blocks=[Block(mime.decode("utf-8", "replace"), html=False)])
    letter = Letter(subject=_header(message, "Subject"))
    letter.headers = [(name, value) for name in HEADERS if (value := _header(message, name))]
    _collect(message, letter, 0)
    return letter


def letter_of_json(message: Members, attachments: Sequence[Attachment]) -> Letter:
    """A message that is stored without MIME."""
    letter = Letter(subject=line(message.get("subject")))
    for name, key in PEOPLE:
        value = message.get(key)
        people = [_person(one) for one in (value if isinstance(value, list) else [value])]
        if shown := ", ".join(filter(None, people)):
            letter.headers.append((name, shown))
    if sent := line(message.get("sentDateTime")) or line(message.get("receivedDateTime")):
        letter.headers.append(("Date", sent))
    body = message.get("body")
    html = text(member(body, "contentType")).lower() == "html"
    letter.blocks.append(Block(text(member(body, "content")), html))
    for one in attachments:
        if one.content_id and one.content is not None:
            letter.pictures[one.content_id] = (one.media_type, one.content)
        size = len(one.content) if one.content is not None else None
        letter.enclosures.append(Enclosure(one.name, one.media_type, size, one.content_id))
    return letter


def _collect(part: Message, letter: Letter, depth: int) -> None:
    kind = media_type(part.get_content_type())
    payload = part.get_payload()
    if isinstance(payload, list) and kind.startswith("multipart/") and depth < DEPTH_MAX:
        for inner in _shown_of(kind, payload):
            _collect(inner, letter, depth + 1)
        return
    disposition = _header(part, "Content-Disposition").partition(";")[0].strip().lower()
    name = _name(part)
    content_id = _header(part, "Content-ID").strip("<> ")
    if kind in ("text/plain", "text/html") and disposition != "attachment" and not name:
        letter.blocks.append(Block(_text(part), kind == "text/html"))
        return
    content = _bytes(part)
    if content_id and kind.startswith("image/") and content is not None:
        letter.pictures[content_id] = (kind, content)
    if kind == "message/rfc822" and isinstance(payload, list) and payload:
        name = name or _subject(payload[0])
    size = len(content) if content is not None else None
    letter.enclosures.append(Enclosure(name or "(no name)", kind, size, content_id))


def _shown_of(kind: str, parts: list[Any]) -> Iterator[Message]:
    """All parts; of alternatives the best that is shown, and what hides there without being one (invitations)."""
    if kind != "multipart/alternative":
        yield from parts
        return
    readable = [part for part in parts if _readable(part)]
    best = next((part for part in reversed(readable) if _readable(part) == "html"), None)
    chosen = best or (readable[-1] if readable else None)
    for part in parts:
        if part is chosen or not _readable(part):
            yield part


def _readable(part: Message) -> str:
    kind = part.get_content_type()
    if kind == "text/html":
        return "html"
    payload = part.get_payload()
    if kind.startswith("multipart/") and isinstance(payload, list):
        inner = [_readable(one) for one in payload if isinstance(one, Message)]
        return "html" if "html" in inner else next(filter(None, inner), "")
    return "text" if kind == "text/plain" else ""


def _bytes(part: Message) -> bytes | None:
    try:
        content = part.get_payload(decode=True)
    except (MessageError, ValueError, LookupError):
        return None
    return content if isinstance(content, bytes) else None


def _text(part: Message) -> str:
    content = _bytes(part) or b""
    try:
        charset = str(part.get_content_charset() or "utf-8")
        return content.decode(charset)
    except (LookupError, ValueError, MessageError):
        pass
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _subject(part: object) -> str:
    return _header(part, "Subject") if isinstance(part, Message) else ""


def _name(part: Message) -> str:
    try:
        return _decoded(part.get_filename() or "")
    except (MessageError, ValueError, LookupError, TypeError):
        return ""


def _header(part: Message, name: str) -> str:
    return _decoded(str(part.get(name) or ""))


def _decoded(raw: str) -> str:
    """Encoded words as text, one line; a charset that is none, or raw bytes, as well as it goes."""
    raw = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        pieces = decode_header(raw)
    except (MessageError, ValueError):
        return line(raw)
    words = []
    for word, charset in pieces:
        if isinstance(word, str):
            words.append(word)
            continue
        try:
            words.append(word.decode(charset or "ascii", "replace"))
        except (LookupError, ValueError):
            words.append(word.decode("utf-8", "replace"))
    return line("".join(words))


def _person(value: Any) -> str:
    name = line(member(value, "emailAddress", "name"))
    address = line(member(value, "emailAddress", "address"))
    if not address or name == address:
        return name
    return f"{name} <{address}>" if name else address
