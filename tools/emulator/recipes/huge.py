"""
Recipe `huge`: one mailbox with a million messages of about 1 KB, none of them stored.

`huge:N` has N messages. Most lie in three folders, the rest in 36 smaller ones.
"""

import hashlib
from typing import Any

from tools.emulator.blob import ComposedBlob
from tools.emulator.clock import Clock
from tools.emulator.made_mailbox import MadeMailbox
from tools.emulator.mailbox import Folder
from tools.emulator.message import Message
from tools.emulator.mime_writer import compose
from tools.emulator.tenant import Tenant

MESSAGES = 1_000_000
_SMALL_FOLDERS = 36
_UNREAD_EVERY = 50
FIRST = 1_500_000_000
_SPACING = 120  # seconds from one message to the next
_NAMES = ("Ada", "Boris", "Carmen", "Dilip", "Eun-ji", "Farid", "Greta", "Hugo")
_TOPICS = ("Delivery", "Budget", "Visit", "Drawing", "Contract", "Report", "Training", "Audit")
_SENTENCES = (
    "The parts arrived this morning and were checked.", "Please send the figures of last week.",
    "We meet on Thursday at ten in the small room.", "The customer asks for another sample.",
    "I attach nothing this time, all of it is below.", "The line stood still for two hours.",
    "Nobody has answered yet, so I ask once more.", "The price holds until the end of the month.",
    "Thank you for the quick help with the machine.", "The second test went as we had hoped.",
    "There is a change in the drawing of the housing.", "Let us talk about it when you are back.",
    "The invoice was paid, please close the matter.", "The new supplier is cheaper and slower.",
    "I have put the minutes where you can find them.", "The visitors stay until Friday evening.",
)  # fmt: skip


def build(seed: int, clock: Clock, messages: int = MESSAGES) -> Tenant:
    """The tenant with `messages` messages in its one mailbox."""
    tenant = Tenant(seed, "Huge Organisation", "huge", clock)
    upn = f"archive@{tenant.domain}"
    profile = {
        "displayName": "Archive", "mail": upn, "accountEnabled": True, "userType": "Member",
    }  # fmt: skip
    user = tenant.add_user(upn, profile, mail=True, files=False, at=float(FIRST))

    def make(number: int, folder: Folder) -> Message:
        return make_message(seed, number, folder)

    mailbox = MadeMailbox(seed, user.key, make)
    user.mailbox = mailbox
    places = [mailbox.folder(name) for name in ("inbox", "archive", "sentitems")]
    shares = [messages * part // 100 for part in (40, 30, 20)]
    for number in range(_SMALL_FOLDERS):
        places.append(mailbox.folder_at(f"Projects/{2000 + number}", at=float(FIRST)))
    rest = messages - sum(shares)
    for number in range(_SMALL_FOLDERS):
        shares.append(rest * (number + 1) // _SMALL_FOLDERS - rest * number // _SMALL_FOLDERS)
    for folder, count in zip(places, shares, strict=True):
        fill(mailbox, folder, count)
    return tenant


def fill(mailbox: MadeMailbox, folder: Folder, count: int) -> None:
    """Let an empty folder have the next `count` messages of `make_message`."""
    begun = mailbox.total
    unread = -(-(begun + count) // _UNREAD_EVERY) - -(-begun // _UNREAD_EVERY)
    mailbox.fill(folder, count, unread)


def make_message(seed: object, number: int, folder: Folder) -> Message:
    """The message of a number; every 50th is not read."""
    dice = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=20).digest()
    sent = float(FIRST + number * _SPACING)
    sender, receiver = (_person(_NAMES[byte % 8]) for byte in dice[:2])
    topic = _TOPICS[dice[2] % 8]
    text = "\r\n".join(_SENTENCES[byte % 16] for byte in dice[4:16])
    written: dict[str, Any] = {
        "subject": f"{topic} {number}",
        "body": {"contentType": "text", "content": f"{text}\r\n{dice.hex()}\r\n"},
        "from": sender,
        "sender": sender,
        "toRecipients": [receiver],
        "ccRecipients": [],
        "bccRecipients": [],
        "replyTo": [],
        "internetMessageId": f"<{number}.{dice[:6].hex()}@huge.example>",
        "conversationId": f"AAQkAD{topic}{number // 7:012d}AA=",
        "isReadReceiptRequested": False,
        "isDeliveryReceiptRequested": None,
    }
    mime = ComposedBlob(lambda: compose(written, sent, "normal", ()))
    message = Message("", "", folder, mime, sent, sent, sent, number % _UNREAD_EVERY != 0)
    message.sent, message.importance = sent, "normal"
    message.written, message.attached = written, []
    return message


def _person(name: str) -> dict[str, Any]:
    return {"emailAddress": {"name": name, "address": f"{name.lower()}@huge.example"}}
