"""
A message that is stored as Graph JSON with its body, made into MIME again as well as that goes.

Source: RFC 5322, RFC 2045 to 2047; Graph resource types message, eventMessageRequest, attachment. People without an
Internet address (names of Exchange's directory) become empty groups, RFC 6854, so that their names are not lost.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from email.header import Header
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP
from email.utils import format_datetime, formataddr
from typing import Any

from proxy.converters.attachment import OTHER_TYPE, Attachment, listed_attachments
from proxy.converters.calendar_parts import is_smtp
from proxy.converters.graph_json import Members, entries, line, member, moment, text
from proxy.converters.ics import calendar_chunks, event_component
from proxy.converters.vcf import vcard

__all__ = ["rebuilt_mime", "rendered_item"]

NOTE = "the service could not render this message as MIME; rebuilt from its properties"
PEOPLE = (
    ("From", "from"),
    ("To", "toRecipients"),
    ("Cc", "ccRecipients"),
    ("Bcc", "bccRecipients"),
    ("Reply-To", "replyTo"),
)
OWN_HEADERS = frozenset(
    {
        "from",
        "sender",
        "to",
        "cc",
        "bcc",
        "reply-to",
        "subject",
        "date",
        "message-id",
        "mime-version",
    }
)
MESSAGES = frozenset({"", "message", "eventmessage", "eventmessagerequest", "eventmessageresponse"})
ITEM_DEPTH_MAX = 16  # messages attached to messages
LINE_CHARACTERS = 76
LINE_END = "\r\n"
POLICY = SMTP.clone(cte_type="7bit")


def rebuilt_mime(message: Members, attachments: Sequence[Attachment] = (), depth: int = 0) -> bytes:
    """
    MIME of a message.

    Args:
        message: members as Graph gives them, with `body`, and `internetMessageHeaders` where they were asked for.
        depth: in how many messages it is attached.
    """
    content = EmailMessage(policy=POLICY)
    _write_body(content, message, attachments)
    missing = []
    for one in attachments:
        if not _is_shown(one, message) and not _attach(content, one, depth):
            missing.append(one.name)
    note = NOTE + "".join(f"; without the attachment {name}" for name in missing)
    head = [_header(name, value) for name, value in _headers(message)]
    head += [_people_header(name, message.get(key)) for name, key in PEOPLE]
    if message.get("from") != message.get("sender"):
        head.append(_people_header("Sender", message.get("sender")))
    head.append(_header("X-Strongroom-Note", note))
    return "".join(head).encode("ascii", "replace") + content.as_bytes()


def _headers(message: Members) -> Iterator[tuple[str, str]]:
    for original in entries(message.get("internetMessageHeaders")):
        name = text(original.get("name"))
        known = name.lower() in OWN_HEADERS or name.lower().startswith("content-")
        if not known and name.isascii() and name.replace("-", "").isalnum():
            yield name, line(original.get("value"))
    yield "Subject", line(message.get("subject"))
    sent = moment(message.get("sentDateTime")) or moment(message.get("receivedDateTime"))
    if sent is not None:
        yield "Date", format_datetime(sent)
    yield "Message-ID", line(message.get("internetMessageId"))


def _header(name: str, value: str) -> str:
    if not value:
        return ""
    charset = "us-ascii" if value.isascii() else "utf-8"
    folded = Header(value, charset, header_name=name, maxlinelen=LINE_CHARACTERS)
    return f"{name}: {folded.encode(linesep=LINE_END)}{LINE_END}"


def _people_header(name: str, value: Any) -> str:
    people = list(filter(None, map(_person, value if isinstance(value, list) else [value])))
    joined = f",{LINE_END} ".join(people)
    return f"{name}: {joined}{LINE_END}" if people else ""


def _person(person: Any) -> str:
    address = line(member(person, "emailAddress", "address"))
    name = line(member(person, "emailAddress", "name"))
    user, _, host = address.rpartition("@")
    if not host.isascii():
        try:
            address = f"{user}@{host.encode('idna').decode()}"
        except UnicodeError:
            address = ""
    if is_smtp(address) and address.isascii():
        return formataddr((name if name != address else "", address))
    if not (name or address):
        return ""
    # "Name <x@example.com>" without the address is the shortest form of a mailbox in quotes.
    shown = formataddr((name or address, "x")).removesuffix(" <x>")
    return f"{shown}:;"


def _write_body(content: EmailMessage, message: Members, attachments: Sequence[Attachment]) -> None:
    body = message.get("body")
    words = text(member(body, "content")).encode("utf-8", "replace").decode()
    html = text(member(body, "contentType")).lower() == "html"
    content.set_content(words, subtype="html" if html else "plain")
    for one in attachments:
        if _is_shown(one, message):
            kind, _, subtype = _carried(one.media_type).partition("/")
            content.add_related(
                one.content or b"",
                maintype=kind,
                subtype=subtype,
                cid=f"<{one.content_id}>",
                filename=one.name,
                disposition="inline",
            )
    if (request := _meeting_request(message)) is not None:
        component = event_component(request)
        calendar = b"".join(calendar_chunks([component], method="REQUEST")).decode()
        content.add_alternative(calendar, subtype="calendar", params={"method": "REQUEST"})


def _is_shown(one: Attachment, message: Members) -> bool:
    """Whether the HTML shows it; what Graph says of `isInline` alone is not enough to hide an attachment."""
    content_id = one.content_id
    if not content_id or one.content is None or not content_id.isascii() or " " in content_id:
        return False
    return f"cid:{content_id}" in text(member(message, "body", "content"))


def _meeting_request(message: Members) -> Members | None:
    if not text(message.get("@odata.type")).endswith("eventMessageRequest"):
        return None  # answers, cancellations and shared calendars are no requests
    event = message.get("event")
    if isinstance(event, dict):
        return event
    if message.get("startDateTime") is None:
        return None
    names = ("subject", "body", "isAllDay", "recurrence", "location", "createdDateTime")
    return {
        **{name: message.get(name) for name in (*names, "lastModifiedDateTime")},
        "id": message.get("internetMessageId") or message.get("id"),
        "start": message.get("startDateTime"),
        "end": message.get("endDateTime"),
        "organizer": message.get("from"),
        "attendees": [
            *({**one, "type": "required"} for one in entries(message.get("toRecipients"))),
            *({**one, "type": "optional"} for one in entries(message.get("ccRecipients"))),
        ],
    }


def rendered_item(one: Attachment, depth: int = 0) -> Attachment:
    """
    An attached item that came as JSON alone, as a file; any other attachment as it is.

    Args:
        depth: in how many messages it is attached.
    """
    if one.content is not None or one.item is None or depth > ITEM_DEPTH_MAX:
        return one
    kind = text(one.item.get("@odata.type")).rpartition(".")[2].lower()
    inner = listed_attachments({"value": one.item.get("attachments")})
    if kind == "event":
        content = b"".join(calendar_chunks([event_component(one.item, inner)]))
        return _as_file(one, content, "text/calendar", ".ics")
    if kind == "contact":
        return _as_file(one, vcard(one.item), "text/vcard", ".vcf")
    if kind in MESSAGES:
        return _as_file(one, rebuilt_mime(one.item, inner, depth), "message/rfc822", ".eml")
    return one


def _as_file(one: Attachment, content: bytes, media_type: str, ending: str) -> Attachment:
    return replace(one, name=one.name + ending, media_type=media_type, content=content)


def _attach(content: EmailMessage, given: Attachment, depth: int) -> bool:
    """Whether there was something to attach."""
    one = rendered_item(given, depth + 1)
    if one.content is not None and one.item is not None and one.media_type == "message/rfc822":
        message = BytesParser(policy=POLICY).parsebytes(one.content)
        content.add_attachment(message, filename=one.name)
    elif one.content is not None:
        kind, _, subtype = _carried(one.media_type).partition("/")
        content.add_attachment(one.content, maintype=kind, subtype=subtype, filename=one.name)
    elif one.link:
        shortcut = f"[InternetShortcut]\r\nURL={one.link}\r\n".encode()
        content.add_attachment(
            shortcut, maintype="application", subtype="octet-stream", filename=one.name + ".url"
        )
    else:
        return False
    return True


def _carried(media_type: str) -> str:
    """The type, if bytes of it may travel in base64: other messages and multiparts may not."""
    return OTHER_TYPE if media_type.startswith(("message/", "multipart/")) else media_type
