"""
The mailboxes of the demo company: which copy of which letter lies in which folder.
"""

import functools
import random

from tools.emulator.blob import BytesBlob, ContentCache, MadeBlob
from tools.emulator.demo.documents import Library
from tools.emulator.demo.files import END, YEARS
from tools.emulator.demo.letters import Letter, compose
from tools.emulator.demo.people import Person
from tools.emulator.mailbox import Folder, Mailbox
from tools.emulator.message import FLAGGED, Message

_UNREAD_SECONDS = 5 * 86_400.0
_SENDERS = ("Daily Deals", "Prize Office", "Cheap Flights", "Your Parcel", "Crypto Weekly")


def prepare(mailbox: Mailbox, person: Person) -> None:
    """Make the folders of one person."""
    begin = END - YEARS
    for project in person.projects:
        mailbox.folder_at(f"Projects/{project}/Suppliers", at=begin)
    mailbox.folder_at("Inbox/Follow up later", at=begin)  # stays empty
    mailbox.folder_at("Reisen & Spesen/Köln", at=begin)  # stays empty
    mailbox.add_folder(mailbox.root, "Unread mail", hidden=True, search=True, at=begin)


def deliver(
    letter: Letter,
    mailboxes: dict[Person, Mailbox],
    library: Library,
    rng: random.Random,
    cache: ContentCache,
) -> list[Message]:
    """Put a copy of the letter into the mailbox of everyone on it."""
    placed = []
    for person in (letter.sender, *letter.to, *letter.cc):
        mailbox = mailboxes[person]
        mine = person is letter.sender
        folder = mailbox.folder("sentitems") if mine else _shelf(mailbox, letter, person, rng)
        blob = MadeBlob(functools.partial(compose, letter, person, library), cache)
        unread = not mine and letter.sent > END - _UNREAD_SECONDS and rng.random() < 0.7
        message = mailbox.add(
            folder, blob, at=letter.sent, received=letter.sent, is_read=not unread
        )
        if rng.random() < 0.04:
            message.flag = FLAGGED
        if rng.random() < 0.06:
            message.categories = (letter.project,)
        placed.append(message)
    return placed


def _shelf(mailbox: Mailbox, letter: Letter, person: Person, rng: random.Random) -> Folder:
    """Where a person keeps a mail they were sent."""
    dice = rng.random()
    if dice < 0.30 and letter.project in person.projects:
        deeper = "/Suppliers" if dice < 0.05 else ""
        return mailbox.folder_at(f"Projects/{letter.project}{deeper}")
    if dice < 0.45 and letter.sent < END - YEARS / 4:
        return mailbox.folder("archive")
    return mailbox.folder("deleteditems" if dice > 0.95 else "inbox")


def add_oddments(mailbox: Mailbox, person: Person, seed: int) -> None:
    """Junk and drafts of one person."""
    rng = random.Random(f"{seed}:oddments:{person.address}")
    for number in range(rng.randint(1, 4)):
        sent = float(int(END - rng.random() * 30 * 86_400))
        text = (
            f"From: {rng.choice(_SENDERS)} <offer{number}@junk.example>\r\n"
            f"To: {person.address}\r\nSubject: You will not believe this price\r\n"
            f"Message-ID: <{rng.randrange(10**12)}@junk.example>\r\n"
            "MIME-Version: 1.0\r\nContent-Type: text/html; charset=us-ascii\r\n\r\n"
            f"<h1>Only today</h1><p>{rng.randint(10, 90)} per cent off.</p>\r\n"
        )
        junk = BytesBlob(text.encode())
        mailbox.add(mailbox.folder("junkemail"), junk, at=sent, received=sent, is_read=False)
    draft = (
        f"From: {person.address}\r\nSubject: (draft) thoughts on {person.projects[0]}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        "Still to be written.\r\n"
    )
    mailbox.add(
        mailbox.folder("drafts"), BytesBlob(draft.encode()), at=END, received=END, is_draft=True
    )
