"""
Verification, from cheap to deep.

listing    everything that the state names is there, and so are the cells of whoever wrote
directory  and every pack's header, trailer and directory open, and say what the runs say
scrub      and the stored bytes of every object are those its name says (needs no key)
read       and every chunk decodes to its id, every catalog and checkpoint is whole, every part has all its chunks
drill      and a sample of the items, or all, is read and parsed as what it is

Nothing is changed. Problems are values: the check goes on and names every affected restore point and item, and what brings it
back, if this repository itself can. With `Rolling` it looks into those packs alone whose turn it is.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cext import runs
from engine.catalog import catalog_tables, decode_parts
from engine.collection import point_id
from engine.errors import BackupError, Corruption, NotFound, Unsupported, UsageError
from engine.ids import WriterId
from engine.manifest import CatalogPart, EntryRef, PointForm, part_from
from engine.pack import Directory
from engine.parity import unprotected
from engine.parts import Part
from repository import ambient
from repository.blobstore.ahead import ahead, workers
from repository.blobstore.protocol import BlobInfo
from repository.catalogs import Catalog
from repository.cellcheck import CellCheck, lost_cell, lost_generation
from repository.closed_scopes import ClosedScope, ClosedScopes
from repository.drill import DrillReport, drill
from repository.entries import Entry
from repository.index import NOT_FOUND
from repository.keyring import ring_problems
from repository.layout import (
    CELLS,
    FORGETS,
    GENERATIONS,
    KEYS,
    MANIFESTS,
    PACKS,
    POINTS,
    RUNS,
    cell_name,
    generation_name,
    manifest_name,
    pack_name,
    parse_pack_name,
    point_name,
    run_name,
)
from repository.ledger import LEVELS, Ledger, Level, Rolling
from repository.packcheck import PackCheck, PackFindings
from repository.points import Damaged
from repository.remains import Fate, Remains
from repository.scrub import intact
from repository.state import missing_generations

if TYPE_CHECKING:
    from repository.repository import Repository

PROBLEMS_MAX = 10_000
ROWS_AT_ONCE = 4096
ITEMS_NAMED_MAX = 20
REPAIR = "strongroom repo verify --repair"
SALVAGE = "strongroom repo salvage --force"
COLLECT = "strongroom repo collect"

Progress = Callable[[int, int, int], None]  # packs done, packs in all, bytes read so far


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One finding: the object's name, the error code, a line for people.

    Attributes:
        remedy: the command that makes it good with nothing but what is stored here; empty if none does.
    """

    name: str
    code: str
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """
    What of one entry cannot be read.

    Attributes:
        points: ids of the restore points that have it. items: names of the items, unless it is all of them.
        remedy: the command that brings it back with nothing but what is stored here; empty if none does, and only a copy of
            the repository can, or the next backup of what its source still has.
    """

    object: str
    workload: str
    created_at: str
    points: tuple[str, ...]
    why: str
    items: tuple[str, ...] = ()
    remedy: str = ""

    def __str__(self) -> str:
        named = ", ".join(self.items[:ITEMS_NAMED_MAX])
        more = "" if len(self.items) <= ITEMS_NAMED_MAX else ", ..."
        points = f" (restore points {', '.join(self.points)})" if self.points else ""
        names = f": {named}{more}" if named else ""
        remedy = f" (`{self.remedy}` brings it back)" if self.remedy else ""
        return (
            f"{self.object}/{self.workload} of {self.created_at}{points}: {self.why}{remedy}{names}"
        )


@dataclass(slots=True)
class VerifyReport:
    """
    What was looked at and what was found.

    Attributes:
        packs_looked_into: fewer than `packs` in a rolling check. oldest: the earliest time (RFC 3339) at which a pack was last
            found sound at this level; empty if one never was.
        lost: entries of which something cannot be read; of one of which only a part comes back, each part by itself.
        points_affected: ids of the restore points that are not whole. points_lost: those among them that nothing stored
            here makes whole again. affected: all this in lines for people.
        closed: scopes that were shredded or whose keys are not here: no damage, and not looked into. closed_frames: of them.
    """

    level: Level
    objects: int = 0
    packs: int = 0
    chunks: int = 0
    entries: int = 0
    points: int = 0
    bytes_read: int = 0
    unreferenced: int = 0
    packs_looked_into: int = 0
    oldest: str | None = None
    problems: list[Problem] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    points_affected: list[str] = field(default_factory=list)
    points_lost: list[str] = field(default_factory=list)
    affected: list[str] = field(default_factory=list)
    closed: list[ClosedScope] = field(default_factory=list)
    closed_frames: int = 0
    drill: DrillReport | None = None

    @property
    def ok(self) -> bool:
        """No problem found."""
        return not self.problems and (self.drill is None or self.drill.ok)

    def add(self, name: str, error: BackupError, remedy: str = "") -> None:
        """Keep a finding; beyond PROBLEMS_MAX only the first ones are kept."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(name, error.code, error.message, remedy))


def verify(
    repository: "Repository",
    level: Level = "directory",
    progress: Progress | None = None,
    rolling: Rolling | None = None,
    *,
    everything: bool = False,
) -> VerifyReport:
    """
    Check the repository as its state is now. See the module head.

    Args:
        rolling: which packs to look into; all by default. everything: drill with all items, not with a sample.
    """
    verifier = _Verifier(repository, level, progress or (lambda done, total, read: None))
    return verifier.run(rolling, everything=everything)


class _Verifier:
    def __init__(self, repository: "Repository", level: Level, progress: Progress) -> None:
        self._repository = repository
        self._depth = LEVELS.index(level)
        self._progress = progress
        self._report = VerifyReport(level)
        self._whole_parts: dict[str, bool] = {}  # by the references of a catalog part
        self._cell_check = CellCheck(repository)
        self._lost_writers: dict[str, int] = {}
        self._is_state_lost = False  # cells or a generation: a salvage names again what they named
        self._points_read: list[PointForm] = []
        self._points_of: dict[EntryRef, list[str]] = {}
        self._scopes = ClosedScopes(repository.keyring, repository.entries)
        self._sizes = {blob.name: blob.size for blob in repository.store.list("")}
        self._remains = Remains(repository, frozenset(self._sizes))

    def _reaches(self, level: Level) -> bool:
        return self._depth >= LEVELS.index(level)

    def run(self, rolling: Rolling | None, *, everything: bool) -> VerifyReport:
        repository, report = self._repository, self._report
        report.objects = len(self._sizes)
        self._named_objects()
        self._lost_writers = repository.lost_cells(self._sizes, self._cell_check)
        packs = self._packs()
        if self._reaches("directory"):
            self._sealed_objects()
            self._look_into(packs, rolling)
        if self._reaches("scrub") and rolling is None:
            self._scrub_unnamed(set(packs))
        self._points()
        self._lost_cells_and_generations()
        self._entries()
        self._remedies()
        if self._reaches("drill"):
            newest = self._scopes.readable(repository.entries.newest())
            report.drill = drill(repository, newest, everything=everything)
        report.packs = len(packs)
        report.chunks = repository.index.count()
        report.affected += map(str, report.lost)
        report.closed = self._scopes.told(repository.entries, self._points_of)
        return report

    def _named_objects(self) -> None:
        """Keys, generations, runs and manifests that the state names; refresh has opened runs and manifests once already."""
        state = self._repository.state
        names = [run_name(r) for r in state.runs] + [manifest_name(m) for m in state.manifests]
        for name in names:
            if name not in self._sizes:
                self._report.add(name, NotFound("it is named and missing", code="object-missing"))
        if self._reaches("directory"):
            self._hash(name for name in names if name in self._sizes)
        told = {problem.name for problem in self._report.problems}
        for manifest, error in self._repository.entries.damaged.items():
            if manifest_name(manifest) not in told:
                self._report.add(manifest_name(manifest), error)
        named = {*names}
        self._report.unreferenced = sum(
            1 for n in self._sizes if n.startswith((RUNS, MANIFESTS)) and n not in named
        )
        for gap in missing_generations(self._sizes):
            error = NotFound(
                f"of the generations {gap[0]} to {gap[-1]} none is there: `strongroom repo collect` closes the gap",
                code="generation-missing",
            )
            self._report.add(generation_name(gap[0]), error, COLLECT)
        held = [name for name in self._sizes if name.startswith(KEYS)]
        for name, error in ring_problems(self._repository.store, held):
            self._report.add(name, error)

    def _sealed_objects(self) -> None:
        """Cells, generations, forgets: their parity is that of what they hold. Points are opened anyway."""
        store = self._repository.store
        names = [n for n in self._sizes if n.startswith((CELLS, GENERATIONS, FORGETS))]
        for name, take in ahead(store, store.get, names):
            try:
                if unprotected(take()) is None:
                    damaged = NotFound("its bytes are not as written", code="object-corrupt")
                    self._report.add(name, damaged)
            except BackupError as error:
                self._report.add(name, error)

    def _hash(self, names: Iterable[str]) -> None:
        """Compare objects' bytes with their names."""
        store = self._repository.store
        blobs = (BlobInfo(name, self._sizes[name]) for name in names)
        for blob, take in ahead(store, lambda blob: intact(store, blob), blobs):
            try:
                if not take():
                    error = NotFound("its bytes are not those its name says", code="object-corrupt")
                    self._report.add(blob.name, error)
                self._report.bytes_read += blob.size
            except BackupError as error:
                self._report.add(blob.name, error)

    def _packs(self) -> dict[str, int]:
        """Packs that the index names, with the number of chunks it expects in each."""
        counts = self._repository.index.pack_counts()
        packs = {pack_name(*key): count for key, count in counts.items()}
        for name in packs:
            if name not in self._sizes:
                if name not in self._repository.state.damaged:
                    missing = NotFound("it is named and missing", code="pack-missing")
                    self._report.add(name, missing)
                self._remains.suspect(parse_pack_name(name)[1])
        for name in self._repository.state.damaged:
            self._remains.suspect(parse_pack_name(name)[1])
        held = {name for name in self._sizes if name.startswith(PACKS)}
        self._report.unreferenced += len(held - set(packs))
        return {name: count for name, count in packs.items() if name in held}

    def _look_into(self, packs: dict[str, int], rolling: Rolling | None) -> None:
        """Check packs side by side."""
        scrub, decode = self._reaches("scrub"), self._reaches("read")
        level = self._report.level
        ledger = Ledger(self._repository.ledger_path)
        chosen = sorted(packs)
        if rolling is not None:
            sizes = {name: self._sizes[name] for name in packs}
            chosen = ledger.due(sizes, level, rolling, ambient.now())
        sound: list[str] = []
        damaged: list[str] = []

        repository = self._repository
        at_once = repository.store.calls_at_once()
        with (
            ThreadPoolExecutor(workers(repository.store), "verify") as threads,
            ThreadPoolExecutor(at_once, "pieces") as pieces,
        ):
            check = PackCheck(
                repository.store,
                repository.keys,
                repository.uuid,
                pieces if at_once > 1 else None,
            )

            def look(name: str) -> PackFindings:
                return check.check(name, self._sizes[name], scrub=scrub, decode=decode)

            for done, findings in enumerate(threads.map(look, chosen)):
                is_sound = self._judge(findings, packs[findings.name])
                (sound if is_sound else damaged).append(findings.name)
                self._progress(done + 1, len(chosen), self._report.bytes_read)
        self._report.packs_looked_into = len(chosen)
        # frames of closed scopes were looked at as deeply as anybody here can
        ledger.note(sound, damaged, level, ambient.now())
        self._report.oldest = ledger.oldest(packs, level)
        with contextlib.suppress(OSError):  # advice alone
            ledger.keep(packs)

    def _judge(self, findings: PackFindings, expected: int) -> bool:
        """Take in what was found of a pack; whether it is sound."""
        before = len(self._report.problems)
        self._report.bytes_read += findings.bytes_read
        self._report.closed_frames += findings.closed_frames
        known = findings.name in self._repository.state.damaged  # a problem if something needs it
        for error in findings.errors if not known else ():
            self._report.add(findings.name, error)
        _, pack = parse_pack_name(findings.name)
        if findings.errors:
            self._remains.suspect(pack, runs.gather_ids(b"".join(findings.damaged_refs)))
        if findings.directory is not None and self._listed(pack, findings.directory) < expected:
            error = NotFound(
                "its directory lacks chunks that the index names", code="directory-corrupt"
            )
            self._report.add(findings.name, error)
            self._remains.suspect(pack)
        return len(self._report.problems) == before and not findings.errors

    def _listed(self, pack: str, directory: Directory) -> int:
        """How many chunks of a directory the index looks for in this pack."""
        refs = b"".join(frame.refs for frame in directory.frames)
        found = self._repository.index.find(runs.gather_ids(refs))
        handles = set(found.frames) - {NOT_FOUND}
        here = {handle for handle in handles if found.place(handle).pack == pack}
        return sum(handle in here for handle in found.frames)

    def _scrub_unnamed(self, named: set[str]) -> None:
        """Objects nothing names are waste, but damaged waste tells of a failing disk as well."""
        live = {run_name(r) for r in self._repository.state.runs}
        live |= {manifest_name(m) for m in self._repository.state.manifests}
        passed_over = named | live | self._repository.state.damaged
        hashed = (n for n in self._sizes if n.startswith((PACKS, RUNS, MANIFESTS)))
        self._hash(name for name in hashed if name not in passed_over)

    def _entries(self) -> None:
        points, beyond = set(self._report.points_affected), set(self._report.points_lost)
        for entry in self._repository.entries:
            self._report.entries += 1
            having = tuple(sorted(self._points_of.get(entry.ref, ())))
            broken = self._broken(entry)
            for lost in broken:
                points.update(having)
                beyond.update(() if lost.remedy else having)
            checkpoint = entry.form.checkpoint
            if not broken and checkpoint is not None and not self._scopes.is_closed(entry):
                fate = self._fate([part_from(checkpoint)])
                if fate:  # every item is there; only the next backup has more to do
                    why = "its checkpoint is damaged, its items are not"
                    broken = [self._lost(entry, why, fate, points=())]
            self._report.lost += broken
        self._report.points_affected, self._report.points_lost = sorted(points), sorted(beyond)
        told = {problem.name for problem in self._report.problems}
        for name in sorted(self._repository.state.damaged & self._remains.lossy - told):
            marked = NotFound("it could not be repaired", code="pack-corrupt")
            self._report.add(name, marked)

    def _lost(
        self,
        entry: Entry,
        why: str,
        fate: Fate,
        items: Sequence[bytes] = (),
        points: Sequence[str] | None = None,
    ) -> Lost:
        form = entry.form
        having = sorted(self._points_of.get(entry.ref, ())) if points is None else points
        names = tuple(name.decode(errors="replace") for name in items)
        return Lost(
            form.object.name,
            form.workload,
            entry.created_at,
            tuple(having),
            why,
            names,
            self._remedy(fate),
        )

    def _remedy(self, fate: Fate) -> str:
        if fate is not Fate.REPAIRABLE:
            return ""
        return SALVAGE if self._is_state_lost else REPAIR

    def _remedies(self) -> None:
        """Say of each problem what makes it good, where that is in the repository itself."""
        for number, problem in enumerate(self._report.problems):
            remedy = problem.remedy or (REPAIR if self._is_repairable(problem.name) else "")
            self._report.problems[number] = dataclasses.replace(problem, remedy=remedy)

    def _manifest_remedy(self, manifest: str) -> str:
        """What brings back the entries of a manifest that cannot be read, or that nothing names."""
        if self._is_repairable(manifest_name(manifest)):
            return REPAIR
        is_unnamed = manifest not in self._repository.state.manifests
        is_stored = manifest_name(manifest) in self._sizes
        return SALVAGE if self._lost_writers and is_unnamed and is_stored else ""

    def _is_repairable(self, name: str) -> bool:
        """Runs are made again from packs; key rings are there twice; all else comes back by parity alone."""
        if name.startswith(RUNS):
            return name.removeprefix(RUNS) in self._repository.state.runs
        if name.startswith(KEYS):
            return True  # of two copies the other one has opened the repository
        return name in self._sizes and self._remains.mendable(name)

    def _lost_cells_and_generations(self) -> None:
        """
        What is gone takes along what was committed in it, or folded by it: entries and points that nothing else names.
        """
        repository, state = self._repository, self._repository.state
        for writer, turn in self._lost_writers.items():
            self._report.add(cell_name(WriterId(writer)), lost_cell(writer, turn), SALVAGE)
        gone = {*state.generation.condemned, *state.generation.dead}
        gone |= {*map(point_name, state.points), *map(manifest_name, state.manifests)}
        names = [name for name in self._sizes if name not in gone]
        points_of: dict[EntryRef, list[str]] = {}
        points = [name.removeprefix(POINTS) for name in names if name.startswith(POINTS)]
        beside = repository.read_points(points, {})
        passed = self._cell_check.lost_generation(
            state.cells,
            state.generation,
            repository.entries.manifests,
            [*self._points_read, *beside.values()],
        )
        if passed:
            number = state.generation.number
            name = generation_name(number + 1)
            self._report.add(name, lost_generation(number, passed), SALVAGE)
        if not self._lost_writers and not passed:
            return
        self._remains.look_beside = self._is_state_lost = True
        what = "cell" if self._lost_writers else "generation"
        writers = {*self._lost_writers, *(writer for writer, _ in passed.values())}
        for point in beside.values():
            self._report.affected.append(f"restore point {point.id}: a lost {what} named it")
            self._report.points_affected.append(point.id)  # a salvage names it again
            for item in point.entries:
                points_of.setdefault(item.entry, []).append(point.id)
        for name in names:
            if name.startswith(MANIFESTS):
                self._lose(name.removeprefix(MANIFESTS), writers, points_of)
        self._report.points_affected = sorted({*self._report.points_affected})

    def _lose(
        self, manifest: str, writers: Collection[str], points_of: dict[EntryRef, list[str]]
    ) -> None:
        """Name the entries of a manifest that nothing names, if they may be lost with what named it."""
        with contextlib.suppress(Corruption, NotFound, Unsupported, UsageError):
            form = self._repository.load_manifest(manifest)
            if form.writer not in writers:
                return
            for number, entry in enumerate(form.entries):
                having = tuple(sorted(points_of.get(EntryRef(manifest, number), ())))
                lost = Lost(
                    entry.object.name,
                    entry.workload,
                    form.created_at,
                    having,
                    f"what named it is lost, of writer {form.writer}",
                    remedy=SALVAGE,
                )
                self._report.lost.append(lost)

    def _broken(self, entry: Entry) -> list[Lost]:
        """What of an entry's items cannot be read."""
        form = entry.form
        if self._scopes.is_closed(entry):
            return self._broken_closed(entry)
        fate = self._fate([part_from(part.part) for part in form.catalog])
        if fate:
            return [self._lost(entry, "its catalog is damaged", fate)]
        rows: dict[Fate, list[bytes]] = {}
        if self._reaches("read") or not self._remains.is_whole:
            try:
                if not all(map(self._is_whole, form.catalog)):
                    rows = self._damaged_rows(self._repository.catalog(entry))
            except BackupError as error:
                self._report.add(manifest_name(entry.ref.manifest), error)
                return [self._lost(entry, "its catalog cannot be read", Fate.LOST)]
        return [
            self._lost(entry, f"{len(names)} items are damaged", fate, names)
            for fate, names in sorted(rows.items(), reverse=True)
        ]

    def _broken_closed(self, entry: Entry) -> list[Lost]:
        """The same of an entry that nobody here can open, as far as the packs tell; what was shredded is gone on purpose."""
        if self._scopes.is_shredded(entry):
            return []
        refs = b"".join(part_from(part.part).chunks for part in entry.form.catalog)
        if fate := self._remains.fate_unopened(refs):
            return [self._lost(entry, "its catalog is damaged", fate)]
        packs = self._repository.index.packs_sealed_in(self._scopes.epochs([entry]))
        if fate := self._remains.fate_of_packs(packs):
            why = "packs of its closed scope are damaged: which items, its key would tell"
            return [self._lost(entry, why, fate)]
        return []

    def _damaged_rows(self, catalog: Catalog) -> dict[Fate, list[bytes]]:
        """Names of the rows with a part that cannot be read, by what becomes of them."""
        damaged: dict[Fate, list[bytes]] = {}
        for table in catalog.live():
            for batch in table.select(["name", "parts"]).to_batches(max_chunksize=ROWS_AT_ONCE):
                names, packed = (column.to_pylist() for column in batch.columns)
                rows = [decode_parts(parts) for parts in packed]
                if not self._fate([part for parts in rows for part in parts]):
                    continue
                for name, parts in zip(names, rows, strict=True):
                    if fate := self._fate(parts):
                        damaged.setdefault(fate, []).append(name)
        return damaged

    def _is_whole(self, part: CatalogPart) -> bool:
        """
        Whether nothing is lost of any row of a catalog part, those included that later parts replace.

        Restore points share their parts: each is looked at once. Corruption if it cannot be read.
        """
        key = part.part.chunks
        if key not in self._whole_parts:
            data = self._repository.reader.read_all(part_from(part.part))
            self._whole_parts[key] = all(
                not self._remains.fate(
                    b"".join(p.chunks for packed in column for p in decode_parts(packed))
                )
                for table in catalog_tables(data, ["parts"])
                for column in (
                    batch.column(0).to_pylist()
                    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE)
                )
            )
        return self._whole_parts[key]

    def _fate(self, parts: Sequence[Part]) -> Fate:
        """The worst fate among the chunks of these parts; a finding if no run has one."""
        refs = b"".join(part.chunks for part in parts)
        fate = self._remains.fate(refs)
        if fate and (absent := self._remains.absent(runs.gather_ids(refs))):
            error = NotFound("a chunk that an entry names is in no run", code="chunk-missing")
            self._report.add(f"chunk {absent[:8].hex()}", error, self._remedy(fate))
        return fate

    def _points(self) -> None:
        """Restore points open, and their entries are live."""
        repository = self._repository
        damaged: Damaged = {}
        points = repository.read_points(repository.state.points, damaged)
        self._points_read = list(points.values())
        self._report.points = len(points) + len(damaged)
        remedies = {name: REPAIR if self._is_repairable(name) else "" for name in damaged}
        for name, point in points.items():
            for item in point.entries:
                self._points_of.setdefault(item.entry, []).append(point.id)
            for item in point.entries:
                try:
                    repository.entries.get(item.entry)
                except BackupError as error:
                    remedy = self._manifest_remedy(item.entry.manifest)
                    if point_name(name) not in damaged or not remedy:
                        damaged[point_name(name)], remedies[point_name(name)] = error, remedy
        for name, why in damaged.items():
            self._report.add(name, why, remedies[name])
            self._report.affected.append(f"restore point {name.removeprefix(POINTS)}")
            self._report.points_affected.append(point_id(name.removeprefix(POINTS)))
            if not remedies[name]:
                self._report.points_lost.append(point_id(name.removeprefix(POINTS)))
        held = {name for name in self._sizes if name.startswith(POINTS)}
        self._report.unreferenced += len(held - {point_name(p) for p in repository.state.points})
