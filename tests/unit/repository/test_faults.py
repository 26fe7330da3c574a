"""
A store that fails at any one operation, before or after doing it.

Whatever happens: what was reported as committed is readable, the repository opens, and verification at level read is clean.
"""

import contextlib
import copy
import itertools
import os
import random

import msgspec
import pytest

from engine import commit as protocol
from engine.errors import Corruption, Fenced, Unavailable
from engine.seal import ObjectClass, open_object, seal_object
from repository import Places, PointDraft, Repository
from repository.blobstore.memory import MemoryStore
from repository.repository import initialize, open_on, probe_compare_and_swap
from tests.fixtures.crash import clone
from tests.fixtures.faults import WRITES, FaultStore, full
from tests.fixtures.repositories import (
    CHEAP,
    PASSPHRASE,
    TREE,
    OpenRepository,
    commit_files,
    contents,
    head,
    object_key,
)

FIRST = {"a": random.Random(1).randbytes(40_000), "b": b"B"}
SECOND = {"c": random.Random(2).randbytes(40_000), "b": b"B2"}


def fresh() -> MemoryStore:
    made = MemoryStore()
    initialize(made, PASSPHRASE, CHEAP)
    return made


def check(store: MemoryStore, open_repo: OpenRepository, promised: dict[str, bytes]) -> None:
    """Opened by another machine, all is well, and the newest entry holds at least what was promised."""
    repository = open_repo(store)
    report = repository.verify("read")
    assert report.ok, report.problems
    entry = head(repository, TREE)
    found = {} if entry is None else contents(repository, entry)
    assert {**found, **promised} == found or found == {**FIRST, **SECOND}
    repository.close()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_any_failing_operation_of_a_commit(
    open_repo: OpenRepository, when: str, places: Places
) -> None:
    """Fail the 1st, 2nd, 3rd ... operation of open, store and commit until it passes."""
    base = fresh()
    with open_repo(base) as repository, repository.write_session("w") as session:
        commit_files(repository, session, FIRST)
    outcomes = set()
    for ordinal in itertools.count():
        inner = clone(base)
        store = FaultStore(inner)
        store.arm(**{when: (ordinal,)})
        promised = dict(FIRST)
        machine = Places(places.cache_dir / str(ordinal), places.state_dir / str(ordinal))
        failed = False
        try:
            with (
                open_on(store, PASSPHRASE, machine) as repository,
                repository.write_session("w") as session,
            ):
                entry = commit_files(repository, session, SECOND)
                promised |= SECOND
                repository.seal_point(
                    PointDraft("0123456789abcdef", "p", "job", "success", (entry.ref,))
                )
        except Unavailable:
            failed = True
        outcomes.add((failed, SECOND["b"] == promised["b"]))
        check(inner, open_repo, promised)
        if len(store.trace) <= ordinal:
            assert not failed
            break
    assert ordinal > 20
    assert (True, False) in outcomes


def test_any_failing_operation_of_init(open_repo: OpenRepository) -> None:
    """After a failed init there is no repository; after a good one there is one that knows compare-and-swap."""
    for ordinal in itertools.count():
        inner = MemoryStore()
        store = FaultStore(inner)
        store.arm(before=(ordinal,))
        try:
            initialize(store, PASSPHRASE, CHEAP)
        except Unavailable:
            assert "config" not in inner.objects
            continue
        assert open_repo(inner).config.compare_and_swap
        break
    assert ordinal >= 6


def test_the_probe_tells_a_store_without_swaps() -> None:
    """A store on which both racers win has no compare-and-swap."""

    class Careless(MemoryStore):
        def replace(self, name: str, data: bytes, expected: str | None) -> str:
            self.objects[name] = data
            return "tag"

    assert not probe_compare_and_swap(Careless())
    assert probe_compare_and_swap(MemoryStore())


def test_a_lost_answer_of_a_swap_is_settled(open_repo: OpenRepository) -> None:
    """Each swap whose answer is lost, or that did not arrive the first time, still commits, once."""
    for when, target in itertools.product(("before", "after"), range(3)):
        store = FaultStore(fresh())
        repository = open_repo(store)
        swaps = itertools.count()

        def plan(operation: str, name: str, *, target: int = target, when: str = when) -> None:
            if operation == "replace" and next(swaps) == target:  # noqa: B023
                at = len(store.trace) - 1  # noqa: B023
                (store.fail_before if when == "before" else store.fail_after).add(at)  # noqa: B023

        store.on_operation = plan
        with repository.write_session("w") as session:
            entry = commit_files(repository, session, FIRST)
        assert contents(repository, entry) == FIRST
        cell = repository.refresh().cells["w"]
        assert [c.manifest for c in cell.commits] == [entry.ref.manifest]
        assert cell.state == "idle"


def test_a_commit_whose_answer_was_lost_to_a_taker_over_counts(open_repo: OpenRepository) -> None:
    """The swap arrives, its answer is lost, another takes the cell over: committed, and fenced from then on."""
    inner = fresh()
    store = FaultStore(inner)
    repository, other = open_repo(store), open_repo(inner)
    with repository.write_session("w") as session, contextlib.ExitStack() as stack:
        real = store.replace

        def take_over(name: str, data: bytes, expected: str | None) -> str:
            real(name, data, expected)
            store.replace = real  # type: ignore[method-assign]
            stack.enter_context(other.write_session("w"))
            raise Unavailable("answer lost", code="store-unavailable")

        store.replace = take_over  # type: ignore[method-assign]
        entry = commit_files(repository, session, FIRST)
        with pytest.raises(Fenced):
            session.store("content", b"x")
    check(inner, open_repo, FIRST)
    assert open_repo(inner).entries.get(entry.ref).form.complete


def test_a_turn_revoked_behind_a_lost_answer_is_fenced(
    repository: Repository, store: MemoryStore, open_repo: OpenRepository
) -> None:
    """The swap fails and the cell shows a revoked turn: Fenced, and nothing of it is there."""
    with repository.write_session("w") as session:
        revoke(store, repository, "w")
        with pytest.raises(Fenced) as caught:
            commit_files(repository, session, FIRST)
        assert caught.value.code == "turn-revoked"
    check(store, open_repo, {})
    assert open_repo(store).state.manifests == ()


def revoke(store: MemoryStore, repository: Repository, writer: str) -> None:
    """What a collector does with a slow writer."""
    name = f"sess/{writer}"
    stored, tag = store.get_tagged(name)
    plain = open_object(repository.keys, ObjectClass.CELL, repository.uuid, stored, name)
    cell = msgspec.structs.replace(protocol.decode_cell(plain, writer), state="revoked")
    sealed = seal_object(
        repository.keys,
        ObjectClass.CELL,
        repository.uuid,
        os.urandom(32),
        protocol.encode(cell),
        name,
    )
    store.replace(name, sealed, tag)


@pytest.mark.slow
def test_a_full_disk_says_so_at_every_write(open_repo: OpenRepository) -> None:
    """Whichever write of a session meets the full disk: store-full, and the repository is as it was."""
    base = fresh()
    with open_repo(base) as repository, repository.write_session("w") as session:
        commit_files(repository, session, FIRST)
    for writer in ("w", "new"):
        writes = 0
        codes: set[str] = set()
        for target in itertools.count():
            inner = clone(base)
            store = FaultStore(inner, full)
            count = itertools.count()

            def plan(operation: str, name: str, *, target: int = target) -> None:
                if operation in (*WRITES, "spool.write", "spool") and next(count) >= target:  # noqa: B023
                    raise full()

            repository = open_repo(store)
            store.on_operation = plan
            try:
                with repository.write_session(writer) as session:
                    commit_files(repository, session, SECOND)
            except Unavailable as error:
                codes.add(error.code)
            else:
                writes = target
            repository.close()
            check(inner, open_repo, FIRST)
            if writes:
                break
        assert writes > 10
        assert codes == {"store-full"}


def test_order_of_a_commit(open_repo: OpenRepository) -> None:
    """Packs, then runs, then the manifest, then the cell; nothing else is written, all else comes before the swap."""
    store = FaultStore(fresh())
    repository = open_repo(store)
    with repository.write_session("w") as session:
        store.arm()
        commit_files(repository, session, FIRST)
        steps = [(op, name.partition("/")[0]) for op, name in store.written()]
    assert steps == [
        ("spool.put", "pack"),
        ("spool.put", "pack"),
        ("put_new", "run"),
        ("put_new", "manifest"),
        ("replace", "sess"),
    ]


def test_a_turn_begins_before_the_state_is_read(open_repo: OpenRepository) -> None:
    """Begin: swap the cell first, then read cells, generation and what they name."""
    store = FaultStore(fresh())
    repository = open_repo(store)
    store.arm()
    with repository.write_session("w"):
        steps = [name if op != "replace" else "swap" for op, name in store.trace]
    swap = steps.index("swap")
    assert steps[swap + 1 :][0] == "sess/"
    assert steps.index("gc/") > steps.index("sess/") > swap


def test_a_lost_generation_is_an_older_state(
    store: MemoryStore, places: Places, open_repo: OpenRepository
) -> None:
    """
    The newest one, as a hold made it, goes: who knew it is told which file to delete if that was on purpose.

    Nothing is written in its place meanwhile: a collection and a hold are refused as well.
    """
    knows = open_repo(store, places)
    with knows.write_session("w") as session:
        entry = commit_files(knows, session, {"a": b"1"})
        point = session.seal_point(PointDraft("0" * 16, "p", "s", "success", (entry.ref,)))
    knows.collect()
    knows.hold(point.id, "law")
    newest = max(name for name in store.objects if name.startswith("gc/"))
    del store.objects[newest]
    before = dict(store.objects)
    for act in (
        knows.refresh,
        knows.collect,
        lambda: knows.hold(point.id, "law"),
        lambda: open_repo(store, places),
    ):
        with pytest.raises(Corruption, match=r"older state.*seen\.json") as caught:
            act()
        assert caught.value.code == "store-rolled-back"
    assert store.objects == before


def test_a_rolled_back_store_is_noticed(
    store: MemoryStore, places: Places, open_repo: OpenRepository
) -> None:
    """A copy taken before a commit, put back: Corruption(store-rolled-back) on machines that saw the commit."""
    repository = open_repo(store, places)
    with repository.write_session("w") as session:
        commit_files(repository, session, FIRST)
        before = copy.copy(store.objects)
        commit_files(repository, session, SECOND)
    store.objects.clear()
    store.objects.update(before)
    for attempt in (repository.refresh, lambda: open_repo(store, places)):
        with pytest.raises(Corruption) as caught:
            attempt()
        assert caught.value.code == "store-rolled-back"
    assert open_repo(store).verify("read").ok  # a machine that has not seen more cannot know


def test_a_damaged_memory_of_what_was_seen_is_begun_anew(
    store: MemoryStore, places: Places, open_repo: OpenRepository
) -> None:
    """seen.json with garbage in it does not stop anybody."""
    repository = open_repo(store, places)
    with repository.write_session("w") as session:
        commit_files(repository, session, FIRST)
    seen = next(places.state_dir.rglob("seen.json"))
    good = seen.read_bytes()
    for garbage in (b"", b"\xff\xfe", b"[]", b"{}"):
        seen.write_bytes(garbage)
        open_repo(store, places)
        assert seen.read_bytes() == good


@pytest.mark.parametrize("damage", ["deleted", "garbage", "short", "foreign"])
def test_the_index_cache_is_made_again(
    store: MemoryStore, places: Places, open_repo: OpenRepository, damage: str
) -> None:
    """Deleted, damaged or another program's: the cache is rebuilt from the runs."""
    import shutil

    repository = open_on(store, PASSPHRASE, places)
    with repository, repository.write_session("w") as session:
        commit_files(repository, session, FIRST)
    folder = next(places.cache_dir.rglob("index"))
    segments = list(folder.glob("*.seg"))
    assert segments
    for segment in segments:
        if damage == "garbage":
            segment.write_bytes(random.Random(1).randbytes(50_000))
        elif damage == "short":
            segment.write_bytes(segment.read_bytes()[:-1])
    if damage == "deleted":
        shutil.rmtree(folder)
    elif damage == "foreign":
        (folder / "data.mdb").write_bytes(b"another program's")
        (folder / "nothing.seg").write_bytes(b"")
    again = open_repo(store, places)
    entry = head(again, TREE)
    assert entry is not None
    assert contents(again, entry) == FIRST


def test_statistics_are_sane(store: MemoryStore, repository: Repository) -> None:
    """Counts and ratios of a known repository."""
    from repository.statistics import statistics

    data = random.Random(9).randbytes(200_000)
    empty = statistics(repository)
    assert (empty.points, empty.items, empty.chunks, empty.packs) == (0, 0, 0, 0)
    assert (empty.deduplication, empty.compression) == (1.0, 1.0)
    with repository.write_session("w") as session:
        entries = [
            commit_files(repository, session, {"x": data}, object_key(f"u{n}")) for n in range(4)
        ]
    repository.seal_point(
        PointDraft("0123456789abcdef", "p", "job", "success", tuple(e.ref for e in entries))
    )
    repository.seal_point(
        PointDraft("0123456789abcdef", "p", "job", "success", tuple(e.ref for e in entries))
    )
    found = statistics(repository)
    assert (found.points, found.items, found.item_bytes) == (1, 4, 800_000)
    assert found.objects == len(store.objects)
    assert found.stored_bytes == sum(map(len, store.objects.values()))
    assert found.pack_bytes >= 200_000
    assert 3 < found.deduplication <= 4


def test_a_cell_that_vanishes_under_its_writer_is_named(
    repository: Repository, store: MemoryStore
) -> None:
    """A store that was emptied meanwhile: what is missing is said, not that another one wrote."""
    with repository.write_session("w") as session:
        del store.objects["sess/w"]
        with pytest.raises(Corruption) as caught:
            commit_files(repository, session, FIRST)
        assert caught.value.code == "cell-missing"
