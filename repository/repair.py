"""
Repair: what is damaged is put back byte for byte, made again from what proves it, or marked so that nobody relies on it.

In this order, for each object: read it again, make it good by its parity, take it from another repository (a copy of this
one). The proof is the name where that is the hash of the bytes, else the parity, and for what comes from elsewhere the
seal. Runs that stay lost are made again from the directories of packs and named by a new generation. A pack that stays
damaged stays where it is, because its sound frames can still be read, and is marked: other locations of its chunks are
preferred, and the next backup stores what it still finds at its source. Nothing is ever deleted here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from cext import runs
from engine.collection import Live, Verdict, View, next_generation
from engine.errors import (
    Conflict,
    Corruption,
    Denied,
    NotFound,
    Unavailable,
    Unsupported,
    UsageError,
)
from engine.keys import KeySet
from engine.pack import TRAILER_BYTES
from engine.parity import repaired
from engine.run import RunPack, encode_run, split_packs
from engine.seal import ObjectClass, open_object
from repository import ambient
from repository.blobstore.protocol import BlobStore
from repository.forgets import PUBLISH_ATTEMPTS_MAX, publish
from repository.immutability import locking_store
from repository.keyring import ring_problems
from repository.layout import (
    CELLS,
    CONFIG,
    DAMAGED,
    FORGETS,
    GENERATIONS,
    KEYS,
    MANIFESTS,
    PACKS,
    POINTS,
    RUNS,
    pack_name,
    parse_pack_name,
    run_name,
)
from repository.ledger import Level
from repository.packcheck import PackCheck
from repository.repository import Repository, open_keys, open_on
from repository.scrub import is_named_by_hash, is_sound
from repository.settings import ConfigForm, Places, read_config
from repository.state import damaged_packs, read_cells, state_of
from repository.unlocking import Credential
from repository.verify import VerifyReport

SMALL = (RUNS, MANIFESTS, POINTS, CELLS, GENERATIONS, FORGETS)  # sealed objects of one frame
FOUND_AGAIN, PARITY, COPY = "reading it again", "its parity", "another repository"
TWIN = "its second copy"

Progress = Callable[[int, int], None]  # objects done, in all


@dataclass(frozen=True, slots=True)
class Repaired:
    """An object that is as it was, and what made it so."""

    name: str
    by: str


@dataclass(slots=True)
class RepairReport:
    """
    What a repair did, or would do.

    Attributes:
        runs_lost, runs_made: index runs that were made again from pack directories, and what stands for them.
        marked, unmarked: packs marked as damaged, and those that are sound again.
        lost: names of other objects that nothing brings back.
    """

    dry_run: bool = False
    repaired: list[Repaired] = field(default_factory=list)
    runs_lost: list[str] = field(default_factory=list)
    runs_made: list[str] = field(default_factory=list)
    marked: list[str] = field(default_factory=list)
    unmarked: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether something was, or would be, written."""
        return bool(self.repaired or self.runs_lost or self.marked or self.unmarked)


Opens = Callable[
    [str, bytes], bool
]  # whether what is stored under a name opens there under its seal
_SEALED = {
    POINTS: ObjectClass.POINT,
    GENERATIONS: ObjectClass.GENERATION,
    FORGETS: ObjectClass.FORGET,
}


def opens_with(keys: KeySet, repository: bytes) -> Opens:
    """Proof of the objects whose names say nothing of their bytes, cells apart."""

    def opens(name: str, stored: bytes) -> bool:
        object_class = _SEALED[name.partition("/")[0] + "/"]
        try:
            open_object(keys, object_class, repository, stored, name)
        except (Corruption, Unsupported):
            return False
        return True

    return opens


class Mender:
    """
    Puts single objects back.

    Args:
        opens: proof of what comes from another repository and is not named by its hash; without it nothing of that kind does.
    """

    def __init__(
        self,
        store: BlobStore,
        others: Sequence[BlobStore],
        report: RepairReport,
        opens: Opens = lambda name, stored: False,
    ) -> None:
        self._store = store
        self._others = others
        self._opens = opens
        self.report = report

    def small_objects(self, progress: Progress) -> list[str]:
        """Look at every object but packs and configuration, and put back what is damaged; names of what stays so."""
        names = [b.name for prefix in SMALL for b in self._store.list(prefix)]
        left = []
        for number, name in enumerate(names):
            if not self.mend(name):
                left.append(name)
            progress(number + 1, len(names))
        return left + [name for name in self._bad_rings() if not self._mend_ring(name)]

    def _bad_rings(self) -> list[str]:
        held = [blob.name for blob in self._store.list(KEYS)]
        return [name for name, _ in ring_problems(self._store, held)]

    def _mend_ring(self, name: str) -> bool:
        """A key ring is there twice."""
        twin = name[:-1] + ("b" if name.endswith("a") else "a")
        stored, _ = self._read(twin)
        _, tag = self._read(name)
        if stored is None or twin in self._bad_rings():
            return False
        if not self.report.dry_run and not self._put(name, stored, tag):
            return False
        self.report.repaired.append(Repaired(name, TWIN))
        return True

    def mend(self, name: str) -> bool:
        """Make sure that an object is sound; False if it is not and nothing helps."""
        stored, tag = self._read(name)
        if stored is not None and is_sound(name, stored):
            return True
        again, tag = self._read(name)
        if again is not None and is_sound(name, again):
            self.report.repaired.append(Repaired(name, FOUND_AGAIN))
            return True
        made, by = self._made(name, again)
        if made is None:
            return False
        if not self.report.dry_run and not self._put(name, made, tag):
            now, _ = self._read(name)
            return now is not None and is_sound(name, now)
        self.report.repaired.append(Repaired(name, by))
        return True

    def _put(self, name: str, made: bytes, tag: str | None) -> bool:
        """Put an object back where nobody changed it meanwhile; False if somebody did, or a lock forbids it."""
        try:
            self._store.replace(name, made, tag)
        except (Conflict, Denied):
            return False
        return True

    def _read(self, name: str) -> tuple[bytes | None, str | None]:
        try:
            return self._store.get_tagged(name)
        except NotFound:
            return None, None

    def _made(self, name: str, stored: bytes | None) -> tuple[bytes | None, str]:
        if stored is not None:
            end = TRAILER_BYTES if name.startswith(PACKS) else 0
            proof = partial(is_sound, name) if is_named_by_hash(name) else None
            made = repaired(stored, end, proof)
            if made is not None:
                return made, PARITY
        if name.startswith(CELLS):
            return None, ""  # another repository may have an older one
        for other in self._others:
            try:
                found = other.get(name)
            except NotFound:
                continue
            if is_sound(name, found) and (is_named_by_hash(name) or self._opens(name, found)):
                return found, COPY
        return None, ""


def mend_small_objects(
    store: BlobStore,
    others: Sequence[BlobStore] = (),
    *,
    opens: Opens = lambda name, stored: False,
    dry_run: bool = False,
    progress: Progress = lambda done, todo: None,
) -> RepairReport:
    """First step: everything but packs, so that the repository opens. `opens`: see Mender."""
    report = RepairReport(dry_run)
    report.lost = Mender(store, others, report, opens).small_objects(progress)
    return report


def verify_and_repair(
    store: BlobStore,
    credential: Credential,
    places: Places,
    level: Level,
    others: Sequence[BlobStore] = (),
    *,
    dry_run: bool = False,
    progress: Progress = lambda done, todo: None,
) -> tuple[RepairReport, VerifyReport | None]:
    """
    All steps, around a verification: what was repaired, and what a verification says after it.

    Without the second: a dry run, of a repository that does not open before it is repaired. What is put back or made is
    locked where the repository's objects are.

    Raises: UsageError(copy-foreign): one of `others` is no copy of this repository. As of `open_keys`.
    """
    config, keyring = open_keys(store, credential, places)
    for other in others:
        _require_copy(other, config)
    report = mend_small_objects(
        locking_store(store, config, keyring.keys),
        others,
        opens=opens_with(keyring.keys, bytes.fromhex(config.repository)),
        dry_run=dry_run,
        progress=progress,
    )
    try:
        opened = open_on(store, credential, places, lenient=True)
    except Corruption:
        if dry_run and report.changed:
            return report, None
        raise
    with opened as repository:
        repair_runs(repository, report, others)
        found = repository.verify(level, lambda done, todo, read: progress(done, todo))
        repair(repository, [p.name for p in found.problems], report, others, progress)
        if report.changed and not dry_run:
            found = repository.verify(level, lambda done, todo, read: progress(done, todo))
    return report, found


def _require_copy(other: BlobStore, config: ConfigForm) -> None:
    found = read_config(other.get(CONFIG), other.describe())
    if found.repository != config.repository:
        raise UsageError(
            f"{other.describe()} is another repository: --from takes a copy of the files of this one",
            code="copy-foreign",
        )


def repair_runs(
    repository: Repository, report: RepairReport, others: Sequence[BlobStore] = ()
) -> None:
    """Second step: the runs that a lenient opening passed over, put back from a copy or made again from packs."""
    mender = _mender(repository, others, report)
    lost = {run for run in repository.lost_runs if not mender.mend(run_name(run))}
    report.lost = [name for name in report.lost if not name.startswith(RUNS)]
    if lost:
        _replace_runs(repository, mender, lost)
    if not report.dry_run:
        repository.refresh()


def repair(
    repository: Repository,
    suspects: Iterable[str],
    report: RepairReport,
    others: Sequence[BlobStore] = (),
    progress: Progress = lambda done, todo: None,
) -> None:
    """
    Third step: packs, and manifests and points that are missing.

    Args:
        suspects: names of objects that a verification found fault with. report: is added to.
    """
    mender = _mender(repository, others, report)
    marked = damaged_packs(repository.store)
    names = set(suspects)
    packs = sorted({*(name for name in names if name.startswith(PACKS)), *marked})
    named = {pack_name(*key) for key in repository.index.frame_bytes()}
    for number, name in enumerate(packs):
        if name in marked and name not in named:
            _unmark(repository.store, name, report)  # nothing names it any more
        else:
            _settle(repository.store, name, mender, marked, report)
        progress(number + 1, len(packs))
    for name in sorted(name for name in names if name.startswith((MANIFESTS, POINTS))):
        if name not in report.lost and not mender.mend(name):
            report.lost.append(name)


def _mender(repository: Repository, others: Sequence[BlobStore], report: RepairReport) -> Mender:
    return Mender(repository.store, others, report, opens_with(repository.keys, repository.uuid))


def _settle(
    store: BlobStore, name: str, mender: Mender, marked: frozenset[str], report: RepairReport
) -> None:
    """Put one pack back, or mark it; take the mark off one that is sound."""
    sound = mender.mend(name)
    if sound and name in marked:
        _unmark(store, name, report)
    elif not sound and name not in marked:
        mark_damaged(store, name, report)


def mark_damaged(store: BlobStore, name: str, report: RepairReport) -> None:
    """Mark a pack, unless it is marked already or this is a dry run."""
    if not report.dry_run:
        mark = msgspec.json.encode({"found_at": ambient.now()})
        try:
            store.put_new(DAMAGED + name, mark)
        except Conflict:
            return
    if name not in report.marked:
        report.marked.append(name)


def _unmark(store: BlobStore, name: str, report: RepairReport) -> None:
    if not report.dry_run:
        store.delete(DAMAGED + name)
    report.unmarked.append(name)


# -- runs ------------------------------------------------------------------------------------------


def packs_not_indexed(repository: Repository, mender: Mender) -> list[RunPack]:
    """
    Packs that hold chunks in no readable run, from their authenticated directories; dead ones are not looked at.

    Of a pack whose directory stays damaged the sound frames that its salvage points list; it is marked.

    Args:
        mender: puts back packs whose directory does not open.
    """
    check = PackCheck(repository.store, repository.keys, repository.uuid)
    dead, found = set(repository.state.generation.dead), []
    for blob in repository.store.list(PACKS):
        if blob.name in dead:
            continue
        object_class, pack = parse_pack_name(blob.name)
        directory = check.check(blob.name, blob.size, scrub=False, decode=False).directory
        if directory is None and mender.mend(blob.name):
            directory = check.check(blob.name, blob.size, scrub=False, decode=False).directory
        frames = check.salvage(blob.name) if directory is None else directory.frames
        ids = runs.gather_ids(b"".join(frame.refs for frame in frames))
        if repository.index.absent(ids):
            if directory is None:
                mark_damaged(repository.store, blob.name, mender.report)
            found.append(RunPack(pack, object_class, frames))
    return found


def _replace_runs(repository: Repository, mender: "Mender", lost: set[str]) -> None:
    """
    Make new runs for what the lost ones named, and publish a generation that names them instead.

    Packs that were listed under one generation are named in the next one or not at all: another may have called one dead.
    """
    report = mender.report
    report.runs_lost = sorted(lost)
    for _ in range(PUBLISH_ATTEMPTS_MAX):
        number = repository.state.generation.number
        groups = split_packs(packs_not_indexed(repository, mender))
        if report.dry_run:
            return
        report.runs_made = [
            repository.store_sealed(ObjectClass.RUN, encode_run(group), run_name)
            for group in groups
        ]
        is_published = publish_runs(repository, lost, report.runs_made, number)
        repository.refresh()
        if is_published:
            return
    raise Unavailable(
        "other collectors publish all the time: run again later", code="generation-contended"
    )


def publish_runs(repository: Repository, lost: set[str], made: Sequence[str], number: int) -> bool:
    """
    Publish generation `number` + 1, in which `made` stand for the runs `lost`; commits are folded, nothing else changes.

    False if there is a newer one.
    """
    store, keys, uuid = repository.store, repository.keys, repository.uuid
    cells = read_cells(store, keys, uuid)
    generation = repository.newest_generation()
    if generation.number != number:
        return False
    state = state_of(cells, generation, frozenset())
    view = View({}, cells, generation, generation.dead)
    live = Live(state.manifests, dict(generation.dropped), generation.lineage, state.points)
    kept = tuple(run for run in state.runs if run not in lost)
    following = next_generation(
        view,
        live,
        Verdict(dict(generation.condemned), ()),
        (*kept, *made),
        tuple(run_name(run) for run in sorted(lost)),
    )
    return publish(repository, following)
