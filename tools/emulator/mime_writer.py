"""
MIME composed of what Graph's JSON says of a message: the same bytes for the same content.
"""

import email.parser
import email.policy
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.encoders import encode_base64
from email.header import Header
from email.message import Message as Part
from email.mime.base import MIMEBase
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime, formataddr
from typing import Any

from tools.emulator.message import MessageAttachment

_PEOPLE = (
    ("To", "toRecipients"),
    ("Cc", "ccRecipients"),
    ("Bcc", "bccRecipients"),
    ("Reply-To", "replyTo"),
)


def compose(
    written: Mapping[str, Any],
    sent: float | None,
    importance: str,
    attached: Sequence[MessageAttachment],
) -> bytes:
    """
    The message as RFC 822 text with CRLF line ends.

    Args:
        written: content properties in Graph's names.
        sent: seconds since the epoch, None for a draft that was never sent.
        importance: `low`, `normal` or `high`.
        attached: its attachments; links are left out, as MIME has no form for them.
    """
    body = written.get("body") or {}
    subtype = "html" if str(body.get("contentType", "")).lower() == "html" else "plain"
    text = MIMEText(str(body.get("content") or ""), subtype, "utf-8")
    parts = [a for a in attached if a.kind != "reference"]
    seed = repr((sorted(written.items()), [(a.name, a.content.sha256) for a in parts]))
    boundary = f"_000_{hashlib.sha256(seed.encode()).hexdigest()[:32]}_"
    root: Part = text
    if parts:
        root = MIMEMultipart("mixed", boundary=boundary)
        root.attach(text)
        for attachment in parts:
            root.attach(_part(attachment))
    for name, value in _headers(written, sent, importance):
        root[name] = value  # a Header where it may need encoding
    return root.as_bytes(policy=email.policy.compat32.clone(linesep="\r\n"))


def _headers(
    written: Mapping[str, Any], sent: float | None, importance: str
) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    people = [("From", [written["from"]] if written.get("from") else [])]
    sender = written.get("sender")
    if sender and sender != written.get("from"):
        people.append(("Sender", [sender]))
    people += [(name, written.get(member) or []) for name, member in _PEOPLE]
    for name, entries in people:
        if entries:
            found.append((name, ", ".join(_address(entry) for entry in entries)))
    found.append(("Subject", Header(str(written.get("subject") or ""), "utf-8")))
    if sent is not None:
        found.append(("Date", format_datetime(datetime.fromtimestamp(sent, UTC))))
    if written.get("internetMessageId"):
        found.append(("Message-ID", str(written["internetMessageId"])))
    if importance != "normal":
        found.append(("Importance", importance))
    for header in written.get("internetMessageHeaders") or []:
        found.append((str(header["name"]), Header(str(header["value"]), "utf-8")))
    return found


def _address(entry: Mapping[str, Any]) -> str:
    person = entry.get("emailAddress") or {}
    name, address = str(person.get("name") or ""), str(person.get("address") or "")
    plain = address.encode("ascii", "replace").decode()  # the library refuses anything else
    return formataddr(("" if name == address else name, plain))


def _part(attachment: MessageAttachment) -> Part:
    content = attachment.content.read()
    part: Part
    if attachment.kind == "item" and content:
        parser = email.parser.BytesParser(policy=email.policy.compat32)
        part = MIMEMessage(parser.parsebytes(content))
    else:
        main, _, sub = (attachment.content_type or "application/octet-stream").partition("/")
        part = MIMEBase(main, sub or "octet-stream")
        part.set_payload(content)
        encode_base64(part)
    kind = "inline" if attachment.inline else "attachment"
    part.add_header("Content-Disposition", kind, filename=("utf-8", "", attachment.name))
    if attachment.content_id:
        part["Content-ID"] = f"<{attachment.content_id}>"
    return part
