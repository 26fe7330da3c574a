"""
Events, contacts and tasks as Exchange keeps them: records in containers, with their change logs.

A record's `properties` are what a client may write, in Graph's names; ids, change keys and times
of change are kept beside them, MAPI properties in `extended` by canonical id. Every change goes
through a method that enters it in the log of the container, so that delta never misses one.
Neighbours: `calendars`, `contacts`, `tasks`.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, Generic, Literal, TypeVar

from tools.emulator import naming
from tools.emulator.blob import Blob
from tools.emulator.changelog import ChangeLog, Generations
from tools.emulator.errors import GraphError, no_mail_item


@dataclasses.dataclass(slots=True, eq=False)
class RecordAttachment:
    """
    What hangs on a record.

    `content` holds the bytes of a file, the JSON of an embedded item, or the URL of a reference.
    """

    key: str
    name: str
    content: Blob
    modified: float
    kind: Literal["file", "item", "reference"] = "file"
    content_type: str | None = None
    inline: bool = False
    content_id: str | None = None


@dataclasses.dataclass(slots=True, eq=False)
class Record:
    """One event, contact or task; `key` is its immutable id, times are seconds since the epoch."""

    key: str
    movable: str
    container: "Container[Any]"
    properties: dict[str, Any]
    created: float
    modified: float
    version: int = 1
    attachments: dict[str, RecordAttachment] = dataclasses.field(default_factory=dict)
    extended: dict[str, str] = dataclasses.field(default_factory=dict)


R = TypeVar("R", bound=Record)


@dataclasses.dataclass(slots=True, eq=False)
class Container(Generic[R]):
    """
    A calendar, contact folder or task list.

    `well_known` names those that every mailbox has. `departed` has the default id that each
    record which left the container had in it.
    """

    key: str
    name: str
    properties: dict[str, Any]
    parent: "Container[R] | None" = None
    well_known: str | None = None
    version: int = 1
    records: dict[str, R] = dataclasses.field(default_factory=dict)
    log: ChangeLog[str] = dataclasses.field(default_factory=ChangeLog)
    generations: Generations = dataclasses.field(default_factory=Generations)
    departed: dict[str, str] = dataclasses.field(default_factory=dict)


class RecordStore(Generic[R]):
    """All containers of one kind in one mailbox. `record_type` makes the records."""

    def __init__(self, seed: int, owner: str, kind: str, record_type: type[R]) -> None:
        self.seed = seed
        self.owner = owner
        self.kind = kind
        self._record_type = record_type
        self.containers: dict[str, Container[R]] = {}
        self.log: ChangeLog[str] = ChangeLog()
        self.generations = Generations()
        self._well_known: dict[str, Container[R]] = {}
        self._records: dict[str, R] = {}
        self._movable: dict[str, str] = {}
        self._made = 0

    # containers

    def add_container(
        self,
        name: str,
        *,
        at: float = 0.0,
        parent: Container[R] | None = None,
        well_known: str | None = None,
        properties: dict[str, Any] | None = None,
    ) -> Container[R]:
        """Make a container; names need not be unique."""
        self._made += 1
        key = naming.folder_id(self.seed, self.owner, self.kind, name, self._made)
        made: Container[R] = Container(key, name, dict(properties or {}), parent, well_known)
        self.containers[key] = made
        if well_known:
            self._well_known[well_known.lower()] = made
        self.log.record(key, at=at)
        return made

    def container(self, key: str) -> Container[R]:
        """The container with this id or well-known name; 404 when there is none."""
        found = self.containers.get(key) or self._well_known.get(key.lower())
        if found is None:
            raise no_mail_item()
        return found

    def children(self, parent: Container[R] | None) -> list[Container[R]]:
        """The containers right below `parent`; None: those at the top."""
        return [c for c in self.containers.values() if c.parent is parent]

    def named(self, name: str) -> Container[R]:
        """The first container with this id, display name or well-known name; 404 when none."""
        for container in self.containers.values():
            if container.name == name:
                return container
        return self.container(name)

    def change_container(
        self,
        container: Container[R],
        *,
        at: float,
        name: str | None = None,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """Give a container another name or other properties."""
        container.name = container.name if name is None else name
        container.properties |= properties or {}
        container.version += 1
        self.log.record(container.key, at=at)

    def remove_container(self, container: Container[R], *, at: float) -> None:
        """Delete a container with everything in it; 400 for those that every mailbox has."""
        if container.well_known:
            text = "The default folder cannot be deleted."
            raise GraphError(400, "ErrorDeleteDistinguishedFolder", text)
        for child in self.children(container):
            self.remove_container(child, at=at)
        for record in list(container.records.values()):
            self.remove(record, at=at)
        del self.containers[container.key]
        self.log.record(container.key, present=False, at=at)

    # records

    def add(self, container: Container[R], properties: dict[str, Any], *, at: float) -> R:
        """Put a new record into a container."""
        self._made += 1
        key = naming.immutable_id(self.seed, self.owner, self.kind, self._made)
        record = self._record_type(key, "", container, dict(properties), at, at)
        self._records[key] = record
        self._place(record, container, at)
        return record

    def record(self, key: str) -> R:
        """The record with this id of either form; 404 when there is none."""
        found = self._records.get(self._movable.get(key, key))
        if found is None:
            raise no_mail_item()
        return found

    def records(self) -> Iterator[R]:
        """All records, oldest first."""
        return iter(self._records.values())

    def touch(self, record: R, properties: dict[str, Any] | None = None, *, at: float) -> None:
        """Note a change of a record, with the properties that changed."""
        record.properties |= properties or {}
        record.version += 1
        record.modified = at
        record.container.log.record(record.key, at=at)

    def move(self, record: R, container: Container[R], *, at: float) -> None:
        """Move a record to another container; its default id changes."""
        if container is not record.container:
            self._take(record, at)
            self._place(record, container, at)

    def remove(self, record: R, *, at: float) -> None:
        """Delete a record for good."""
        self._take(record, at)
        del self._records[record.key]

    def attach(self, record: R, name: str, content: Blob, *, at: float) -> RecordAttachment:
        """Hang a file on a record; kind and the like are set on what is returned."""
        attachment = self.attachment(name, content, at)
        record.attachments[attachment.key] = attachment
        self.touch(record, at=at)
        return attachment

    def attachment(self, name: str, content: Blob, at: float) -> RecordAttachment:
        """An attachment with an id that hangs on nothing yet."""
        key = naming.movable_id(self.seed, self.owner, "attachment", self.count())
        return RecordAttachment(key, name, content, at)

    def count(self) -> int:
        """A number that no id of this store was made of yet."""
        self._made += 1
        return self._made

    def kill_delta_tokens(self) -> None:
        """Forget every sync state handed out."""
        self.generations.kill()
        for container in self.containers.values():
            container.generations.kill()

    def _place(self, record: R, container: Container[R], at: float) -> None:
        number = self.count()
        record.movable = naming.movable_id(self.seed, self.owner, record.key, number)
        record.container = container
        self._movable[record.movable] = record.key
        container.records[record.key] = record
        container.log.record(record.key, at=at)

    def _take(self, record: R, at: float) -> None:
        container = record.container
        del container.records[record.key]
        container.departed[record.key] = record.movable
        del self._movable[record.movable]
        container.log.record(record.key, present=False, at=at)
