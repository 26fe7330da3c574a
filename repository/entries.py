"""Committed entries: what the live manifests say of every protected object and workload."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from engine.commit import GENERATION_ZERO, GenerationForm
from engine.errors import BackupError, Corruption, NotFound
from engine.liveness import Link, lineage
from engine.manifest import EntryForm, EntryRef, ManifestForm


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry with its place and the time of its commit (RFC 3339; for people and for order of heads)."""

    ref: EntryRef
    created_at: str
    form: EntryForm


class Entries:
    """
    All live entries of the live manifests.

    Args:
        generation: what it says of dropped entries and of parents that are no longer live.
        restored: dropped entries that count all the same.
    """

    def __init__(
        self,
        generation: GenerationForm = GENERATION_ZERO,
        restored: Collection[EntryRef] = (),
    ) -> None:
        self.manifests: dict[str, ManifestForm] = {}
        self.damaged: dict[str, BackupError] = {}  # live manifests that cannot be read
        self._dropped = {
            manifest: {n for n in numbers if EntryRef(manifest, n) not in restored}
            for manifest, numbers in generation.dropped.items()
        }
        self._parents = {changed.entry: changed.parents for changed in generation.lineage}
        self._by_object: dict[tuple[str, str, str], list[Entry]] = {}

    def add(self, manifest: str, form: ManifestForm) -> None:
        """Take a manifest in."""
        self.manifests[manifest] = form
        self.damaged.pop(manifest, None)
        dropped = self._dropped.get(manifest, ())
        for index, entry in enumerate(form.entries):
            if index not in dropped:
                key = (entry.object.kind, entry.object.id, entry.workload)
                made = Entry(EntryRef(manifest, index), form.created_at, entry)
                self._by_object.setdefault(key, []).append(made)

    def get(self, ref: EntryRef) -> Entry:
        """The entry at a place. NotFound if it is not live, Corruption if its manifest is damaged."""
        if ref.manifest in self.damaged:
            raise Corruption(
                f"manifest {ref.manifest[:16]} is damaged: `strongroom repo verify` says what is affected",
                code="manifest-corrupt",
            )
        form = self.manifests.get(ref.manifest)
        is_dropped = ref.index in self._dropped.get(ref.manifest, ())
        if form is None or is_dropped or ref.index >= len(form.entries):
            raise NotFound(
                f"entry {ref.index} of manifest {ref.manifest[:16]} is not in the repository",
                code="entry-not-found",
            )
        return Entry(ref, form.created_at, form.entries[ref.index])

    def links(self, entries: Iterable[Entry]) -> list[Link]:
        """Entries in their lineage."""
        return [
            Link(e.ref, self._parents.get(e.ref, e.form.parents), e.form.complete) for e in entries
        ]

    def heads(self, kind: str, object_id: str, workload: str) -> list[Entry]:
        """Entries of an object that no other names as parent, newest first; several after a fork."""
        entries = self._by_object.get((kind, object_id, workload), [])
        known = lineage(self.links(entries))
        heads = [entry for entry in entries if entry.ref not in known.followed]
        return sorted(heads, key=lambda entry: entry.created_at, reverse=True)

    def newest_complete(self, kind: str, object_id: str, workload: str) -> Entry | None:
        """The complete entry of an object and workload that no complete one follows, if any; after a fork the newest."""
        entries = self._by_object.get((kind, object_id, workload), [])
        known = lineage(self.links(entries))
        complete = [e for e in entries if e.form.complete and e.ref not in known.overtaken]
        return max(complete, key=lambda entry: entry.created_at, default=None)

    def newest(self) -> list[Entry]:
        """The newest complete entry of every object and workload that has one."""
        found = (self.newest_complete(*key) for key in sorted(self._by_object))
        return [entry for entry in found if entry is not None]

    def __iter__(self) -> Iterator[Entry]:
        for entries in self._by_object.values():
            yield from entries
