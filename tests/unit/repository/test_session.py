"""Write sessions: what was committed is read back, stored once, and never half there."""

import os
import random
import threading
from collections.abc import Callable

import pytest

from engine.catalog import Row
from engine.errors import Conflict, Corruption, Fenced, Unavailable, UsageError
from engine.parts import Part
from repository import PointDraft, Repository
from repository.blobstore.memory import MemoryStore
from repository.catalogs import Catalog
from tests.fixtures.repositories import (
    TREE,
    OpenRepository,
    commit_files,
    contents,
    head,
    object_key,
    row,
)


def pack_bytes(store: MemoryStore, letter: str = "d") -> int:
    return sum(blob.size for blob in store.list(f"pack/{letter}/"))


def test_parts_come_back(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """Parts of any size, in one commit, are read back by another machine."""
    rng = random.Random(1)
    files = {f"f{n}": rng.randbytes(n) for n in (0, 1, 40, 5_000, 70_000, 300_000, 1_500_000)}
    files |= {"zeros": bytes(900_000), "text": b"the same line\n" * 20_000}
    with repository.write_session("w") as session:
        entry = commit_files(repository, session, files)
    assert contents(repository, entry) == files
    other = open_repo(store)
    again = other.entries.get(entry.ref)
    assert contents(other, again) == files
    assert other.checkpoint(again) == b"mark"
    assert (again.form.items, again.form.bytes) == (len(files), sum(map(len, files.values())))


def test_a_second_store_of_the_same_adds_no_data(
    store: MemoryStore, repository: Repository
) -> None:
    """Identical parts, in the same session, a later turn and a later session, add no byte of data packs."""
    data = random.Random(2).randbytes(700_000)
    with repository.write_session("w") as session:
        commit_files(repository, session, {"a": data})
        once = pack_bytes(store)
        commit_files(repository, session, {"b": data, "c": data[:]})
        assert pack_bytes(store) == once
    with repository.write_session("w") as session:
        commit_files(repository, session, {"d": data}, object_key("another"))
    assert pack_bytes(store) == once


def test_the_same_twice_in_one_turn_is_stored_once(
    store: MemoryStore, repository: Repository
) -> None:
    """Chunks that only wait in the queue count as stored."""
    data = random.Random(3).randbytes(500_000)
    with repository.write_session("w") as session:
        commit_files(repository, session, {str(n): data for n in range(10)})
    assert pack_bytes(store) < 600_000


@pytest.mark.parametrize("seed", range(3))
def test_written_in_pieces_equals_stored_at_once(repository: Repository, seed: int) -> None:
    """PartWriter in odd pieces gives the chunk list of one store."""
    rng = random.Random(seed)
    data = rng.randbytes(5_000_000) + bytes(4_500_000) + rng.randbytes(70_000)
    with repository.write_session("w") as session:
        whole = session.store("content", data)
        for largest in (1_000_000, 70_001, len(data) + 1):
            at = 0
            with session.open_part("content") as writer:
                while at < len(data):
                    size = rng.randrange(largest)
                    writer.write(data[at : at + size])
                    at += size
            assert writer.part == whole


def test_an_unfinished_part_has_no_part(repository: Repository) -> None:
    """Neither inside the block nor after an error."""
    with repository.write_session("w") as session:
        writer = session.open_part("content")
        with pytest.raises(RuntimeError), writer:  # noqa: PT012
            writer.write(b"x")
            raise RuntimeError
        with pytest.raises(Conflict):
            _ = writer.part


def test_several_slices_share_a_commit(repository: Repository) -> None:
    """One commit holds an entry for each slice with news, and none for the others."""
    with repository.write_session("w") as session:
        slices = [session.open_slice(object_key(f"u{n}"), "files", "s") for n in range(5)]
        for number, slice_ in enumerate(slices[:4]):
            slice_.advance([row("a", session, b"%d" % number)], b"c%d" % number)
        slices[0].finish()
        commit = session.commit()
        assert commit is not None
        assert set(commit.entries) == set(slices[:4])
        assert {ref.manifest for ref in commit.entries.values()} == {commit.manifest}
        assert session.commit() is None
    for number in range(4):
        entry = head(repository, object_key(f"u{number}"))
        assert entry is not None
        assert entry.form.complete == (number == 0)
        assert contents(repository, entry) == {"a": b"%d" % number}
        assert repository.checkpoint(entry) == b"c%d" % number


def test_an_unfinished_slice_is_gone_on_with(repository: Repository) -> None:
    """An incomplete entry carries rows and checkpoint; the next session goes on, its entry follows it."""
    with repository.write_session("w") as session:
        slice_ = session.open_slice(TREE, "files", "s")
        slice_.advance([row("a", session, b"A"), row("b", session, b"B")], b"half")
        session.commit()
    first = head(repository, TREE)
    assert first is not None
    assert not first.form.complete
    assert repository.entries.newest_complete(TREE.kind, TREE.id, "files") is None
    with repository.write_session("w") as session:
        slice_ = session.open_slice(TREE, "files", "s", previous=first)
        assert slice_.checkpoint == b"half"
        assert slice_.catalog.get(b"a") is not None
        slice_.advance([row("c", session, b"C"), row("a", session, b"A2")], b"")
        assert slice_.ids() == {b"a", b"b", b"c"}
        slice_.finish()
        session.commit()
    second = head(repository, TREE)
    assert second is not None
    assert second.form.parents == (first.ref,)
    assert second.form.complete
    assert repository.checkpoint(second) == b""  # an empty checkpoint is one
    assert contents(repository, second) == {"a": b"A2", "b": b"B", "c": b"C"}


def test_a_finished_slice_takes_nothing_more(repository: Repository) -> None:
    """Rows after finish are a Conflict."""
    with repository.write_session("w") as session:
        slice_ = session.open_slice(TREE, "files", "s")
        slice_.finish()
        with pytest.raises(Conflict) as caught:
            slice_.advance([row("a")])
        assert caught.value.code == "slice-finished"


def test_one_slice_for_an_object_at_a_time(repository: Repository) -> None:
    """A second open slice of an object and workload is a Conflict; the session and the first go on."""
    with repository.write_session("w") as session:
        slice_ = session.open_slice(TREE, "files", "s")
        with pytest.raises(Conflict) as caught:
            session.open_slice(TREE, "files", "t")
        assert caught.value.code == "slice-open"
        session.open_slice(TREE, "mail", "s")
        slice_.advance([row("a", session, b"A")])
        slice_.finish()
        session.commit()
        session.drop_slice(session.open_slice(TREE, "files", "s"))
        session.open_slice(TREE, "files", "s")


def test_a_slice_finished_during_a_commit_gets_its_last_entry(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a commit took before the finish is incomplete; the complete entry goes with the next one."""
    with repository.write_session("w") as session:
        slice_ = session.open_slice(TREE, "files", "s")
        slice_.advance([row("a", session, b"A")], b"1")
        real = session._store_manifest

        def finish_meanwhile(*arguments: object) -> str:
            slice_.advance([row("b", session, b"B")], b"2")
            slice_.finish()
            return real(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(session, "_store_manifest", finish_meanwhile)
        session.commit()
        monkeypatch.undo()
        entry = head(repository, TREE)
        assert entry is not None
        assert not entry.form.complete
        assert contents(repository, entry) == {"a": b"A"}
        assert session.commit() is not None
    entry = head(repository, TREE)
    assert entry is not None
    assert entry.form.complete
    assert contents(repository, entry) == {"a": b"A", "b": b"B"}


def test_a_fork_has_two_heads_and_both_are_parents_of_the_next(
    store: MemoryStore, open_repo: OpenRepository
) -> None:
    """Two writers that go on from one entry make two heads, both readable; the next run names both."""
    one, two = open_repo(store), open_repo(store)
    with one.write_session("one") as session:
        base = commit_files(one, session, {"a": b"A"})
    two.refresh()
    with one.write_session("one") as first, two.write_session("two") as second:
        assert head(two, TREE) == base
        left = commit_files(one, first, {"left": b"L" * 50_000})
        # `second` began before `left` was committed and does not know it
        slice_ = second.open_slice(TREE, "files", "s", previous=base)
        slice_.advance([row("right", second, b"R" * 50_000)])
        slice_.finish()
        assert second.commit() is not None
    third = open_repo(store)
    heads = third.entries.heads(TREE.kind, TREE.id, "files")
    assert len(heads) == 2
    assert left.ref in {entry.ref for entry in heads}
    found = [contents(third, entry) for entry in heads]
    assert {"a": b"A", "left": b"L" * 50_000} in found
    assert {"a": b"A", "right": b"R" * 50_000} in found
    with third.write_session("three") as session:
        refs = tuple(entry.ref for entry in heads)
        slice_ = session.open_slice(TREE, "files", "s", previous=heads[0], parents=refs)
        slice_.finish()
        session.commit()
    merged = third.entries.heads(TREE.kind, TREE.id, "files")
    assert [set(entry.form.parents) for entry in merged] == [set(refs)]
    assert third.verify("read").ok


def test_an_identity_is_used_once(repository: Repository) -> None:
    """The same identity twice is Conflict(writer-busy); free ones are reused; odd ones are refused."""
    with repository.write_session("w"):
        with pytest.raises(Conflict) as caught:
            repository.write_session("w")
        assert caught.value.code == "writer-busy"
    with repository.write_session("w"):
        pass
    with repository.write_session(), repository.write_session():
        pass
    with repository.write_session(), repository.write_session():
        pass
    assert len(repository.refresh().cells) == 3
    with pytest.raises(UsageError):
        repository.write_session("../x")


@pytest.mark.parametrize("how", ["older", "gone"])
@pytest.mark.parametrize("knows", [True, False])
def test_a_cell_behind_its_watermark_goes_on_above_it(
    store: MemoryStore, open_repo: OpenRepository, repository: Repository, how: str, knows: bool
) -> None:
    """As after a copy of the files: what is acknowledged counts, also for who opened the repository before it was folded."""
    with repository.write_session("w") as session:
        older, early = store.objects["sess/w"], open_repo(store)
        commit_files(repository, session, {"a": b"A"})
        commit_files(repository, session, {"b": b"B"})
    repository.collect()
    early._witness._seen.turns.clear()
    del store.objects["sess/w"]
    if how == "older":
        store.objects["sess/w"] = older
    writing = open_repo(store) if knows else early
    with writing.write_session("w") as session:
        entry = commit_files(writing, session, {"c": b"C"})
        point = session.seal_point(PointDraft("0" * 16, "p", "s", "success", (entry.ref,)))
    fresh = open_repo(store)
    assert fresh.points() == [point]
    assert fresh.verify("read").ok
    fresh.collect()
    (entry,) = open_repo(store).entries.heads(TREE.kind, TREE.id, "files")
    assert contents(fresh, entry) == {"a": b"A", "b": b"B", "c": b"C"}


@pytest.mark.parametrize("folded", [True, False])
def test_a_writer_whose_cell_is_lost_does_not_hide_it(
    store: MemoryStore, open_repo: OpenRepository, repository: Repository, folded: bool
) -> None:
    """Manifests show that it committed more: it begins nothing, so that verification still finds what is lost."""
    if folded:
        with repository.write_session("w") as session:
            commit_files(repository, session, {"a": b"A"})
        repository.collect()
    with repository.write_session("w") as session:
        commit_files(repository, session, {"b": b"B"})
    del store.objects["sess/w"]
    with pytest.raises(Corruption) as caught:
        open_repo(store).write_session("w")
    assert caught.value.code == "cell-missing"
    assert "sess/w" not in store.objects
    assert [p.name for p in open_repo(store).verify("listing").problems] == ["sess/w"]
    with open_repo(store).write_session("another"):
        pass


def test_a_revoked_turn_is_fenced(
    store: MemoryStore, open_repo: OpenRepository, repository: Repository
) -> None:
    """A second machine with the same identity ends the first one's turn: its commit is Fenced, for good."""
    other = open_repo(store)
    with repository.write_session("w") as first:
        slice_ = first.open_slice(TREE, "files", "s")
        slice_.advance([row("a", first, b"A")])
        with other.write_session("w") as second:
            for _ in range(2):
                with pytest.raises(Fenced) as caught:
                    first.commit()
                assert caught.value.code == "turn-revoked"
            with pytest.raises(Fenced):
                first.store("content", b"more")
            entry = commit_files(other, second, {"b": b"B"})
    assert repository.refresh().manifests == (entry.ref.manifest,)


def test_any_exception_out_of_a_commit_ends_the_session(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was flushed is named by nothing, so that going on would lose chunks: the session refuses."""
    with repository.write_session("w") as session:
        slice_ = session.open_slice(TREE, "files", "s")
        slice_.advance([row("a", session, os.urandom(99_000))])
        monkeypatch.setattr(
            session, "_store_manifest", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            session.commit()
        monkeypatch.undo()
        with pytest.raises(Fenced) as caught:
            session.commit()
        assert caught.value.code == "commit-cut-off"
    assert repository.verify("read").ok


def test_an_exception_out_of_storing_ends_the_session(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks that only seem to be queued are never referred to: the same part again is refused, not taken as stored."""
    data = os.urandom(99_000)
    with repository.write_session("w") as session:
        with monkeypatch.context() as patch:
            patch.setattr("cext.spans.gather_into", lambda *a: (_ for _ in ()).throw(MemoryError))
            with pytest.raises(MemoryError):
                session.store("content", data)
        for attempt in (lambda: session.store("content", data), lambda: session.commit()):
            with pytest.raises(Fenced) as caught:
                attempt()
            assert caught.value.code == "commit-cut-off"
    assert repository.verify("read").ok


def test_threads_store_at_once(repository: Repository) -> None:
    """Parts stored from many threads come back, each chunk once."""
    rng = random.Random(6)
    common = rng.randbytes(300_000)
    bodies = [common + rng.randbytes(60_000) for _ in range(8)]
    with repository.write_session("w") as session:
        parts: dict[int, Part] = {}

        def store(number: int) -> None:
            parts[number] = session.store("content", bodies[number])

        threads = [threading.Thread(target=store, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        slice_ = session.open_slice(TREE, "files", "s")
        rows = [row(str(n)) for n in range(8)]
        slice_.advance(
            [r.__class__(r.id, b"", r.name, "file", parts=(parts[int(r.id)],)) for r in rows]
        )
        slice_.finish()
        session.commit()
    assert [repository.read_all(parts[n]) for n in range(8)] == bodies
    assert repository.verify("read").ok


def test_a_part_of_an_earlier_generation_is_decided_again(
    repository: Repository, store: MemoryStore
) -> None:
    """A part decided under another generation is taken only if its chunks are still stored."""
    with repository.write_session("w") as session:
        part = session.store("content", b"x" * 100)
        refs = b"\1" * 32 + (100).to_bytes(4, "little")
        gone = Part("content", 100, refs, b"", part.generation - 5)
        slice_ = session.open_slice(TREE, "files", "s")
        kept = Part(part.role, part.size, part.chunks, part.recipe, part.generation - 5)
        r = row("a")
        slice_.advance([r.__class__(r.id, b"", r.name, "file", parts=(kept,))])
        with pytest.raises(Conflict) as caught:
            slice_.advance([r.__class__(r.id, b"", r.name, "file", parts=(gone,))])
        assert caught.value.code == "part-stale"


def test_packs_of_tiny_chunks_are_closed_by_count(
    repository: Repository, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small chunks are, no pack holds more than a run can list."""
    monkeypatch.setattr("repository.packer.PACK_CHUNKS_TARGET", 10)
    monkeypatch.setattr("repository.packer.FRAME_PLAIN_BYTES_TARGET", 20)
    monkeypatch.setattr("engine.run.RUN_CHUNKS_MAX", 30)
    files = {str(n): b"%05d" % n for n in range(200)}
    with repository.write_session("w") as session:
        entry = commit_files(repository, session, files)
    assert sum(1 for _ in store.list("pack/d/")) >= 15
    assert sum(1 for _ in store.list("run/")) >= 6
    assert contents(repository, entry) == files


def test_a_failure_in_the_background_comes_out(repository: Repository, store: MemoryStore) -> None:
    """A pack that cannot be stored fails the commit, and nothing of it is named."""
    failing: Callable[[], object] = store.spool

    def refuse() -> object:
        raise Unavailable("no", code="store-unavailable")

    with repository.write_session("w") as session:
        store.spool = refuse  # type: ignore[method-assign,assignment]
        with pytest.raises(Unavailable):
            commit_files(repository, session, {"a": os.urandom(900_000)})
        store.spool = failing  # type: ignore[method-assign,assignment]
        with pytest.raises(Unavailable):
            session.store("content", b"x")
    assert repository.refresh().manifests == ()


def test_catalogs_of_sessions_are_loaded_alike(repository: Repository) -> None:
    """The catalog a session keeps in memory equals the one loaded from the store."""
    with repository.write_session("w") as session:
        slice_ = session.open_slice(TREE, "files", "s")
        for number in range(20):
            slice_.advance([row(f"{n}", session, b"%d" % number) for n in range(number % 5 + 1)])
            session.commit()
        entry = head(repository, TREE)
        assert entry is not None
        loaded: Catalog = repository.catalog(entry)
        kept = slice_.committed_catalog
        assert {r.id: r for r in loaded.rows()} == {r.id: r for r in kept.rows()}


def test_a_restore_point_ends_the_turn(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """Nobody waits for the writer then; what it stores next is decided again once it has begun, and can be committed."""
    other = open_repo(store)
    with repository.write_session("w") as session:
        entry = commit_files(repository, session, {"a": b"one"})
        point = session.seal_point(PointDraft("0" * 16, "p", "one", "success", (entry.ref,)))
        assert session.seal_point(PointDraft("0" * 16, "p", "one", "success", ())) == point
        assert [p.id for p in repository.points()] == ["0" * 16]
        session.seal_point(PointDraft("1" * 16, "p", "two", "success", (entry.ref,)))
        assert other.refresh().cells["w"].state == "idle"
        assert other.collect().turns_waited_for == 0
        second = commit_files(repository, session, {"b": b"two"})
        assert other.refresh().cells["w"].state == "active"
        session.open_slice(object_key("x"), "files", "s")
        session.seal_point(PointDraft("2" * 16, "p", "three", "success", (second.ref,)))
        assert other.refresh().cells["w"].state == "active"  # a slice is open
    assert contents(open_repo(store), second) == {"a": b"one", "b": b"two"}
    assert open_repo(store).verify("read").ok


def test_what_is_stored_between_two_turns_and_collected_is_not_referred_to(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """Found in a pack while the writer rests; the pack goes before it begins again: the part must be stored anew."""
    content = random.Random(5).randbytes(50_000)
    with open_repo(store) as other, other.write_session("v") as session:
        entry = commit_files(other, session, {"gone": content}, object_key("gone"))
        session.seal_point(PointDraft("a" * 16, "p", "s", "success", (entry.ref,)))
        empty = session.open_slice(object_key("gone"), "files", "s", parents=(entry.ref,))
        empty.advance([row("left")], None)
        empty.finish()
        session.commit()
    with repository.write_session("w") as session:
        entry = commit_files(repository, session, {"kept": b"kept"})
        session.seal_point(PointDraft("b" * 16, "p", "s", "success", (entry.ref,)))
        part = session.store("content", content)
        assert session.bytes_stored < 40_000  # it was found
        other = open_repo(store)
        other.forget(["a" * 16])
        other.collect()
        slice_ = session.open_slice(object_key("new"), "files", "s")
        with pytest.raises(Conflict) as caught:
            slice_.advance([Row(b"1", b"", b"1", "file", parts=(part,))], None)
        assert caught.value.code == "part-stale"
        session.drop_slice(slice_)
        made = commit_files(repository, session, {"new": content}, object_key("new"))
    assert contents(open_repo(store), made) == {"new": content}
    assert open_repo(store).verify("read").ok
