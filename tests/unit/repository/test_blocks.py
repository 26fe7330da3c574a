"""Blocks of packs kept on this machine: the bytes of the store, few requests for much, no more than asked for little."""

import errno
import os
import random
import tempfile
import threading
from pathlib import Path

import pytest

from engine.errors import NotFound
from repository.blobstore import blocks as module
from repository.blobstore.blocks import Blocks
from repository.blobstore.memory import MemoryStore

BLOCK = 1024
SIZE = 20 * BLOCK + 100


class CountingStore(MemoryStore):
    """Remembers which ranges were asked for; answers late ones once `gate` is open."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        self.asked.append((offset, length))
        assert self.gate.wait(10)
        return super().get_range(name, offset, length)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", BLOCK)
    monkeypatch.setattr(module, "WORTH_BYTES", BLOCK // 8)


@pytest.fixture
def store() -> CountingStore:
    store = CountingStore()
    store.put_new("pack/a", random.Random(1).randbytes(SIZE))
    return store


@pytest.fixture
def content(store: CountingStore) -> bytes:
    return store.objects["pack/a"]


@pytest.mark.parametrize("kept_max", [1, 3, 512])
def test_any_ranges_are_those_of_the_store(
    store: CountingStore,
    content: bytes,
    kept_max: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In any order, across borders and over the end, also when blocks make room for others all the time."""
    monkeypatch.setattr(module, "KEPT_BLOCKS_MAX", kept_max)
    blocks, dice = Blocks(store, str(tmp_path)), random.Random(2)
    for _ in range(500):
        offset, length = dice.randrange(SIZE + 50), dice.choice((1, 10, 500, 3000))
        assert blocks.get_range("pack/a", offset, length) == content[offset : offset + length]


def test_reading_on_asks_for_each_block_once(
    store: CountingStore, content: bytes, tmp_path: Path
) -> None:
    """Of small pieces in order two or three are asked for as they are, then whole blocks, some ahead."""
    blocks = Blocks(store, str(tmp_path))
    for _ in range(3):
        found = b"".join(blocks.get_range("pack/a", at, 50) for at in range(0, SIZE, 50))
        assert found == content
    whole = [asked for asked in store.asked if asked[1] == BLOCK]
    assert sorted({at // BLOCK for at, _ in whole})[:21] == list(range(21))
    assert len(whole) <= 21 + module.BLOCKS_AHEAD  # there is nothing behind the end
    assert len(store.asked) - len(whole) <= 2 * BLOCK // 8 // 50 + 2


def test_little_is_asked_for_as_it_is(store: CountingStore, tmp_path: Path) -> None:
    """A few bytes in each of many blocks cost these bytes."""
    blocks = Blocks(store, str(tmp_path))
    for number in range(20):
        blocks.get_range("pack/a", number * BLOCK + 7, 10)
    assert store.asked == [(number * BLOCK + 7, 10) for number in range(20)]


def test_many_threads_fetch_a_block_once(
    store: CountingStore, content: bytes, tmp_path: Path
) -> None:
    """Whoever comes while a block is on its way waits for it."""
    blocks = Blocks(store, str(tmp_path))
    store.gate.clear()
    found: list[bytes] = []

    def read() -> None:
        found.append(blocks.get_range("pack/a", 0, BLOCK // 2))

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    store.gate.set()
    for thread in threads:
        thread.join()
    assert found == [content[: BLOCK // 2]] * 6
    assert store.asked == [(0, BLOCK)]


@pytest.mark.parametrize("place", ["no file", "no byte", "no room"])
def test_a_full_disk_costs_speed_alone(
    store: CountingStore,
    content: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    """Where nothing or nothing more can be kept the bytes come from the store."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    if place == "no room":
        monkeypatch.setattr(module, "DISK_SHARE_MAX", 0)
    elif place == "no file":
        monkeypatch.setattr(tempfile, "TemporaryFile", full)
    else:
        monkeypatch.setattr(os, "pwrite", full)
    blocks = Blocks(store, str(tmp_path))
    for _ in range(3):
        assert blocks.get_range("pack/a", 100, 3000) == content[100:3100]


def test_errors_pass_and_a_later_try_succeeds(
    store: CountingStore, content: bytes, tmp_path: Path
) -> None:
    """An object that is absent says so each time, and is read once it is there."""
    blocks = Blocks(store, str(tmp_path))
    for _ in range(2):
        with pytest.raises(NotFound):
            blocks.get_range("pack/b", 0, BLOCK)
    store.put_new("pack/b", content)
    assert blocks.get_range("pack/b", 0, BLOCK) == content[:BLOCK]


def test_what_was_not_right_is_forgotten(
    store: CountingStore, content: bytes, tmp_path: Path
) -> None:
    """After a repair the repaired bytes come, not those that were kept."""
    good = store.objects["pack/a"]
    store.objects["pack/a"] = bytes(SIZE)
    blocks = Blocks(store, str(tmp_path))
    assert blocks.get_range("pack/a", 0, BLOCK) == bytes(BLOCK)
    store.objects["pack/a"] = good
    assert blocks.get_range("pack/a", 0, BLOCK) == bytes(BLOCK)
    blocks.forget("pack/a")
    assert blocks.get_range("pack/a", 0, BLOCK) == good[:BLOCK]
