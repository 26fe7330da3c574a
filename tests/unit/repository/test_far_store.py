"""A repository whose store is behind a network: what is done side by side there, and that nothing else is different."""

import random
import threading

import pytest

from engine.errors import Unavailable
from engine.seal import ObjectClass
from repository import packer
from repository.blobstore.memory import MemorySpool, MemoryStore
from repository.layout import RUNS
from repository.ledger import Level
from repository.repository import initialize
from tests.fixtures.repositories import (
    CHEAP,
    PASSPHRASE,
    OpenRepository,
    commit_files,
    contents,
)

PACK_BYTES = 600_000
PACKS = 6


class Meeting:
    """Whoever comes first waits for a second one; from then on everybody passes. TimeoutError if nobody comes."""

    def __init__(self) -> None:
        self._come = 0
        self._lock = threading.Lock()
        self._met = threading.Event()

    def wait(self) -> None:
        with self._lock:
            self._come += 1
            if self._come == 2:
                self._met.set()
        if not self._met.wait(10):
            raise TimeoutError("nobody else came")


class FarStore(MemoryStore):
    """Held in memory, used as if it were behind a network. Sendings meet at `at_put`, readers of runs and pieces likewise."""

    def __init__(self) -> None:
        super().__init__()
        self.at_put: Meeting | None = None
        self.at_run: Meeting | None = None
        self.at_piece: Meeting | None = None
        self.refused = 0
        self.ranges = 0  # of data packs

    def calls_at_once(self) -> int:
        return 8

    def spool(self) -> "FarSpool":
        return FarSpool(self)

    def get(self, name: str) -> bytes:
        if self.at_run is not None and name.startswith(RUNS):
            self.at_run.wait()
        return super().get(name)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        self.ranges += name.startswith("pack/d/")
        if self.at_piece is not None and length > 1_000_000:
            self.at_piece.wait()
        return super().get_range(name, offset, length)


class FarSpool(MemorySpool):
    def __init__(self, store: FarStore) -> None:
        super().__init__(store)
        self._far = store

    def put(self, name: str) -> None:
        if self._far.at_put is not None and name.startswith("pack/d/"):
            self._far.at_put.wait()
        if self._far.refused and name.startswith("pack/d/"):
            self._far.refused -= 1
            raise Unavailable("no answer", code="store-unavailable")
        super().put(name)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> FarStore:
    monkeypatch.setitem(packer._TARGETS, ObjectClass.DATA_PACK, PACK_BYTES)
    store = FarStore()
    initialize(store, PASSPHRASE, CHEAP)
    return store


def files(seed: int) -> dict[str, bytes]:
    dice = random.Random(seed)
    return {f"f{number}": dice.randbytes(PACK_BYTES) for number in range(PACKS)}


def test_packs_are_sent_side_by_side(far: FarStore, open_repo: OpenRepository) -> None:
    """Two sendings wait for each other while the writer goes on; all is there once it is committed."""
    far.at_put = Meeting()
    repository, stored = open_repo(far), files(1)
    with repository.write_session("w") as session:
        entry = commit_files(repository, session, stored)
    assert contents(open_repo(far), entry) == stored


def test_a_sending_that_fails_fails_the_commit(far: FarStore, open_repo: OpenRepository) -> None:
    """Whichever of them it is, nothing is committed; the next session stores everything."""
    repository, stored = open_repo(far), files(2)
    far.refused = 1
    with pytest.raises(Unavailable), repository.write_session("w") as session:
        commit_files(repository, session, stored)
    assert list(open_repo(far).entries) == []
    with repository.write_session("w") as session:
        entry = commit_files(repository, session, stored)
    assert contents(repository, entry) == stored


@pytest.mark.slow
def test_a_collection_copies_with_few_requests(
    far: FarStore, open_repo: OpenRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that lie near each other come together, and what stays is whole."""
    monkeypatch.setitem(packer._TARGETS, ObjectClass.DATA_PACK, 10 * PACK_BYTES)
    repository, dice = open_repo(far), random.Random(3)
    stored = {f"f{number}": dice.randbytes(4 * PACK_BYTES) for number in range(PACKS)}
    with repository.write_session("w") as session:
        commit_files(repository, session, stored)
        kept = {name: data[: 3 * PACK_BYTES] for name, data in stored.items()}
        entry = commit_files(repository, session, kept)
    far.ranges = 0
    report = repository.collect()
    assert report.copied_packs
    assert far.ranges <= 5 * report.copied_packs  # three of them for its directory
    assert contents(open_repo(far), repository.entries.get(entry.ref)) == kept


def test_an_open_reads_many_runs_side_by_side(far: FarStore, open_repo: OpenRepository) -> None:
    """Another machine waits for several at once, and finds everything."""
    repository = open_repo(far)
    with repository.write_session("w") as session:
        for number in range(20):
            entry = commit_files(repository, session, {f"f{number}": b"%d" % number})
    far.at_run = Meeting()
    assert len(contents(open_repo(far), entry)) == 20


@pytest.mark.parametrize("level", ["scrub", "read"])
def test_of_one_pack_two_pieces_are_under_way(open_repo: OpenRepository, level: Level) -> None:
    """Verification of a single pack has its next piece sent for while it decodes one; what it finds is the same."""
    store = FarStore()
    initialize(store, PASSPHRASE, CHEAP, padding="none")
    with open_repo(store) as repository, repository.write_session("w") as session:
        commit_files(repository, session, {"large": random.Random(1).randbytes(9_500_000)})
    (name,) = (n for n in store.objects if n.startswith("pack/d"))
    store.at_piece = Meeting()
    assert open_repo(store).verify(level).ok
    data = store.objects[name]
    store.objects[name] = data[:9_000_000] + bytes([data[9_000_000] ^ 1]) + data[9_000_001:]
    assert {p.name for p in open_repo(store).verify(level).problems} == {name}
