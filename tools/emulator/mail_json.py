"""
Messages, folders and attachments as Graph writes them in JSON.

Only what is wanted is computed: a listing of ids needs no MIME, one of subjects the header only.
"""

import base64
import dataclasses
import hashlib
import re
from collections.abc import Callable
from typing import Any

from tools.emulator import mime_reader as mime
from tools.emulator import naming
from tools.emulator.clock import iso
from tools.emulator.mailbox import Folder
from tools.emulator.message import Message

ON_REQUEST = frozenset({"internetmessageheaders", "uniquebody"})  # only with $select
_REPLY = re.compile(r"^\s*((re|fw|fwd|aw|wg|sv|vs|antw)\s*(\[\d+\])?\s*:\s*)+", re.I)
_IMPORTANCE = {"high": "high", "urgent": "high", "1": "high", "2": "high", "low": "low", "5": "low"}


# by the method of the calendar part and, in an answer, what was answered
_MEETINGS = {
    ("REQUEST", ""): ("eventMessageRequest", "meetingRequest"),
    ("CANCEL", ""): ("eventMessage", "meetingCancelled"),
    ("REPLY", "ACCEPTED"): ("eventMessageResponse", "meetingAccepted"),
    ("REPLY", "TENTATIVE"): ("eventMessageResponse", "meetingTenativelyAccepted"),
    ("REPLY", "DECLINED"): ("eventMessageResponse", "meetingDeclined"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """How a client wants messages: which id form, and text instead of HTML bodies."""

    immutable: bool = False
    text_body: bool = False


class MessageReading:
    """One message with its header and content parsed at first use."""

    def __init__(self, message: Message, view: View, seed: int) -> None:
        self.message = message
        self.view = view
        self._seed = seed
        self._head: Any = None
        self._content: mime.Content | None = None

    @property
    def key(self) -> str:
        return self.message.key if self.view.immutable else self.message.movable

    @property
    def change_key(self) -> str:
        return naming.change_key(self._seed, self.message.key, self.message.version)

    @property
    def head(self) -> Any:
        if self._head is None:
            self._head = mime.read_head(self.message.mime.head(mime.HEAD_BYTES_MAX))
        return self._head

    @property
    def content(self) -> mime.Content:
        if self._content is None:
            self._content = mime.read_content(self.message.mime.read())
        return self._content

    def meeting(self) -> tuple[str, str] | None:
        """Graph's type of a meeting message and what it says; None for any other message."""
        if b"text/calendar" not in self.message.mime.head(mime.HEAD_BYTES_MAX).lower():
            return None
        text = re.sub(r"\r?\n[ \t]", "", self.content.calendar or "")
        method = re.search(r"^METHOD:(\w+)", text, re.M | re.I)
        answer = re.search(r"PARTSTAT=(\w+)", text, re.I)
        key = (method[1].upper() if method else "", answer[1].upper() if answer else "")
        return _MEETINGS.get(key) or _MEETINGS.get((key[0], ""))

    def value(self, name: str) -> Any:
        """One property by its name: as written, else what the MIME says."""
        written = self.message.written
        if written is not None and name in written and name not in _DERIVED:
            return written[name]
        return _PROPERTIES[name](self)

    def has_attachments(self) -> bool:
        attached = self.message.attached
        found = self.content.attachments if attached is None else attached
        return any(not one.inline for one in found)

    def received(self) -> float:
        if self.message.received is None:
            sent = mime.moment(self.head, "Date")
            self.message.received = self.message.created if sent is None else sent
        return self.message.received

    def sent(self) -> float:
        if self.message.sent is not None:
            return self.message.sent
        sent = mime.moment(self.head, "Date")
        return self.received() if sent is None else sent

    def people(self, name: str) -> list[dict[str, Any]]:
        return [_recipient(*pair) for pair in mime.addresses(self.head, name)]

    def person(self, name: str, other: str) -> dict[str, Any] | None:
        found = self.people(name) or self.people(other)
        return found[0] if found else None

    def conversation(self) -> str:
        refs = mime.header(self.head, "References") or mime.header(self.head, "In-Reply-To") or ""
        first = re.search(r"<[^>]+>", refs)
        own = mime.header(self.head, "Message-ID")
        topic = _REPLY.sub("", mime.header(self.head, "Subject") or "").lower()
        seed = first[0] if first else (own or topic)
        digest = hashlib.blake2b(seed.encode(), digest_size=24).digest()
        return "AAQkAD" + base64.urlsafe_b64encode(digest).decode() + "AA="

    def body(self) -> dict[str, Any]:
        content = self.content
        if content.html is not None and not (self.view.text_body and content.text is not None):
            if self.view.text_body:
                return {"contentType": "text", "content": mime.plain(content.html)}
            return {"contentType": "html", "content": content.html}
        return {"contentType": "text", "content": content.text or ""}

    def importance(self) -> str:
        if self.message.importance is not None:
            return self.message.importance
        for name in ("Importance", "X-Priority", "Priority"):
            if value := mime.header(self.head, name):
                return (
                    _IMPORTANCE.get(value.split()[0].lower(), "normal")
                    if value.split()
                    else "normal"
                )
        return "normal"

    def headers(self) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in mime.all_headers(self.head)]


def _recipient(name: str, address: str) -> dict[str, Any]:
    return {"emailAddress": {"name": name or address, "address": address}}


_PROPERTIES: dict[str, Callable[[MessageReading], Any]] = {
    "createdDateTime": lambda r: iso(r.message.created),
    "lastModifiedDateTime": lambda r: iso(r.message.modified),
    "changeKey": lambda r: r.change_key,
    "categories": lambda r: list(r.message.categories),
    "receivedDateTime": lambda r: iso(r.received()),
    "sentDateTime": lambda r: iso(r.sent()),
    "hasAttachments": lambda r: r.has_attachments(),
    "internetMessageId": lambda r: mime.header(r.head, "Message-ID"),
    "subject": lambda r: mime.header(r.head, "Subject"),
    "bodyPreview": lambda r: mime.preview(r.content),
    "importance": lambda r: r.importance(),
    "parentFolderId": lambda r: r.message.folder.key,
    "conversationId": lambda r: r.conversation(),
    "isDeliveryReceiptRequested": lambda r: None,
    "isReadReceiptRequested": lambda r: (
        mime.header(r.head, "Disposition-Notification-To") is not None
    ),
    "isRead": lambda r: r.message.is_read,
    "isDraft": lambda r: r.message.is_draft,
    "inferenceClassification": lambda r: r.message.classification,
    "body": lambda r: r.body(),
    "uniqueBody": lambda r: r.body(),
    "sender": lambda r: r.person("Sender", "From"),
    "from": lambda r: r.person("From", "Sender"),
    "toRecipients": lambda r: r.people("To"),
    "ccRecipients": lambda r: r.people("Cc"),
    "bccRecipients": lambda r: r.people("Bcc"),
    "replyTo": lambda r: r.people("Reply-To"),
    "flag": lambda r: r.message.flag,
    "internetMessageHeaders": lambda r: r.headers(),
    "webLink": lambda r: f"https://outlook.office365.com/owa/?ItemID={r.message.movable}",
}
_DERIVED = frozenset({"body", "uniqueBody", "internetMessageHeaders"})  # from the composed MIME
_BY_LOWER = {name.lower(): name for name in _PROPERTIES}
_NEEDS_MIME = frozenset(_BY_LOWER) - {
    "createddatetime", "lastmodifieddatetime", "changekey", "categories", "parentfolderid",
    "isread", "isdraft", "inferenceclassification", "flag", "weblink",
}  # fmt: skip


def needs_mime(select: list[str] | None) -> bool:
    """True when answering needs the MIME to be read and parsed."""
    return select is None or not _NEEDS_MIME.isdisjoint(select)


def message_json(reading: MessageReading, select: list[str] | None) -> dict[str, Any]:
    """One message with the selected properties (names in lower case), or with the usual ones."""
    body: dict[str, Any] = {
        "@odata.etag": f'W/"{reading.change_key}"',
        "id": reading.key,
    }
    wanted = [n for n in _BY_LOWER if n not in ON_REQUEST] if select is None else select
    for lower in wanted:
        if name := _BY_LOWER.get(lower):
            body[name] = reading.value(name)
    if needs_mime(select) and (meeting := reading.meeting()) is not None:
        body["@odata.type"] = f"#microsoft.graph.{meeting[0]}"
        if select is None or "meetingmessagetype" in select:
            body["meetingMessageType"] = meeting[1]
    return body


def folder_json(folder: Folder) -> dict[str, Any]:
    """One mail folder."""
    body: dict[str, Any] = {
        "id": folder.key,
        "displayName": folder.name,
        "parentFolderId": folder.parent.key if folder.parent else None,
        "childFolderCount": sum(not child.hidden for child in folder.children.values()),
        "unreadItemCount": folder.unread,
        "totalItemCount": len(folder.messages),
        "isHidden": folder.hidden,
    }
    if folder.search:
        body["@odata.type"] = "#microsoft.graph.mailSearchFolder"
        body["isSupported"] = True
        body["includeNestedFolders"] = True
    return body
