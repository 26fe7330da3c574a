"""Verification says exactly what a lost object takes along: restore points and items, no more and no less."""

import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from engine.commit import GenerationForm
from engine.errors import BackupError, Corruption, Denied, NotFound
from repository import Places, PointDraft, Repository, layout
from repository.blobstore.memory import MemoryStore
from repository.cellcheck import CellCheck
from repository.forgets import publish
from repository.layout import (
    CONFIG,
    DAMAGED,
    FORGETS,
    GENERATIONS,
    KEYS,
    LOCKS,
    PROBE,
    generation_number,
    lock_name,
    pack_name,
)
from repository.ledger import Level
from repository.repair import mend_small_objects, verify_and_repair
from repository.repository import initialize, open_on
from repository.salvage import salvage
from repository.state import read_generation
from repository.verify import COLLECT, REPAIR, SALVAGE, verify
from tests.fixtures.faults import FaultStore
from tests.fixtures.repositories import CHEAP, PASSPHRASE, OpenRepository, commit_files, object_key

KINDS = ("pack/d", "pack/m", "run", "manifest", "point", "sess")


@dataclass
class Whole:
    """What can be read: ids of restore points in full, and items by object and time of the entry."""

    points: set[str] = field(default_factory=set)
    items: set[tuple[str, str, str]] = field(default_factory=set)
    entries: set[tuple[str, str]] = field(default_factory=set)


@pytest.fixture(scope="module")
def filled() -> dict[str, bytes]:
    """
    Three objects, five commits of two writers that share chunks, four restore points, one of them over entries of two commits.

    A collection in between: one writer committed before it and after it, the other one after it alone.
    """
    store = MemoryStore()
    initialize(store, PASSPHRASE, CHEAP)
    rng = random.Random(3)
    shared, own = rng.randbytes(5000), [rng.randbytes(3000) for _ in range(6)]
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder) / "cache", Path(folder) / "state")
        with open_on(store, PASSPHRASE, places) as repository:
            ann, bob, eve = object_key("ann"), object_key("bob"), object_key("eve")
            with repository.write_session("w") as s:
                first = commit_files(repository, s, {"1": own[0], "2": shared}, ann)
                second = commit_files(repository, s, {"3": own[1], "4": shared, "5": own[2]}, bob)
                s.seal_point(PointDraft("0" * 16, "p", "one", "success", (first.ref, second.ref)))
                third = commit_files(repository, s, {"6": own[3]}, ann)
                s.seal_point(PointDraft("1" * 16, "p", "two", "success", (third.ref, second.ref)))
            repository.collect()
            with repository.write_session("w") as s:
                fourth = commit_files(repository, s, {"7": own[4]}, eve)
                s.seal_point(PointDraft("2" * 16, "q", "three", "success", (fourth.ref,)))
            with repository.write_session("v") as s:
                fifth = commit_files(repository, s, {"8": own[5]}, object_key("max"))
                s.seal_point(PointDraft("3" * 16, "q", "four", "success", (fifth.ref,)))
    return dict(store.objects)


def readable(repository: Repository) -> Whole:
    """Found by reading everything there is."""
    found = Whole()
    for entry in repository.entries:
        key = (entry.form.object.name, entry.created_at)
        try:
            rows = list(repository.catalog(entry).rows())
        except BackupError:
            continue
        found.entries.add(key)
        for row in rows:
            try:
                for part in row.parts:
                    repository.read_all(part)
            except BackupError:
                found.entries.discard(key)
            else:
                found.items.add((*key, row.name.decode()))
    for point in repository.points({}):
        try:
            entries = [repository.entries.get(item.entry) for item in point.entries]
        except BackupError:
            continue
        if all((e.form.object.name, e.created_at) in found.entries for e in entries):
            found.points.add(point.id)
    return found


def names(objects: dict[str, bytes], kind: str) -> list[str]:
    return sorted(name for name in objects if name.startswith(kind))


@pytest.mark.slow
@pytest.mark.parametrize("level", ["listing", "read"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_object_takes_exactly_what_is_said(
    filled: dict[str, bytes], open_repo: OpenRepository, tmp_path: Path, kind: str, level: str
) -> None:
    """For every object: what verification calls affected is what cannot be read; the rest can."""
    whole_store = MemoryStore()
    whole_store.objects = dict(filled)
    whole = readable(open_repo(whole_store))
    assert len(whole.points) == 4
    assert len(whole.items) == 10
    for number, name in enumerate(names(filled, kind)):
        store = MemoryStore()
        store.objects = {n: data for n, data in filled.items() if n != name}
        places = Places(tmp_path / f"c{number}", tmp_path / f"s{number}")
        with open_on(store, PASSPHRASE, places, lenient=True) as repository:
            left = readable(repository)
            report = repository.verify(level)  # type: ignore[arg-type]
            known = readable(repository)
        assert not report.ok
        assert set(report.points_affected) == whole.points - left.points, name
        said = {(lost.object, lost.created_at): set(lost.items) for lost in report.lost}
        for entry in {key[:2] for key in whole.items}:
            gone = {n for *e, n in whole.items - left.items if tuple(e) == entry}
            if kind == "manifest" and gone:
                assert (
                    entry not in said
                )  # who lost the manifest does not know its entries: the points say so
            elif gone == {n for *e, n in whole.items if tuple(e) == entry} and entry in said:
                assert said[entry] in (set(), gone), name
            else:
                assert said.get(entry, set()) == gone, name
        assert known == left
        if kind == "point":
            assert left.items == whole.items
        elif kind != "pack/m":  # a pack may hold nothing but a checkpoint
            assert left.items < whole.items


@pytest.mark.parametrize("writer", ["w", "v"])
def test_nothing_is_collected_while_a_cell_is_lost(
    filled: dict[str, bytes], open_repo: OpenRepository, tmp_path: Path, writer: str
) -> None:
    """A writer's cell goes, folded before or never: a collection deletes nothing, and salvage brings everything back."""
    store = MemoryStore()
    store.objects = dict(filled)
    whole = readable(open_repo(store))
    del store.objects[f"sess/{writer}"]
    left = dict(store.objects)
    for dry_run in (True, False):
        with pytest.raises(Corruption, match=f"sess/{writer}") as caught:
            open_repo(store).collect(dry_run=dry_run)
        assert caught.value.code == "collect-blocked"
    assert store.objects == left
    salvage(store, PASSPHRASE, Places(tmp_path / "sc", tmp_path / "ss"), force=True)
    repository = open_repo(store)
    assert readable(repository) == whole
    assert repository.verify("read").ok
    repository.collect()
    assert readable(open_repo(store)) == whole


def test_a_cell_put_back_from_an_older_copy_is_noticed(
    filled: dict[str, bytes], open_repo: OpenRepository
) -> None:
    """Its turn lies below what was folded of it: the same as if it were lost."""
    store = MemoryStore()
    store.objects = dict(filled)
    with open_repo(store).write_session("w"):
        early = store.objects["sess/w"]
    writing = open_repo(store)
    with writing.write_session("w") as session:
        commit_files(writing, session, {"9": b"nine"})
    writing.collect()
    store.objects["sess/w"] = early
    problems = open_repo(store).verify("listing").problems
    assert [(problem.name, problem.code) for problem in problems] == [("sess/w", "cell-missing")]
    with pytest.raises(Corruption, match="sess/w"):
        open_repo(store).collect()


def test_a_writer_that_goes_on_meanwhile_is_no_lost_cell(
    filled: dict[str, bytes], open_repo: OpenRepository
) -> None:
    """What is read one after the other looks like a lost cell where a writer begins or commits in between: not to us."""
    store = MemoryStore()
    store.objects = dict(filled)
    before = open_repo(store).state
    writing = open_repo(store)
    for writer in ("w", "x"):
        with writing.write_session(writer) as session:
            commit_files(writing, session, {"9": b"nine"}, object_key(writer))
    watermarks = {**before.generation.watermarks, "x": 1}
    folded = msgspec.structs.replace(before.generation, watermarks=watermarks)
    fresh = open_repo(store)
    for generation in (before.generation, folded):
        assert CellCheck(fresh).lost(before.cells, generation, {}, store.objects) == {}
    del store.objects["sess/x"]
    for generation in (before.generation, folded):
        assert CellCheck(fresh).lost(before.cells, generation, {}, store.objects) == {"x": 1}


def test_a_lost_generation_leaves_a_gap_that_is_noticed_and_closed(
    filled: dict[str, bytes], open_repo: OpenRepository
) -> None:
    """Nothing else is lost with an older one; a collection takes its number again, so that nobody can publish under it."""
    store = MemoryStore()
    store.objects = dict(filled)
    whole = readable(open_repo(store))
    *older, newest = names(filled, "gc/")
    for name in older:
        del store.objects[name]
    report = open_repo(store).verify("listing")
    assert [(p.name, p.code) for p in report.problems] == [(older[0], "generation-missing")]
    assert not report.affected
    assert readable(open_repo(store)) == whole
    repository = open_repo(store)
    repository.collect()
    assert open_repo(store).verify("read").ok
    assert names(store.objects, "gc/")[: len(older) + 1] == [*older, newest]
    for name in older:
        number = generation_number(name)
        assert read_generation(store, repository.keys, repository.uuid, number).stub
        assert not publish(repository, GenerationForm(number))


def test_a_lost_cell_is_noticed(
    filled: dict[str, bytes], open_repo: OpenRepository, places: Places
) -> None:
    """By a machine that knew it: the store shows an older state."""
    store = MemoryStore()
    store.objects = dict(filled)
    knows = open_repo(store, places)
    assert knows.verify("read").ok
    del store.objects["sess/w"]
    with pytest.raises(BackupError, match="older state"):
        knows.verify("listing")


def test_a_lost_key_is_told_apart(filled: dict[str, bytes], open_repo: OpenRepository) -> None:
    """Without any key nothing opens, and the message says what to put back."""
    store = MemoryStore()
    store.objects = {n: d for n, d in filled.items() if not n.startswith("keys/")}
    with pytest.raises(BackupError, match="keys"):
        open_repo(store)


@pytest.fixture(scope="module")
def decided(filled: dict[str, bytes]) -> dict[str, bytes]:
    """
    The same with all other kinds of objects: a second key ring, a hold, a forget that waits, a lock object, and a data pack
    with one spoiled frame that is marked.
    """
    store = MemoryStore()
    store.objects = dict(filled)
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder) / "cache", Path(folder) / "state")
        with open_on(store, PASSPHRASE, places) as repository:
            repository.keyring.rotate()
            repository.hold("0" * 16, "a court asks")
            with repository.write_session("w") as s:
                rng = random.Random(8)
                files = {"big": rng.randbytes(900_000), "late": rng.randbytes(900_000)}
                entry = commit_files(repository, s, files, object_key("zoe"))
                s.seal_point(PointDraft("4" * 16, "q", "five", "success", (entry.ref,)))
            repository.forget(["3" * 16])
            row = repository.catalog(entry).get(b"big")
            assert row is not None
            found = repository.index.find(row.parts[0].chunks[:32])
            place = found.place(found.frames[0])
        name = pack_name(place.object_class, place.pack)
        data = bytearray(store.objects[name])
        data[place.info.offset + 9] ^= 1
        store.objects[name] = bytes(data)
        verify_and_repair(store, PASSPHRASE, places, "scrub")
    store.objects[lock_name(60)] = b"of a repository without locks: means nothing"
    return dict(store.objects)


OTHER_KINDS = (PROBE, KEYS, FORGETS, GENERATIONS, DAMAGED, LOCKS)


def test_every_kind_of_object_is_lost_once(decided: dict[str, bytes]) -> None:
    """What the tests of this module delete is every kind of object that there is."""
    tried = (*KINDS, *OTHER_KINDS, CONFIG)
    assert [name for name in decided if not name.startswith(tried)] == []
    assert [kind for kind in tried if not names(decided, kind)] == []
    kinds = {v for k, v in vars(layout).items() if k.isupper() and isinstance(v, str)}
    assert {kind.partition("/")[0] for kind in kinds} == {kind.partition("/")[0] for kind in tried}


@pytest.mark.slow
@pytest.mark.parametrize("level", ["listing", "read"])
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_lost_object_of_another_kind_takes_no_more_than_is_said(
    decided: dict[str, bytes], tmp_path: Path, kind: str, level: Level
) -> None:
    """Rings, forgets, generations, marks, locks, the probe: affected is what cannot be read, and nothing else."""
    whole = Whole()
    for number, name in enumerate(["", *names(decided, kind)]):
        store = MemoryStore()
        store.objects = {n: data for n, data in decided.items() if n != name}
        places = Places(tmp_path / f"c{number}", tmp_path / f"s{number}")
        with open_on(store, PASSPHRASE, places, lenient=True) as repository:
            left = readable(repository)
            report = repository.verify(level)
            held = dict(repository.holds)
        if not name:  # nothing lost but the frame
            whole = left
            assert report.points_affected == report.points_lost == ["4" * 16]
            assert {item for lost in report.lost for item in lost.items} == {"big"}
            assert held == {"0" * 16: "a court asks"}
            continue
        assert left.items == whole.items, name
        assert left.points - {"3" * 16} == whole.points, name  # one that was forgotten may be back
        is_seen = (
            kind != DAMAGED or level == "read"
        )  # a listing knows the spoiled frame by its mark alone
        assert set(report.points_affected) == ({"4" * 16} if is_seen else set()), name
        assert {i for lost in report.lost for i in lost.items} == ({"big"} if is_seen else set())
        told = {p.name: p.remedy for p in report.problems if not p.name.startswith("pack/")}
        ring = kind == KEYS
        gap = kind == GENERATIONS and name != names(decided, kind)[-1]
        assert told == ({name: REPAIR} if ring else {name: COLLECT} if gap else {}), name
        if ring:
            assert mend_small_objects(store).changed
            assert store.objects[name] == decided[name]


def test_a_lost_configuration_locks_everybody_out_and_says_so(
    decided: dict[str, bytes], tmp_path: Path
) -> None:
    """Nothing is guessed: it is named, and put back from any copy."""
    store = MemoryStore()
    store.objects = {n: data for n, data in decided.items() if n != CONFIG}
    with pytest.raises(NotFound, match=CONFIG):
        open_on(store, PASSPHRASE, Places(tmp_path / "c", tmp_path / "s"), lenient=True)


def without_newest(filled: dict[str, bytes], count: int) -> MemoryStore:
    store = MemoryStore()
    store.objects = dict(filled)
    for name in names(filled, "gc/")[-count:]:
        del store.objects[name]
    return store


def test_lost_newest_generations_are_proved_by_what_they_folded(
    filled: dict[str, bytes], open_repo: OpenRepository, tmp_path: Path
) -> None:
    """To a machine without memory: points name what nothing names and its writer's cell has let go of; salvage helps."""
    store = MemoryStore()
    store.objects = dict(filled)
    whole = readable(open_repo(store))
    store = without_newest(filled, 2)
    left = readable(open_repo(store))
    assert left.points < whole.points
    report = open_repo(store).verify("listing")
    assert ("gc/0000000001", "generation-lost") in [(p.name, p.code) for p in report.problems]
    assert {p.remedy for p in report.problems} == {SALVAGE}
    assert set(report.points_affected) == whole.points - left.points
    assert report.points_lost == []
    before = dict(store.objects)
    with pytest.raises(Corruption, match="gc/0") as caught:
        open_repo(store).collect()
    assert caught.value.code == "collect-blocked"
    assert store.objects == before
    salvage(store, PASSPHRASE, Places(tmp_path / "sc", tmp_path / "ss"), force=True)
    assert readable(open_repo(store)) == whole
    assert open_repo(store).verify("read").ok
    open_repo(store).collect()
    assert readable(open_repo(store)) == whole


def test_a_point_that_is_committed_meanwhile_proves_nothing(
    filled: dict[str, bytes], open_repo: OpenRepository
) -> None:
    """A state read before, a listing after another writer's commit and point: no alarm."""
    store = MemoryStore()
    store.objects = dict(filled)
    before = open_repo(store)
    writing = open_repo(store)
    with writing.write_session("w") as session:
        entry = commit_files(writing, session, {"9": b"nine"})
        session.seal_point(PointDraft("9" * 16, "p", "s", "success", (entry.ref,)))
    assert verify(before, "listing").problems == []


def test_what_a_crash_leaves_proves_nothing(
    filled: dict[str, bytes], open_repo: OpenRepository
) -> None:
    """A manifest whose commit never came is waste, also when its writer goes on: no alarm, and it is collected."""
    store = MemoryStore()
    store.objects = dict(filled)
    faulty = FaultStore(store)
    repository = open_repo(faulty)

    def happens(operation: str, name: str) -> None:
        if operation == "replace" and any(n not in filled for n in names(store.objects, "manif")):
            raise Denied("gone", code="store-denied")

    session = repository.write_session("w")
    faulty.on_operation = happens
    with pytest.raises(Denied):
        commit_files(repository, session, {"9": b"nine"})
    faulty.on_operation = lambda operation, name: None
    session.close()
    with repository.write_session("w") as again:
        commit_files(repository, again, {"9": b"9"}, object_key("another"))
    assert len(names(store.objects, "manifest/")) == len(names(filled, "manifest/")) + 2
    assert open_repo(store).verify("listing").problems == []
    open_repo(store).collect()
    assert open_repo(store).verify("read").ok
