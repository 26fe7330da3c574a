"""
One drive: folders, files and the change log that its delta pages through.

Neighbours: `drive_routes` serves it, `mutation` changes it. Names are unique within a folder
without regard to case, as SharePoint has it.
"""

import dataclasses
from collections.abc import Iterator

from tools.emulator import naming
from tools.emulator.blob import Blob
from tools.emulator.changelog import ChangeLog, Generations
from tools.emulator.errors import GraphError, no_file


@dataclasses.dataclass(slots=True, eq=False)
class Item:
    """A folder (`content` is None) or a file; times are seconds since the epoch."""

    key: str
    name: str
    parent: "Item | None"
    content: Blob | None
    created: float
    modified: float
    editor: str = ""
    special: str | None = None
    shared: bool = False
    version: int = 1
    content_version: int = 1
    children: dict[str, "Item"] = dataclasses.field(default_factory=dict)

    @property
    def is_folder(self) -> bool:
        return self.content is None

    @property
    def path(self) -> str:
        """Names from below the root, joined by slashes; empty for the root."""
        if self.parent is None:
            return ""
        above = self.parent.path
        return f"{above}/{self.name}" if above else self.name

    def size(self) -> int:
        """Bytes of the file, or of everything below the folder."""
        if self.content is not None:
            return self.content.size
        return sum(child.size() for child in self.children.values())


class Drive:
    """The files of one user. `owner` is the user's id."""

    def __init__(self, seed: int, owner: str, at: float) -> None:
        self._seed = seed
        self.owner = owner
        self.key = naming.drive_id(seed, owner)
        self.site = naming.guid(seed, "site", owner)
        self.created = at
        self.log: ChangeLog[str] = ChangeLog()
        self.generations = Generations(keep=1 << 30)  # drive tokens die on demand only
        self._made = 0
        self._items: dict[str, Item] = {}
        self.root = self._enter(Item(self._next_key(), "root", None, None, at, at, owner))
        self.log.record(self.root.key, at=at)

    def item(self, key: str) -> Item:
        """The item with this id; 404 when there is none."""
        found = self.root if key.lower() == "root" else self._items.get(key)
        if found is None:
            raise no_file()
        return found

    def get(self, key: str) -> Item | None:
        """The item with this id, None when there is none."""
        return self._items.get(key)

    def find(self, path: str) -> Item:
        """The item at a path from the root; 404 when there is none."""
        here = self.root
        for name in filter(None, path.split("/")):
            child = here.children.get(name.lower())
            if child is None:
                raise no_file()
            here = child
        return here

    def items(self) -> Iterator[Item]:
        """All items, the root first."""
        return iter(self._items.values())

    def files(self) -> Iterator[Item]:
        """All files."""
        return (item for item in self._items.values() if not item.is_folder)

    def add_folder(self, path: str, *, at: float) -> Item:
        """The folder at `path`; what is missing is made."""
        here = self.root
        for name in filter(None, path.split("/")):
            child = here.children.get(name.lower())
            if child is None:
                child = self._add(here, name, None, at, self.owner)
                self._record(child, at)
            elif not child.is_folder:
                raise GraphError(409, "nameAlreadyExists", "A file stands in the way.")
            here = child
        return here

    def put(
        self, path: str, content: Blob, *, at: float, created: float | None = None, editor: str = ""
    ) -> Item:
        """Write a file: a new one, or new content of the one at `path`; `at` is its mtime."""
        folder_path, _, name = path.strip("/").rpartition("/")
        folder = self.add_folder(folder_path, at=at)
        item = folder.children.get(name.lower())
        if item is None:
            item = self._add(folder, name, content, at, editor or self.owner)
            item.created = at if created is None else created
        elif item.is_folder:
            raise GraphError(409, "nameAlreadyExists", "A folder stands in the way.")
        else:
            item.content = content
            item.modified = at
            item.editor = editor or item.editor
            item.version += 1
            item.content_version += 1
        self._record(item, at)
        return item

    def remove(self, item: Item, *, at: float) -> None:
        """Delete an item and everything below it."""
        if item.parent is None:
            raise GraphError(400, "invalidRequest", "The root cannot be deleted.")
        parent = item.parent
        for gone in list(_deepest_first(item)):
            del self._items[gone.key]
            self.log.record(gone.key, present=False, at=at)
        del parent.children[item.name.lower()]
        self._record(parent, at)

    def move(self, item: Item, path: str, *, at: float) -> None:
        """Move or rename an item to `path`; missing folders are made."""
        folder_path, _, name = path.strip("/").rpartition("/")
        folder = self.add_folder(folder_path, at=at)
        standing = folder.children.get(name.lower())
        if item.parent is None or (standing is not None and standing is not item):
            raise GraphError(409, "nameAlreadyExists", "The name is taken.")
        above: Item | None = folder
        while above is not None:
            if above is item:
                raise GraphError(400, "invalidRequest", "A folder cannot move into itself.")
            above = above.parent
        old = item.parent
        del old.children[item.name.lower()]
        item.name, item.parent = name, folder
        folder.children[name.lower()] = item
        item.version += 1
        if old is not folder:
            self._record(old, at)
        self._record(item, at)

    def touch(self, item: Item, *, at: float) -> None:
        """Note a change of an item's properties without new content."""
        item.version += 1
        self._record(item, at)

    def settle(self) -> None:
        """Start the log anew, folders first, parents before children, as a first delta has it."""
        self.log = ChangeLog()
        for item in sorted(self._items.values(), key=lambda i: not i.is_folder):
            self.log.record(item.key, at=item.modified)

    def _record(self, item: Item, at: float) -> None:
        self.log.record(item.key, at=at)

    def _add(self, folder: Item, name: str, content: Blob | None, at: float, editor: str) -> Item:
        if not name:
            raise GraphError(400, "invalidRequest", "An item needs a name.")
        item = self._enter(Item(self._next_key(), name, folder, content, at, at, editor))
        folder.children[name.lower()] = item
        return item

    def _enter(self, item: Item) -> Item:
        self._items[item.key] = item
        return item

    def _next_key(self) -> str:
        self._made += 1
        return naming.drive_item_id(self._seed, self.key, self._made)


def _deepest_first(item: Item) -> Iterator[Item]:
    for child in item.children.values():
        yield from _deepest_first(child)
    yield item
