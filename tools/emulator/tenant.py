"""
A tenant: its users with their mailboxes and drives, and every change that tests make to it.

Recipes and content folders fill it; the methods below are also what the control listener calls.
"""

import dataclasses
from typing import Any, Literal

from tools.emulator import naming
from tools.emulator.blob import Blob, BytesBlob, ContentCache
from tools.emulator.changelog import ChangeLog, Generations
from tools.emulator.clock import Clock
from tools.emulator.drive import Drive, Item
from tools.emulator.errors import GraphError, no_user
from tools.emulator.mailbox import Mailbox
from tools.emulator.message import Message
from tools.emulator.outbox import SentMail
from tools.emulator.records import RecordStore

Kind = Literal["calendar", "contacts", "tasks"]


@dataclasses.dataclass(slots=True, eq=False)
class User:
    """One person; `profile` holds what Graph's user resource says of them."""

    key: str
    upn: str
    profile: dict[str, Any]
    mailbox: Mailbox | None = None
    drive: Drive | None = None

    @property
    def names(self) -> frozenset[str]:
        """What fault scripts may call it, in lower case."""
        return frozenset((self.key.lower(), self.upn.lower()))

    @property
    def mail_address(self) -> dict[str, Any]:
        """Name and address as an `emailAddress` of Graph."""
        return {"name": self.profile.get("displayName") or self.upn, "address": self.upn}


@dataclasses.dataclass(frozen=True, slots=True)
class Failing:
    """An item whose reads, or reads of its content only, fail for ever."""

    item: str
    status: int
    code: str
    content_only: bool


class Tenant:
    """
    Everything the emulated organisation has.

    `failing` items, users `denied` to the app and `rules` of a fault script are in force from the
    start of the emulator on.
    """

    def __init__(self, seed: int, name: str, slug: str, clock: Clock) -> None:
        self.seed = seed
        self.name = name
        self.slug = slug
        self.clock = clock
        self.key = naming.guid(seed, "tenant", slug)
        self.domain = f"{slug}.onmicrosoft.com"
        self.cache = ContentCache()
        self.users: dict[str, User] = {}
        self.outbox: list[SentMail] = []
        self.groups: dict[str, Any] = {}  # see `groups`
        self.failing: list[Failing] = []
        self.denied: list[str] = []
        self.rules: list[dict[str, Any]] = []
        self.user_log: ChangeLog[str] = ChangeLog()
        self.user_generations = Generations(keep=1 << 30)  # directory tokens die by age
        self._names: dict[str, User] = {}
        self._drives: dict[str, User] = {}

    # people

    def add_user(
        self, upn: str, profile: dict[str, Any], *, mail: bool, files: bool, at: float
    ) -> User:
        """Add a user with an empty mailbox and an empty drive where wanted."""
        key = naming.guid(self.seed, "user", self.slug, upn)
        user = User(key, upn, profile)
        if mail:
            user.mailbox = Mailbox(self.seed, key)
        if files:
            user.drive = Drive(self.seed, key, at)
            self._drives[user.drive.key] = user
        self.users[key] = self._names[key] = self._names[upn.lower()] = user
        self.user_log.record(key, at=at)
        return user

    def remove_user(self, user: str) -> None:
        """Delete a user with mailbox and drive."""
        gone = self.user(user)
        del self.users[gone.key], self._names[gone.key], self._names[gone.upn.lower()]
        if gone.drive:
            del self._drives[gone.drive.key]
        self.user_log.record(gone.key, present=False, at=self.clock.now())

    def user(self, key: str) -> User:
        """The user with this id or principal name; 404 when there is none."""
        found = self._names.get(key.lower())
        if found is None:
            raise no_user(key)
        return found

    def mailbox_id(self, user: User) -> str:
        """The id of a user's mailbox in the import/export API."""
        return f"MBX:{naming.guid(self.seed, 'mailbox', user.key)}@{self.key}"

    def mailbox_owner(self, mailbox: str) -> User:
        """The user whose mailbox has this id; 404 when there is none."""
        for user in self.users.values():
            if user.mailbox is not None and self.mailbox_id(user).lower() == mailbox.lower():
                return user
        raise GraphError(404, "ErrorMailboxNotFound", "The mailbox was not found.")

    def drive_owner(self, key: str) -> User | None:
        """The user whose drive has this id."""
        return self._drives.get(key)

    def mailbox(self, user: str) -> Mailbox:
        """The mailbox of a user; ValueError when the user has none."""
        mailbox = self.user(user).mailbox
        if mailbox is None:
            raise ValueError(f"{user} has no mailbox")
        return mailbox

    def drive(self, user: str) -> Drive:
        """The drive of a user; ValueError when the user has none."""
        drive = self.user(user).drive
        if drive is None:
            raise ValueError(f"{user} has no drive")
        return drive

    def records(self, user: str, workload: Kind) -> RecordStore[Any]:
        """The calendars, contacts or tasks of a user."""
        mailbox = self.mailbox(user)
        stores: dict[Kind, RecordStore[Any]] = {
            "calendar": mailbox.calendars,
            "contacts": mailbox.contacts,
            "tasks": mailbox.tasks,
        }
        if workload not in stores:
            raise ValueError(f"no such workload: {workload}")
        return stores[workload]

    # changes to mail

    def add_message(
        self, user: str, folder: str, content: bytes | Blob, *, is_read: bool = False
    ) -> Message:
        """Deliver a MIME message to the folder at a path of display names, made when missing."""
        mailbox, now = self.mailbox(user), self.clock.now()
        blob = BytesBlob(content) if isinstance(content, bytes) else content
        place = mailbox.folder_at(folder, at=now)
        return mailbox.add(place, blob, at=now, received=now, is_read=is_read)

    def delete_message(self, user: str, message: str) -> None:
        """Delete a message for good."""
        mailbox = self.mailbox(user)
        mailbox.remove(mailbox.message(message), at=self.clock.now())

    def move_message(self, user: str, message: str, folder: str) -> Message:
        """Move a message to the folder at a path, made when missing."""
        mailbox, now = self.mailbox(user), self.clock.now()
        moved = mailbox.message(message)
        mailbox.move(moved, mailbox.folder_at(folder, at=now), at=now)
        return moved

    def mark_read(self, user: str, message: str, *, is_read: bool = True) -> None:
        """Set the read state of a message."""
        mailbox = self.mailbox(user)
        mailbox.touch(mailbox.message(message), at=self.clock.now(), is_read=is_read)

    def add_mail_folder(self, user: str, folder: str) -> str:
        """Make the folder at a path of display names; returns its id."""
        return self.mailbox(user).folder_at(folder, at=self.clock.now()).key

    def delete_mail_folder(self, user: str, folder: str) -> None:
        """Delete the folder at a path with everything in it."""
        mailbox, now = self.mailbox(user), self.clock.now()
        mailbox.remove_folder(mailbox.folder_at(folder, at=now), at=now)

    def rename_mail_folder(self, user: str, folder: str, name: str) -> None:
        """Give the folder at a path another display name."""
        mailbox, now = self.mailbox(user), self.clock.now()
        mailbox.rename_folder(mailbox.folder_at(folder, at=now), name, at=now)

    # changes to files

    def put_file(
        self, user: str, path: str, content: bytes | Blob, *, modified: float | None = None
    ) -> Item:
        """Write a file, new or over the old one; `modified` in seconds since the epoch."""
        blob = BytesBlob(content) if isinstance(content, bytes) else content
        at = self.clock.now() if modified is None else modified
        return self.drive(user).put(path, blob, at=at)

    def delete_file(self, user: str, path: str) -> None:
        """Delete the file or folder at a path."""
        drive = self.drive(user)
        drive.remove(drive.find(path), at=self.clock.now())

    def move_file(self, user: str, path: str, target: str) -> Item:
        """Move or rename the file or folder at `path` to `target`."""
        drive = self.drive(user)
        item = drive.find(path)
        drive.move(item, target, at=self.clock.now())
        return item

    def add_drive_folder(self, user: str, path: str) -> Item:
        """Make the folder at a path."""
        return self.drive(user).add_folder(path, at=self.clock.now())

    # sync states

    def kill_delta_tokens(self, user: str | None = None) -> None:
        """Forget all sync states handed out, of one user or of everything."""
        for each in [self.user(user)] if user else list(self.users.values()):
            if each.mailbox:
                each.mailbox.folder_generations.kill()
                for folder in each.mailbox.folders.values():
                    folder.generations.kill()
                for generations in each.mailbox.item_generations.values():
                    generations.kill()
                each.mailbox.calendars.kill_delta_tokens()
                each.mailbox.contacts.kill_delta_tokens()
                each.mailbox.tasks.kill_delta_tokens()
            if each.drive:
                each.drive.generations.kill()
        if user is None:
            self.user_generations.kill()
