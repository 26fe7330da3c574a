"""Verification finds every damage and names what is affected; it changes nothing."""

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.catalog import Row
from engine.errors import BackupError
from repository import Places, PointDraft, Repository, verify
from repository.blobstore.memory import MemoryStore
from repository.repository import open_on
from repository.scrub import scrub
from repository.verify import LEVELS, VerifyReport
from tests.fixtures.formats import attachment, mail
from tests.fixtures.repositories import (
    PASSPHRASE,
    TREE,
    OpenRepository,
    commit_files,
    head,
    object_key,
)

NOT_CHECKED = ("probe", "cas.lock")  # holds nothing
NAMED_AS = {"keys": "keys/", "config": "config"}  # who cannot open it has no more than this


@pytest.fixture
def filled(store: MemoryStore, open_repo: OpenRepository) -> MemoryStore:
    """A repository of a few kilobytes: two objects, two commits, a restore point."""
    with open_repo(store) as repository, repository.write_session("w") as session:
        data = random.Random(1).randbytes(700)
        first = commit_files(repository, session, {"name-of-file": data, "empty": b""})
        mails = {"mail": mail(attachment(2100))}
        second = commit_files(repository, session, mails, object_key("user"))
        repository.seal_point(
            PointDraft("0123456789abcdef", "p", "job", "success", (first.ref, second.ref))
        )
    return store


def findings(
    store: MemoryStore, open_: Callable[[], object], level: str = "read"
) -> str | VerifyReport:
    """What a verification by a fresh machine says: the error of opening, or the report."""
    try:
        repository = open_()
        return repository.verify(level)  # type: ignore[attr-defined,no-any-return]
    except BackupError as error:
        return error.code


def is_found(found: str | VerifyReport) -> bool:
    return isinstance(found, str) or not found.ok


def everything(repository: Repository) -> dict[str, object]:
    """All that can be read, by what it belongs to; of what cannot be read, nothing."""
    found: dict[str, object] = {}

    def note(label: str, read: Callable[[], object]) -> None:
        with contextlib.suppress(BackupError):
            found[label] = read()

    note("points", lambda: repository.points({}))
    for entry in repository.entries:
        label = f"{entry.form.object.id} {entry.form.workload}"
        found[label] = entry
        note(f"{label} checkpoint", lambda: repository.checkpoint(entry))  # noqa: B023
        rows: list[Row] = []
        note(f"{label} rows", lambda: rows.extend(repository.catalog(entry).rows()))  # noqa: B023
        for row in rows:
            found[f"{label} {row.name!r}"] = row
            for number, part in enumerate(row.parts):
                name = f"{label} {row.name!r} {number}"
                note(name, lambda: repository.read_all(part))  # noqa: B023
    return found


def told(store: MemoryStore, places: Places, good: dict[str, object]) -> set[str]:
    """
    What opening and verification of a damaged repository say: the message of opening, or names of objects.

    Whatever can be read must be as it was.
    """
    try:
        with open_on(store, PASSPHRASE, places) as repository:
            found = everything(repository)
            points = found.pop("points", [])
            assert isinstance(points, list)
            assert all(point in good["points"] for point in points)  # type: ignore[operator]
            assert {label: good.get(label) for label in found} == found
            return {problem.name for problem in repository.verify("read").problems}
    except BackupError as error:
        return {error.message}


def flip_all(store: MemoryStore, folder: Path, stride: int, seed: int) -> int:
    """Flip bytes one at a time, `stride` apart; each must be found, named, and lead to no wrong data. Number of flips."""
    numbers = itertools.count()
    rng = random.Random(seed)
    places = Places(folder / "cache", folder / "state")
    with open_on(store, PASSPHRASE, places) as repository:
        good = everything(repository)
    count = 0
    for name in sorted(store.objects):
        if name in NOT_CHECKED:
            continue
        intact = store.objects[name]
        for at in range(rng.randrange(min(stride, len(intact))), len(intact), stride):
            damaged = bytearray(intact)
            damaged[at] ^= 1 << rng.randrange(8)
            store.objects[name] = bytes(damaged)
            # runs are read once by each machine: every other time by one that has not seen them
            if name.startswith("run/") and at % 2:
                places = Places(folder / f"cache{next(numbers)}", folder / "state")
            what = told(store, places, good)
            assert any(NAMED_AS.get(name.split("/")[0], name) in text for text in what), (
                name,
                at,
                what,
            )
            count += 1
        store.objects[name] = intact
    return count


def test_a_good_repository_is_good_at_every_level(
    filled: MemoryStore, open_repo: OpenRepository
) -> None:
    """No problem at any level, counts as they are, nothing changed, nothing unreferenced."""
    before = dict(filled.objects)
    repository = open_repo(filled)
    for level in LEVELS:
        report = repository.verify(level)
        assert report.ok, report.problems
        assert (report.entries, report.points, report.unreferenced) == (2, 1, 0)
        assert report.objects == len(before)
        assert report.packs == sum(1 for name in before if name.startswith("pack/"))
    assert report.bytes_read >= sum(len(d) for n, d in before.items() if n.startswith("pack/"))
    assert filled.objects == before
    assert scrub(filled).damaged == []


@pytest.mark.slow
def test_flipped_bytes_are_found(filled: MemoryStore, tmp_path: Path) -> None:
    """A sample of all bytes of a repository, flipped one at a time: verification or opening names the object of each."""
    assert flip_all(filled, tmp_path, 61, 1) > 80


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_flipped_byte_is_found(filled: MemoryStore, tmp_path: Path) -> None:
    """Every single byte of a repository, padding included."""
    assert flip_all(filled, tmp_path, 1, 2) > 5000


@pytest.mark.parametrize(
    "kind", ["pack/d", "pack/m", "run", "manifest", "point", "sess", "keys", "config"]
)
@pytest.mark.parametrize("how", ["cut", "empty", "swapped"])
def test_objects_that_are_cut_or_swapped_are_found(
    filled: MemoryStore, open_repo: OpenRepository, kind: str, how: str
) -> None:
    """An object cut short, emptied, or with the bytes of another of its kind."""
    names = sorted(n for n in filled.objects if n.startswith(kind))
    if how == "swapped":
        if kind == "keys":  # its two objects are copies of each other
            del names[1:]
        if len(names) < 2:
            others = [n for n in filled.objects if not n.startswith(kind)]
            names.append(others[0])
        filled.objects[names[0]], filled.objects[names[1]] = (
            filled.objects[names[1]],
            filled.objects[names[0]],
        )
    else:
        data = filled.objects[names[0]]
        filled.objects[names[0]] = data[:-1] if how == "cut" else b""
    assert is_found(findings(filled, lambda: open_repo(filled)))


@pytest.mark.parametrize("kind", ["pack/d", "pack/m", "run", "manifest", "keys", "config"])
def test_missing_objects_are_found(
    filled: MemoryStore, open_repo: OpenRepository, kind: str
) -> None:
    """A missing object is found at the cheapest level, by machines that know it and by fresh ones."""
    knows = open_repo(filled)
    name = next(n for n in sorted(filled.objects) if n.startswith(kind))
    del filled.objects[name]
    assert is_found(findings(filled, lambda: open_repo(filled), "listing"))
    if kind not in ("keys", "config"):
        found = findings(filled, lambda: knows, "listing")
        assert isinstance(found, VerifyReport)
        assert [problem.name for problem in found.problems] == [name]


def test_a_missing_cell_is_found_by_who_knew_it(
    filled: MemoryStore, places: Places, open_repo: OpenRepository
) -> None:
    """A cell that is gone is a store rolled back; a machine that never saw it finds its work, and the point without entries."""
    knows = open_repo(filled)
    del filled.objects["sess/w"]
    assert findings(filled, lambda: knows) == "store-rolled-back"
    found = findings(filled, lambda: open_repo(filled))
    assert isinstance(found, VerifyReport)
    assert {problem.code for problem in found.problems} == {"entry-not-found", "cell-missing"}
    assert found.affected


def test_affected_items_are_named(filled: MemoryStore, open_repo: OpenRepository) -> None:
    """Damaged data names the object and the file; the other object is not named."""
    repository = open_repo(filled)
    entry = head(repository, TREE)
    assert entry is not None
    row = repository.catalog(entry).get(b"name-of-file")
    assert row is not None
    chunk, _ = next(iter(row.parts[0].references()))
    found = repository.index.find(chunk)
    place = found.place(found.frames[0])
    name = f"pack/d/{place.pack[:2]}/{place.pack}"
    damaged = bytearray(filled.objects[name])
    damaged[place.info.offset + 5] ^= 1
    filled.objects[name] = bytes(damaged)
    report = open_repo(filled).verify("read")
    assert {problem.name for problem in report.problems} == {name}
    assert len(report.affected) == 1
    assert "documents/files" in report.affected[0]
    assert "name-of-file" in report.affected[0]
    assert scrub(filled).damaged == [name]
    with pytest.raises(BackupError) as caught:
        open_repo(filled).read_all(row.parts[0])
    assert caught.value.code == "pack-corrupt"
    assert place.pack[:16] in caught.value.message
    assert "verify --read-data" in caught.value.message


def test_a_damaged_restore_point_is_named_and_others_are_checked(
    filled: MemoryStore, open_repo: OpenRepository
) -> None:
    """Of two restore points the damaged one is named, both are counted."""
    repository = open_repo(filled)
    entry = head(repository, TREE)
    assert entry is not None
    good = repository.seal_point(
        PointDraft("fedcba9876543210", "q", "job-2", "success", (entry.ref,))
    )
    bad = next(n for n in filled.objects if n.startswith("point/") and good.id not in n)
    filled.objects[bad] = filled.objects[bad][:-1]
    report = repository.verify("listing")
    assert [problem.name for problem in report.problems] == [bad]
    assert report.points == 2
    assert bad.removeprefix("point/") in report.affected[0]


def test_waste_is_counted_and_scrubbed(filled: MemoryStore, open_repo: OpenRepository) -> None:
    """Objects that nothing names are waste, no problem; damaged waste tells of a failing disk."""
    name = next(n for n in filled.objects if n.startswith("pack/d"))
    filled.put_new("run/" + "0" * 64, b"x")
    filled.put_new(f"pack/d/00/{'0' * 64}", filled.objects[name])
    repository = open_repo(filled)
    report = repository.verify("directory")
    assert report.ok
    assert report.unreferenced == 2
    assert {p.name for p in repository.verify("scrub").problems} == {
        "run/" + "0" * 64,
        f"pack/d/00/{'0' * 64}",
    }


def test_foreign_objects_are_named(filled: MemoryStore, open_repo: OpenRepository) -> None:
    """Objects that cannot be ours stop with a line that names them, not with a traceback."""
    for name in ("gc/readme", "gc/1", "sess/no_writer"):
        filled.put_new(name, b"x")
        assert findings(filled, lambda: open_repo(filled)) == "name-corrupt"
        del filled.objects[name]


def test_parts_that_restore_points_share_are_looked_at_once(
    store: MemoryStore, open_repo: OpenRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six entries of one object, each with all parts before it: what is read grows with the parts, not with the entries."""
    with open_repo(store) as repository, repository.write_session("w") as session:
        for number in range(6):
            commit_files(repository, session, {f"f{number}": b"%d" % number, "same": b"new"})
        parts = {p.part.chunks for e in repository.entries for p in e.form.catalog}
        assert sum(len(e.form.catalog) for e in repository.entries) > 3 * len(parts)
        read = []
        tables = verify.catalog_tables

        def counted(*arguments: Any) -> Iterator[Any]:
            read.append(arguments)
            return tables(*arguments)

        monkeypatch.setattr(verify, "catalog_tables", counted)
        monkeypatch.setattr(Repository, "catalog", None)  # nothing is lost: no entry is merged
        assert repository.verify("read").ok
        assert len(read) == len(parts)
