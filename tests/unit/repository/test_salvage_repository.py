"""Salvage: whatever of cells, generations and runs is lost, what packs, manifests and points hold opens again."""

import random
from pathlib import Path

import pytest

from engine.errors import BackupError, Conflict, UsageError
from repository import Places, PointDraft, Repository
from repository.blobstore.memory import MemoryStore
from repository.repair import verify_and_repair
from repository.repository import initialize
from repository.salvage import SalvageReport, salvage
from tests.fixtures.repositories import (
    CHEAP,
    PASSPHRASE,
    OpenRepository,
    commit_files,
    contents,
    object_key,
)

FILES = {str(n): random.Random(n).randbytes(2000) for n in range(4)}


@pytest.fixture
def filled(open_repo: OpenRepository) -> MemoryStore:
    """Two commits, two restore points, a collection, then one more commit and point by another writer."""
    store = MemoryStore()
    initialize(store, PASSPHRASE, CHEAP)
    with open_repo(store) as repository:
        with repository.write_session("w") as session:
            first = commit_files(repository, session, FILES)
            session.seal_point(PointDraft("0" * 16, "p", "one", "success", (first.ref,)))
            second = commit_files(repository, session, {"more": b"more"})
            session.seal_point(PointDraft("1" * 16, "p", "two", "success", (second.ref,)))
        repository.collect()
        with repository.write_session("v") as session:
            third = commit_files(repository, session, {"x": b"xyz"}, object_key("ann"))
            session.seal_point(PointDraft("2" * 16, "q", "three", "success", (third.ref,)))
    return store


def everything(repository: Repository) -> dict[str, dict[str, bytes]]:
    """Content of every restore point, by its id."""
    return {
        point.id: {
            name: data
            for item in point.entries
            for name, data in contents(repository, repository.entries.get(item.entry)).items()
        }
        for point in repository.points()
    }


def lose(store: MemoryStore, *prefixes: str) -> None:
    for name in [name for name in store.objects if name.startswith(prefixes)]:
        del store.objects[name]


def salvaged(store: MemoryStore, tmp_path: Path, **options: bool) -> SalvageReport:
    return salvage(store, PASSPHRASE, Places(tmp_path / "sc", tmp_path / "ss"), **options)


@pytest.mark.parametrize(
    "lost",
    [("sess/",), ("gc/",), ("run/",), ("sess/v",), ("sess/", "gc/"), ("sess/", "gc/", "run/")],
    ids="+".join,
)
def test_everything_comes_back(
    filled: MemoryStore, open_repo: OpenRepository, tmp_path: Path, lost: tuple[str, ...]
) -> None:
    """All restore points with all their content; writers go on, a collection finds nothing amiss."""
    before = everything(open_repo(filled))
    assert len(before) == 3
    lose(filled, *lost)
    salvaged(filled, tmp_path, force=True)
    repository = open_repo(filled)
    assert everything(repository) == before
    assert repository.verify("read").ok
    for writer in ("v", "w"):
        with repository.write_session(writer) as session:
            entry = commit_files(repository, session, {"new": b"new"}, object_key(writer))
            session.seal_point(PointDraft(writer.encode().hex() * 8, "n", "s", "ok", (entry.ref,)))
    fresh = open_repo(filled)
    assert len(fresh.points()) == 5
    fresh.collect()
    assert {k: v for k, v in everything(fresh).items() if k in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("how", ["salvage", "repair"])
def test_a_torn_pack_gives_what_its_salvage_points_list(
    open_repo: OpenRepository, tmp_path: Path, how: str
) -> None:
    """Runs lost and a pack cut off: files before the last salvage point are read, the others are lost; the pack is marked."""
    store = MemoryStore()
    initialize(store, PASSPHRASE, CHEAP, parity="off")
    files = {str(n): random.Random(n).randbytes(900_000) for n in range(16)}
    with open_repo(store) as repository, repository.write_session("w") as session:
        entry = commit_files(repository, session, files)
        session.seal_point(PointDraft("0" * 16, "p", "one", "success", (entry.ref,)))
    (pack,) = (name for name in store.objects if name.startswith("pack/d"))
    store.objects[pack] = store.objects[pack][: len(store.objects[pack]) * 3 // 4]
    lose(store, "run/")
    places = Places(tmp_path / "sc", tmp_path / "ss")
    if how == "salvage":
        assert pack in salvage(store, PASSPHRASE, places).damaged
    else:
        report, _ = verify_and_repair(store, PASSPHRASE, places, "listing")
        assert report.marked == [pack]
    assert f"damaged/{pack}" in store.objects
    repository = open_repo(store)
    found, lost = 0, 0
    for row in repository.catalog(repository.entries.get(entry.ref)).rows():
        try:
            data = b"".join(map(repository.read_all, row.parts))
        except BackupError:
            lost += 1
        else:
            assert data == files[row.id.decode()]
            found += 1
    assert found >= 6
    assert lost >= 4
    with repository.write_session("w") as session:
        commit_files(repository, session, files)
    whole = open_repo(store)
    (entry,) = whole.entries.newest()
    assert contents(whole, entry) == files


def test_a_repository_that_opens_is_refused(filled: MemoryStore, tmp_path: Path) -> None:
    """Without --force, and nothing is written."""
    before = dict(filled.objects)
    with pytest.raises(UsageError, match="opens"):
        salvaged(filled, tmp_path)
    assert filled.objects == before


def test_a_whole_state_is_not_made_worse(
    filled: MemoryStore, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """By force: the same restore points, the same content, and machines that knew it go on."""
    knows = open_repo(filled)
    before = everything(knows)
    report = salvaged(filled, tmp_path, force=True)
    assert (report.points_taken_in, report.runs_lost, report.cells_made) == (0, 0, [])
    knows.refresh()
    assert everything(knows) == before


def test_a_dry_run_lists_and_writes_nothing(filled: MemoryStore, tmp_path: Path) -> None:
    """All restore points, from the bucket alone."""
    lose(filled, "sess/", "gc/", "run/")
    before = dict(filled.objects)
    report = salvaged(filled, tmp_path, dry_run=True)
    assert filled.objects == before
    assert [point.id[0] for point in report.listing] == ["0", "1", "2"]
    assert (report.points_taken_in, report.manifests_taken_in) == (3, 3)
    assert report.chunks


def test_manifests_without_their_catalogs_are_left_out(
    filled: MemoryStore, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """Of a commit whose packs are gone as well nothing is named: it would block every collection."""
    lose(filled, "sess/", "gc/", "run/")
    packs = sorted(n for n in filled.objects if n.startswith("pack/m"))
    del filled.objects[packs[0]]
    report = salvaged(filled, tmp_path, force=True)
    assert report.left_out
    repository = open_repo(filled)
    for point in repository.points():
        for item in point.entries:
            if f"manifest/{item.entry.manifest}" in report.left_out:
                with pytest.raises(BackupError):
                    repository.entries.get(item.entry)
            else:
                assert contents(repository, repository.entries.get(item.entry))


def test_a_cell_put_back_from_an_older_copy_gets_a_higher_turn(
    filled: MemoryStore, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """Above every turn seen, with the commits that it has: all points are there, and what the writer commits next counts."""
    with open_repo(filled) as repository:
        with repository.write_session("v") as session:
            older = filled.objects["sess/v"]
            commit_files(repository, session, {"x": b"x"}, object_key("eve"))
            entry = commit_files(repository, session, {"y": b"y"}, object_key("eve"))
            session.seal_point(PointDraft("3" * 16, "q", "four", "success", (entry.ref,)))
        before = everything(repository)
    filled.objects["sess/v"] = older
    report = salvaged(filled, tmp_path, force=True)
    assert report.cells_made == ["v"]
    repository = open_repo(filled)
    assert everything(repository) == before
    assert repository.verify("read").ok
    with repository.write_session("v") as session:
        entry = commit_files(repository, session, {"z": b"z"}, object_key("eve"))
        session.seal_point(PointDraft("4" * 16, "q", "five", "success", (entry.ref,)))
    assert len(open_repo(filled).points()) == len(before) + 1


def test_a_collection_meanwhile_stops_it(
    filled: MemoryStore, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """What was listed before another generation came is not named after it."""
    repository, ran = open_repo(filled), []

    def collect(done: int, todo: int) -> None:
        if not ran:
            ran.append(repository.collect())

    places = Places(tmp_path / "sc", tmp_path / "ss")
    with pytest.raises(Conflict, match="collection"):
        salvage(filled, PASSPHRASE, places, force=True, progress=collect)
    assert open_repo(filled).verify("read").ok


def test_damaged_objects_are_named(
    filled: MemoryStore, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """A spoiled cell and pack are said; the writer of the cell gets a new one."""
    for name in ("sess/v", next(n for n in filled.objects if n.startswith("pack/d"))):
        filled.objects[name] = filled.objects[name][:64] + bytes(500)
    report = salvaged(filled, tmp_path)
    assert "sess/v" in report.damaged
    assert report.cells_made == ["v"]
    assert open_repo(filled).state.cells["v"].turn > 1
