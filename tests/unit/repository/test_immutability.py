"""Locks over the life of a repository, on a store in memory whose clock the test moves; an attack, and the way back."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.errors import Corruption, Denied, Locked, NotFound, Unsupported, UsageError
from engine.manifest import PointForm
from repository import Places, PointDraft, Repository, ambient, new_point_id
from repository.blobstore.local import LocalStore
from repository.blobstore.locks import BucketState, Lock, LockMode, Version
from repository.blobstore.locks_memory import VersionedMemoryStore
from repository.blobstore.memory import MemoryStore
from repository.collector import CollectLimits
from repository.immutability import (
    PERIOD,
    SPARE,
    audit_locks,
    extend_locks,
    is_locked_kind,
    period_end,
    require_immutable,
)
from repository.layout import CELLS, PACKS
from repository.past import open_past
from repository.repair import verify_and_repair
from repository.repository import initialize
from repository.salvage import salvage
from repository.settings import LockForm
from tests.fixtures.locks import Clock
from tests.fixtures.repositories import (
    CHEAP,
    PASSPHRASE,
    OpenRepository,
    commit_files,
    contents,
)
from tests.unit.repository.test_collector import noise

DAYS = 30
NOW = CollectLimits(wait_s=0.0, poll_s=0.01)
DAY_S = 86400.0


@dataclass
class World:
    """A locked repository, and machines that come to it later."""

    store: VersionedMemoryStore
    clock: Clock
    open_repo: OpenRepository

    def machine(self) -> Repository:
        return self.open_repo(self.store)

    def back_up(self, files: dict[str, bytes]) -> PointForm:
        repository = self.machine()
        with repository.write_session("w") as session:
            entry = commit_files(repository, session, files)
            draft = PointDraft(new_point_id(), "p", "s", "success", (entry.ref,))
            return session.seal_point(draft)

    def days(self, number: float) -> None:
        self.clock.advance(number * DAY_S)

    def lock(self, name: str) -> Lock | None:
        return self.store.lock_of(name)

    def names(self, prefix: str = "") -> list[str]:
        return [blob.name for blob in self.store.list(prefix)]


def make(mode: LockMode = "compliance") -> tuple[VersionedMemoryStore, Clock]:
    clock = Clock()
    store = VersionedMemoryStore(clock)
    initialize(store, PASSPHRASE, CHEAP, lock=LockForm(mode, DAYS))
    return store, clock


@pytest.fixture
def world(open_repo: OpenRepository) -> World:
    store, clock = make()
    return World(store, clock, open_repo)


def past(world: World, moment: datetime, folder: Path) -> Repository:
    return open_past(world.store, PASSPHRASE, Places(folder / "cache", folder / "state"), moment)


def restored(repository: Repository, point: PointForm) -> dict[str, bytes]:
    return contents(repository, repository.entries.get(point.entries[0].entry))


def test_everything_that_stays_is_locked_and_nothing_else(world: World) -> None:
    """Config, key rings, packs, runs, manifests and points are locked to the end of a period; cells, forgets, gc are free."""
    point = world.back_up({"a": noise(1)})
    repository = world.machine()
    repository.forget([point.id])
    repository.collect(limits=NOW)
    for name in world.names():
        lock = world.lock(name)
        assert (lock is not None) == is_locked_kind(name), name
        if lock is not None:
            assert lock.mode == "compliance"
            assert timedelta(days=DAYS) + SPARE <= lock.until - world.clock()
            assert lock.until - world.clock() <= timedelta(days=DAYS) + SPARE + PERIOD
            assert lock.until == period_end(lock.until - timedelta(seconds=1))
    kinds = {name.partition("/")[0] for name in world.names()}
    assert kinds >= {"config", "keys", "pack", "run", "manifest", "point", "sess", "gc"}
    assert audit_locks(world.machine()).drifts == []


@pytest.mark.slow
def test_what_is_needed_stays_locked_for_the_days_at_any_time(world: World) -> None:
    """With a collection every three days every usable object is locked for DAYS at any moment, in few requests."""
    world.back_up({"a": noise(1), "b": noise(2)})
    extended = 0
    for turn in range(40):
        world.days(3)
        assert audit_locks(world.machine()).drifts == [], turn
        if turn % 5 == 0:
            world.back_up({"a": noise(1), f"n{turn}": noise(turn + 10)})
        extended += world.machine().collect(limits=NOW).locks_extended
    objects = sum(is_locked_kind(name) for name in world.names())
    assert extended <= objects * (120 / PERIOD.days + 1)
    world.days(SPARE.days + PERIOD.days + 1)
    drifts = audit_locks(world.machine()).drifts
    assert {drift.kind for drift in drifts} == {"short"}
    extend_locks(world.machine())
    assert audit_locks(world.machine()).drifts == []


@pytest.mark.slow
def test_the_collector_leaves_what_is_locked_and_deletes_it_later(world: World) -> None:
    """A forgotten point's packs stay dead until their locks end, are neither copied nor extended, then every version goes."""
    world.back_up({"a": noise(1)})
    old = set(world.names(PACKS))
    world.days(1)
    repository = world.machine()
    point = world.back_up({"a": noise(2)})
    repository.refresh()
    repository.forget([p.id for p in repository.points() if p.id != point.id])
    report = repository.collect(limits=NOW)
    assert report.locked > 0
    assert (report.deleted, report.copied_packs) == (0, 0)
    dead = set(repository.state.generation.dead) & old
    assert dead
    before = {name: world.lock(name) for name in dead}
    world.days(20)
    report = world.machine().collect(limits=NOW)
    assert report.locked >= len(dead)
    assert {name: world.lock(name) for name in dead} == before
    world.days(25)
    extend_locks(world.machine())
    report = world.machine().collect(limits=NOW)
    assert not dead & set(world.names())
    assert not [v for v in world.store.versions("") if v.name in dead]
    later = world.machine()
    assert restored(later, later.point(point.id)) == {"a": noise(2)}
    assert audit_locks(later).drifts == []


@pytest.mark.parametrize("kind", ["manifest/", "point/", "run/"])
@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_what_a_repair_puts_back_is_locked(
    world: World, tmp_path: Path, kind: str, how: str
) -> None:
    """A new version, locked from its first moment; whether by parity, from a copy or, of a run, made again."""
    world.back_up({"a": noise(1)})
    copy = MemoryStore()
    copy.objects = dict(world.store.objects)
    name = world.names(kind)[0]
    if how == "damaged":
        world.store.overwrite(name, copy.objects[name][:70] + b"x" + copy.objects[name][71:])
    else:
        world.store.delete(name)
    places = Places(tmp_path / "cache", tmp_path / "state")
    others = [] if how == "damaged" or kind == "run/" else [copy]
    report, _ = verify_and_repair(world.store, PASSPHRASE, places, "listing", others)
    assert report.changed
    for there in world.names():
        assert (world.lock(there) is not None) == is_locked_kind(there), there
    drifts = audit_locks(world.machine()).drifts
    assert [drift for drift in drifts if drift.kind in ("unlocked", "short")] == []


def test_what_a_salvage_makes_is_locked(world: World, tmp_path: Path) -> None:
    """New runs as well as objects made good by parity."""
    point = world.back_up({"a": noise(1)})
    for name in world.names():
        if name.startswith(("sess/", "gc/", "run/")):
            world.store.delete(name)
    (manifest,) = world.names("manifest/")
    stored = world.store.objects[manifest]
    world.store.overwrite(manifest, stored[:70] + b"x" + stored[71:])
    places = Places(tmp_path / "cache", tmp_path / "state")
    assert salvage(world.store, PASSPHRASE, places, force=True).packs_taken_in
    for name in world.names():
        assert (world.lock(name) is not None) == is_locked_kind(name), name
    assert restored(world.machine(), point) == {"a": noise(1)}


def test_a_machine_that_slept_asks_for_the_time_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock made after the sleep is as long as any: the clock that tells when to ask the store goes on meanwhile."""
    slept_s = [1000.0]
    monkeypatch.setattr(ambient, "since_boot_s", lambda: slept_s[0])
    repository = world.machine()
    with repository.write_session("w") as session:
        commit_files(repository, session, {"a": noise(1)})
        world.days(20)
        slept_s[0] += 20 * DAY_S
        early = set(world.names())
        commit_files(repository, session, {"b": noise(2)})
    for name in set(world.names()) - early:
        lock = world.lock(name)
        assert lock is not None
        assert lock.until >= world.clock() + timedelta(days=DAYS) + SPARE


def test_extending_asks_for_no_versions_of_what_is_free(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old versions of cells and generations pile up: only what is locked is listed."""
    world.back_up({"a": noise(1)})
    asked: list[str] = []
    versions = VersionedMemoryStore.versions

    def spied(self: VersionedMemoryStore, prefix: str) -> Iterator[Version]:
        asked.append(prefix)
        return versions(self, prefix)

    monkeypatch.setattr(VersionedMemoryStore, "versions", spied)
    assert extend_locks(world.machine()).objects == sum(map(is_locked_kind, world.names()))
    assert asked
    assert not [p for p in asked if "sess/".startswith(p) or "gc/".startswith(p)]


def test_an_audit_does_not_miss_what_a_collection_takes_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named when the audit began, deleted before it asked: no drift. What is named and gone still is one."""
    old = world.back_up({"a": noise(1)})
    world.back_up({"a": noise(2)})
    auditor = world.machine()
    world.days(100)
    bucket_state, ran = VersionedMemoryStore.bucket_state, []

    def collect(self: VersionedMemoryStore) -> BucketState:
        if not ran:
            world.machine().forget([old.id])
            ran.append(world.machine().collect(limits=NOW))
        return bucket_state(self)

    monkeypatch.setattr(VersionedMemoryStore, "bucket_state", collect)
    assert [d for d in audit_locks(auditor).drifts if d.kind == "missing"] == []
    assert ran[0].points_forgotten == 1
    (gone,) = world.names("point/")
    world.days(200)
    for version in [v for v in world.store.versions(gone) if v.name == gone]:
        world.store.delete_version(version)
    assert [d.name for d in audit_locks(auditor).drifts if d.kind == "missing"] == [gone]


def test_days_only_grow(world: World) -> None:
    """More days count for all that is there and comes; fewer are refused; without our key nobody raises them."""
    world.back_up({"a": noise(1)})
    held = require_immutable(world.machine())
    for days in (1, DAYS):
        with pytest.raises(UsageError) as caught:
            held.raise_days(days)
        assert caught.value.code == "lock-shorter"
    held.raise_days(60)
    extend_locks(world.machine())
    world.back_up({"b": noise(2)})
    repository = world.machine()
    assert require_immutable(repository).days() == 60
    assert audit_locks(repository).drifts == []
    ends = [lock.until for n in world.names() if (lock := world.lock(n)) is not None]
    assert min(ends) >= world.clock() + timedelta(days=60)
    world.store.put_new("lock/09999", b"x" * 32)
    assert require_immutable(world.machine()).days() == 60


def test_an_audit_names_every_drift(world: World) -> None:
    """Unlocked, too short, weaker, overwritten, hidden, missing, locked by somebody, a bucket that was changed."""
    world.back_up({"a": noise(1), "b": noise(2)})
    world.back_up({"c": noise(3)})
    world.back_up({"d": noise(4)})
    packs = world.names(PACKS)
    held = world.store._held
    held[packs[0]][-1].lock = None
    lock = held[packs[1]][-1].lock
    assert lock is not None
    held[packs[1]][-1].lock = Lock("compliance", world.clock() + timedelta(days=1))
    held[packs[2]][-1].lock = Lock("governance", lock.until)
    world.store.overwrite(packs[3], b"others", lock)
    world.store.overwrite(packs[4], world.store.get(packs[4]), lock)  # as a repair does
    run = world.names("run/")[0]
    opened = require_immutable(world.machine())
    world.store.delete(run)
    manifest = world.names("manifest/")[0]
    held.pop(manifest)
    cell = world.names(CELLS)[0]
    world.store.extend([cell], lock)
    point = world.names("point/")[0]
    world.store.extend([point], Lock("compliance", lock.until + timedelta(seconds=1)))
    world.store.state[0] = BucketState(versioning=False, object_lock=True, default_lock=True)
    report = opened.audit((), [manifest])
    found = {(drift.name, drift.kind) for drift in report.drifts}
    assert found == {
        ("", "bucket"),
        (packs[0], "unlocked"),
        (packs[1], "short"),
        (packs[2], "weaker"),
        (packs[3], "overwritten"),
        (run, "hidden"),
        (manifest, "missing"),
        (cell, "locked"),
        (point, "long"),
    }
    opened.extend(())
    assert (
        world.lock(packs[0]) is None
    )  # it is young: it got its lock when it was made, one would think
    opened.extend((), everything=True)
    left = {drift.kind for drift in opened.audit((), []).drifts}
    assert left == {"bucket", "overwritten", "hidden", "locked", "long"}


def attack(world: World) -> None:
    """Everything that the writer's credentials allow: overwrite, delete by marker and by version."""
    refused = 0
    for version in list(world.store.versions("")):
        try:
            world.store.delete_version(version)
        except Locked:
            refused += 1
    assert refused
    for name in world.names():
        world.store.overwrite(name, b"garbage" + name.encode())
        world.store.delete(name)
    assert world.names() == []
    world.store.overwrite("sess/w", b"garbage")
    world.store.overwrite("gc/0000000099", b"garbage")
    world.store.overwrite("keys/0000000009-a", b"garbage")


def test_an_attacker_takes_nothing_away(world: World, tmp_path: Path) -> None:
    """
    All points restore as of a time before the attack, byte for byte, though no cell and no generation is left; before it and
    with them alike. What this machine remembers is neither asked nor changed.
    """
    first = world.back_up({"a": noise(1), "b": noise(2)})
    world.days(5)
    world.machine().collect(limits=NOW)
    second = world.back_up({"a": noise(3)})
    world.days(1)
    before = world.clock()
    world.days(1)
    places = Places(tmp_path / "cache", tmp_path / "state")
    world.open_repo(world.store, places)
    remembered = {p: p.read_bytes() for p in sorted((tmp_path / "state").rglob("*")) if p.is_file()}
    for is_attacked in (False, True):
        if is_attacked:
            attack(world)
            with pytest.raises((Corruption, NotFound)):
                world.machine()
        with open_past(world.store, PASSPHRASE, places, before) as old:
            assert [p.id for p in old.points()] == [first.id, second.id]
            assert restored(old, old.point(first.id)) == {"a": noise(1), "b": noise(2)}
            assert restored(old, old.point(second.id)) == {"a": noise(3), "b": noise(2)}
            assert old.verify("read").problems == []
            with pytest.raises(Denied) as caught:
                old.write_session("w")
            assert caught.value.code == "store-past"
    state = {p: p.read_bytes() for p in sorted((tmp_path / "state").rglob("*")) if p.is_file()}
    assert state == remembered


def test_a_moment_within_an_attack_restores_too(world: World, tmp_path: Path) -> None:
    """Garbage under every kind of name, cells of a newer format, forgets and marks: the points of before still restore."""
    point = world.back_up({"a": noise(1)})
    world.machine().collect(limits=NOW)
    cell = world.names(CELLS)[0]
    newer = bytearray(world.store.get(cell))
    newer[8] = 99
    world.store.overwrite(cell, bytes(newer))
    zeros = "0" * 64
    for name in ("run/x", "manifest/x", "point/x", "pack/x", "gc/x", "sess/X", "forget/x", "lock/x",
                 f"run/{zeros}", f"manifest/{zeros}", f"point/{zeros[:16]}-{zeros[:16]}",
                 f"forget/{zeros[:32]}", f"damaged/{world.names(PACKS)[0]}"):  # fmt: skip
        world.store.overwrite(name, b"garbage")
        world.days(0.1)
        with past(world, world.clock(), tmp_path) as then:
            assert [p.id for p in then.points()] == [point.id], name
            assert restored(then, then.point(point.id)) == {"a": noise(1)}


def test_an_attacker_with_the_keys_takes_nothing_away_either(world: World, tmp_path: Path) -> None:
    """All points forgotten and collected again and again by somebody who may: they restore, also as of after it."""
    first = world.back_up({"a": noise(1)})
    world.days(1)
    second = world.back_up({"a": noise(2), "b": noise(3)})
    world.days(1)
    before = world.clock()
    world.days(1)
    repository = world.machine()
    repository.forget([first.id, second.id])
    for _ in range(3):
        assert repository.collect(limits=NOW).locked > 0
        world.days(1)
    assert repository.points() == []
    for moment in (before, world.clock()):
        with past(world, moment, tmp_path) as then:
            assert [p.id for p in then.points()] == [first.id, second.id]
            assert restored(then, then.point(first.id)) == {"a": noise(1)}
            assert restored(then, then.point(second.id)) == {"a": noise(2), "b": noise(3)}


def test_each_time_shows_what_was_there(world: World, tmp_path: Path) -> None:
    """As of a time only what was committed by then is shown; before the begin there is no repository."""
    world.days(1)
    began = world.clock()
    world.days(1)
    first = world.back_up({"a": noise(1)})
    world.days(1)
    middle = world.clock()
    world.days(1)
    world.back_up({"a": noise(2)})
    with past(world, middle, tmp_path) as then:
        assert [p.id for p in then.points()] == [first.id]
        assert restored(then, first) == {"a": noise(1)}
    with past(world, began, tmp_path) as empty:
        assert empty.points() == []
    with pytest.raises(NotFound) as caught:
        past(world, began - timedelta(days=9), tmp_path)
    assert caught.value.code == "repository-not-found"


@pytest.mark.slow
def test_a_time_after_a_collection_reads_though_old_runs_name_packs_that_went(
    world: World, tmp_path: Path
) -> None:
    """Runs that were replaced and are still locked name packs that are gone; chunks are found where they are."""
    world.back_up({"a": noise(1)})
    world.days(60)
    kept = world.back_up({"a": noise(2), "b": noise(3)})
    repository = world.machine()
    repository.forget([p.id for p in repository.points() if p.id != kept.id])
    repository.collect(limits=NOW)
    world.days(1)
    with past(world, world.clock(), tmp_path) as then:
        assert restored(then, then.point(kept.id)) == {"a": noise(2), "b": noise(3)}
        assert then.verify("read").problems == []


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (BucketState(versioning=True, object_lock=False, default_lock=False), "bucket-lockless"),
        (BucketState(versioning=False, object_lock=True, default_lock=False), "bucket-lockless"),
        (BucketState(versioning=True, object_lock=True, default_lock=True), "bucket-locks-all"),
    ],
)
def test_a_bucket_that_does_not_fit_is_refused(state: BucketState, code: str) -> None:
    """Nothing is made in a bucket without Object Lock, without versions, or that locks by default."""
    store = VersionedMemoryStore(Clock())
    store.state[0] = state
    with pytest.raises(Unsupported) as caught:
        initialize(store, PASSPHRASE, CHEAP, lock=LockForm("compliance", DAYS))
    assert caught.value.code == code
    assert list(store.list("")) == []


def test_what_cannot_lock_is_refused(tmp_path: Path, repository: Repository) -> None:
    """A local folder takes no locked repository; one without locks says so to `repo lock`."""
    store = LocalStore.create(tmp_path / "store")
    with pytest.raises(Unsupported) as caught:
        initialize(store, PASSPHRASE, CHEAP, lock=LockForm("compliance", DAYS))
    assert caught.value.code == "locks-unsupported"
    assert list(store.list("")) == []
    with pytest.raises(Unsupported) as caught:
        audit_locks(repository)
    assert caught.value.code == "not-immutable"


def test_a_store_that_drops_locks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that takes the headers and keeps no lock makes no repository."""
    store = VersionedMemoryStore(Clock())
    monkeypatch.setattr(VersionedMemoryStore, "lock_of", lambda *_: None)
    with pytest.raises(Unsupported) as caught:
        initialize(store, PASSPHRASE, CHEAP, lock=LockForm("compliance", DAYS))
    assert caught.value.code == "locks-ignored"


def test_a_store_that_weakens_locks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that makes governance of compliance makes no repository that promises compliance."""
    store = VersionedMemoryStore(Clock())
    weaker = Lock("governance", store.now() + timedelta(days=999))
    monkeypatch.setattr(VersionedMemoryStore, "lock_of", lambda *_: weaker)
    with pytest.raises(Unsupported) as caught:
        initialize(store, PASSPHRASE, CHEAP, lock=LockForm("compliance", DAYS))
    assert caught.value.code == "locks-ignored"
    initialize(VersionedMemoryStore(Clock()), PASSPHRASE, CHEAP, lock=LockForm("governance", DAYS))
    assert "config" not in [blob.name for blob in store.list("")]


def test_a_copy_without_locks_is_read(world: World, open_repo: OpenRepository) -> None:
    """The objects of a locked repository, copied to a store without locks, open there."""
    point = world.back_up({"a": noise(1)})
    copy = MemoryStore()
    for name in world.names():
        copy.put_new(name, world.store.get(name))
    opened = open_repo(copy)
    assert opened.immutability is None
    assert restored(opened, opened.point(point.id)) == {"a": noise(1)}


def test_periods() -> None:
    """A period ends at most seven days on, always at the same moments."""
    moment = datetime(2026, 11, 24, 5, tzinfo=UTC)
    end = period_end(moment)
    assert moment < end <= moment + PERIOD
    assert period_end(end - timedelta(microseconds=1)) == end
    assert period_end(end) == end + PERIOD
