"""Which entry of the copy is which of the original, and what a new one is made on top of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import BackupError
from engine.manifest import EntryRef, PointEntry, PointForm
from repository.entries import Entry

if TYPE_CHECKING:
    from repository.repository import Repository

Key = tuple[str, str, str]  # kind and id of the object, workload
Rank = tuple[str, str]  # time and id of a restore point


@dataclass(frozen=True, slots=True)
class Known:
    """An entry that was copied; not `whole` when something of it was left out."""

    original: EntryRef
    copy: EntryRef
    whole: bool
    rank: Rank  # of the first restore point that names it


@dataclass(frozen=True, slots=True)
class Ground:
    """
    What the copy of an entry is made on top of.

    Attributes:
        copied: entry of the copy whose rows are taken over. base: entry of the original that it was made of, if known.
        resumed: `copied` is a part of the very copy to be made. parents: what the new entry follows.
    """

    copied: Entry | None
    base: Entry | None
    resumed: bool
    parents: tuple[EntryRef, ...]


NOTHING = Ground(None, None, False, ())


def key_of(entry: PointEntry | Entry) -> Key:
    """Object and workload."""
    form = entry.form if isinstance(entry, Entry) else entry
    return form.object.kind, form.object.id, form.workload


class CopiedEntries:
    """
    Pairs of entries, told by restore points of the same id, and what is added here. For one thread at a time.

    Nothing is kept on this machine: any other one finds the same pairs.
    """

    def __init__(self, source: "Repository", target: "Repository") -> None:
        self._source = source
        self._target = target
        self._known: dict[EntryRef, Known] = {}
        self._by_copy: dict[EntryRef, Known] = {}
        self._by_key: dict[Key, list[Known]] = {}
        self._copies = {point.id: point for point in target.points({})}
        self._series: dict[tuple[str, Key], list[tuple[Rank, EntryRef]]] = {}
        for point in self._copies.values():
            for entry in point.entries:
                held = self._series.setdefault((point.name, key_of(entry)), [])
                held.append(((point.created_at, point.id), entry.entry))
        for point in source.points({}):
            copy = self._copies.get(point.id)
            if copy is not None:
                self._pair(point, copy)
        self._sessions: dict[Key, set[str]] = {}
        for original in source.entries:
            self._sessions.setdefault(key_of(original), set()).add(original.form.session)

    def _pair(self, point: PointForm, copy: PointForm) -> None:
        copies = {key_of(entry): entry.entry for entry in copy.entries}
        whole = copy.result == point.result == "success"
        for entry in point.entries:
            ref = copies.get(key_of(entry))
            if ref is not None:
                self.add(entry, ref, whole, (point.created_at, point.id))

    def add(self, original: PointEntry, copy: EntryRef, whole: bool, rank: Rank) -> None:
        """One more pair. A whole one stays whole: the same entry may stand in a restore point that lacks something else."""
        before = self._known.get(original.entry)
        if before is not None and before.whole and before.copy == copy:
            return
        if before is not None:
            rank = min(rank, before.rank)
            self._by_key[key_of(original)].remove(before)
        known = Known(original.entry, copy, whole, rank)
        self._known[original.entry] = known
        self._by_copy[copy] = known
        self._by_key.setdefault(key_of(original), []).append(known)

    def get(self, original: EntryRef) -> Known | None:
        """The copy of an entry, if it is still live."""
        known = self._known.get(original)
        return None if known is None or _live(self._target, known.copy) is None else known

    def ground(self, entry: Entry, series: str, rank: Rank) -> Ground:
        """What the copy of `entry`, for a restore point of this name and rank, is made on top of."""
        key = key_of(entry)
        known = self.get(entry.ref)
        if known is not None:
            return Ground(
                _live(self._target, known.copy), entry, False, self._parents(key, known.copy)
            )
        return self._resumed(entry, key) or self._following(key, series, rank) or NOTHING

    def _resumed(self, entry: Entry, key: Key) -> Ground | None:
        """An entry of the same session that an interrupted run left."""
        for head in self._target.entries.heads(*key):
            if head.form.session != entry.form.session or head.ref in self._by_copy:
                continue
            origin = self._origin(head)
            if origin is None and self._by_key.get(key):
                continue  # of what it was made cannot be told
            base = None if origin is None else _live(self._source, origin.original)
            return Ground(head, base, True, self._parents(key, head.ref))
        return None

    def _origin(self, entry: Entry) -> Known | None:
        """The copied entry that an entry descends from."""
        pending, seen = list(entry.form.parents), set[EntryRef]()
        while pending:
            ref = pending.pop(0)
            if ref in self._by_copy:
                return self._by_copy[ref]
            parent = None if ref in seen else _live(self._target, ref)
            seen.add(ref)
            pending += parent.form.parents if parent is not None else ()
        return None

    def _following(self, key: Key, series: str, rank: Rank) -> Ground | None:
        """
        The newest copy before `rank`, else the newest of the series, else any later copy, which then is not followed.

        Of the series only versions are compared: the original of its entry is no longer there.
        """
        pairs = sorted(self._by_key.get(key, ()), key=lambda known: known.rank)
        earlier = [known for known in pairs if known.rank < rank]
        for known in reversed(earlier):
            ground = self._on(known, self._parents(key, known.copy))
            if ground is not None:
                return ground
        for before, ref in sorted(self._series.get((series, key), ()), reverse=True):
            copied = _live(self._target, ref)
            if before < rank and copied is not None:
                return Ground(copied, None, True, self._parents(key, ref))
        for known in pairs:
            ground = self._on(known, ())
            if ground is not None:
                return ground
        return None

    def _on(self, known: Known, parents: tuple[EntryRef, ...]) -> Ground | None:
        copied, base = _live(self._target, known.copy), _live(self._source, known.original)
        return None if copied is None or base is None else Ground(copied, base, False, parents)

    def _parents(self, key: Key, first: EntryRef) -> tuple[EntryRef, ...]:
        """`first`, and what else of the copies nothing follows yet. What the target backed up itself is another line."""
        heads = self._target.entries.heads(*key)
        copies = [
            head.ref
            for head in heads
            if head.ref in self._by_copy or head.form.session in self._sessions.get(key, ())
        ]
        return tuple(dict.fromkeys((first, *copies)))


def _live(repository: "Repository", ref: EntryRef) -> Entry | None:
    try:
        return repository.entries.get(ref)
    except BackupError:
        return None


def not_whole(copied: CopiedEntries, entries: Iterable[PointEntry]) -> Iterator[PointEntry]:
    """Those of a restore point that are to be copied."""
    for entry in entries:
        known = copied.get(entry.entry)
        if known is None or not known.whole:
            yield entry
