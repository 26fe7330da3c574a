"""An attachment as converters take it, however it is stored."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from proxy.converters.graph_json import Members, entries, line, member, text

__all__ = ["Attachment", "attachment_of", "listed_attachments", "media_type"]

NAMELESS = "attachment"
OTHER_TYPE = "application/octet-stream"
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+-]{0,60}")


@dataclass(frozen=True, slots=True)
class Attachment:
    """
    One attachment of a message, event or task.

    Attributes:
        name: never empty. media_type: "type/subtype", lower case.
        content: its bytes, which may be none at all (b""); None: they were not kept or are elsewhere.
        link: where a cloud attachment is. content_id: by which HTML shows it, without angle brackets.
        item: members of an attached item of Exchange, where they came as JSON.
        owner: id of the item it belongs to: of a series' exception, not the series'; "" for the item itself.
    """

    name: str
    media_type: str
    content: bytes | None = None
    link: str = ""
    content_id: str = ""
    inline: bool = False
    item: Members | None = None
    owner: str = ""


def attachment_of(members: Members, content: bytes | None, owner: str = "") -> Attachment:
    """
    An attachment by its Graph members.

    Args:
        content: its bytes where they are a part of their own; else `contentBytes` is taken.
    """
    if content is None:
        content = _decoded(members.get("contentBytes"))
    item = members.get("item")
    name, kind = line(members.get("name")) or NAMELESS, media_type(members.get("contentType"))
    if content is not None and text(members.get("@odata.type")).endswith("itemAttachment"):
        kind, ending = _form_of_item(content)
        name += ending
    return Attachment(
        name=name,
        media_type=kind,
        content=content,
        link=line(members.get("sourceUrl")),
        content_id=line(members.get("contentId")).strip("<>"),
        inline=members.get("isInline") is True,
        item=item if isinstance(item, dict) else None,
        owner=owner,
    )


def listed_attachments(listing: Any) -> list[Attachment]:
    """Attachments of a Graph listing that holds their contents."""
    return [attachment_of(members, None) for members in entries(member(listing, "value"))]


def media_type(value: Any) -> str:
    """A media type without parameters; what is none becomes application/octet-stream."""
    found = text(value).partition(";")[0].strip().lower()
    return found if _MEDIA_TYPE.fullmatch(found) else OTHER_TYPE


def _form_of_item(content: bytes) -> tuple[str, str]:
    """In which of three forms the service gave an attached item: it does not say."""
    start = content.lstrip()[:20].upper()
    if start.startswith(b"BEGIN:VCALENDAR"):
        return "text/calendar", ".ics"
    if start.startswith(b"BEGIN:VCARD"):
        return "text/vcard", ".vcf"
    return "message/rfc822", ".eml"


def _decoded(value: Any) -> bytes | None:
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
