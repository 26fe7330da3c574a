"""
One mailbox: folders, messages and their change logs.

Neighbours: `mail_routes` serves it, `mutation` changes it through the methods here. Every change
goes through a method that records it in the log of the folder, so that delta never misses one.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, MutableMapping

from tools.emulator import naming
from tools.emulator.blob import Blob
from tools.emulator.calendars import CalendarStore
from tools.emulator.changelog import ChangeLog, Generations
from tools.emulator.contacts import ContactStore
from tools.emulator.errors import GraphError, no_mail_item
from tools.emulator.mailbox_settings import MailboxSettings
from tools.emulator.message import Message
from tools.emulator.tasks import TaskStore

ROOT = "msgfolderroot"
DUMPSTER = "recoverableitemsroot"

# well-known name, display name, hidden
WELL_KNOWN = (
    ("inbox", "Inbox", False),
    ("drafts", "Drafts", False),
    ("sentitems", "Sent Items", False),
    ("deleteditems", "Deleted Items", False),
    ("archive", "Archive", False),
    ("junkemail", "Junk Email", False),
    ("outbox", "Outbox", False),
    ("conversationhistory", "Conversation History", True),
)
# below the dumpster, which no listing of folders shows
RECOVERABLE = (
    ("recoverableitemsdeletions", "Deletions"),
    ("recoverableitemspurges", "Purges"),
    ("recoverableitemsversions", "Versions"),
)


@dataclasses.dataclass(slots=True, eq=False)
class Folder:
    """
    A mail folder. `parent` is None for the root of the mailbox only.

    `departed` has the default id that each message which left the folder had in it.
    """

    key: str
    name: str
    parent: "Folder | None"
    well_known: str | None = None
    hidden: bool = False
    search: bool = False
    children: dict[str, "Folder"] = dataclasses.field(default_factory=dict)
    messages: MutableMapping[str, Message] = dataclasses.field(default_factory=dict)
    log: ChangeLog[str] = dataclasses.field(default_factory=ChangeLog)
    generations: Generations = dataclasses.field(default_factory=Generations)
    unread: int = 0
    departed: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def path(self) -> str:
        """Display names from below the root of the mailbox, joined by slashes."""
        if self.parent is None:
            return ""
        above = self.parent.path
        return f"{above}/{self.name}" if above else self.name

    @property
    def recoverable(self) -> bool:
        """True for the dumpster and what is below it."""
        return any(folder.well_known == DUMPSTER for folder in (self, *self.ancestors()))

    def ancestors(self) -> "Iterator[Folder]":
        """The folders above, the nearest first."""
        here = self.parent
        while here is not None:
            yield here
            here = here.parent


class Mailbox:
    """The mail of one user, with calendars, contacts and tasks beside it."""

    def __init__(self, seed: int, owner: str) -> None:
        self._seed = seed
        self.owner = owner
        self.calendars = CalendarStore(seed, owner)
        self.contacts = ContactStore(seed, owner)
        self.tasks = TaskStore(seed, owner)
        self.folders: dict[str, Folder] = {}
        self.folder_log: ChangeLog[str] = ChangeLog()
        self.folder_generations = Generations()
        self._messages: dict[str, Message] = {}
        self._movable: dict[str, str] = {}
        self._made = 0
        self._well_known: dict[str, Folder] = {}
        self.root = self._add_root(ROOT, "Top of Information Store")
        for name, display, hidden in WELL_KNOWN:
            self.add_folder(self.root, display, well_known=name, hidden=hidden)
        dumpster = self._add_root(DUMPSTER, "Recoverable Items")
        for name, display in RECOVERABLE:
            self.add_folder(dumpster, display, well_known=name)
        self.hierarchy_log: ChangeLog[str] = ChangeLog()  # folders of every kind
        for log in (self.folder_log, self.calendars.log, self.contacts.log, self.tasks.log):
            log.join(self.hierarchy_log)
        self.settings = MailboxSettings(seed, owner)
        self.item_generations: dict[str, Generations] = defaultdict(Generations)

    def _add_root(self, well_known: str, name: str) -> Folder:
        key = naming.folder_id(self._seed, self.owner, well_known)
        root = self.folders[key] = self._well_known[well_known] = Folder(
            key, name, None, well_known
        )
        return root

    # folders

    def add_folder(
        self,
        parent: Folder,
        name: str,
        *,
        well_known: str | None = None,
        hidden: bool = False,
        search: bool = False,
        at: float = 0.0,
    ) -> Folder:
        """Make a folder; 409 when `parent` has one of that name."""
        _check_free(parent, name)
        self._made += 1
        key = naming.folder_id(self._seed, self.owner, parent.key, name, self._made)
        folder = Folder(key, name, parent, well_known, hidden, search)
        parent.children[key] = folder
        self.folders[key] = folder
        if well_known:
            self._well_known[well_known] = folder
        if not folder.recoverable:
            self.folder_log.record(key, at=at)
        return folder

    def folder(self, key: str) -> Folder:
        """The folder with this id or well-known name; 404 when there is none."""
        found = self.folders.get(key) or self._well_known.get(key.lower())
        if found is None:
            raise no_mail_item()
        return found

    def folder_at(self, path: str, *, at: float = 0.0) -> Folder:
        """The folder at a path of display names; what is missing is made."""
        here = self.root
        for name in filter(None, path.split("/")):
            same = (c for c in here.children.values() if c.name.lower() == name.lower())
            here = next(same, None) or self.add_folder(here, name, at=at)
        return here

    def rename_folder(self, folder: Folder, name: str, *, at: float) -> None:
        """Give `folder` another display name; 409 when its parent has one of that name."""
        if folder.parent is not None and name.lower() != folder.name.lower():
            _check_free(folder.parent, name)
        folder.name = name
        self.folder_log.record(folder.key, at=at)

    def move_folder(self, folder: Folder, parent: Folder, *, at: float) -> None:
        """Put `folder` with everything in it below `parent`; its id stays."""
        loop = folder is parent or folder in parent.ancestors()
        if folder.parent is None or loop or parent.recoverable:
            raise GraphError(400, "ErrorMoveCopyFailed", "The folder cannot be moved there.")
        if folder.parent is parent:
            return
        _check_free(parent, folder.name)
        del folder.parent.children[folder.key]
        folder.parent = parent
        parent.children[folder.key] = folder
        self.folder_log.record(folder.key, at=at)

    def remove_folder(self, folder: Folder, *, at: float) -> None:
        """Delete a folder with everything in it."""
        for child in list(folder.children.values()):
            self.remove_folder(child, at=at)
        for message in list(folder.messages.values()):
            self.remove(message, at=at)
        if folder.parent is not None:
            del folder.parent.children[folder.key]
        del self.folders[folder.key]
        self.folder_log.record(folder.key, present=False, at=at)

    # messages

    def add(
        self,
        folder: Folder,
        mime: Blob,
        *,
        at: float,
        received: float | None = None,
        is_read: bool = True,
        is_draft: bool = False,
    ) -> Message:
        """Put a new message into `folder`; `at` is its time of creation."""
        self._made += 1
        key = naming.immutable_id(self._seed, self.owner, self._made)
        message = Message(key, "", folder, mime, at, at, received, is_read, is_draft)
        self._messages[key] = message
        self._place(message, folder, at)
        return message

    def message(self, key: str) -> Message:
        """The message with this id of either kind; 404 when there is none."""
        found = self._messages.get(self._movable.get(key, key))
        if found is None:
            raise no_mail_item()
        return found

    def messages(self) -> Iterator[Message]:
        """All messages of the mailbox, oldest id first; not those in the dumpster."""
        return (m for m in self._messages.values() if not m.folder.recoverable)

    def discard(self, message: Message, *, at: float) -> None:
        """Delete as a client does: to the deleted items, from there to the dumpster."""
        bin_folder, here = self.folder("deleteditems"), message.folder
        if here.recoverable:
            self.purge(message, at=at)
        elif here is bin_folder or bin_folder in here.ancestors():
            self.move(message, self.folder("recoverableitemsdeletions"), at=at)
        else:
            self.move(message, bin_folder, at=at)

    def purge(self, message: Message, *, at: float) -> None:
        """Delete so that clients see it no more: to the purges, from there for good."""
        purges = self.folder("recoverableitemspurges")
        if message.folder is purges:
            self.remove(message, at=at)
        else:
            self.move(message, purges, at=at)

    def remove(self, message: Message, *, at: float) -> None:
        """Delete a message for good."""
        self._take(message, at)
        del self._messages[message.key]

    def move(self, message: Message, folder: Folder, *, at: float) -> None:
        """Move a message; its id of the default kind changes."""
        if folder is not message.folder:
            self._take(message, at)
            self._place(message, folder, at)

    def touch(self, message: Message, *, at: float, is_read: bool | None = None) -> None:
        """Note a change of a message's properties."""
        if is_read is not None and is_read != message.is_read:
            message.folder.unread += -1 if is_read else 1
            message.is_read = is_read
        message.version += 1
        message.modified = at
        message.folder.log.record(message.key, at=at)

    def _place(self, message: Message, folder: Folder, at: float) -> None:
        if folder.search:
            raise GraphError(400, "ErrorInvalidRequest", "A search folder holds no items.")
        self._made += 1
        message.movable = naming.movable_id(self._seed, self.owner, message.key, self._made)
        message.folder = folder
        self._movable[message.movable] = message.key
        folder.messages[message.key] = message
        folder.unread += not message.is_read
        folder.log.record(message.key, at=at)

    def _take(self, message: Message, at: float) -> None:
        folder = message.folder
        del folder.messages[message.key]
        folder.departed[message.key] = message.movable
        del self._movable[message.movable]
        folder.unread -= not message.is_read
        folder.log.record(message.key, present=False, at=at)


def _check_free(parent: Folder, name: str) -> None:
    if any(child.name.lower() == name.lower() for child in parent.children.values()):
        raise GraphError(409, "ErrorFolderExists", "A folder with that name exists already.")
