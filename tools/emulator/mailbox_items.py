"""
A mailbox as its import/export API sees it: folders of every kind, and whole items in them.

Mail, calendars, contacts and tasks are kept apart elsewhere; here each folder and item looks like
any other.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from tools.emulator import naming, record_state
from tools.emulator.changelog import ChangeLog
from tools.emulator.errors import GraphError, bad_request, no_mail_item
from tools.emulator.mailbox import DUMPSTER, Folder, Mailbox
from tools.emulator.message import Message
from tools.emulator.message_store import MessageStore
from tools.emulator.records import Container, Record, RecordStore

Item = Message | Record
MAIL = "IPF.Note"
_NO_FOLDER = "flaggedEmails"  # a view of messages, not a folder


@dataclasses.dataclass(frozen=True, slots=True)
class ItemFolder:
    """A folder of any kind; `kind` is its container class, `store` None for mail."""

    held: Folder | Container[Any]
    kind: str
    parent: str
    items: Mapping[str, Item]
    store: RecordStore[Any] | None

    @property
    def key(self) -> str:
        return self.held.key

    @property
    def log(self) -> ChangeLog[str]:
        return self.held.log


class MailboxItems:
    """Folders and items of one mailbox; `now` is in virtual seconds since the epoch."""

    def __init__(self, mailbox: Mailbox, messages: MessageStore, seed: int, now: float) -> None:
        self._mailbox = mailbox
        self._messages = messages
        self._seed = seed
        self._now = now
        self._stores: list[RecordStore[Any]] = [
            mailbox.calendars,
            mailbox.contacts,
            mailbox.tasks,
        ]

    # folders

    def folders(self) -> Iterator[ItemFolder]:
        """Every folder, except that the list of flagged mails is none."""
        for folder in self._mailbox.folders.values():
            yield self._mail(folder)
        for store in self._stores:
            for container in store.containers.values():
                if container.well_known != _NO_FOLDER:
                    yield self._of(store, container)

    def _mail(self, folder: Folder) -> ItemFolder:
        parent = folder.parent.key if folder.parent else ""
        return ItemFolder(folder, MAIL, parent, folder.messages, None)

    def _of(self, store: RecordStore[Any], container: Container[Any]) -> ItemFolder:
        parent = container.parent.key if container.parent else self._mailbox.root.key
        return ItemFolder(
            container, record_state.FOLDER_CLASS[store.kind], parent, container.records, store
        )

    def folder(self, key: str) -> ItemFolder:
        """The folder with this id or well-known name; 404 when there is none."""
        for store in self._stores:
            try:
                container = store.container(key)
            except GraphError:
                continue
            if container.well_known != _NO_FOLDER:
                return self._of(store, container)
        return self._mail(self._mailbox.folder(key))

    def find_folder(self, key: str) -> ItemFolder | None:
        """The folder with this id; None when it is gone."""
        try:
            return self.folder(key)
        except GraphError:
            return None

    def children(self, parent: str) -> list[ItemFolder]:
        """The folders right below the one with this id."""
        return [folder for folder in self.folders() if folder.parent == parent]

    def listed(self, parent: str | None) -> list[ItemFolder]:
        """The folders below a folder, or at the top of the mailbox."""
        return self.children(parent if parent is not None else self._mailbox.root.key)

    def add_folder(self, parent: ItemFolder, name: str, kind: str) -> ItemFolder:
        """Make a folder of a container class below another one."""
        if kind == MAIL:
            if not isinstance(parent.held, Folder):
                raise bad_request("The parent holds no mail folders.", "ErrorInvalidRequest")
            return self._mail(self._mailbox.add_folder(parent.held, name, at=self._now))
        for store in self._stores:
            if record_state.FOLDER_CLASS[store.kind] == kind:
                above = parent.held if isinstance(parent.held, Container) else None
                if store is self._mailbox.calendars:
                    made = self._mailbox.calendars.add_calendar(name, at=self._now)
                    return self._of(store, made)
                return self._of(store, store.add_container(name, at=self._now, parent=above))
        raise bad_request("The folder type is not supported.", "ErrorInvalidRequest")

    def rename_folder(self, folder: ItemFolder, name: str) -> None:
        """Give a folder another name."""
        if isinstance(folder.held, Folder):
            self._mailbox.rename_folder(folder.held, name, at=self._now)
        else:
            assert folder.store is not None
            folder.store.change_container(folder.held, name=name, at=self._now)

    def remove_folder(self, folder: ItemFolder) -> None:
        """Delete a folder for good; 403 for those that every mailbox has."""
        if folder.held.well_known:
            text = "Distinguished folders cannot be deleted."
            raise GraphError(403, "ErrorDeleteDistinguishedFolder", text)
        if isinstance(folder.held, Folder):
            self._mailbox.remove_folder(folder.held, at=self._now)
        else:
            assert folder.store is not None
            folder.store.remove_container(folder.held, at=self._now)

    # items

    def item(self, key: str) -> Item:
        """The item with this id of either form; 404 when there is none."""
        finders = [self._mailbox.message, *(store.record for store in self._stores)]
        for find in finders:
            try:
                found: Item = find(key)
            except GraphError:
                continue
            return found
        raise no_mail_item()

    def place(self, item: Item) -> ItemFolder:
        """The folder that an item lies in."""
        if isinstance(item, Message):
            return self._mail(item.folder)
        return self.folder(item.container.key)

    def item_class(self, item: Item) -> str:
        """The item class, such as `IPM.Note`."""
        if isinstance(item, Message):
            return item.item_class
        store = self.place(item).store
        assert store is not None
        return record_state.ITEM_CLASS[store.kind]

    def change_key(self, item: Item) -> str:
        """The change key, the same that the item has elsewhere in Graph."""
        return naming.change_key(self._seed, item.key, item.version)

    def state(self, item: Item) -> dict[str, Any]:
        """Everything the item has, without its ids and place."""
        return item.state() if isinstance(item, Message) else record_state.state_of(item)

    def create(self, folder: ItemFolder, item_class: str, state: dict[str, Any]) -> Item:
        """A new item in a folder; 400 when such items do not lie there."""
        self._check_kind(folder, item_class)
        if isinstance(folder.held, Folder):
            if folder.held.search:
                raise bad_request("A search folder holds no items.", "ErrorInvalidRequest")
            return self._messages.put(state, folder.held)
        assert folder.store is not None
        return record_state.put(folder.store, folder.held, state, at=self._now)

    def update(self, item: Item, item_class: str, state: dict[str, Any]) -> None:
        """Let an item become what `state` holds."""
        folder = self.place(item)
        self._check_kind(folder, item_class)
        if isinstance(item, Message):
            self._messages.replace(item, state)
        else:
            assert folder.store is not None
            record_state.assume(folder.store, item, state, at=self._now)

    def remove(self, item: Item) -> None:
        """Delete an item as a client does."""
        if isinstance(item, Message):
            self._mailbox.discard(item, at=self._now)
        else:
            store = self.place(item).store
            assert store is not None
            store.remove(item, at=self._now)

    def _check_kind(self, folder: ItemFolder, item_class: str) -> None:
        kinds = {name: record_state.FOLDER_CLASS[k] for k, name in record_state.ITEM_CLASS.items()}
        wanted = kinds.get(item_class, MAIL)
        if wanted != folder.kind or folder.held.well_known == DUMPSTER:
            text = "The item cannot be created in the folder."
            raise bad_request(text, "ErrorCannotCreateItemInFolder")
