"""Backup copies that are cut off, or of a damaged original: the next run makes them whole, none claims more than it has."""

import itertools
import random
from collections.abc import Callable

import pytest

from engine.errors import NotFound, Unavailable
from engine.manifest import PointForm
from repository import Places, Repository
from repository.blobstore.memory import MemoryStore
from repository.collector import CollectLimits
from repository.copying import CopyLimits
from repository.copying_check import check_copy
from repository.copying_plan import Selection, plan_copy
from repository.repository import initialize, open_on
from tests.fixtures.copies import WORKLOAD, History, assert_copied, copied, file_row, held
from tests.fixtures.crash import clone
from tests.fixtures.faults import FaultStore
from tests.fixtures.formats import attachment, mail
from tests.fixtures.repositories import CHEAP, PASSPHRASE, OpenRepository, head, object_key

pytestmark = pytest.mark.slow
NOW = CollectLimits(wait_s=0.0, poll_s=0.01)
WIDE = 2_200_000  # two such files are a window
OFTEN = CopyLimits(commit_bytes=1, commit_rows=1)  # a commit after each window


def noise(seed: int, size: int = 60_000) -> bytes:
    return random.Random(seed).randbytes(size)


def fresh() -> MemoryStore:
    made = MemoryStore()
    initialize(made, PASSPHRASE, CHEAP)
    return made


@pytest.fixture
def source_store() -> MemoryStore:
    return fresh()


@pytest.fixture
def source(source_store: MemoryStore, open_repo: OpenRepository) -> Repository:
    return open_repo(source_store)


@pytest.fixture
def history(source: Repository) -> History:
    """Two restore points of two objects, small."""
    made = History(source)
    made.backup(
        {
            "alice": {"a": noise(1), "b": noise(2), "gone": b"g"},
            "bob": {"m": mail(attachment(30_000, 1))},
        }
    )
    made.backup({"alice": {"b": noise(3), "gone": None, "moved": noise(1)}})
    return made


# -- cut off -----------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "after"])
def test_any_failing_operation_of_the_target(
    history: History, open_repo: OpenRepository, places: Places, when: str
) -> None:
    """
    Fail the 1st, 2nd, 3rd ... operation on the target, then run again on another machine.

    Nothing sealed differs from the original at any time; after the second run all is there once, and verifies.
    """
    base = fresh()
    failures = 0
    for ordinal in itertools.count():
        inner = clone(base)
        store = FaultStore(inner)
        machine = Places(places.cache_dir / str(ordinal), places.state_dir / str(ordinal))
        store.arm(**{when: (ordinal,)})
        try:
            with open_on(store, PASSPHRASE, machine) as target:
                copied(history.repository, target, limits=OFTEN)
        except Unavailable:
            failures += 1
        with open_repo(inner) as other:
            for point in other.points():
                assert held(other, point) == history.expected[point.id]
            copied(history.repository, other, limits=OFTEN)
            assert_copied(history, other)
            for name in ("alice", "bob"):
                assert len(other.entries.heads("user", name, WORKLOAD)) == 1
            assert other.verify("read").problems == []
        if len(store.trace) <= ordinal:
            break
    assert failures > 20


def cut_off_at_commit(history: History, store: FaultStore, target: Repository, number: int) -> None:
    """A run with a commit after each window, whose cell cannot be swapped for the `number`th time."""
    swaps = itertools.count()

    def fail(operation: str, name: str) -> None:
        if operation == "replace" and name.startswith("sess/") and next(swaps) >= number:
            raise Unavailable("the store does not answer", code="store-unavailable")

    store.on_operation = fail
    with pytest.raises(Unavailable):
        copied(history.repository, target, limits=OFTEN)
    store.on_operation = lambda operation, name: None


def test_a_half_copied_object_is_gone_on_with(
    source: Repository, open_repo: OpenRepository
) -> None:
    """What a commit kept of an unfinished object is not read again; a collection between the runs changes nothing of that."""
    history = History(source)
    files: dict[str, bytes | None] = {f"f{n}": noise(n, WIDE) for n in range(20)}
    history.backup({"alice": {"f0": noise(90), "old": b"o"}})
    history.backup({"alice": {**files, "old": None}})
    store = FaultStore(fresh())
    target = open_repo(store)
    copied(source, target, Selection(points=[source.points()[0].id]))
    cut_off_at_commit(history, store, target, 2)
    half = head(target, object_key("alice"))
    assert half is not None
    assert not half.form.complete
    assert target.checkpoint(half) == b"checkpoint of " + source.points()[0].session.encode()
    assert len(target.points()) == 1
    other = open_repo(store)
    other.collect(limits=NOW)
    report = copied(source, other)
    assert 0 < report.bytes_read <= 15 * WIDE
    assert_copied(history, other)
    assert len(other.entries.heads("user", "alice", WORKLOAD)) == 1
    assert other.verify("read").problems == []


def test_a_change_without_a_version_in_a_half_copied_object(
    source: Repository, open_repo: OpenRepository
) -> None:
    """A row that looks as in the copy before, with other content, is read again: nobody knows which one the half copy has."""
    history = History(source)
    history.backup({"alice": {f"f{n}": noise(n, WIDE) for n in range(12)}})
    before = head(source, object_key("alice"))
    assert before is not None
    rows = list(source.catalog(before).rows())
    with source.write_session("w") as session:
        slice_ = session.open_slice(object_key("alice"), WORKLOAD, "sly", previous=before)
        for number, row in enumerate(rows):
            data = noise(50 + number, WIDE)
            history.states["alice"][row.id.decode()] = data
            part = session.store("content", data)
            slice_.advance([file_row(row.id.decode(), row.size, row.version, part)])
        slice_.finish()
        session.commit()
    history.backup({"alice": {"g": b"g"}})
    store = FaultStore(fresh())
    target = open_repo(store)
    copied(source, target, Selection(points=[source.points()[0].id]))
    cut_off_at_commit(history, store, target, 2)
    half = head(target, object_key("alice"))
    assert half is not None
    assert not half.form.complete
    other = open_repo(store)
    copied(source, other)
    assert_copied(history, other)


def test_a_turn_that_was_taken_away(history: History, open_repo: OpenRepository) -> None:
    """A collection on the target that waits no longer revokes the turn: the copy goes on by itself."""
    store = FaultStore(fresh())
    target = open_repo(store)
    other = open_repo(store.inner)
    left = [2]

    def collect(operation: str, name: str) -> None:
        if operation == "spool.put" and left[0]:
            left[0] -= 1
            other.collect(limits=NOW)

    store.on_operation = collect
    report = copied(history.repository, target, limits=OFTEN)
    assert left == [0]
    assert other.state.generation.number >= 4
    assert len(report.points) == 2
    assert_copied(history, target)
    assert target.verify("read").problems == []


def test_the_target_has_backups_of_its_own(history: History, open_repo: OpenRepository) -> None:
    """Between and beside the runs: neither disturbs the other, also when the objects are the same."""
    target = open_repo(fresh())
    own = History(target, "own")
    own.backup({"alice": {"x": noise(30)}, "dora": {"y": noise(31)}})
    copied(history.repository, target, Selection(points=[history.repository.points()[0].id]))
    own.states["alice"] = {}
    own.backup({"dora": {"y": noise(32)}})
    copied(history.repository, target)
    assert_copied(history, target)
    point = next(p for p in target.points() if p.name == "own")
    assert held(target, point) == own.expected[point.id]


def test_the_original_forgets_while_it_is_copied(
    source: Repository, source_store: MemoryStore, open_repo: OpenRepository
) -> None:
    """A restore point that is collected under the reader is not called damaged: the run stops, the next one has the others."""
    history = History(source)
    history.backup({"alice": {"a": noise(1, 300_000), "b": noise(2)}})
    history.backup({"alice": {"a": noise(3, 300_000)}})
    target = open_repo(fresh())
    store = FaultStore(source_store)
    reading = open_repo(store)
    left = [1]

    def forget(operation: str, name: str) -> None:
        if operation == "get_range" and name.startswith("pack/d/") and left[0]:
            left[0] = 0
            other = open_repo(source_store)
            other.forget([other.points()[0].id])
            other.collect(limits=NOW)

    store.on_operation = forget
    with pytest.raises(NotFound, match="forgotten while it was copied"):
        copied(reading, target)
    assert target.points() == []
    copied(reading, target)
    assert_copied(history, target)
    assert target.verify("read").problems == []


# -- damage ------------------------------------------------------------------------------------------


def damage(store: MemoryStore, choose: Callable[[str], bool]) -> dict[str, bytes]:
    """Spoil the objects whose names are chosen; what they were."""
    before = {name: data for name, data in store.objects.items() if choose(name)}
    assert before
    for name, data in before.items():
        spoiled = bytearray(data)
        for at in range(200, len(data), 500):
            spoiled[at] ^= 1
        store.objects[name] = bytes(spoiled)
    return before


def packs(store: MemoryStore, letter: str) -> set[str]:
    return {blob.name for blob in store.list(f"pack/{letter}/")}


def newest(target: Repository) -> PointForm:
    return target.points()[-1]


def test_a_damaged_item_is_named_and_left_out(
    source: Repository, source_store: MemoryStore, open_repo: OpenRepository
) -> None:
    """
    The restore point becomes a warning; the item keeps the state that was copied before, if any, never one it has not.

    The next restore points name it again as long as it cannot be read, and have it once it can.
    """
    history = History(source)
    history.backup({"alice": {"a": noise(1), "b": noise(2)}, "bob": {"x": noise(3)}})
    target = open_repo(fresh())
    copied(source, target)
    good = packs(source_store, "d")
    history.backup({"alice": {"b": noise(4), "c": noise(5)}})
    bad = packs(source_store, "d") - good
    history.backup({"alice": {"d": noise(6)}})
    before = damage(source_store, bad.__contains__)
    broken = open_repo(source_store)
    report = copied(broken, target)
    assert [(p.object, p.name) for p in report.problems] == [("alice", "b"), ("alice", "c")] * 2
    assert [point.result for point in report.points] == ["warning", "warning"]
    assert held(target, newest(target)) == {
        "alice": {"a": noise(1), "b": noise(2), "d": noise(6)},
        "bob": {"x": noise(3)},
    }
    named = {(p.name, p.reason) for p in check_copy(broken, target, [newest(target).id]).problems}
    assert named == {("b", "it differs in the copy"), ("c", "it is not in the copy")}
    assert target.verify("read").problems == []
    again = History(broken, "job", history.states)
    again.backup({"bob": {"y": noise(7)}})  # alice is as before, and named all the same
    report = copied(open_repo(source_store), target)
    assert [point.result for point in report.points] == ["warning"]
    source_store.objects.update(before)
    again.backup({"bob": {"z": noise(8)}})
    healed = open_repo(source_store)
    report = copied(healed, target)
    assert [point.result for point in report.points] == ["success"]
    assert held(target, newest(target)) == again.expected[newest(target).id]
    assert check_copy(healed, target, [newest(target).id]).problems == []


def test_a_damaged_catalog_takes_its_object_away(
    source: Repository, source_store: MemoryStore, open_repo: OpenRepository
) -> None:
    """The other objects of the restore point are copied; without any of them there is none."""
    history = History(source)
    history.backup({"alice": {"a": noise(1)}})
    bad = packs(source_store, "m")
    history.backup({"bob": {"b": noise(2)}})
    damage(source_store, bad.__contains__)
    target = open_repo(fresh())
    report = copied(open_repo(source_store), target)
    assert len(report.unsealed) == 1
    assert [(p.object, p.workload, p.name) for p in report.problems] == [
        ("alice", WORKLOAD, "")
    ] * 2
    assert [point.result for point in report.points] == ["warning"]
    assert held(target, newest(target)) == {"bob": {"b": noise(2)}}


def test_a_damaged_restore_point_is_named(
    history: History, source_store: MemoryStore, open_repo: OpenRepository
) -> None:
    """It is in the plan as damaged, and the others are copied."""
    damage(source_store, lambda name: name.startswith(f"point/{history.repository.points()[0].id}"))
    broken = open_repo(source_store)
    target = open_repo(fresh())
    plan = plan_copy(broken, target, Selection())
    assert len(plan.damaged) == 1
    assert len(copied(broken, target).points) == 1


def test_a_store_that_is_away_is_no_damage(history: History, open_repo: OpenRepository) -> None:
    """The original cannot be reached: the run stops, and no restore point claims to be a copy."""
    store = FaultStore(history.repository.store)
    broken = open_repo(store)
    target = open_repo(fresh())
    store.on_operation = _refuse_packs
    with pytest.raises(Unavailable):
        copied(broken, target)
    assert target.points() == []


def _refuse_packs(operation: str, name: str) -> None:
    if name.startswith("pack/d/"):
        raise Unavailable("the store does not answer", code="store-unavailable")
