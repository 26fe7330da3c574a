"""Entries whose scope this machine cannot open: it was shredded, or its service key is not here. What is done without."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.manifest import EntryRef
from repository.entries import Entry

if TYPE_CHECKING:
    from repository.keyring import Keyring


@dataclass(slots=True)
class ClosedScope:
    """
    A scope that was not looked into.

    Attributes:
        state: `shredded` or `closed`. points: ids of the restore points that have something of it. entries: how many.
    """

    id: str
    name: str
    state: str
    entries: int = 0
    points: list[str] = field(default_factory=list)


class ClosedScopes:
    """The closed ones among the scopes of some entries, as of now: each is asked for once."""

    def __init__(self, keyring: "Keyring", entries: Iterable[Entry]) -> None:
        self._keyring = keyring
        ids = {entry.form.scope for entry in entries} - {""}
        self._shredded = frozenset(i for i in ids if keyring.is_scope_shredded(i))
        self._closed = frozenset(i for i in ids if not keyring.is_scope_open(i))

    @property
    def whole_frames(self) -> frozenset[int]:
        """Epochs of all scopes, open or not: their frames are never taken apart."""
        return frozenset(scope.epoch for scope in self._keyring.ring.key_set.scopes.values())

    def is_closed(self, entry: Entry) -> bool:
        """Whether nothing that an entry names can be read here."""
        return entry.form.scope in self._closed

    def is_shredded(self, entry: Entry) -> bool:
        """Whether nobody can read it any more."""
        return entry.form.scope in self._shredded

    def readable(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those that can be read."""
        return [entry for entry in entries if not self.is_closed(entry)]

    def epochs(self, entries: Iterable[Entry]) -> frozenset[int]:
        """Epochs of the closed scopes of these entries."""
        scopes = self._keyring.ring.key_set.scopes
        ids = {entry.form.scope for entry in entries} & self._closed
        return frozenset(scopes[scope_id].epoch for scope_id in ids)

    def unwanted(self, entries: Iterable[Entry], named: Collection[EntryRef]) -> set[EntryRef]:
        """Entries of shredded scopes that no restore point names: without one nobody wants what nobody can read."""
        return {
            entry.ref for entry in entries if self.is_shredded(entry) and entry.ref not in named
        }

    def told(
        self, entries: Iterable[Entry], points_of: Mapping[EntryRef, Collection[str]]
    ) -> list[ClosedScope]:
        """What a report says of them, in the order of their names."""
        scopes = self._keyring.ring.key_set.scopes
        found = {
            i: ClosedScope(i, scopes[i].name, "shredded" if i in self._shredded else "closed")
            for i in self._closed
        }
        points: dict[str, set[str]] = {i: set() for i in found}
        for entry in entries:
            if (one := found.get(entry.form.scope)) is not None:
                one.entries += 1
                points[one.id].update(points_of.get(entry.ref, ()))
        for i, one in found.items():
            one.points = sorted(points[i])
        return sorted(found.values(), key=lambda one: (one.name, one.id))
