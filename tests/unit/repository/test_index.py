"""The index cache holds exactly the named runs, whatever becomes of its files, and whoever shares them."""

import os
import random
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from engine.errors import BackupError, Corruption, InternalError, Unavailable
from engine.frame import Codec, FrameInfo
from engine.ids import ChunkId, ObjectId
from engine.pack import DirectoryFrame
from engine.run import RunPack, encode_run
from engine.seal import ObjectClass
from repository.index import NOT_FOUND, FramePlace, Index

CHUNK_BYTES = 100


def chunk(number: int) -> ChunkId:
    return ChunkId(random.Random(number).randbytes(32))


def ids(numbers: range | list[int]) -> bytes:
    return b"".join(chunk(number) for number in numbers)


def made_pack(name: str, numbers: range | list[int]) -> RunPack:
    """A pack of frames with two chunks each; its name is the text, filled with zeros."""
    frames = []
    for ordinal, at in enumerate(range(0, len(numbers), 2)):
        inside = numbers[at : at + 2]
        refs = b"".join(chunk(n) + struct.pack("<I", CHUNK_BYTES) for n in inside)
        info = FrameInfo(
            ordinal.to_bytes(16, "big"),
            64 + 50 * ordinal,
            50,
            CHUNK_BYTES * len(inside),
            ordinal,
            1,
            0,
            Codec.ZSTD,
            name.encode().ljust(32),
        )
        frames.append(DirectoryFrame(info, refs))
    return RunPack(ObjectId(name.ljust(64, "0")), ObjectClass.DATA_PACK, tuple(frames))


class Runs:
    """A store of runs by name; counts what was read from it."""

    def __init__(self) -> None:
        self.plain: dict[str, bytes] = {}
        self.read: list[str] = []

    def add(self, *packs: RunPack) -> str:
        name = random.Random(len(self.plain)).randbytes(32).hex()
        self.plain[name] = encode_run(packs)
        return name

    def load(self, names: Sequence[str]) -> Iterator[bytes]:
        for name in names:
            self.read.append(name)
            yield self.plain[name]


@pytest.fixture
def runs() -> Runs:
    return Runs()


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def held(index: Index, numbers: range | list[int]) -> list[int]:
    """Which of the chunks the index has; by each of its ways to ask, together and one by one."""
    asked = ids(numbers)
    absent = set(index.absent(asked))
    found = index.find(asked)
    present = []
    for place, number in enumerate(numbers):
        located = located_in(index, number)
        assert (located is None) == (place in absent) == (found.frames[place] == NOT_FOUND)
        if located is not None:
            present.append(number)
            assert found.place(found.frames[place]) == located[0]
            assert (found.offsets[place], found.lengths[place]) == (located[1], CHUNK_BYTES)
    return present


def located_in(index: Index, number: int) -> tuple[FramePlace, int, int] | None:
    """Frame, offset and length of one chunk asked for alone."""
    found = index.find(chunk(number))
    if found.frames[0] == NOT_FOUND:
        return None
    return found.place(found.frames[0]), found.offsets[0], found.lengths[0]


def test_every_chunk_is_found_in_its_frame(tmp_path: Path, runs: Runs) -> None:
    """Pack, frame, offset and length are those of the directory, over several files."""
    index = Index(tmp_path / "x")
    assert held(index, range(5)) == []
    named = []
    for n in range(5):
        named.append(runs.add(made_pack(f"a{n}", range(10 * n, 10 * n + 7))))
        index.sync(named, runs.load)
    assert len(files(tmp_path / "x")) == 5
    for n in range(5):
        for place, number in enumerate(range(10 * n, 10 * n + 7)):
            located = located_in(index, number)
            assert located is not None
            frame, *inside = located
            assert frame.pack == f"a{n}".ljust(64, "0")
            assert frame.info.ordinal == place // 2
            assert inside == [100 * (place % 2), 100]
    assert held(index, range(60)) == [n for n in range(50) if n % 10 < 7]
    assert runs.read == named


def test_handles_sort_by_pack_and_place(tmp_path: Path, runs: Runs) -> None:
    """Reading in the order of the handles reads every pack from front to back, one after the other."""
    index = Index(tmp_path / "x")
    packs = [made_pack(f"a{n}", range(20 * n, 20 * n + 20)) for n in range(6)]
    first = runs.add(*packs[:3])
    index.sync([first], runs.load)
    index.sync([first, runs.add(*packs[3:])], runs.load)
    numbers = list(range(120))
    random.Random(1).shuffle(numbers)
    found = index.find(ids(numbers))
    places = [found.place(handle) for handle in sorted(set(found.frames))]
    order = list(dict.fromkeys(place.pack for place in places))
    assert len(order) == 6
    assert places == sorted(places, key=lambda p: (order.index(p.pack), p.info.offset))


def test_absent_asks_for_packs_not_for_chunks(tmp_path: Path, runs: Runs) -> None:
    """A chunk in a refused pack is absent, unless another run has it in a usable one."""
    index = Index(tmp_path / "x")
    old = runs.add(made_pack("a", range(30)), made_pack("b", range(30, 40)))
    index.sync([old], runs.load)
    index.sync([old, runs.add(made_pack("c", range(10, 15)))], runs.load)
    asked: list[tuple[ObjectClass, str]] = []

    def usable(object_class: ObjectClass, pack: ObjectId) -> bool:
        asked.append((object_class, pack))
        return not pack.startswith("a")

    missing = index.absent(ids(range(50)), usable)
    assert list(missing) == [*range(10), *range(15, 30), *range(40, 50)]
    assert sorted(pack[0] for _, pack in asked) == ["a", "b", "c"]
    assert list(index.absent(ids(range(50)))) == list(range(40, 50))
    assert list(index.absent(b"", usable)) == []


def test_runs_no_longer_named_are_gone(tmp_path: Path, runs: Runs) -> None:
    """Their entries are not found and their bytes not kept; what stays named in files of its own is not read again."""
    index = Index(tmp_path / "x")
    named: list[str] = []
    for n in range(4):
        named.append(runs.add(made_pack(f"a{n}", range(10 * n, 10 * n + 10))))
        index.sync(named, runs.load)
    runs.read.clear()
    index.sync(named[2:], runs.load)
    assert held(index, range(40)) == list(range(20, 40))
    assert index.count() == 20
    assert len(files(tmp_path / "x")) == 2
    index.sync([], runs.load)
    assert (held(index, range(40)), index.count(), index.file_bytes) == ([], 0, 0)
    assert files(tmp_path / "x") == []
    assert runs.read == []
    # files of several runs go with one of them, and the others are read again
    index.sync(named, runs.load)
    assert len(files(tmp_path / "x")) == 1
    runs.read.clear()
    index.sync(named[1:], runs.load)
    assert held(index, range(40)) == list(range(10, 40))
    assert sorted(runs.read) == sorted(named[1:])


@pytest.mark.slow
def test_files_are_merged_level_by_level(tmp_path: Path, runs: Runs) -> None:
    """A hundred commits leave few files, and every run is read from the store once."""
    index = Index(tmp_path / "x")
    named: list[str] = []
    for n in range(100):
        named.append(runs.add(made_pack(f"a{n}", range(3 * n, 3 * n + 3))))
        index.sync(named, runs.load)
        assert len(files(tmp_path / "x")) <= 8
    assert sorted(runs.read) == sorted(named)
    assert held(index, range(310)) == list(range(300))
    again = Index(tmp_path / "x")
    again.sync(named, runs.load)
    assert len(runs.read) == 100
    assert again.pack_counts() == index.pack_counts()
    assert again.file_bytes == sum(path.stat().st_size for path in files(tmp_path / "x"))


def test_a_chunk_in_several_runs_counts_once(tmp_path: Path, runs: Runs) -> None:
    """Counts, bytes and packs are those of the locations that are found; merged or not."""
    index = Index(tmp_path / "x")
    assert (index.count(), index.chunk_bytes(), index.pack_counts()) == (0, 0, {})
    named: list[str] = []
    for n in range(12):
        named.append(runs.add(made_pack(f"a{n:x}", [0, 1, 2, 3 + 2 * n, 4 + 2 * n])))
        index.sync(named, runs.load)
        numbers = list(range(5 + 2 * n))
        assert index.count() == len(numbers)
        assert index.chunk_bytes() == CHUNK_BYTES * len(numbers)
        expected: dict[tuple[ObjectClass, str], int] = {}
        for number in numbers:
            located = located_in(index, number)
            assert located is not None
            key = located[0].object_class, located[0].pack
            expected[key] = expected.get(key, 0) + 1
        assert index.pack_counts() == expected


def test_an_answer_outlives_the_next_sync(tmp_path: Path, runs: Runs) -> None:
    """Handles belong to the answer: they name the same frames after the index moved on and its files are gone."""
    index = Index(tmp_path / "x")
    index.sync([runs.add(made_pack("a", range(10)))], runs.load)
    found = index.find(ids(range(10)))
    index.sync([runs.add(made_pack("b", range(20, 30)))], runs.load)
    assert {found.place(handle).pack[0] for handle in found.frames} == {"a"}
    assert held(index, range(30)) == list(range(20, 30))


def test_a_closed_index_answers_nothing(tmp_path: Path, runs: Runs) -> None:
    """Not "absent", which a writer would believe; closing twice is nothing."""
    index = Index(tmp_path / "x")
    index.close()
    index.close()
    for ask in (lambda: index.absent(ids([1])), index.count, lambda: index.sync([], runs.load)):
        with pytest.raises(InternalError):
            ask()


# -- files that are not as they were written -------------------------------------------------------


@pytest.mark.parametrize(
    "damage", ["head", "names", "counts", "cut", "longer", "empty", "foreign", "deleted", "folder"]
)
def test_damaged_files_are_made_again(tmp_path: Path, runs: Runs, damage: str) -> None:
    """Whatever has no good head is dropped and its runs are read again; good files are kept."""
    folder = tmp_path / "x"
    index = Index(folder)
    named: list[str] = []
    for n in range(3):
        named.append(runs.add(made_pack(f"a{n}", range(10 * n, 10 * n + 10))))
        index.sync(named, runs.load)
    index.close()
    path = files(folder)[0]
    plain = bytearray(path.read_bytes())
    if damage in ("head", "names", "counts"):
        plain[{"head": 17, "names": 70, "counts": 64 + 32 + 8}[damage]] ^= 1
        path.write_bytes(plain)
    elif damage == "cut":
        path.write_bytes(plain[:-1])
    elif damage == "longer":
        path.write_bytes(plain + bytes(64))
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        path.write_bytes(random.Random(1).randbytes(50_000))
    elif damage == "deleted":
        path.unlink()
    else:
        for each in files(folder):
            each.unlink()
        folder.rmdir()
    runs.read.clear()
    again = Index(folder)
    again.sync(named, runs.load)
    assert held(again, range(40)) == list(range(30))
    assert len(runs.read) == (3 if damage == "folder" else 1)
    assert len(files(folder)) == (1 if damage == "folder" else 3)


def test_damage_behind_a_good_head_is_told(tmp_path: Path, runs: Runs) -> None:
    """Rows and frames are not read at opening; where they are used, the error says what to delete."""
    folder = tmp_path / "x"
    named = []
    for n in range(9):
        named.append(runs.add(made_pack(f"a{n}", range(4 * n, 4 * n + 4))))
    Index(folder).sync(named[:1], runs.load)
    path = files(folder)[0]
    plain = bytearray(path.read_bytes())
    rows = 64 + 32 + 16 + 36 + 32 + 2 * 52
    for row in range(4):
        struct.pack_into("<I", plain, rows + 44 * row + 32, 1000)  # a frame that is not there
    path.write_bytes(plain)
    index = Index(folder)
    for n in range(1, 9):
        index.sync(named[:n], runs.load)
    assert len(files(folder)) == 8
    found = index.find(ids([1]))
    for use in (
        lambda: found.place(found.frames[0]),
        lambda: index.absent(ids([1]), lambda kind, pack: True),
        index.count,
        lambda: index.sync(named, runs.load),
    ):
        with pytest.raises(Unavailable, match="is damaged: delete it") as caught:
            use()
        assert caught.value.code == "cache-unavailable"
        assert str(folder) in caught.value.message


def test_the_folder_may_go_while_it_is_used(tmp_path: Path, runs: Runs) -> None:
    """A deleted cache answers as before, and the next sync makes it again."""
    folder = tmp_path / "x"
    index = Index(folder)
    named = [runs.add(made_pack("a", range(10)))]
    index.sync(named, runs.load)
    for path in files(folder):
        path.unlink()
    folder.rmdir()
    assert held(index, range(10)) == list(range(10))
    named.append(runs.add(made_pack("b", range(10, 20))))
    index.sync(named, runs.load)
    assert held(index, range(20)) == list(range(20))


def test_a_run_that_is_none_is_corruption(tmp_path: Path, runs: Runs) -> None:
    """Nothing of it is kept, and the index stays what it was."""
    index = Index(tmp_path / "x")
    good = runs.add(made_pack("a", range(10)))
    index.sync([good], runs.load)
    before = files(tmp_path / "x")
    with pytest.raises(Corruption):
        index.sync([good, "ab" * 32], lambda names: [b"nothing like a run"] * len(names))
    assert files(tmp_path / "x") == before
    assert held(index, range(10)) == list(range(10))


def test_errors_of_the_store_pass_as_they_are(tmp_path: Path) -> None:
    """Also one that is an OSError is not taken for trouble with the cache."""

    def fail(names: Sequence[str]) -> list[bytes]:
        raise TimeoutError("the store")

    with pytest.raises(TimeoutError, match="the store"):
        Index(tmp_path / "x").sync(["ab" * 32], fail)


def test_an_unusable_folder_is_told_in_one_line(tmp_path: Path, runs: Runs) -> None:
    """A file where the folder should be: Unavailable, which names the option."""
    (tmp_path / "file").write_bytes(b"")
    name = runs.add(made_pack("a", range(10)))
    index = Index(tmp_path / "x")
    (tmp_path / "x").rmdir()
    (tmp_path / "x").write_bytes(b"")
    for use in (
        lambda: Index(tmp_path / "file"),
        lambda: Index(tmp_path / "file" / "x"),
        lambda: index.sync([name], runs.load),
    ):
        with pytest.raises(Unavailable) as caught:
            use()
        assert caught.value.code == "cache-unavailable"
        assert "--cache-dir" in caught.value.message
        assert "\n" not in caught.value.message


def test_a_failed_write_leaves_nothing(
    tmp_path: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full at the last moment: the index stays what it was, no temporary file is left."""
    index = Index(tmp_path / "x")
    first = runs.add(made_pack("a", range(10)))
    index.sync([first], runs.load)
    before = files(tmp_path / "x")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(Unavailable):
            index.sync([first, runs.add(made_pack("b", range(10, 20)))], runs.load)
    assert files(tmp_path / "x") == before
    assert held(index, range(20)) == list(range(10))


def test_leftovers_of_dead_processes_go(tmp_path: Path) -> None:
    """Temporary files are removed after an hour; those of a process at work are left alone."""
    Index(tmp_path / "x")
    old, new = tmp_path / "x" / "old.tmp", tmp_path / "x" / "new.tmp"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 4000,) * 2)
    Index(tmp_path / "x")
    assert files(tmp_path / "x") == [new]


def test_files_are_the_owners_alone(tmp_path: Path, runs: Runs) -> None:
    """Decrypted runs are open to nobody else."""
    Index(tmp_path / "x").sync([runs.add(made_pack("a", range(4)))], runs.load)
    assert (tmp_path / "x").stat().st_mode & 0o077 == 0
    assert files(tmp_path / "x")[0].stat().st_mode & 0o077 == 0


# -- sharing ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_threads_read_while_the_index_moves(tmp_path: Path, runs: Runs) -> None:
    """Readers see a whole state at any time: what all states name is always found."""
    index = Index(tmp_path / "x")
    named = [runs.add(made_pack("a", range(50)))]
    index.sync(named, runs.load)
    extra = [runs.add(made_pack(f"b{n}", range(100 + n, 103 + n))) for n in range(30)]
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                assert not index.absent(ids(range(50)))
                found = index.find(ids(range(50)))
                assert {found.place(handle).pack[0] for handle in found.frames} == {"a"}
                assert index.count() >= 50
        except (BackupError, AssertionError) as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in [*range(30), *range(29, -1, -1)]:
        index.sync(named + extra[:n], runs.load)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert index.count() == 50


ROOT = Path(__file__).parents[3]
WORKER = """
import sys
from pathlib import Path
from repository.index import Index
from tests.unit.repository.test_index import Runs, held, made_pack

runs = Runs()
named = [runs.add(made_pack(f"a{n}", range(4 * n, 4 * n + 4))) for n in range(24)]
index = Index(Path(sys.argv[1]))
low = int(sys.argv[2])
for high in range(low + 1, 25):
    index.sync(named[low:high], runs.load)
    assert held(index, range(110)) == list(range(4 * low, 4 * high)), high
index.sync(named, runs.load)
assert held(index, range(110)) == list(range(96))
"""


@pytest.mark.slow
def test_processes_share_a_folder(tmp_path: Path, runs: Runs) -> None:
    """Four processes at different states write, merge and delete at once; each finds exactly what it named."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, tmp_path / "x", str(low)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
        )
        for low in (0, 0, 3, 12)
    ]
    said = [worker.communicate(timeout=120)[1].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, said
    named = [runs.add(made_pack(f"a{n}", range(4 * n, 4 * n + 4))) for n in range(24)]
    index = Index(tmp_path / "x")
    index.sync(named, runs.load)
    assert held(index, range(110)) == list(range(96))
    assert not list((tmp_path / "x").glob("*.tmp"))
