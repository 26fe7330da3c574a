"""Repair: exact original bytes where parity or a copy gives them, else marks and new runs; never anything worse."""

import random
from pathlib import Path

import pytest

from engine.errors import BackupError, Conflict, Corruption, Denied, UsageError
from repository import Places, PointDraft, Repository
from repository.blobstore.memory import MemoryStore
from repository.layout import DAMAGED
from repository.mending import COPY, PARITY, TWIN, Mender, RepairReport
from repository.repair import mend_small_objects, verify_and_repair
from repository.repository import initialize, open_on
from tests.fixtures.faults import FaultStore
from tests.fixtures.formats import attachment, mail
from tests.fixtures.repositories import (
    CHEAP,
    PASSPHRASE,
    OpenRepository,
    commit_files,
    contents,
    object_key,
)

NOT_SEALED = (
    "probe",
    "config",
    "keys/",
)  # have no parity; keys have several copies of what they hold
FILES = {"a": random.Random(1).randbytes(40_000), "b": random.Random(2).randbytes(700), "c": b""}


@pytest.fixture
def filled(open_repo: OpenRepository) -> MemoryStore:
    """Two objects, two commits, a restore point; with parity."""
    made = MemoryStore()
    initialize(made, PASSPHRASE, CHEAP, parity="on")
    with open_repo(made) as repository, repository.write_session("w") as session:
        first = commit_files(repository, session, FILES)
        second = commit_files(
            repository, session, {"mail": mail(attachment(2100))}, object_key("user")
        )
        session.seal_point(
            PointDraft("0123456789abcdef", "p", "job", "success", (first.ref, second.ref))
        )
    return made


def sealed(store: MemoryStore) -> list[str]:
    return [name for name in sorted(store.objects) if not name.startswith(NOT_SEALED)]


def spoil(store: MemoryStore, name: str) -> None:
    """More than parity makes good; header and trailer stay."""
    data = store.objects[name]
    store.objects[name] = data[:64] + bytes(len(data) - 160) + data[-96:]


def mended(store: MemoryStore, tmp_path: Path, *others: MemoryStore) -> RepairReport:
    """The whole of `repo verify --repair --level scrub`."""
    places = Places(tmp_path / "repair-cache", tmp_path / "repair-state")
    report, _ = verify_and_repair(store, PASSPHRASE, places, "scrub", others)
    return report


def flip_and_mend(store: MemoryStore, stride: int, seed: int) -> int:
    """Flip bytes one at a time, `stride` apart; each object must be again what it was. Number of flips."""
    rng, count = random.Random(seed), 0
    for name in sealed(store):
        whole = store.objects[name]
        for at in range(rng.randrange(min(stride, len(whole))), len(whole), stride):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << rng.randrange(8)
            store.objects[name] = bytes(damaged)
            report = RepairReport()
            assert Mender(store, (), report).mend(name), (name, at)
            assert store.objects[name] == whole, (name, at)
            assert [(r.name, r.by) for r in report.repaired] == [(name, PARITY)]
            count += 1
    return count


@pytest.mark.slow
def test_flipped_bytes_are_put_back(filled: MemoryStore) -> None:
    """Some bytes of every sealed object (packs, runs, manifests, points, cells): the object is what it was."""
    assert flip_and_mend(filled, 97, 1) > 300


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_flipped_byte_is_put_back(filled: MemoryStore) -> None:
    """Every byte of every sealed object of a small repository."""
    assert flip_and_mend(filled, 1, 2) > 30_000


@pytest.mark.slow
def test_a_lost_region_of_a_pack_is_put_back(
    filled: MemoryStore, open_repo: OpenRepository
) -> None:
    """64 KiB of zeros over header, frames, directory, feet, parity or trailer of a pack of some MiB."""
    with open_repo(filled) as repository, repository.write_session("w") as session:
        commit_files(repository, session, {"large": random.Random(9).randbytes(5_000_000)})
    name = max(filled.objects, key=lambda name: len(filled.objects[name]))
    whole = filled.objects[name]
    for at in (0, 1_000_001, 4_980_000, 5_000_000, len(whole) - 200_000, len(whole) - 65_536):
        filled.objects[name] = whole[:at] + bytes(65_536) + whole[at + 65_536 :]
        assert Mender(filled, (), RepairReport()).mend(name), at
        assert filled.objects[name] == whole


def test_a_sound_repository_is_left_alone(filled: MemoryStore, tmp_path: Path) -> None:
    """Nothing is written."""
    before = dict(filled.objects)
    report = mended(filled, tmp_path)
    assert not report.changed
    assert not report.lost
    assert filled.objects == before


def test_a_dry_run_changes_nothing_and_says_what_it_would(filled: MemoryStore) -> None:
    """Of a damaged cell."""
    data = bytearray(filled.objects["sess/w"])
    data[70] ^= 4
    filled.objects["sess/w"] = bytes(data)
    before = dict(filled.objects)
    report = mend_small_objects(filled, dry_run=True)
    assert [(r.name, r.by) for r in report.repaired] == [("sess/w", PARITY)]
    assert filled.objects == before


def test_another_repository_gives_what_parity_cannot(filled: MemoryStore, tmp_path: Path) -> None:
    """Spoiled and missing packs, runs, manifests and points come from a copy, byte for byte; cells never do."""
    copy = MemoryStore()
    copy.objects = dict(filled.objects)
    names = [name for name in sealed(filled) if not name.startswith("sess/")]
    for number, name in enumerate(names):
        if number % 2:
            del filled.objects[name]
        else:
            spoil(filled, name)
    report = mended(filled, tmp_path, copy)
    assert {r.by for r in report.repaired} == {COPY}
    assert [name for name in names if filled.objects.get(name) != copy.objects[name]] == []
    spoil(filled, "sess/w")
    assert mend_small_objects(filled, [copy]).lost == ["sess/w"]


def test_objects_of_another_repository_are_not_taken(filled: MemoryStore, tmp_path: Path) -> None:
    """What is no copy of this one is refused; in a copy, what does not open under the seal is passed over."""
    other = MemoryStore()
    initialize(other, PASSPHRASE, CHEAP, parity="on")
    for store, folder in ((filled, "one"), (other, "two")):
        places = Places(tmp_path / folder / "cache", tmp_path / folder / "state")
        with open_on(store, PASSPHRASE, places) as repository:
            repository.collect()
    copy = MemoryStore()
    copy.objects = dict(filled.objects)
    spoil(filled, "gc/0000000002")
    spoiled = dict(filled.objects)
    with pytest.raises(UsageError) as caught:
        mended(filled, tmp_path, other)
    assert caught.value.code == "copy-foreign"
    assert filled.objects == spoiled
    mixed = MemoryStore()
    mixed.objects = {**copy.objects, "gc/0000000002": other.objects["gc/0000000002"]}
    with pytest.raises(BackupError):
        mended(filled, tmp_path, mixed)
    assert filled.objects == spoiled
    assert {r.by for r in mended(filled, tmp_path, mixed, copy).repaired} == {COPY}
    assert filled.objects == copy.objects


@pytest.mark.parametrize("copy", ["a", "b"])
@pytest.mark.parametrize("how", ["spoiled", "missing"])
def test_a_key_ring_comes_from_its_second_copy(filled: MemoryStore, copy: str, how: str) -> None:
    """Either copy; without both nothing is made up."""
    before = dict(filled.objects)
    rings = sorted(name for name in filled.objects if name.startswith("keys/"))
    lose = filled.objects.pop if how == "missing" else lambda name: spoil(filled, name)
    lose(next(name for name in rings if name.endswith(copy)))
    assert [r.by for r in mend_small_objects(filled).repaired] == [TWIN]
    assert filled.objects == before
    for name in rings:
        lose(name)
    assert mend_small_objects(filled).repaired == []


@pytest.mark.parametrize("how", ["spoiled", "missing"])
def test_lost_runs_are_made_again_from_packs(
    filled: MemoryStore, open_repo: OpenRepository, tmp_path: Path, how: str
) -> None:
    """A repository that no longer opens opens again with everything in it; a generation names the new run."""
    for name in [n for n in filled.objects if n.startswith("run/")]:
        if how == "spoiled":
            spoil(filled, name)
        else:
            del filled.objects[name]
    with pytest.raises(Corruption):
        open_repo(filled)
    report = mended(filled, tmp_path)
    assert report.runs_lost
    assert report.runs_made
    repository = open_repo(filled)
    repository.collect()
    assert repository.verify("read").ok
    (point,) = repository.points()
    found = {}
    for item in point.entries:
        found.update(contents(repository, repository.entries.get(item.entry)))
    assert {name: found[name] for name in FILES} == FILES
    with repository.write_session("w") as session:
        commit_files(repository, session, {"more": b"more"})


def pack_of(repository: Repository, name: str) -> str:
    """Name of the data pack that holds a file's first chunk."""
    (entry,) = (e for e in repository.entries if e.form.object.id == "documents")
    row = repository.catalog(entry).get(name.encode())
    assert row is not None
    chunk, _ = next(iter(row.parts[0].references()))
    found = repository.index.find(chunk)
    pack = found.place(found.frames[0]).pack
    return f"pack/d/{pack[:2]}/{pack}"


@pytest.mark.parametrize("how", ["spoiled", "missing"])
def test_what_is_lost_is_stored_again_by_the_next_backup(
    filled: MemoryStore, open_repo: OpenRepository, tmp_path: Path, how: str
) -> None:
    """The pack is marked; the same files are stored anew; old and new entries are whole, a collection agrees."""
    with open_repo(filled) as repository:
        pack = pack_of(repository, "a")
    if how == "spoiled":
        spoil(filled, pack)
    else:
        del filled.objects[pack]
    report = mended(filled, tmp_path)
    assert report.marked == [pack]
    assert DAMAGED + pack in filled.objects
    repository = open_repo(filled)
    old = next(e for e in repository.entries if e.form.object.id == "documents")
    with pytest.raises(BackupError):
        contents(repository, old)
    for level in ("listing", "scrub", "read"):
        assert [p.name for p in repository.verify(level).problems] == [pack]
    with repository.write_session("w") as session:
        new = commit_files(repository, session, FILES)
    assert contents(repository, new) == FILES
    assert contents(repository, old) == FILES
    again = open_repo(filled)
    assert contents(again, again.entries.get(new.ref)) == FILES
    for level in ("listing", "directory", "scrub", "read"):
        assert again.verify(level).problems == [], level
    again.collect()
    assert contents(again, again.entries.get(new.ref)) == FILES
    assert again.verify("read").ok
    assert pack not in filled.objects
    if (
        how == "spoiled"
    ):  # it was condemned and deleted; of one that was missing the runs still tell
        assert mended(filled, tmp_path).unmarked == [pack]


def test_a_cell_that_went_on_is_left_alone(filled: MemoryStore) -> None:
    """Its writer swapped it between reading and putting back: the newer one stays. A lock only leaves it as it is."""
    whole = filled.objects["sess/w"]
    damaged = whole[:70] + bytes(5) + whole[75:]
    for error, left in ((Conflict("c", code="blob-changed"), whole), (None, damaged)):
        filled.objects["sess/w"] = damaged
        store = FaultStore(filled)

        def happens(operation: str, name: str, error: Conflict | None = error) -> None:
            if operation == "replace":
                filled.objects["sess/w"] = whole if error else damaged
                raise error or Denied("locked", code="store-denied")

        store.on_operation = happens
        report = mend_small_objects(store)
        assert filled.objects["sess/w"] == left
        assert report.repaired == []
        assert report.lost == ([] if error else ["sess/w"])


def test_a_pack_that_comes_back_loses_its_mark(filled: MemoryStore, tmp_path: Path) -> None:
    """Once the pack is sound again, by hand or from a copy, the mark goes."""
    pack = next(name for name in filled.objects if name.startswith("pack/d"))
    whole = filled.objects[pack]
    spoil(filled, pack)
    assert mended(filled, tmp_path).marked == [pack]
    assert mended(filled, tmp_path).marked == []
    filled.objects[pack] = whole
    assert mended(filled, tmp_path).unmarked == [pack]
    assert not any(name.startswith(DAMAGED) for name in filled.objects)
