"""A message without MIME, kept as Graph JSON, made into MIME again as well as that goes."""

import base64
import binascii
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr
from typing import Any

import msgspec

__all__ = ["eml_from_json"]

NOTE = "the service could not render this message as MIME; rebuilt from its properties"
PEOPLE = (
    ("From", "from"),
    ("Sender", "sender"),
    ("To", "toRecipients"),
    ("Cc", "ccRecipients"),
    ("Bcc", "bccRecipients"),
    ("Reply-To", "replyTo"),
)


def eml_from_json(message: bytes, attachments: bytes | None = None) -> bytes:
    """
    MIME of a message that is stored as JSON with its body.

    Args:
        message: the `json` part. attachments: the `attachments` part, a Graph listing with contents.
    """
    members: dict[str, Any] = msgspec.json.decode(message)
    made = EmailMessage(policy=SMTP)
    for header, member in PEOPLE:
        text = ", ".join(_people(members.get(member)))
        if text and not (header == "Sender" and members.get("from") == members.get("sender")):
            made[header] = text
    made["Subject"] = _line(members.get("subject"))
    made["Date"] = _date(members.get("sentDateTime") or members.get("receivedDateTime"))
    if identifier := _line(members.get("internetMessageId")):
        made["Message-ID"] = identifier
    made["X-Strongroom-Note"] = NOTE
    body = members.get("body") or {}
    subtype = "html" if str(body.get("contentType", "")).lower() == "html" else "plain"
    made.set_content(str(body.get("content") or ""), subtype=subtype)
    for entry in _attachments(attachments):
        _attach(made, entry)
    return made.as_bytes()


def _attach(made: EmailMessage, entry: dict[str, Any]) -> None:
    try:
        content = base64.b64decode(str(entry.get("contentBytes") or ""), validate=True)
    except (binascii.Error, ValueError):
        return
    main, _, sub = _line(entry.get("contentType")).partition("/")
    if not (main.isascii() and sub.isascii() and main.isalnum() and sub):
        main, sub = "application", "octet-stream"
    if main in ("message", "multipart"):
        main, sub = "application", "octet-stream"  # these cannot be carried in base64
    made.add_attachment(
        content, maintype=main, subtype=sub, filename=_line(entry.get("name")) or "attachment"
    )


def _attachments(listing: bytes | None) -> list[dict[str, Any]]:
    if listing is None:
        return []
    value = msgspec.json.decode(listing).get("value") or []
    return [entry for entry in value if isinstance(entry, dict) and entry.get("contentBytes")]


def _people(value: Any) -> list[str]:
    entries = value if isinstance(value, list) else [value]
    found = []
    for entry in entries:
        person = entry.get("emailAddress") if isinstance(entry, dict) else None
        if isinstance(person, dict):
            address = _line(person.get("address"))
            if address.isascii() and "@" in address:
                found.append(formataddr((_line(person.get("name")), address)))
    return found


def _line(value: Any) -> str:
    return " ".join(str(value or "").encode("utf-8", "replace").decode().split())


def _date(text: Any) -> str:
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        moment = datetime.fromtimestamp(0, UTC)
    return format_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
