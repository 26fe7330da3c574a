"""Collection: what nothing needs goes, everything else stays, whoever writes meanwhile."""

import random

import pytest

from engine.errors import Conflict, Corruption, Fenced, NotFound, Unavailable
from engine.manifest import PointForm
from repository import PointDraft, Repository, new_point_id
from repository.blobstore.memory import MemoryStore
from repository.collector import CollectLimits, CollectReport
from repository.entries import Entry
from repository.session import WriteSession
from tests.fixtures.faults import FaultStore, full
from tests.fixtures.repositories import (
    TREE,
    OpenRepository,
    commit_files,
    contents,
    head,
    object_key,
    row,
)

NOW = CollectLimits(wait_s=0.0, poll_s=0.01)


def seal(session: WriteSession, *entries: Entry, name: str = "p") -> PointForm:
    return session.seal_point(
        PointDraft(new_point_id(), name, "s", "success", tuple(e.ref for e in entries))
    )


def noise(seed: int, size: int = 300_000) -> bytes:
    return random.Random(seed).randbytes(size)


def collect(repository: Repository, limits: CollectLimits = NOW) -> CollectReport:
    return repository.collect(limits=limits)


def data_bytes(store: MemoryStore) -> int:
    return sum(blob.size for blob in store.list("pack/d/"))


def restored(repository: Repository, point: PointForm) -> list[dict[str, bytes]]:
    return [contents(repository, repository.entries.get(e.entry)) for e in point.entries]


def test_a_collection_of_what_is_all_needed_changes_no_content(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """Commits are folded, nothing is lost, the repository verifies and goes on being written."""
    files = {"a": noise(1), "b": noise(2)}
    with repository.write_session("w") as session:
        point = seal(session, commit_files(repository, session, files))
    report = collect(repository)
    assert (report.points, report.deleted_bytes >= 0, report.points_forgotten) == (1, True, 0)
    assert repository.state.generation.number == 2
    other = open_repo(store)
    assert restored(other, other.point(point.id)) == [files]
    assert other.verify("read").problems == []
    with other.write_session("v") as session:
        entry = commit_files(other, session, {"c": noise(3)})
    assert contents(other, entry) == {**files, "c": noise(3)}


def test_a_forgotten_point_gives_its_space_back(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """What only the forgotten point needed is gone from the store after one collection; the rest restores."""
    with repository.write_session("w") as session:
        old = seal(session, commit_files(repository, session, {"a": noise(1), "b": noise(2)}))
        new = seal(session, commit_files(repository, session, {"a": noise(3)}))
    repository.forget([old.id])
    assert [p.id for p in repository.points()] == [new.id]
    before = data_bytes(store)
    report = collect(repository)
    assert (report.points_forgotten, report.entries_dropped) == (1, 1)
    assert data_bytes(store) < 0.8 * before
    other = open_repo(store)
    assert restored(other, other.point("latest")) == [{"a": noise(3), "b": noise(2)}]
    assert other.verify("read").problems == []
    assert not list(store.list("forget/"))
    with pytest.raises(NotFound):
        other.point(old.id)


def test_the_newest_state_stays_though_its_point_is_forgotten(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """Heads are never dropped: the next backup goes on from them."""
    with repository.write_session("w") as session:
        point = seal(session, commit_files(repository, session, {"a": noise(1)}))
    repository.forget([point.id])
    collect(repository)
    other = open_repo(store)
    entry = head(other, TREE)
    assert entry is not None
    assert other.points() == []
    assert contents(other, entry) == {"a": noise(1)}


def test_a_held_point_is_kept_and_cannot_be_forgotten(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """A hold wins over a forget that was written before it."""
    with repository.write_session("w") as session:
        old = seal(session, commit_files(repository, session, {"a": noise(1)}))
        seal(session, commit_files(repository, session, {"a": noise(2)}))
    other = open_repo(store)
    other.forget([old.id])
    repository.hold(old.id, "lawsuit")
    collect(repository)
    assert repository.holds == {old.id: "lawsuit"}
    assert restored(repository, repository.point(old.id)) == [{"a": noise(1)}]
    with pytest.raises(Conflict) as caught:
        repository.forget([old.id])
    assert caught.value.code == "point-held"
    repository.release(old.id)
    repository.forget([old.id])
    collect(repository)
    assert len(repository.points()) == 1


def test_half_finished_entries_go_and_lineage_stays(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """Of a session with many commits one entry is left, and it follows the one before the session."""
    with repository.write_session("w") as session:
        first = commit_files(repository, session, {"a": b"1"})
        seal(session, first)
        slice_ = session.open_slice(TREE, "files", "s", previous=first)
        for number in range(5):
            slice_.advance([row(f"n{number}", session, noise(number, 1000))])
            session.commit()
        slice_.finish()
        session.commit()
        entry = head(repository, TREE)
        assert entry is not None
        seal(session, entry)
    assert len(list(repository.entries)) == 7
    collect(repository)
    other = open_repo(store)
    left = list(other.entries)
    assert {e.ref for e in left} == {first.ref, entry.ref}
    links = {link.entry: link.parents for link in other.entries.links(left)}
    assert links[entry.ref] == (first.ref,)
    assert [e.ref for e in other.entries.heads(TREE.kind, TREE.id, "files")] == [entry.ref]


def test_unfinished_work_of_an_open_session_survives(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """Packs stored but not committed are condemned, and taken back when their turn commits before the verdict."""
    with repository.write_session("w") as session:
        slice_ = session.open_slice(TREE, "files", "s")
        slice_.advance([row("a", session, noise(1))])
        session._flush_runs()  # what an interrupted commit leaves
    assert list(store.list("pack/d/"))
    report = collect(open_repo(store))
    assert report.deleted > 0
    assert not list(store.list("pack/d/"))


def test_a_late_writer_is_revoked_and_loses_nothing_committed(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """A writer that outlives the wait is refused at its next commit; what it had committed restores."""
    writing = open_repo(store)
    session = writing.write_session("slow")
    entry = commit_files(writing, session, {"a": noise(1)})
    slice_ = session.open_slice(TREE, "files", "s", previous=entry)
    slice_.advance([row("b", session, noise(2))])
    report = collect(open_repo(store))
    assert (report.turns_waited_for, report.turns_revoked) == (1, 1)
    with pytest.raises(Fenced) as caught:
        session.commit()
    assert caught.value.code == "turn-revoked"
    session.close()
    other = open_repo(store)
    assert contents(other, other.entries.get(entry.ref)) == {"a": noise(1)}
    with other.write_session("slow") as again:
        commit_files(other, again, {"b": noise(2)})
    found = head(other, TREE)
    assert found is not None
    assert contents(other, found) == {"a": noise(1), "b": noise(2)}


def test_a_revocation_that_cannot_be_written_ends_the_collection(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """A full disk is said, not waited for; the turn is as it was, and the next collection revokes it."""
    session = repository.write_session("slow")
    commit_files(repository, session, {"a": noise(1)})
    before = store.objects["sess/slow"]
    tries: list[str] = []

    def refuse(operation: str, name: str) -> None:
        if (operation, name) == ("replace", "sess/slow"):
            tries.append(name)
            assert len(tries) < 100, "it is tried for ever"
            raise full()

    faulty = FaultStore(store)
    faulty.on_operation = refuse
    with pytest.raises(Unavailable) as caught:
        collect(open_repo(faulty))
    assert caught.value.code == "store-full"
    assert store.objects["sess/slow"] == before
    assert collect(open_repo(store)).turns_revoked == 1
    with pytest.raises(Fenced):
        session.close()


def test_a_revocation_whose_answer_is_lost_is_found_in_the_cell(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """The turn has ended: the collection goes on."""
    session = repository.write_session("slow")
    commit_files(repository, session, {"a": noise(1)})
    faulty = FaultStore(store)

    def lose(operation: str, name: str) -> None:
        if (operation, name) == ("replace", "sess/slow"):
            faulty.fail_after.add(len(faulty.trace) - 1)

    faulty.on_operation = lose
    assert collect(open_repo(faulty)).turns_revoked == 1
    with pytest.raises(Fenced):
        session.close()


def test_runs_are_read_once_where_nothing_dies(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """Marking reads each run; the verdict asks of those alone that it merges."""
    with repository.write_session("w") as session:
        commit_files(repository, session, {"a": noise(1)})
    collect(repository)
    faulty = FaultStore(store)
    reading = open_repo(faulty)
    faulty.arm()
    collect(reading)
    read = [
        name for operation, name in faulty.trace if name.startswith("run/") and operation == "get"
    ]
    assert read == [name for name in store.objects if name.startswith("run/")]


def test_sparse_packs_are_copied_and_small_ones_made_one(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """Packs of which a third is needed go after their needed chunks were copied; nothing is lost."""
    files = {f"f{n}": noise(n, 200_000) for n in range(12)}
    with repository.write_session("w") as session:
        old = seal(session, commit_files(repository, session, files))
        for n in range(12):
            if n % 3:
                commit_files(repository, session, {f"f{n}": noise(100 + n, 1000)})
        entry = head(repository, TREE)
        assert entry is not None
        new = seal(session, entry)
    repository.forget([old.id])
    report = collect(repository)
    assert report.copied_packs > 0
    other = open_repo(store)
    expected = {
        name: noise(100 + n, 1000) if n % 3 else noise(n, 200_000) for n, name in enumerate(files)
    }
    assert restored(other, other.point(new.id)) == [expected]
    assert other.verify("read").problems == []
    needed = sum(map(len, expected.values()))
    assert data_bytes(store) < 1.3 * needed
    again = collect(other)
    assert (again.copied_packs, again.deleted_bytes) == (0, 0)


def test_equal_uploads_of_two_writers_become_one_copy(
    store: MemoryStore, open_repo: OpenRepository
) -> None:
    """Two writers that store the same at once: one copy is left, and both entries restore."""
    first, second = open_repo(store), open_repo(store)
    content = noise(5, 4_000_000)
    one, two = first.write_session("one"), second.write_session("two")
    with one, two:
        a = commit_files(first, one, {"x": content}, object_key("a"))
        b = commit_files(second, two, {"x": content}, object_key("b"))
    collect(first)
    assert data_bytes(store) < 1.05 * len(content) * 1.13  # with Padme and parity
    third = open_repo(store)
    for entry in (a, b):
        assert contents(third, third.entries.get(entry.ref)) == {"x": content}


def test_expired_items_go_and_newer_ones_stay(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """Items older than the bound are not listed and their content is gone; the bound never goes back."""
    with repository.write_session("w") as session:
        slice_ = session.open_slice(TREE, "files", "s")
        old, new = row("old", session, noise(1)), row("new", session, noise(2))
        object.__setattr__(new, "modified_ns", 2_000)
        object.__setattr__(old, "created_ns", 1_000)
        slice_.advance([old, new])
        slice_.finish()
        commit = session.commit()
        assert commit is not None
        point = seal(session, repository.entries.get(commit.entries[slice_]))
    before = data_bytes(store)
    repository.forget([], items_from_ns=1_500)
    collect(repository)
    repository.forget([], items_from_ns=500)
    collect(repository)
    other = open_repo(store)
    assert restored(other, other.point(point.id)) == [{"new": noise(2)}]
    assert data_bytes(store) < 0.7 * before
    assert other.verify("read").problems == []


def test_what_cannot_be_read_blocks_the_collection(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """With a damaged restore point nobody knows what is needed: nothing is deleted, the message says what to do."""
    with repository.write_session("w") as session:
        seal(session, commit_files(repository, session, {"a": noise(1)}))
    name = next(iter(store.list("point/"))).name
    store.objects[name] = store.objects[name][:-1] + b"?"
    held = set(store.objects)
    with pytest.raises(Corruption) as caught:
        collect(open_repo(store))
    assert caught.value.code == "collect-blocked"
    assert set(store.objects) == held


def test_a_dry_run_writes_nothing(store: MemoryStore, repository: Repository) -> None:
    """It says what would go."""
    with repository.write_session("w") as session:
        old = seal(session, commit_files(repository, session, {"a": noise(1)}))
        seal(session, commit_files(repository, session, {"a": noise(2)}))
    repository.forget([old.id])
    held = dict(store.objects)
    report = repository.collect(dry_run=True)
    assert report.would_forget == [old.id]
    assert report.condemned_bytes > 0
    assert store.objects == held


def test_items_do_not_expire_while_a_point_is_held(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """A held restore point keeps its old items as well; after the hold they go when they are asked to again."""
    with repository.write_session("w") as session:
        slice_ = session.open_slice(TREE, "files", "s")
        old = row("old", session, noise(1))
        object.__setattr__(old, "modified_ns", 1_000)
        slice_.advance([old])
        slice_.finish()
        commit = session.commit()
        assert commit is not None
        point = seal(session, repository.entries.get(commit.entries[slice_]))
    repository.forget([], items_from_ns=1_500)
    repository.hold(point.id, "audit")
    collect(repository)
    assert restored(open_repo(store), point) == [{"old": noise(1)}]
    repository.release(point.id)
    repository.forget([], items_from_ns=1_500)
    collect(repository)
    assert restored(open_repo(store), point) == [{}]
