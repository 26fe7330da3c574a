"""
Marking: what the state needs, found from the restore points down to the packs.

restore points and heads -> entries -> catalog parts and their live rows -> chunk ids -> one location each, through the
index as it is now. Lists of packs are never believed. What cannot be read blocks the collection: nobody knows what it needs.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from cext import runs
from engine.catalog import decode_catalog_part, part_references
from engine.collection import Live, Needs, View, items_from_ns, kept_points
from engine.commit import LineageForm
from engine.errors import BackupError, Corruption, NotFound
from engine.liveness import Link, live_entries, live_parents
from engine.manifest import CatalogPart, EntryRef, ManifestForm, PointForm, part_from
from repository.blobstore.ahead import ahead
from repository.catalogs import expired
from repository.cellcheck import CellCheck, lost_cell, lost_generation
from repository.closed_scopes import ClosedScopes
from repository.entries import Entries, Entry
from repository.index import NOT_FOUND, Found, Index
from repository.layout import POINTS, manifest_name, pack_name, point_name, run_name

if TYPE_CHECKING:
    from repository.repository import Repository

ROWS_AT_ONCE = 65536
IDS_KEPT_MAX = 256  # id columns of catalog parts that are held while older parts are marked
MARK_COLUMNS = ("id", "created_ns", "modified_ns", "kind", "parts", "removed")

Progress = Callable[[int, int], None]  # catalog parts done, in all
LoadRuns = Callable[[Sequence[str]], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Marks:
    """
    What one marking found.

    Attributes:
        needed_bytes: pack name -> stored bytes of its frames, each weighed with the share of it that is needed.
        frame_bytes: pack name -> stored bytes of all its frames.
        ids, found: needed chunks, each once, and the location of each that is kept.
        entries_dropped: how many are live before and not after.
    """

    live: Live
    needs: Needs
    needed_bytes: Mapping[str, int]
    frame_bytes: Mapping[str, int]
    ids: bytes
    found: Found
    entries_dropped: int

    def needed_in(self, packs: Collection[str]) -> dict[str, dict[int, set[bytes]]]:
        """Of some packs: offset of each frame with needed chunks -> their ids."""
        frames: dict[int, set[bytes]] = {}
        for handle in set(self.found.frames):
            if _pack_of(self.found, handle) in packs:
                frames[handle] = set()
        for number, handle in enumerate(self.found.frames):
            if handle in frames:
                frames[handle].add(self.ids[32 * number : 32 * number + 32])
        inside: dict[str, dict[int, set[bytes]]] = {name: {} for name in packs}
        for handle, ids in frames.items():
            inside[_pack_of(self.found, handle)][self.found.place(handle).info.offset] = ids
        return inside


def _pack_of(found: Found, handle: int) -> str:
    place = found.place(handle)
    return pack_name(place.object_class, place.pack)


class Marker:
    """
    Marks one repository. Points and manifests that were read once are kept for the next marking.

    Args:
        load_runs: reads runs, in order, by default as the repository does.
    """

    def __init__(
        self,
        repository: "Repository",
        index: Index,
        progress: Progress,
        load_runs: LoadRuns | None = None,
    ) -> None:
        self._repository = repository
        self._load_runs = load_runs or repository.load_runs
        self._index = index
        self._progress = progress
        self._points: dict[str, PointForm] = {}
        self._manifests: dict[str, ManifestForm] = {}
        self._cells = CellCheck(repository)

    def mark(self, view: View, runs_in_order: Sequence[str]) -> Marks:
        """
        What stays and what is needed, for the generation after `view`.

        Args:
            runs_in_order: the runs of the state; of a chunk in several packs the location in the last one is kept.

        Raises: Corruption(collect-blocked) if something of the state cannot be read.
        """
        try:
            return self._mark(view, runs_in_order)
        except (Corruption, NotFound) as error:
            if error.code == "collect-blocked":
                raise
            raise _blocked(str(error)) from error

    def _mark(self, view: View, runs_in_order: Sequence[str]) -> Marks:
        kept = kept_points(view)
        repository = self._repository
        points = self._read_points(view, kept)
        named = {entry.entry for point in points for entry in point.entries}
        entries = self._entries(view, named)
        lost = self._cells.lost(view.cells, view.generation, entries.manifests, view.listed)
        for writer, turn in lost.items():
            raise _blocked(str(lost_cell(writer, turn)))
        self._require_newest(view, entries, points)
        everything = list(entries)
        links = entries.links(everything)
        scopes = ClosedScopes(repository.keyring, everything)
        live_refs = live_entries(links, named) - scopes.unwanted(everything, named)
        live = _live(entries, live_refs, links, kept)
        staying = [entry for entry in everything if entry.ref in live_refs]
        leaving = [entry for entry in everything if entry.ref not in live_refs]
        self._index.sync(runs_in_order, self._load_runs)
        before_ns = view.generation.items_from_ns
        after, before = self._chunks(staying, leaving, items_from_ns(view), before_ns, scopes)
        condemned = view.generation.condemned.keys() | self._repository.state.damaged
        found = self._find(after, condemned)
        needed_bytes = _needed_bytes(found, scopes.whole_frames)
        held = {run_name(run) for run in view.runs} | needed_bytes.keys()
        held |= {manifest_name(manifest) for manifest in live.manifests}
        held |= {point_name(point) for point in kept}
        earlier = held | _needed_bytes(self._find(before, condemned), scopes.whole_frames).keys()
        earlier |= {manifest_name(entry.ref.manifest) for entry in everything}
        earlier |= {point_name(point) for point in view.points}
        return Marks(
            live=live,
            needs=Needs(held, earlier),
            needed_bytes=needed_bytes,
            frame_bytes={pack_name(*key): size for key, size in self._index.frame_bytes().items()},
            ids=after,
            found=found,
            entries_dropped=len(leaving),
        )

    def _require_newest(self, view: View, entries: Entries, points: list[PointForm]) -> None:
        """Corruption(collect-blocked) if what is stored proves that a newer generation was there."""
        gone = {*view.generation.condemned, *view.generation.dead, *map(point_name, view.points)}
        beside = [n for n in view.listed if n.startswith(POINTS) and n not in gone]
        names = [n.removeprefix(POINTS) for n in beside]
        stored = [*points, *self._repository.read_points(names, {}).values()]
        number = view.generation.number
        passed = self._cells.lost_generation(view.cells, view.generation, entries.manifests, stored)
        if passed:
            raise _blocked(str(lost_generation(number, passed)))

    # -- entries ---------------------------------------------------------------------------------

    def _read_points(self, view: View, kept: Collection[str]) -> list[PointForm]:
        damaged: dict[str, BackupError] = {}
        wanted = [point for point in kept if point not in self._points]
        self._points.update(self._repository.read_points(wanted, damaged))
        if damaged:
            name = min(damaged)
            raise _blocked(f"{name}: {damaged[name]} (repair it, or forget this restore point)")
        return [self._points[point] for point in kept]

    def _entries(self, view: View, named: Collection[EntryRef]) -> Entries:
        """Entries of the state, and those that a restore point named again after they were dropped."""
        entries = Entries(view.generation, restored=named)
        manifests = dict.fromkeys(view.generation.manifests)
        manifests.update((c.manifest, None) for c in view.commits if c.manifest is not None)
        manifests.update((entry.manifest, None) for entry in sorted(named, key=_place))
        fresh = [manifest for manifest in manifests if manifest not in self._manifests]
        repository = self._repository
        for manifest, take in ahead(repository.store, repository.load_manifest, fresh):
            self._manifests[manifest] = take()
        for manifest in manifests:
            entries.add(manifest, self._manifests[manifest])
        return entries

    # -- chunks ----------------------------------------------------------------------------------

    def _find(self, ids: bytes, condemned: Collection[str]) -> Found:
        """One location of each chunk, not in a condemned or damaged pack if there is another. Corruption if it has none."""
        found = self._index.find(
            ids, lambda object_class, pack: pack_name(object_class, pack) not in condemned
        )
        if NOT_FOUND in found.frames:
            at = found.frames.index(NOT_FOUND) * 32
            raise _blocked(f"chunk {ids[at : at + 8].hex()} is in no index run")
        return found

    def _chunks(
        self,
        staying: Sequence[Entry],
        leaving: Sequence[Entry],
        after_ns: int | None,
        before_ns: int | None,
        scopes: ClosedScopes,
    ) -> tuple[bytes, bytes]:
        """
        Ids of the chunks that stay needed, and of those that were needed before and are not now; each once.

        Of a scope that is not open nobody can say which: all of it, as long as one of its entries is there.
        """
        marked = _Ids()
        uses = _uses(scopes.readable(staying))
        uses_before = _uses(scopes.readable([*staying, *leaving]))
        marked.add_ids(self._index.ids_sealed_in(scopes.epochs(staying)))
        for entry in staying:
            marked.add(_own_references(entry))
        was = _Ids(known=marked)
        was.add_ids(self._index.ids_sealed_in(scopes.epochs(leaving)))
        for entry in leaving:
            was.add(_own_references(entry))
        ids_of = _IdColumns(self._repository)
        for number, (key, (part, later_before)) in enumerate(uses_before.items()):
            later = uses[key][1] if key in uses else None
            is_changed = later != later_before or after_ns != before_ns
            for rows in _pieces(self._load(part, MARK_COLUMNS)):
                if later is not None:
                    marked.add(part_references(_needed(rows, later, after_ns, ids_of)))
                if is_changed:
                    was.add(part_references(_needed(rows, later_before, before_ns, ids_of)))
            self._progress(number + 1, len(uses_before))
        return marked.joined(), was.joined()

    def _load(self, part: CatalogPart, columns: Sequence[str]) -> pa.Table:
        stored = self._repository.read_all(part_from(part.part))
        return decode_catalog_part(stored, columns)


class _Ids:
    """Distinct chunk ids, without those that `known` has."""

    def __init__(self, known: "_Ids | None" = None) -> None:
        self._table = runs.IdTable()
        self._known = known

    def add(self, references: bytes) -> None:
        self.add_ids(runs.gather_ids(references))

    def add_ids(self, ids: bytes) -> None:
        absent = None if self._known is None else self._known._table.absent(ids)
        self._table.add(ids, absent)

    def joined(self) -> bytes:
        ids: bytes = self._table.ids
        if self._known is None:
            return ids
        absent = self._known._table.absent(ids)  # some came to be known only later
        return b"".join(ids[32 * n : 32 * n + 32] for n in absent)


class _IdColumns:
    """Id columns of catalog parts, the newest used kept."""

    def __init__(self, repository: "Repository") -> None:
        self._repository = repository
        self._held: dict[str, pa.ChunkedArray] = {}

    def get(self, part: CatalogPart) -> pa.ChunkedArray:
        key = part.part.chunks
        if key not in self._held:
            if len(self._held) >= IDS_KEPT_MAX:
                del self._held[next(iter(self._held))]
            stored = self._repository.read_all(part_from(part.part))
            self._held[key] = decode_catalog_part(stored, ("id",)).column("id")
        return self._held[key]


Later = tuple[CatalogPart, ...]  # parts of an entry that are newer than one of its parts
Uses = dict[str, tuple[CatalogPart, list[Later]]]


def _uses(entries: Iterable[Entry]) -> Uses:
    """Every catalog part with what lies above it in the entries that have it; shortest first, each once."""
    found: dict[str, tuple[CatalogPart, set[Later]]] = {}
    for entry in entries:
        parts = entry.form.catalog
        for number, part in enumerate(parts):
            found.setdefault(part.part.chunks, (part, set()))[1].add(parts[number + 1 :])
    return {key: (part, sorted(later, key=len)) for key, (part, later) in found.items()}


def _needed(
    rows: pa.Table, later: Sequence[Later], from_ns: int | None, ids_of: _IdColumns
) -> pa.ChunkedArray:
    """The `parts` of the rows that some entry still has: not replaced by each one's later parts, removed or expired."""
    gone: pa.Array | None = None  # places of rows that every entry so far has replaced
    looked_at: list[Later] = []
    for above in later:
        if any(above[: len(known)] == known for known in looked_at):
            continue  # more on top of what replaces no less
        looked_at.append(above)
        if not above:
            gone = None
            break
        candidates = pa.array(range(rows.num_rows), pa.int64()) if gone is None else gone
        ids = rows.column("id").take(candidates)
        newer = pa.chunked_array(
            [c for part in above for c in ids_of.get(part).chunks], pa.binary()
        )
        gone = candidates.filter(pc.is_in(ids, value_set=newer).combine_chunks())
        if not len(gone):
            break
    wanted = pc.invert(rows.column("removed"))
    if from_ns is not None:
        wanted = pc.and_(wanted, pc.invert(expired(rows, from_ns)))
    if gone is not None and len(gone):
        places = pa.array(range(rows.num_rows), pa.int64())
        wanted = pc.and_(wanted, pc.invert(pc.is_in(places, value_set=gone)))
    return rows.column("parts").filter(wanted)


def _pieces(table: pa.Table) -> Iterable[pa.Table]:
    for start in range(0, table.num_rows, ROWS_AT_ONCE):
        yield table.slice(start, ROWS_AT_ONCE).combine_chunks()


def _own_references(entry: Entry) -> bytes:
    """References of an entry's catalog parts and checkpoint."""
    parts = [part_from(part.part) for part in entry.form.catalog]
    parts += [part_from(entry.form.checkpoint)] if entry.form.checkpoint is not None else []
    return b"".join(part.chunks for part in parts)


def _needed_bytes(found: Found, whole_frames: Collection[int]) -> dict[str, int]:
    """
    By pack the stored bytes of its frames, each weighed with the share of it that was asked for.

    Args:
        whole_frames: epochs whose frames are never taken apart: all of one is needed, or nothing.
    """
    weighed: Counter[str] = Counter()
    for handle, needed in found.frame_chunks().items():
        info = found.place(handle).info
        share = info.plain_bytes if info.epoch in whole_frames else needed
        weighed[_pack_of(found, handle)] += info.stored_bytes * share // max(1, info.plain_bytes)
    return dict(weighed)


def _live(
    entries: Entries, live: Collection[EntryRef], links: Collection[Link], points: tuple[str, ...]
) -> Live:
    """What the next generation says of manifests, dropped entries and changed parents."""
    manifests, dropped = [], {}
    for manifest, form in entries.manifests.items():
        gone = [n for n in range(len(form.entries)) if EntryRef(manifest, n) not in live]
        if len(gone) < len(form.entries):
            manifests.append(manifest)
            if gone:
                dropped[manifest] = tuple(gone)
    changed = tuple(
        LineageForm(entry, parents)
        for entry, parents in sorted(live_parents(links, live).items(), key=lambda e: _place(e[0]))
        if parents != entries.manifests[entry.manifest].entries[entry.index].parents
    )
    return Live(tuple(manifests), dropped, changed, points)


def _place(entry: EntryRef) -> tuple[str, int]:
    return entry.manifest, entry.index


def _blocked(why: str) -> Corruption:
    return Corruption(
        f"nothing was collected, because it is not known what is needed: {why}; "
        "`strongroom repo verify` says what is affected",
        code="collect-blocked",
    )
