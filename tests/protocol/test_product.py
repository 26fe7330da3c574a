"""What the model found once, played with the product itself: the way it executes the rules keeps the promises."""

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine.commit import GenerationForm, encode
from engine.errors import Fenced, Unavailable
from engine.ids import ObjectId
from engine.run import RunPack, decode_run, encode_run
from engine.seal import ObjectClass, seal_object
from repository import Places, PointDraft, Repository, new_point_id
from repository.blobstore.memory import MemoryStore
from repository.collector import CollectLimits, Collector
from repository.entries import Entry
from repository.forgets import publish
from repository.index import Index
from repository.layout import pack_name, run_name
from repository.marking import Marker
from repository.repair import publish_runs
from repository.session import WriteSession
from tests.fixtures import formats as f
from tests.fixtures.repositories import (
    TREE,
    OpenRepository,
    commit_files,
    contents,
    head,
    object_key,
    row,
)

pytestmark = pytest.mark.slow

NOW = CollectLimits(wait_s=0.0, poll_s=0.01, unused_share_max=1.0)
OTHER = object_key("other")


def noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(300_000)


def seal(session: WriteSession, *entries: Entry) -> None:
    refs = tuple(entry.ref for entry in entries)
    session.seal_point(PointDraft(new_point_id(), "p", "s", "success", refs))


class Halved:
    """A collection in two halves: what others do between condemning and the verdict is played between the calls."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self._collector = Collector(repository, NOW)
        self._marker = Marker(repository, Index(folder, in_order=True), lambda done, todo: None)

    def copy_nothing(self) -> None:
        view = self._collector._view()
        self._collector._copy([], self._marker.mark(view, view.runs))

    def condemn(self) -> None:
        self._collector._publish(self._marker, None)

    def wait(self) -> int:
        return self._collector._drain()

    def judge(self, through: int) -> None:
        self._collector._publish(self._marker, through)


def drop_by_lineage(repository: Repository) -> Entry:
    """An entry of OTHER with a content of its own that the next collection drops: a complete one follows it."""
    with repository.write_session("old") as session:
        kept = session.open_slice(TREE, "files", "s")
        kept.advance([row("folder", session)])
        kept.finish()
        first = commit_files(repository, session, {"x": noise(7)}, OTHER)
        commit_files(repository, session, {"x": b"small"}, OTHER)
    return first


def test_what_waits_over_two_restore_points_is_decided_again(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """References decided two turns ago, in a pack condemned since and judged without waiting: the commit is refused."""
    drop_by_lineage(repository)
    writing = open_repo(store)
    session = writing.write_session("w")
    entry = commit_files(writing, session, {"b": noise(2)})
    slice_ = session.open_slice(TREE, "files", "s", previous=entry)
    slice_.advance([row("a", session, noise(7))])  # found in the pack of the old entry
    seal(session, entry)
    halved = Halved(repository, tmp_path / "halved")
    halved.condemn()
    seal(session, entry)
    seal(session, entry)
    with pytest.raises(Fenced) as caught:
        session.commit()
    assert caught.value.code == "turn-revoked"
    session.close()


def test_an_entry_found_turns_ago_must_be_live_still(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """A slice goes on from an entry that was dropped since: nobody waits for that, so its commit is refused."""
    stale = drop_by_lineage(repository)
    writing = open_repo(store)
    session = writing.write_session("w")
    slice_ = session.open_slice(OTHER, "files", "s", previous=stale)
    Halved(repository, tmp_path / "halved").condemn()
    commit_files(writing, session, {"a": b"1"})
    commit_files(writing, session, {"b": b"2"})
    slice_.advance([row("c", session, b"3")])
    with pytest.raises(Fenced) as caught:
        session.commit()
    assert caught.value.code == "turn-revoked"
    session.close()


def test_a_writer_with_the_identity_that_was_copied_with_is_waited_for(
    store: MemoryStore,
    places: Places,
    repository: Repository,
    open_repo: OpenRepository,
    tmp_path: Path,
) -> None:
    """The identity of a collector's copies is free after them; whoever takes it is a writer like any other."""
    halved = Halved(repository, tmp_path / "halved")
    halved.copy_nothing()
    other = open_repo(store, places)
    session = other.write_session()
    assert len(repository.refresh().cells) == 1  # the same identity
    halved.wait()
    with pytest.raises(Fenced):
        commit_files(other, session, {"a": b"1"})
    session.close()


def test_runs_that_mention_condemned_packs_are_merged_with_no_others(
    repository: Repository,
) -> None:
    """A chunk in a usable pack keeps that location, although a newer run has it in a condemned one."""
    usable, condemned, dying = (ObjectId(letter * 64) for letter in "abc")
    frames = f.frames()[:1]
    gone = RunPack(dying, ObjectClass.DATA_PACK, f.frames()[1:])
    named = [
        repository.store_sealed(
            ObjectClass.RUN,
            encode_run([RunPack(pack, ObjectClass.DATA_PACK, frames), gone]),
            run_name,
        )
        for pack in (usable, condemned)
    ]
    runs, replaced = Collector(repository)._merged_runs(
        named,
        {pack_name(ObjectClass.DATA_PACK, dying)},
        {pack_name(ObjectClass.DATA_PACK, condemned)},
    )
    assert set(replaced) == set(named)
    packs = [{pack for pack, _ in decode_run(repository.load_run(run)).packs} for run in runs]
    assert sorted(map(sorted, packs)) == [[usable], [condemned]]


class Interrupted(MemoryStore):
    """After the first new object with a prefix others go on; then the answer is lost, where it is to be."""

    def __init__(
        self,
        objects: dict[str, bytes],
        prefix: str,
        meanwhile: Callable[[str], None],
        *,
        lost: bool,
    ) -> None:
        super().__init__()
        self.objects = objects
        self._prefix = prefix
        self._meanwhile: Callable[[str], None] | None = meanwhile
        self._lost = lost

    def put_new(self, name: str, data: bytes) -> None:
        super().put_new(name, data)
        if name.startswith(self._prefix) and self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile(name)
            if self._lost:
                raise Unavailable("no answer", code="store-unavailable")


def test_merged_runs_of_a_generation_whose_answer_was_lost_are_left_alone(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """A generation that arrived and was emptied since looks like another one's: what it named is the index all the same."""
    drop_by_lineage(repository)
    halved = Halved(repository, tmp_path / "first")
    halved.condemn()
    through = halved.wait()

    def meanwhile(name: str) -> None:
        generation = repository.refresh().generation
        assert publish(
            repository, msgspec.structs.replace(generation, number=generation.number + 1)
        )
        plain = encode(GenerationForm(generation.number, stub=True))
        store.objects[name] = seal_object(
            repository.keys, ObjectClass.GENERATION, repository.uuid, b"s" * 32, plain, name
        )

    forgetful = open_repo(Interrupted(store.objects, "gc/", meanwhile, lost=True))
    Halved(forgetful, tmp_path / "second").judge(through)
    last = open_repo(store)
    assert last.verify("read").problems == []
    found = head(last, TREE)
    assert found is not None
    assert contents(last, found) == {"folder": b""}


def test_everything_is_there_after_halved_collections(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """Two collections in step, each judging by its own wait, with a writer begun between: every entry restores."""
    drop_by_lineage(repository)
    one = Halved(repository, tmp_path / "one")
    two = Halved(open_repo(store), tmp_path / "two")
    one.condemn()
    first = one.wait()
    two.condemn()
    second = two.wait()
    writing = open_repo(store)
    with writing.write_session("w") as session:
        slice_ = session.open_slice(TREE, "files", "s")
        slice_.advance([row("a", session, noise(7))])
        one.judge(first)
        two.judge(second)
        slice_.finish()
        session.commit()
    found = head(writing, TREE)
    assert found is not None
    assert contents(writing, found) == {"a": noise(7)}
    assert open_repo(store).verify("read").problems == []


def test_packs_listed_under_an_older_generation_are_not_named(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository
) -> None:
    """A repair that was overtaken publishes nothing: what it listed may be dead by now."""
    number = repository.state.generation.number
    open_repo(store).collect(limits=NOW)
    newest = repository.refresh().generation
    assert newest.number > number
    assert not publish_runs(repository, set(), ("ab" * 32,), number)
    assert repository.refresh().generation == newest


def test_an_entry_dropped_while_its_point_is_committed_is_found(
    store: MemoryStore, repository: Repository, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """A generation drops an entry between the look at it and the commit of a point that names it: it restores at once."""
    first = drop_by_lineage(repository)
    halved = Halved(repository, tmp_path / "halved")
    others = Interrupted(store.objects, "point/", lambda name: halved.condemn(), lost=False)
    writing = open_repo(others)
    with writing.write_session("w") as session:
        seal(session, first)
    reading = open_repo(store)
    (point,) = reading.points()
    assert contents(reading, reading.named_entry(point.entries[0].entry)) == {"x": noise(7)}
    halved.judge(halved.wait())
    assert open_repo(store).verify("read").problems == []
