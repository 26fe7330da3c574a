"""An attachment to be made, as Graph takes it. Pure."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from proxy.restore.stored_json import decoded

__all__ = ["NewAttachment", "from_listing", "taken_back"]

KINDS = {
    "#microsoft.graph.itemattachment": "item",
    "#microsoft.graph.referenceattachment": "reference",
}
# What Graph gives out of an item inside an attachment and does not take back (graph-lessons 96, 105).
NOT_TAKEN = frozenset(
    {
        "id", "changeKey", "createdDateTime", "lastModifiedDateTime", "receivedDateTime",
        "sentDateTime", "hasAttachments", "parentFolderId", "isDraft", "isRead", "webLink",
        "internetMessageHeaders", "conversationId", "conversationIndex", "uniqueBody",
        "bodyPreview", "attachments", "isOrganizer", "iCalUId", "uid", "transactionId",
    }
)  # fmt: skip
NAMELESS = "attachment"
TYPE = "@odata.type"


@dataclass(frozen=True, slots=True)
class NewAttachment:
    """A file; or an item (a message in a message) or a link, whose members are as Graph takes them."""

    name: str
    content_type: str = ""
    content: bytes = b""
    inline: bool = False
    content_id: str = ""
    item: dict[str, Any] | None = None
    reference: dict[str, Any] | None = None

    @property
    def is_file(self) -> bool:
        """Whether it is bytes, which may go by an upload session."""
        return self.item is None and self.reference is None

    @property
    def likeness(self) -> tuple[str, bool]:
        """What tells it from the others of its item."""
        return (self.name, self.inline)

    def members(self) -> dict[str, Any]:
        """As Graph takes it."""
        made: dict[str, Any] = {"name": self.name, "isInline": self.inline}
        if self.reference is not None:
            return {**self.reference, **made, "@odata.type": "#microsoft.graph.referenceAttachment"}
        if self.item is not None:
            return {**made, "@odata.type": "#microsoft.graph.itemAttachment", "item": self.item}
        made |= {
            "@odata.type": "#microsoft.graph.fileAttachment",
            "contentType": self.content_type,
            "contentBytes": base64.b64encode(self.content).decode(),
        }
        return made | ({"contentId": self.content_id} if self.content_id else {})


def taken_back(item: dict[str, Any]) -> dict[str, Any]:
    """An item inside an attachment as Graph takes it back."""
    return {
        name: value
        for name, value in item.items()
        if name not in NOT_TAKEN and value is not None and (name == TYPE or "@" not in name)
    }


def from_listing(listing: bytes | None) -> list[NewAttachment]:
    """What an `attachments` part (a listing of Graph with contents) holds; what has no content is left out."""
    value = decoded(listing).get("value") if listing else None
    found = (_one(entry) for entry in value or () if isinstance(entry, dict))
    return [one for one in found if one is not None]


def _one(entry: dict[str, Any]) -> NewAttachment | None:
    kind = KINDS.get(str(entry.get("@odata.type", "")).lower(), "file")
    name = str(entry.get("name") or NAMELESS)
    inline = bool(entry.get("isInline"))
    if kind == "reference":
        kept = {k: v for k, v in entry.items() if k in ("contentType", "sourceUrl", "providerType")}
        return NewAttachment(name, inline=inline, reference=kept)
    if kind == "item":
        item = entry.get("item")
        if not isinstance(item, dict):
            return None
        return NewAttachment(name, inline=inline, item=taken_back(item))
    try:
        content = base64.b64decode(str(entry.get("contentBytes") or ""), validate=True)
    except (binascii.Error, ValueError):
        return None
    content_type = str(entry.get("contentType") or "application/octet-stream")
    identifier = str(entry.get("contentId") or "")
    return NewAttachment(name, content_type, content, inline, identifier)
