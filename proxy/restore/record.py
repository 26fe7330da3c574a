"""What restores of events, contacts and tasks share: stored members, and attachments by what they hang on."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import msgspec

from engine.catalog import Row
from engine.errors import NotFound
from proxy.restore.contents import Contents
from proxy.restore.mime_content import as_item, read_mime
from proxy.restore.new_attachment import NewAttachment, taken_back
from proxy.restore.stored_json import decoded

__all__ = ["stored_attachments", "stored_members", "writable"]

LINK_MEMBERS = ("sourceUrl", "providerType", "permission", "isFolder", "contentType")


class _Entry(msgspec.Struct):
    """An entry of the part `attachments` (docs/workloads.md)."""

    of: str
    content: str | None
    members: dict[str, Any]


_ENTRIES = msgspec.json.Decoder(list[_Entry])


async def stored_members(contents: Contents, row: Row) -> dict[str, Any]:
    """
    All members of an item, those that the row holds included.

    Raises:
        NotFound(item-empty): the row has no JSON.
    """
    stored = await contents.part(row, "json")
    if stored is None:
        raise NotFound("The item has no content.", code="item-empty")
    members, meta = decoded(stored), decoded(row.meta)
    return members | {name: meta[name] for name in ("categories",) if name in meta}


def writable(members: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Of `names` what the item has; Graph takes null for nothing, so it is left out."""
    return {name: members[name] for name in names if members.get(name) is not None}


async def stored_attachments(contents: Contents, row: Row) -> dict[str, list[NewAttachment]]:
    """Attachments by the id of the item that they hang on; those whose bytes could not be read are left out."""
    listing = await contents.part(row, "attachments")
    found: dict[str, list[NewAttachment]] = defaultdict(list)
    for entry in _ENTRIES.decode(listing) if listing else ():
        content = await contents.part(row, entry.content) if entry.content else None
        attachment = _attachment(entry.members, content)
        if attachment is not None:
            found[entry.of].append(attachment)
    return dict(found)


def _attachment(members: dict[str, Any], content: bytes | None) -> NewAttachment | None:
    kind = str(members.get("@odata.type", "")).rpartition(".")[2]
    name = str(members.get("name") or "attachment")
    inline = bool(members.get("isInline"))
    if kind == "referenceAttachment":
        link = {n: members[n] for n in LINK_MEMBERS if members.get(n) is not None}
        return NewAttachment(name, inline=inline, reference=link)
    item = members.get("item")
    whole = isinstance(item, dict) and not (item.get("hasAttachments") and content is not None)
    if kind == "itemAttachment" and isinstance(item, dict) and whole:
        return NewAttachment(name, inline=inline, item=taken_back(item))
    if content is None:
        return None
    if kind == "itemAttachment":
        return _item(name, content)
    content_type = str(members.get("contentType") or "application/octet-stream")
    identifier = str(members.get("contentId") or "")
    return NewAttachment(name, content_type, content, inline, identifier)


def _item(name: str, content: bytes) -> NewAttachment:
    """An item is stored as MIME, iCalendar or vCard; only a plain message can be an item again."""
    begin = content[:20].lstrip().upper()
    for mark, content_type, ending in (
        (b"BEGIN:VCALENDAR", "text/calendar", ".ics"),
        (b"BEGIN:VCARD", "text/vcard", ".vcf"),
    ):
        if begin.startswith(mark):
            return NewAttachment(name + ending, content_type, content)
    message = read_mime(content)
    if message.attachments:
        return NewAttachment(name + ".eml", "message/rfc822", content)
    return NewAttachment(name, item=as_item(message))
