"""Backup copy: every restore point as it was, only what changed is read, nothing comes twice."""

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.errors import Conflict, NotFound, UsageError
from engine.manifest import EntryRef, PointForm
from repository import PointDraft, Repository
from repository.blobstore.memory import MemoryStore
from repository.collector import CollectLimits
from repository.copying import copy_points
from repository.copying_check import check_copy
from repository.copying_plan import Selection, plan_copy
from repository.repository import initialize
from repository.tree.importer import import_tree
from tests.fixtures.copies import WORKLOAD, History, assert_copied, copied, file_row, held
from tests.fixtures.faults import FaultStore
from tests.fixtures.formats import attachment, mail
from tests.fixtures.repositories import (
    CHEAP,
    PASSPHRASE,
    OpenRepository,
    head,
    object_key,
)

pytestmark = pytest.mark.slow
NOW = CollectLimits(wait_s=0.0, poll_s=0.01)


def noise(seed: int, size: int = 200_000) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def source(open_repo: OpenRepository) -> Repository:
    return open_repo(fresh())


@pytest.fixture
def store() -> FaultStore:
    return FaultStore(fresh())


@pytest.fixture
def target(store: FaultStore, open_repo: OpenRepository) -> Repository:
    return open_repo(store)


def fresh() -> MemoryStore:
    made = MemoryStore()
    initialize(made, PASSPHRASE, CHEAP)
    return made


@pytest.fixture
def history(source: Repository) -> History:
    """Three restore points of two objects: added, changed, removed, moved, untouched; one large, one split mail."""
    made = History(source)
    letter = mail(attachment(300_000, 1))
    made.backup(
        {
            "alice": {"a": noise(1), "b": noise(2), "large": noise(3, 5_000_000), "empty": b""},
            "bob": {"letter": letter, "same": noise(1), "text": b"a line\n" * 5000},
        }
    )
    made.backup(
        {"alice": {"b": noise(4), "a": None, "moved": noise(1), "large": noise(5, 4_200_000)}}
    )
    made.backup({"alice": {"c": noise(6)}, "bob": {"letter": letter + b"more", "text": None}})
    return made


def copy_of(target: Repository, point: PointForm) -> PointForm:
    return next(other for other in target.points() if other.id == point.id)


def parents_of(repository: Repository, ref: EntryRef) -> tuple[EntryRef, ...]:
    return repository.entries.get(ref).form.parents


def test_every_point_arrives_as_it_was(
    history: History, target: Repository, store: FaultStore, open_repo: OpenRepository
) -> None:
    """Ids, names, times, sessions, objects, rows, contents and checkpoints, read by another machine; nothing else is there."""
    report = copied(history.repository, target)
    assert report.problems == []
    other = open_repo(store)
    assert_copied(history, other)
    assert other.verify("read").problems == []
    points = other.points()
    for before, after in itertools.pairwise(points):
        for old, new in zip(before.entries, after.entries, strict=True):
            assert new.entry == old.entry or parents_of(other, new.entry) == (old.entry,)
    assert points[0].entries[1].entry == points[1].entries[1].entry  # bob was not touched
    assert len(list(other.entries)) == 5


def test_a_second_run_writes_nothing(
    history: History, target: Repository, store: FaultStore
) -> None:
    """Not even a turn: no operation on the target but reading."""
    copied(history.repository, target)
    store.arm()
    report = copied(history.repository, target)
    assert (report.points, report.bytes_read, report.bytes_stored) == ([], 0, 0)
    assert store.written() == []


def test_only_what_changed_is_read(history: History, target: Repository) -> None:
    """What was copied with an earlier restore point is not read again, wherever it stands now."""
    first = Selection(points=[history.repository.points()[0].id])
    states = list(history.expected.values())
    report = copied(history.repository, target, first)
    whole = sum(len(data) for files in states[0].values() for data in files.values())
    assert whole - len(noise(1)) <= report.bytes_read <= whole  # it is there twice
    history.backup({"bob": {"again": noise(6)}})
    report = copied(history.repository, target)
    changed = len(noise(4)) + 4_200_000  # "moved" has the content of "a"
    assert report.bytes_read == changed + len(noise(6)) + len(states[2]["bob"]["letter"])
    assert report.rows == 3 + 1 + 1 + 1
    assert report.removed == 2
    assert_copied(history, target)


def test_the_copy_goes_on_as_a_primary(history: History, target: Repository) -> None:
    """A backup into the copy finds one head with its checkpoint, and a later copy run makes a line of its own beside it."""
    copied(history.repository, target)
    entry = head(target, object_key("alice"))
    assert entry is not None
    assert len(target.entries.heads("user", "alice", WORKLOAD)) == 1
    assert target.checkpoint(entry) == history.repository.checkpoint(
        history.repository.entries.get(history.repository.points()[-1].entries[0].entry)
    )
    own = History(target, "own", {"alice": dict(history.states["alice"])})
    own.backup({"alice": {"own": noise(9)}})
    history.backup({"alice": {"d": noise(7)}})
    copied(history.repository, target)
    assert_copied(history, target)
    point = own.repository.points()[-2]
    assert held(target, point) == own.expected[point.id]
    assert len(target.entries.heads("user", "alice", WORKLOAD)) == 2


def test_what_was_forgotten_in_the_copy_stays_away(history: History, target: Repository) -> None:
    """Neither before nor after a collection does a run bring it back, unless that is asked for."""
    copied(history.repository, target)
    oldest = target.points()[0].id
    target.forget([oldest])
    assert copied(history.repository, target).points == []
    with pytest.raises(Conflict, match="collect there first"):
        copied(history.repository, target, Selection(points=[oldest]))
    target.collect(limits=NOW)
    history.backup({"bob": {"new": noise(8)}})
    report = copied(history.repository, target)
    assert len(report.points) == 1
    assert_copied(history, target, 3)
    again = copied(history.repository, target, Selection(again=True))
    assert [point.id for point in again.points] == [oldest]
    assert_copied(history, target)
    history.backup({"alice": {"e": noise(10)}, "bob": {"e": noise(11)}})
    copied(history.repository, target)
    assert_copied(history, target)
    for name in ("alice", "bob"):  # what was copied late is followed too: nothing is kept for ever
        assert len(target.entries.heads("user", name, WORKLOAD)) == 1
    assert target.verify("read").problems == []


def test_what_is_asked_for(history: History, target: Repository) -> None:
    """Names, numbers, ids; what is older than the newest copy of its name is left out and told."""
    source = history.repository
    other = History(source, "other", history.states, {})
    other.backup({"carol": {"x": b"x"}})
    ids = [point.id for point in source.points()]
    plan = plan_copy(source, target, Selection(name="oth*"))
    assert [point.id for point in plan.wanted] == ids[3:]
    plan = plan_copy(source, target, Selection(last=1))
    assert [point.id for point in plan.wanted] == ids[2:]
    copied(source, target, Selection(points=[ids[1][:8]]))
    plan = plan_copy(source, target, Selection())
    assert [point.id for point in plan.wanted] == ids[2:]
    assert [point.id for point in plan.older] == ids[:1]
    assert [point.id for point in plan.present] == [ids[1]]
    with pytest.raises(NotFound):
        plan_copy(source, target, Selection(points=["ffff"]))


def test_a_repository_is_not_copied_into_itself(source: Repository) -> None:
    """Nor into a copy of its files."""
    with pytest.raises(UsageError, match="same repository"):
        plan_copy(source, source, Selection())


def test_collections_of_both_between_the_runs(history: History, target: Repository) -> None:
    """The original forgets what it copied: the next run still reads only what is new, and lines are not torn."""
    source = history.repository
    copied(source, target)
    source.forget([point.id for point in source.points()])
    target.forget([target.points()[1].id])
    history.backup({"alice": {"n": noise(20)}, "bob": {"n": noise(21)}})
    source.collect(limits=NOW)
    target.collect(limits=NOW)
    report = copied(source, target)
    assert report.bytes_read == 2 * len(noise(20))
    newest = target.points()[-1]
    assert held(target, newest) == history.expected[newest.id]
    assert len(target.points()) == 3
    for name in ("alice", "bob"):
        assert len(target.entries.heads("user", name, WORKLOAD)) == 1
    assert target.verify("read").problems == []


def test_a_change_that_no_version_shows_is_copied(source: Repository, target: Repository) -> None:
    """Contents are told apart by the chunks of the original, not by what the row says."""
    history = History(source)
    history.backup({"alice": {"f": noise(1)}})
    copied(source, target)
    before = head(source, object_key("alice"))
    assert before is not None
    row = source.catalog(before).get(b"f")
    assert row is not None
    with source.write_session("w") as session:
        slice_ = session.open_slice(object_key("alice"), WORKLOAD, "sly", previous=before)
        slice_.advance([file_row("f", row.size, row.version, session.store("content", noise(2)))])
        slice_.finish()
        session.commit()
    history.states["alice"]["f"] = noise(2)
    history.backup({"alice": {}})
    copied(source, target)
    assert_copied(history, target)


def test_what_expired_is_not_copied(history: History, target: Repository) -> None:
    """Items that the target's rules let expire are not brought to it."""
    target.forget([], items_from_ns=3)
    target.collect(limits=NOW)
    report = copied(history.repository, target)
    assert (report.bytes_read, report.problems, len(report.points)) == (0, [], 3)
    assert copied(history.repository, target).points == []


def test_trees_are_refused_where_items_go_by_age(
    source: Repository, target: Repository, tmp_path: Path
) -> None:
    """As an import refuses them; the plan says so before anything is read."""
    (tmp_path / "tree").mkdir()
    import_tree(source, tmp_path / "tree", "t")
    target.forget([], items_from_ns=3)
    target.collect(limits=NOW)
    with pytest.raises(UsageError) as raised:
        plan_copy(source, target, Selection())
    assert raised.value.code == "item-period-unfit"


def test_two_runs_at_once(history: History, store: FaultStore, open_repo: OpenRepository) -> None:
    """Two machines copy the same: each restore point is there once, and right; the next run has one line to go on from."""
    machines = [(open_repo(history.repository.store), open_repo(store)) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        runs = [
            threads.submit(
                lambda source, target: copy_points(
                    source, target, plan_copy(source, target, Selection())
                ),
                *machine,
            )
            for machine in machines
        ]
        assert [run.result().problems for run in runs] == [[], []]
    other = open_repo(store)
    assert_copied(history, other)
    history.backup({"alice": {"x": noise(40)}, "bob": {"x": noise(41)}})
    copied(history.repository, other)
    assert_copied(history, other)
    for name in ("alice", "bob"):
        assert len(other.entries.heads("user", name, WORKLOAD)) == 1
    assert other.verify("read").problems == []


def test_a_false_copy_is_noticed(history: History, target: Repository) -> None:
    """The check names rows that are missing, changed, too many, and contents that differ though all else is the same."""
    source = history.repository
    point = source.points()[-1]
    copied(source, target)
    assert check_copy(source, target, [point.id]).problems == []
    alice = head(target, object_key("alice"))
    assert alice is not None
    rows = {row.id: row for row in target.catalog(alice).rows()}
    with target.write_session("w") as session:
        slice_ = session.open_slice(object_key("alice"), WORKLOAD, alice.form.session)
        made = [rows[b"large"], file_row("extra", 1, "x", session.store("content", b"x"))]
        for name, longer in (("b", 0), ("c", 1)):
            old = rows[name.encode()]
            part = session.store("content", noise(99, old.size + longer))
            made.append(file_row(name, part.size, old.version, part))
        slice_.advance(made, target.checkpoint(alice))
        slice_.finish()
        session.commit()
        entry = slice_.entry
    assert entry is not None
    refs = (entry, copy_of(target, point).entries[1].entry)
    target.forget([point.id])
    target.collect(limits=NOW)
    with target.write_session("w") as session:
        session.seal_point(
            PointDraft(point.id, point.name, point.session, "success", refs, point.created_at)
        )
    report = check_copy(source, target, [point.id])
    assert sorted(
        (problem.object, problem.name, problem.reason) for problem in report.problems
    ) == [
        ("alice", "", "the copy has 1 more rows"),
        ("alice", "b", "its content differs in the copy"),
        ("alice", "c", "it differs in the copy"),
        ("alice", "empty", "it is not in the copy"),
        ("alice", "moved", "it is not in the copy"),
    ]
