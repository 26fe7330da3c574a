"""
Repair: what is damaged is put back byte for byte, made again from what proves it, or marked so that nobody relies on it.

Single objects are mended first (`repository.mending`). Runs that stay lost are made again from the directories of packs and
named by a new generation. A pack that stays damaged stays where it is, because its sound frames can still be read, and is
marked: other locations of its chunks are preferred, and the next backup stores what it still finds at its source. Nothing
is ever deleted here.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from cext import runs
from engine.collection import Live, Verdict, View, next_generation
from engine.errors import Conflict, Corruption, Unavailable, UsageError
from engine.run import RunPack, encode_run, split_packs
from engine.seal import ObjectClass
from repository import ambient
from repository.blobstore.protocol import BlobStore
from repository.forgets import PUBLISH_ATTEMPTS_MAX, publish
from repository.immutability import locking_store
from repository.layout import (
    CONFIG,
    DAMAGED,
    MANIFESTS,
    PACKS,
    POINTS,
    RUNS,
    pack_name,
    parse_pack_name,
    run_name,
)
from repository.ledger import Level
from repository.mending import Mender, Opens, RepairReport, opens_with
from repository.packcheck import PackCheck
from repository.repository import Repository, open_keys, open_on
from repository.settings import ConfigForm, Places, read_config
from repository.state import damaged_packs, read_cells, state_of
from repository.unlocking import Credential
from repository.verify import VerifyReport

Progress = Callable[[int, int], None]  # objects done, in all


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
