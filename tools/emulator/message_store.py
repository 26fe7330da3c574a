"""
Changes to messages as clients write them: content becomes properties, and MIME is composed anew.

Neighbours: `message_input` checks what is asked, `mailbox` keeps messages and their change logs.
"""

from typing import Any

from tools.emulator import extended, naming
from tools.emulator.attachment_json import attachments
from tools.emulator.blob import Blob, BytesBlob, ComposedBlob
from tools.emulator.mail_json import MessageReading, View
from tools.emulator.mailbox import Folder, Mailbox
from tools.emulator.message import Message, MessageAttachment
from tools.emulator.message_input import Written
from tools.emulator.mime_writer import compose

_CONTENT = (
    "subject", "body", "from", "sender", "toRecipients", "ccRecipients", "bccRecipients",
    "replyTo", "internetMessageId", "isReadReceiptRequested", "isDeliveryReceiptRequested",
)  # fmt: skip


class MessageStore:
    """Writes of one client on one mailbox; `now` is in virtual seconds since the epoch."""

    def __init__(self, mailbox: Mailbox, seed: int, domain: str, now: float) -> None:
        self._mailbox = mailbox
        self._seed = seed
        self._domain = domain
        self._now = now

    def create(self, folder: Folder, written: Written) -> Message:
        """A message of properties: a draft, unless the MAPI flags that came with it say no."""
        message = self._mailbox.add(
            folder, BytesBlob(b""), at=self._now, received=self._now, is_draft=True
        )
        message.written = {"internetMessageId": self._message_id(message)}
        message.attached = []
        message.importance = "normal"
        self._set(message, written, new=True)
        self._compose(message)
        return message

    def create_mime(self, folder: Folder, content: bytes) -> Message:
        """A draft of MIME, which it keeps byte for byte."""
        blob = BytesBlob(content)
        return self._mailbox.add(folder, blob, at=self._now, received=self._now, is_draft=True)

    def update(self, message: Message, written: Written) -> None:
        """Change properties; a MIME message whose content changes is composed from then on."""
        if written.content:
            self._absorb(message)
        self._set(message, written)
        if written.content:
            self._compose(message)
        self._mailbox.touch(message, at=self._now)

    def attach(self, message: Message, attachment: MessageAttachment) -> MessageAttachment:
        """Hang an attachment on a message; it gets its number and time."""
        self._absorb(message)
        assert message.attached is not None
        attachment.number = 1 + max((a.number for a in message.attached), default=-1)
        attachment.modified = self._now
        message.attached.append(attachment)
        self._compose(message)
        self._mailbox.touch(message, at=self._now)
        return attachment

    def detach(self, message: Message, number: int) -> None:
        """Take the attachment of that number off a message."""
        self._absorb(message)
        assert message.attached is not None
        message.attached = [a for a in message.attached if a.number != number]
        self._compose(message)
        self._mailbox.touch(message, at=self._now)

    def copy(self, message: Message, folder: Folder) -> Message:
        """A copy of a message in a folder."""
        return self.put(message.state(), folder)

    def put(self, state: dict[str, Any], folder: Folder) -> Message:
        """A new message in a folder with everything that `state` holds of one."""
        made = self._mailbox.add(folder, BytesBlob(b""), at=self._now)
        self.replace(made, state)
        return made

    def replace(self, message: Message, state: dict[str, Any]) -> None:
        """Let a message become what `state` holds of one."""
        is_read = message.is_read
        message.assume(state)
        message.is_read, wanted = is_read, message.is_read
        if message.written is not None:
            self._compose(message)
        self._mailbox.touch(message, at=self._now, is_read=wanted)
        message.modified = state["modified"]

    def _set(self, message: Message, written: Written, *, new: bool = False) -> None:
        other = dict(written.other)
        receipts = {k: other.pop(k) for k in list(other) if k.endswith("ReceiptRequested")}
        if receipts and message.written is None:
            self._absorb(message)
        if message.written is not None:
            message.written |= written.content | receipts
        is_read = other.pop("isRead", None)
        properties = extended.given(other.pop("singleValueExtendedProperties", []))
        if new and extended.FLAGS in properties:
            flags = extended.number(properties[extended.FLAGS])
            message.is_draft = bool(flags & extended.UNSENT)
            is_read = bool(flags & extended.READ) if is_read is None else is_read
        if extended.SUBMIT_TIME in properties:
            message.sent = extended.moment(properties[extended.SUBMIT_TIME])
        if extended.DELIVERY_TIME in properties:
            message.received = extended.moment(properties[extended.DELIVERY_TIME])
        if extended.ITEM_CLASS in properties:
            message.item_class = properties[extended.ITEM_CLASS]
        kept = {n: v for n, v in properties.items() if not extended.is_computed(n)}
        message.extended |= kept
        if is_read is not None:
            self._mailbox.touch(message, at=self._now, is_read=is_read)
        names = {
            "flag": "flag",
            "importance": "importance",
            "inferenceClassification": "classification",
        }
        for name, field in names.items():
            if name in other:
                setattr(message, field, other[name])
        if "categories" in other:
            message.categories = tuple(other["categories"])

    def _absorb(self, message: Message) -> None:
        """Let properties take the place of the MIME."""
        if message.written is not None:
            return
        reading = MessageReading(message, View(immutable=True), self._seed)
        message.attached = attachments(reading)
        message.sent, message.importance = reading.sent(), reading.importance()
        message.written = {name: reading.value(name) for name in _CONTENT}

    def _compose(self, message: Message) -> None:
        message.mime = self._composed(message)

    def _composed(self, message: Message) -> Blob:
        written, attached = dict(message.written or {}), list(message.attached or [])
        sent = message.sent
        if sent is None and not message.is_draft:
            sent = message.received
        importance = message.importance or "normal"
        return ComposedBlob(lambda: compose(written, sent, importance, attached))

    def _message_id(self, message: Message) -> str:
        name = naming.guid(self._seed, "message id", message.key).replace("-", "").upper()
        return f"<{name}@{self._domain}>"
