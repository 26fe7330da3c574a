"""One item of a restore point, read for people: its members as Graph gave them, its attachments, its parts."""

import json
from collections.abc import Iterator

import msgspec

from engine.catalog import Row
from engine.errors import Corruption, UsageError
from engine.parts import Part
from proxy.converters.attachment import Attachment, attachment_of, listed_attachments
from proxy.converters.graph_json import Members, decoded, entries, text
from proxy.workloads.members import Members as RawMembers
from proxy.workloads.members import decode_members, encode_members
from repository import Repository

__all__ = ["CONVERTED_BYTES_MAX", "StoredItem"]

CONVERTED_BYTES_MAX = 256 << 20  # of one item that is held in memory to be written in another form
# Members that the row holds, as `proxy.workloads` left them out of the stored JSON.
VOLATILE = ("@odata.etag", "changeKey", "isRead", "categories", "flag")
PLACE = "parentFolderId"
PLACED = frozenset({"message", "contact"})


class StoredItem:
    """Reads on demand; nothing is kept."""

    def __init__(self, repository: Repository, row: Row) -> None:
        self._repository = repository
        self.row = row

    def part(self, role: str) -> Part | None:
        """The part of a role."""
        return next((part for part in self.row.parts if part.role == role), None)

    def chunks(self, part: Part) -> Iterator[bytes]:
        """Its bytes, however many."""
        return self._repository.read(part)

    def content(self, part: Part) -> bytes:
        """
        Its bytes in one piece.

        Raises:
            UsageError: they are more than CONVERTED_BYTES_MAX.
        """
        if part.size > CONVERTED_BYTES_MAX:
            raise UsageError(
                f"The item is larger than {CONVERTED_BYTES_MAX >> 20} MiB and cannot be written in this format; "
                "export it as native or json.",
                code="item-too-large",
            )
        return self._repository.read_all(part)

    def document(self) -> bytes:
        """
        One JSON object: the members as the service gave them, each value exactly, those that live in the row too.
        """
        part = self.part("json")
        meta = _raw(self.row.meta)
        if part is None:
            return self.row.meta
        members = _raw(self.content(part))
        members |= {name: meta[name] for name in VOLATILE if name in meta}
        if self.row.kind in PLACED:
            container = self.row.container.decode("utf-8", "replace")
            members[PLACE] = msgspec.Raw(msgspec.json.encode(container))
        return encode_members(members)

    def members(self) -> Members:
        """
        The same, decoded.

        Raises:
            Corruption: it is no JSON object.
        """
        try:
            return decoded(self.document())
        except ValueError as error:
            raise _unreadable() from error

    def attachments(self) -> list[Attachment]:
        """All of them with their bytes: of a listing with contents, or with parts of their own."""
        part = self.part("attachments")
        if part is None:
            return []
        listing = self.attachment_listing()
        if isinstance(listing, dict):
            return listed_attachments(listing)
        found = []
        room = CONVERTED_BYTES_MAX
        for entry in entries(listing):
            own = self.part(text(entry.get("content")))
            room -= own.size if own is not None else 0
            content = self.content(own) if own is not None and room >= 0 else None
            members = entry.get("members")
            given = members if isinstance(members, dict) else {}
            found.append(attachment_of(given, content, text(entry.get("of"))))
        return found

    def attachment_listing(self) -> object:
        """The part `attachments`, decoded; None without one."""
        part = self.part("attachments")
        if part is None:
            return None
        try:
            return json.loads(self.content(part).decode("utf-8", "replace"), strict=False)
        except ValueError as error:
            raise _unreadable() from error


def _raw(data: bytes) -> RawMembers:
    try:
        return decode_members(data)
    except msgspec.DecodeError:
        pass
    try:
        members = decoded(data)
    except ValueError as error:
        raise _unreadable() from error
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()}


def _unreadable() -> Corruption:
    return Corruption("The item's stored members are no JSON.", code="item-unreadable")
