"""
Reading of MIME that may be broken in any way: nothing here raises on bad mail.

The standard library's parser raises in odd corners (unknown charsets, nested encodings, absurd
dates); every access is guarded and falls back to something sane.
"""

import base64
import dataclasses
import email.header
import email.message
import email.parser
import email.policy
import email.utils
import html
import re
from datetime import UTC, datetime

HEAD_BYTES_MAX = 256 << 10
_OLDEST = datetime(1980, 1, 1, tzinfo=UTC).timestamp()
_NEWEST = datetime(2099, 1, 1, tzinfo=UTC).timestamp()
_TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.S | re.I)
_PARTS_MAX = 2000


@dataclasses.dataclass(frozen=True, slots=True)
class Attachment:
    """A leaf of the message that is no body. `embedded` is set for a message in a message."""

    name: str
    content_type: str
    content: bytes
    inline: bool
    content_id: str | None
    embedded: bytes | None


@dataclasses.dataclass(frozen=True, slots=True)
class Content:
    """Bodies and attachments of one message; `calendar` is what makes it a meeting message."""

    text: str | None
    html: str | None
    attachments: tuple[Attachment, ...]
    calendar: str | None = None


def clean(text: str) -> str:
    """`text` as valid Unicode: no lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def read_head(raw: bytes) -> email.message.Message:
    """The header of a message, given its first bytes."""
    end = re.search(rb"\r?\n\r?\n", raw)
    return _parse(raw[: end.end()] if end else raw, headers_only=True)


def _parse(raw: bytes, *, headers_only: bool) -> email.message.Message:
    try:
        parser = email.parser.BytesParser(policy=email.policy.compat32)
        return parser.parsebytes(raw, headersonly=headers_only)
    except Exception:  # noqa: BLE001 - the parser fails on some broken mail in any way it likes
        return email.message.Message()


def header(head: email.message.Message, name: str) -> str | None:
    """One header, decoded; None when it is absent."""
    values = headers(head, name)
    return values[0] if values else None


def headers(head: email.message.Message, name: str) -> list[str]:
    """All headers of that name, decoded."""
    return [decode_words(str(value)) for value in _raw(head, name)]


def all_headers(head: email.message.Message) -> list[tuple[str, str]]:
    """Every header in order."""
    return [(clean(name), decode_words(str(value))) for name, value in head.raw_items()]


def _raw(head: email.message.Message, name: str) -> list[object]:
    return [value for key, value in head.raw_items() if key.lower() == name.lower()]


def decode_words(text: str) -> str:
    """Undo encoded words, folding and raw 8-bit bytes."""
    raw = text.encode("utf-8", "surrogateescape")
    text = decode_bytes(raw, None) if any(b > 127 for b in raw) else text
    text = re.sub(r"\r?\n[ \t]*", " ", text).strip()
    if "=?" not in text:
        return clean(text)
    try:
        pieces = email.header.decode_header(text)
        return clean("".join(p if isinstance(p, str) else decode_bytes(p, c) for p, c in pieces))
    except Exception:  # noqa: BLE001 - encoded words are broken in many ways
        return clean(text)


def decode_bytes(raw: bytes, charset: str | None) -> str:
    """Text of `raw`, by its charset when that is known and right, else by guess."""
    for name in (charset, "utf-8"):
        try:
            if name:
                return clean(raw.decode(name))
        except (LookupError, ValueError, TypeError):
            continue
    return raw.decode("cp1252", "replace")


def addresses(head: email.message.Message, name: str) -> list[tuple[str, str]]:
    """Pairs of display name and address of an address header."""
    try:
        found = email.utils.getaddresses([str(v) for v in _raw(head, name)], strict=False)
    except Exception:  # noqa: BLE001 - the address parser recurses and indexes blindly
        return []
    return [(decode_words(n), decode_words(a)) for n, a in found if n or a]


def moment(head: email.message.Message, name: str) -> float | None:
    """A date header in seconds since the epoch; None when absent or absurd."""
    text = header(head, name)
    if text is None:
        return None
    try:
        parsed = email.utils.parsedate_to_datetime(text)
        aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        seconds = aware.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return seconds if _OLDEST <= seconds <= _NEWEST else None


def read_content(raw: bytes) -> Content:
    """Bodies and attachments of a whole message."""
    message = _parse(raw, headers_only=False)
    text: str | None = None
    markup: str | None = None
    calendar: str | None = None
    found: list[Attachment] = []
    for part in _leaves(message):
        kind = _content_type(part)
        name = _file_name(part)
        attached = _disposition(part) == "attachment" or bool(name)
        if kind == "text/html" and not attached and markup is None:
            markup = _text(part)
        elif kind.startswith("text/plain") and not attached and text is None:
            text = _text(part)
        elif kind == "text/calendar" and not attached and calendar is None:
            calendar = _text(part)
        else:
            found.append(_attachment(part, kind, name, len(found)))
    return Content(text, markup, tuple(found), calendar)


def _leaves(message: email.message.Message) -> list[email.message.Message]:
    """The leaves in order; a message in a message is one leaf."""
    pending = [message]
    leaves: list[email.message.Message] = []
    while pending and len(leaves) < _PARTS_MAX:
        part = pending.pop()
        inner = part.get_payload() if part.is_multipart() else None
        if isinstance(inner, list) and _content_type(part).startswith("multipart/"):
            pending.extend(p for p in reversed(inner) if isinstance(p, email.message.Message))
        else:
            leaves.append(part)
    return leaves


def _content_type(part: email.message.Message) -> str:
    try:
        return clean(part.get_content_type())
    except Exception:  # noqa: BLE001
        return "application/octet-stream"


def _disposition(part: email.message.Message) -> str:
    return (header(part, "Content-Disposition") or "").split(";")[0].strip().lower()


def _file_name(part: email.message.Message) -> str:
    try:
        return decode_words(part.get_filename() or "")[:255]
    except Exception:  # noqa: BLE001 - RFC 2231 values decode through arbitrary codecs
        return ""


def _payload(part: email.message.Message) -> bytes:
    try:
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            return payload
        whole = part.get_payload()
        inner = whole[0] if isinstance(whole, list) and whole else whole
        if isinstance(inner, email.message.Message):
            return inner.as_bytes()
        return str(inner or "").encode("utf-8", "surrogateescape")
    except Exception:  # noqa: BLE001 - transfer encodings and generators fail on broken parts
        return b""


def _text(part: email.message.Message) -> str:
    try:
        charset = part.get_content_charset()
    except Exception:  # noqa: BLE001
        charset = None
    return decode_bytes(_payload(part), charset)


def _attachment(part: email.message.Message, kind: str, name: str, index: int) -> Attachment:
    content = _payload(part)
    cid = (header(part, "Content-ID") or "").strip("<> ") or None
    inline = _disposition(part) == "inline" or (cid is not None and kind.startswith("image/"))
    embedded = content if kind == "message/rfc822" else None
    if embedded is not None and not name:
        name = (header(read_head(embedded), "Subject") or "")[:255]
    return Attachment(name or f"part{index + 1}", kind, content, inline, cid, embedded)


def plain(markup: str) -> str:
    """The text of an HTML body."""
    return html.unescape(_TAGS.sub(" ", markup))


def preview(content: Content) -> str:
    """The first 255 characters of the body on one line."""
    text = content.text if content.text is not None else plain((content.html or "")[:20_000])
    return clean(" ".join(text[:4000].split())[:255])


def base64_text(raw: bytes) -> str:
    """`raw` as JSON carries it."""
    return base64.b64encode(raw).decode()
