"""Committed entries: what the live manifests say of every protected object and workload."""

from collections.abc import Iterator
from dataclasses import dataclass

from engine.errors import BackupError, Corruption, NotFound
from engine.manifest import EntryForm, EntryRef, ManifestForm


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry with its place and the time of its commit (RFC 3339; for people and for order of heads)."""

    ref: EntryRef
    created_at: str
    form: EntryForm


class Entries:
    """All entries of the live manifests."""

    def __init__(self) -> None:
        self.manifests: dict[str, ManifestForm] = {}
        self.damaged: dict[str, BackupError] = {}  # live manifests that cannot be read
        self._by_object: dict[tuple[str, str, str], list[Entry]] = {}

    def add(self, manifest: str, form: ManifestForm) -> None:
        """Take a manifest in."""
        self.manifests[manifest] = form
        self.damaged.pop(manifest, None)
        for index, entry in enumerate(form.entries):
            key = (entry.object.kind, entry.object.id, entry.workload)
            made = Entry(EntryRef(manifest, index), form.created_at, entry)
            self._by_object.setdefault(key, []).append(made)

    def get(self, ref: EntryRef) -> Entry:
        """The entry at a place. NotFound if its manifest is not live, Corruption if it is damaged."""
        if ref.manifest in self.damaged:
            raise Corruption(
                f"manifest {ref.manifest[:16]} is damaged: `strongroom repo verify` says what is affected",
                code="manifest-corrupt",
            )
        form = self.manifests.get(ref.manifest)
        if form is None or ref.index >= len(form.entries):
            raise NotFound(
                f"entry {ref.index} of manifest {ref.manifest[:16]} is not in the repository",
                code="entry-not-found",
            )
        return Entry(ref, form.created_at, form.entries[ref.index])

    def heads(self, kind: str, object_id: str, workload: str) -> list[Entry]:
        """Entries of an object that no other names as parent, newest first; several after a fork."""
        entries = self._by_object.get((kind, object_id, workload), [])
        parents = {parent for entry in entries for parent in entry.form.parents}
        heads = [entry for entry in entries if entry.ref not in parents]
        return sorted(heads, key=lambda entry: entry.created_at, reverse=True)

    def newest_complete(self, kind: str, object_id: str, workload: str) -> Entry | None:
        """The newest complete entry of an object and workload, if any."""
        entries = self._by_object.get((kind, object_id, workload), [])
        complete = [entry for entry in entries if entry.form.complete]
        return max(complete, key=lambda entry: entry.created_at, default=None)

    def __iter__(self) -> Iterator[Entry]:
        for entries in self._by_object.values():
            yield from entries
