"""Large files of a tree, read side by side: the same bytes, cuts and rows as one after the other, and no more memory."""

import math
import os
import random
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.catalog import Row
from repository import Repository
from repository.part_writer import TURN_BYTES
from repository.tree import KIND, WORKLOAD, importer
from repository.tree.importer import ImportResult, Progress, import_tree
from tests.fixtures.formats import attachment, mail
from tests.fixtures.repositories import (
    OpenRepository,
    store_of_fixed_keys,
)

MIB = 1024 * 1024


def imported(
    repository: Repository, root: Path, **options: object
) -> tuple[ImportResult, list[Row]]:
    """What importing a tree said, and the rows it left, in their order."""
    result = import_tree(repository, root, "t", **options)  # type: ignore[arg-type]
    (entry,) = repository.entries.heads(KIND, "t", WORKLOAD)
    return result, list(repository.catalog(entry).rows())


def make_large_files(root: Path) -> None:
    """Files on both sides of every border: of a batch, of a buffer, of what is split as mail."""
    rng = random.Random(1)
    root.mkdir()
    base = rng.randbytes(5 * MIB + 77)
    contents = {
        "a": base,
        "shifted": base[:MIB] + b"some more" + base[MIB:],
        "zeros": bytes(3 * MIB),
        "one-buffer": rng.randbytes(MIB),
        "a-byte-more": rng.randbytes(MIB + 1),
        "two-buffers": rng.randbytes(2 * MIB),
        "mail": mail(attachment(3 * MIB, 3), attachment(100_000, 4)),
        "mbox": b"From nobody\n\n" + rng.randbytes(4 * MIB),
        "small": b"small",
    }
    for name, content in contents.items():
        (root / name).write_bytes(content)
    os.link(root / "a", root / "same-as-a")
    os.link(root / "small", root / "same-as-small")
    with (root / "holes").open("wb") as file:
        file.seek(2 * MIB)
        file.write(b"between holes")
        file.truncate(4 * MIB)


def test_cuts_are_those_of_one_call(repository: Repository, tmp_path: Path) -> None:
    """Chunks and recipe of every file are what storing its bytes in one piece gives."""
    make_large_files(tmp_path / "tree")
    result, rows = imported(repository, tmp_path / "tree")
    assert result.problems == []
    files = {row.id.decode(): row for row in rows if row.kind == "file"}
    assert files["mail"].parts[0].recipe
    with repository.write_session() as session:
        for name, row in files.items():
            data = (tmp_path / "tree" / name).read_bytes()
            (part,) = row.parts
            whole = session.store("content", data)
            assert (part.size, part.chunks, part.recipe) == (
                row.size,
                whole.chunks,
                whole.recipe,
            ), name
        assert session.bytes_stored == 0


def test_rows_are_those_of_one_thread(
    open_repo: OpenRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many threads read: the same rows in the same order."""
    make_large_files(tmp_path / "tree")
    found = []
    for readers in (1, 2, 4):
        monkeypatch.setattr(importer, "cores", lambda readers=readers: readers)
        monkeypatch.setattr(importer, "READERS_MAX", readers)
        found.append(imported(open_repo(store_of_fixed_keys()), tmp_path / "tree")[1])
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 13


def test_a_file_lies_together(repository: Repository, tmp_path: Path) -> None:
    """Files that are read side by side take turns in the packs: few frames hold chunks of two of them."""
    rng = random.Random(4)
    (tmp_path / "tree").mkdir()
    for name in ("a", "b"):
        (tmp_path / "tree" / name).write_bytes(rng.randbytes(40 * MIB))
    _, rows = imported(repository, tmp_path / "tree")
    frames = [
        set(repository.reader.first_places(row.parts[0].chunks))
        for row in rows
        if row.kind == "file"
    ]
    turns = 2 * (1 + math.ceil(40 * MIB / TURN_BYTES))  # the first buffers come before the turns
    assert len(frames) == 2
    assert min(map(len, frames)) > 70
    assert len(frames[0] & frames[1]) <= turns + 1  # ... and last chunks may be too short to tell


class Meddler:
    """Does something, once, to every file that is read in part at that moment."""

    def __init__(self, root: Path, act: Callable[[int], object]) -> None:
        self._root = os.fsencode(root) + b"/"
        self._act = act
        self.met: set[bytes] = set()

    def __call__(self, progress: Progress) -> None:
        """As `show`: it runs where a file is read, between two pieces."""
        if not progress.bytes or self.met:
            return
        for number in map(int, os.listdir("/proc/self/fd")):
            try:
                path = os.readlink(b"/proc/self/fd/%d" % number)
                place = Path(f"/proc/self/fdinfo/{number}").read_text().split()[1]
            except FileNotFoundError:
                continue
            if path.startswith(self._root) and place != "0":
                self.met.add(path.removeprefix(self._root))
                self._act(number)


def make_equal_files(root: Path) -> None:
    """More files than are read at once."""
    rng = random.Random(2)
    root.mkdir()
    for number in range(importer.READERS_MAX + 1):
        (root / str(number)).write_bytes(rng.randbytes(3 * MIB))


def test_files_that_shrink_while_they_are_read(repository: Repository, tmp_path: Path) -> None:
    """Each is kept as it was read, named, and read again the next time; the others are not concerned."""
    root = tmp_path / "tree"
    make_equal_files(root)
    meddler = Meddler(root, lambda file: os.truncate(f"/proc/self/fd/{file}", 50_000))
    result, rows = imported(repository, root, show=meddler)
    assert meddler.met
    assert {(p.path, p.result) for p in result.problems} == {(p, "changed") for p in meddler.met}
    for row in rows:
        if row.kind != "file":
            continue
        changed = row.id in meddler.met
        assert row.size == len(repository.read_all(row.parts[0]))
        assert (row.size < 3 * MIB, row.version == "") == (changed, changed)
    assert result.bytes_read == sum(row.size for row in rows)
    again, rows = imported(repository, root)
    assert (again.files_read, again.problems) == (len(meddler.met), [])
    assert {row.id for row in rows if row.size == 50_000} == meddler.met


def test_an_error_in_the_middle_of_a_file_is_its_own(
    repository: Repository, tmp_path: Path
) -> None:
    """What cannot be read on is named and has no row; the other files are there in full."""
    root = tmp_path / "tree"
    make_equal_files(root)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    # from now on its descriptor is that of a folder, which the kernel does not read
    meddler = Meddler(root, lambda file: os.dup2(folder, file, inheritable=False))
    result, rows = imported(repository, root, show=meddler)
    os.close(folder)
    assert meddler.met
    assert {(p.path, p.result) for p in result.problems} == {(p, "failed") for p in meddler.met}
    files = {row.id: row for row in rows if row.kind == "file"}
    assert set(files) == set(map(os.fsencode, os.listdir(root))) - meddler.met
    for path, row in files.items():
        assert repository.read_all(row.parts[0]) == (root / os.fsdecode(path)).read_bytes()
    assert result.files_read == len(files)


def test_whoever_stops_waits_for_no_file(repository: Repository, tmp_path: Path) -> None:
    """Ctrl-C while files without an end in sight are read: no thread goes on, nothing is committed."""
    root = tmp_path / "tree"
    root.mkdir()
    for name in ("a", "b"):
        with (root / name).open("wb") as file:
            file.truncate(256 * 1024**3)  # a minute and more to read
    shown: list[Progress] = []

    def show(progress: Progress) -> None:
        shown.append(progress)
        if progress.items > 1 and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        import_tree(repository, root, "t", show=show)
    assert set(threading.enumerate()) <= before
    assert shown[-1].bytes < 256 * 1024**3
    assert repository.entries.heads(KIND, "t", WORKLOAD) == []
    with repository.write_session() as session:  # the identity is free
        assert session.commit() is None


def peak_bytes(repository: Repository, root: Path) -> int:
    """Most that Python held at once while the tree was imported."""
    tracemalloc.start()
    try:
        import_tree(repository, root, "t")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_files(repository: Repository, tmp_path: Path) -> None:
    """Huge files side by side take two buffers each, whatever their size."""
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(6):
        with (root / str(number)).open("wb") as file:
            file.truncate(100 * MIB)
    assert peak_bytes(repository, root) < 32 * MIB


def test_large_mail_is_held_one_at_a_time(open_repo: OpenRepository, tmp_path: Path) -> None:
    """Several files that may be mail, and are held whole for it, take no more memory than one."""
    rng = random.Random(3)
    peaks = []
    for count in (1, 3):
        root = tmp_path / str(count)
        root.mkdir()
        for number in range(count):
            (root / str(number)).write_bytes(
                b"Subject: large\n\n" + rng.randbytes(16) + bytes(20 * MIB)
            )
        peaks.append(peak_bytes(open_repo(store_of_fixed_keys()), root))
    assert peaks[1] < 1.25 * peaks[0]
