"""
Salvage: a repository whose cells, generations or runs are lost, from what is left of it.

Everything that opens and is signed counts: the newest generation that can be read, the cells, and besides what these name every
manifest and restore point there is. The index is made anew from the authenticated directories of the packs. All of it is
named by a new generation above every number seen, and writers whose cells are lost or behind get cells above every turn
seen, so that no turn occurs twice. What the state names already stays named; nothing is deleted. What was dropped and not yet
deleted comes back where the generation that dropped it is lost.
"""

import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from blake3 import blake3

from cext import runs
from engine.collection import Live, Verdict, View, next_generation
from engine.commit import CellForm, cells_behind, encode, ended_turn
from engine.errors import BackupError, Conflict, Corruption, NotFound, UsageError
from engine.ids import WriterId
from engine.keys import SALT_BYTES, KeySet
from engine.manifest import ManifestForm, PointForm, decode_manifest, part_from
from engine.run import RunPack, decode_run, encode_run, split_packs
from engine.seal import ObjectClass, open_object, seal_object
from repository import ambient
from repository.blobstore.protocol import BlobStore
from repository.immutability import locking_store
from repository.index import Index
from repository.layout import (
    GENERATIONS,
    MANIFESTS,
    PACKS,
    POINTS,
    cell_name,
    generation_name,
    generation_number,
    manifest_name,
    pack_name,
    parse_pack_name,
    point_name,
    run_name,
)
from repository.leftover import newest_readable, readable_cells
from repository.mending import RepairReport
from repository.packcheck import PackCheck
from repository.points import Damaged, in_order, read_points
from repository.repair import mark_damaged, mend_small_objects
from repository.repository import open_keys, open_on
from repository.settings import Places
from repository.state import State, state_of
from repository.unlocking import Credential
from repository.witness import Witness

Progress = Callable[[int, int], None]  # packs done, in all


@dataclass(slots=True)
class SalvageReport:
    """
    What was found, and what was written.

    Attributes:
        opens: whether the repository opened before. generation: the one published, 0 in a dry run.
        manifests, points, chunks: in the salvaged state; `..._taken_in`: those among them that nothing named.
        left_out: manifests whose catalogs are not all there. damaged: objects that do not open, and why.
        cells_made: writers that got a new cell. listing: the restore points.
    """

    dry_run: bool = False
    opens: bool = False
    generation: int = 0
    manifests: int = 0
    manifests_taken_in: int = 0
    points_taken_in: int = 0
    runs_lost: int = 0
    packs_taken_in: int = 0
    chunks: int = 0
    cells_made: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    listing: list[PointForm] = field(default_factory=list)


def salvage(
    store: BlobStore,
    credential: Credential,
    places: Places,
    *,
    dry_run: bool = False,
    force: bool = False,
    progress: Progress = lambda done, todo: None,
) -> SalvageReport:
    """
    Find what is left and, unless `dry_run`, name it anew.

    Raises: UsageError(salvage-unneeded) for a repository that opens, without `force`; errors of opening its keys.
    """
    config, keyring = open_keys(store, credential, places)
    opens = _opens(store, credential, places)
    if opens and not dry_run and not force:
        raise UsageError(
            "the repository opens: `repo verify --repair` is for damage; --force takes in what nothing names, "
            "such as the work of a writer whose cell is lost",
            code="salvage-unneeded",
        )
    store = locking_store(store, config, keyring.keys)
    if not dry_run:
        mend_small_objects(store)
    scratch = places.cache_dir / config.repository / f"salvage-{ambient.random_bytes(8).hex()}"
    try:
        work = _Salvage(store, keyring.keys, config.repository, places, scratch, progress)
        return work.run(opens=opens, dry_run=dry_run)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _opens(store: BlobStore, credential: Credential, places: Places) -> bool:
    try:
        open_on(store, credential, places).close()
    except (Corruption, NotFound):
        return False
    return True


class _Salvage:
    def __init__(
        self,
        store: BlobStore,
        keys: KeySet,
        repository: str,
        places: Places,
        scratch: Path,
        progress: Progress,
    ) -> None:
        self._store = store
        self._keys = keys
        self._id = repository
        self._uuid = bytes.fromhex(repository)
        self._seen = Witness(places.state_dir / repository / "seen.json")
        self._index = Index(scratch)
        self._progress = progress
        self._report = SalvageReport()
        self._turns: dict[str, int] = dict(self._seen.turns)
        self._highest = self._highest_number()

    def run(self, *, opens: bool, dry_run: bool) -> SalvageReport:
        report = self._report
        report.opens, report.dry_run = opens, dry_run
        cells = readable_cells(self._store, self._keys, self._uuid, report.damaged)
        for writer, cell in cells.items():
            self._saw(writer, cell.turn)
        generation = newest_readable(self._store, self._keys, self._uuid, report.damaged)
        state = state_of(cells, generation, frozenset())
        for writer, turn in generation.watermarks.items():
            self._saw(writer, turn)
        readable = self._readable_runs(state.runs)
        packs = self._packs_beside(readable, generation.dead)
        made = {run: encode_run(group) for run, group in enumerate(split_packs(packs))}
        self._index.sync(
            [*readable, *(f"{run:064x}" for run in made)],
            lambda names: (made.get(int(name, 16)) or self._load_run(name) for name in names),
        )
        report.packs_taken_in, report.chunks = len(packs), self._index.count()
        manifests = self._manifests(state)
        damaged: Damaged = {}
        names = [blob.name.removeprefix(POINTS) for blob in self._store.list(POINTS)]
        points = read_points(self._store, self._keys, self._id, self._uuid, names, damaged)
        report.damaged |= {name: error.message for name, error in damaged.items()}
        points = {n: p for n, p in points.items() if point_name(n) not in generation.dead}
        report.points_taken_in = len(points.keys() - set(state.points))
        report.listing = in_order(points.values())
        if not dry_run:
            runs_made = [self._store_run(plain) for plain in made.values()]
            for pack in packs:
                name = pack_name(pack.object_class, pack.pack)
                if name in report.damaged:
                    mark_damaged(self._store, name, RepairReport())
            self._make_cells(cells)
            live = Live(
                tuple(dict.fromkeys([*state.manifests, *manifests])),
                dict(generation.dropped),
                generation.lineage,
                tuple(dict.fromkeys([*state.points, *points])),
            )
            taken_in = {pack_name(pack.object_class, pack.pack) for pack in packs}
            taken_in |= {manifest_name(m) for m in manifests} | {point_name(p) for p in points}
            runs_named = (*readable, *runs_made)
            self._publish(View({}, cells, generation, generation.dead), live, runs_named, taken_in)
        report.manifests = len({*state.manifests, *manifests})
        return report

    # -- reading ---------------------------------------------------------------------------------

    def _saw(self, writer: str, turn: int) -> None:
        self._turns[writer] = max(turn, self._turns.get(writer, 0))

    def _highest_number(self) -> int:
        names = (blob.name for blob in self._store.list(GENERATIONS))
        return max(map(generation_number, names), default=0)

    def _open(self, object_class: ObjectClass, name: str) -> bytes:
        stored = self._store.get(name)
        if blake3(stored).hexdigest() != name.rpartition("/")[2]:
            raise Corruption(f"{name} is damaged", code="object-corrupt")
        return open_object(self._keys, object_class, self._uuid, stored)

    def _load_run(self, run: str) -> bytes:
        return self._open(ObjectClass.RUN, run_name(run))

    def _readable_runs(self, named: Iterable[str]) -> list[str]:
        readable = []
        for run in named:
            try:
                decode_run(self._load_run(run))
                readable.append(run)
            except (Corruption, NotFound) as error:
                self._report.runs_lost += 1
                self._report.damaged[run_name(run)] = error.message
        return readable

    def _packs_beside(self, readable: list[str], dead: Collection[str]) -> list[RunPack]:
        """Packs that hold chunks which no readable run names; of a damaged one what its salvage points list."""
        self._index.sync(readable, lambda names: map(self._load_run, names))
        check = PackCheck(self._store, self._keys, self._uuid)
        blobs = [blob for blob in self._store.list(PACKS) if blob.name not in dead]
        found = []
        for number, blob in enumerate(blobs):
            object_class, pack = parse_pack_name(blob.name)
            findings = check.check(blob.name, blob.size, scrub=False, decode=False)
            self._progress(number + 1, len(blobs))
            if findings.directory is None:
                self._report.damaged[blob.name] = findings.errors[0].message
                frames = check.salvage(blob.name)
            else:
                frames = findings.directory.frames
            ids = runs.gather_ids(b"".join(frame.refs for frame in frames))
            if self._index.absent(ids):
                found.append(RunPack(pack, object_class, frames))
        return found

    def _manifests(self, state: State) -> list[str]:
        """Manifests that nothing names and whose catalogs are all there."""
        named = {manifest_name(m) for m in state.manifests} | set(state.generation.dead)
        found = []
        for blob in self._store.list(MANIFESTS):
            manifest = blob.name.removeprefix(MANIFESTS)
            try:
                plain = self._open(ObjectClass.MANIFEST, blob.name)
                form = decode_manifest(plain, self._id, self._keys.signing_seed)
            except BackupError as error:
                self._report.damaged[blob.name] = error.message
                continue
            self._saw(form.writer, form.turn)
            if blob.name in named:
                continue
            if self._is_whole(form):
                found.append((form.created_at, manifest))
            else:
                self._report.left_out.append(blob.name)
        self._report.manifests_taken_in = len(found)
        return [manifest for _, manifest in sorted(found)]

    def _is_whole(self, form: ManifestForm) -> bool:
        parts = [part_from(part.part) for entry in form.entries for part in entry.catalog]
        ids = runs.gather_ids(b"".join(part.chunks for part in parts))
        return not self._index.absent(ids)

    # -- writing ---------------------------------------------------------------------------------

    def _sealed(self, object_class: ObjectClass, plain: bytes, name: str = "") -> bytes:
        salt = ambient.random_bytes(SALT_BYTES)
        return seal_object(self._keys, object_class, self._uuid, salt, plain, name)

    def _store_run(self, plain: bytes) -> str:
        stored = self._sealed(ObjectClass.RUN, plain)
        made = blake3(stored).hexdigest()
        self._store.put_new(run_name(made), stored)
        return made

    def _make_cells(self, cells: dict[str, CellForm]) -> None:
        """A writer whose cell is lost, unreadable or behind gets one above every turn of its that was seen."""
        for writer in cells_behind(cells, self._turns):
            name = cell_name(WriterId(writer))
            form = CellForm(writer, self._turns[writer] + 1, "idle", ())
            if old := cells.get(writer):  # its commits count until the new generation folds them
                state = "closed" if old.state == "closed" else "idle"
                form = msgspec.structs.replace(form, state=state, commits=old.commits)
            try:
                _, tag = self._store.get_tagged(name)
            except NotFound:
                tag = None
            self._store.replace(name, self._sealed(ObjectClass.CELL, encode(form), name), tag)
            self._report.cells_made.append(writer)

    def _publish(
        self, view: View, live: Live, runs_named: tuple[str, ...], taken_in: Collection[str]
    ) -> None:
        condemned = {n: g for n, g in view.generation.condemned.items() if n not in taken_in}
        made = next_generation(view, live, Verdict(condemned, ()), runs_named)
        # of what was committed until now nothing is taken in later: what could not be is no proof of a lost generation
        watermarks = dict(self._turns)
        for writer, cell in view.cells.items():
            if cell.turn >= self._turns.get(writer, 0):
                watermarks[writer] = ended_turn(cell)
        watermarks = {w: max(t, made.watermarks.get(w, 0)) for w, t in watermarks.items() if t}
        made = msgspec.structs.replace(made, watermarks={**made.watermarks, **watermarks})
        # what was listed under one generation is named in the next one or not at all
        number = max(made.number, self._seen.generation + 1, self._highest + 1)
        if self._highest_number() != self._highest:
            raise _overtaken()
        made = msgspec.structs.replace(made, number=number)
        name = generation_name(number)
        try:
            self._store.put_new(name, self._sealed(ObjectClass.GENERATION, encode(made), name))
        except Conflict as error:
            raise _overtaken() from error
        self._report.generation = number


def _overtaken() -> Conflict:
    return Conflict(
        "a collection ran meanwhile: stop collections and run it again",
        code="generation-contended",
    )
