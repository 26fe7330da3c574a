"""Restore points and configuration from the bucket alone, whatever else is lost."""

from pathlib import Path

import pytest

from engine.errors import Corruption
from repository import Places, PointDraft
from repository.blobstore.memory import MemoryStore
from repository.layout import DAMAGED, PACKS
from repository.leftover import KeyFacts, leftover
from repository.repository import initialize
from tests.fixtures.repositories import (
    CHEAP,
    PASSPHRASE,
    OpenRepository,
    commit_files,
    object_key,
)


@pytest.fixture
def filled(open_repo: OpenRepository) -> MemoryStore:
    """Two writers, three restore points: one held, one forgotten and not collected; a pack marked."""
    store = MemoryStore()
    initialize(store, PASSPHRASE, CHEAP, padding="none", parity="on")
    with open_repo(store) as repository:
        for number, writer in enumerate("vw"):
            with repository.write_session(writer) as session:
                entry = commit_files(
                    repository, session, {"f": b"x%d" % number}, object_key(writer)
                )
                session.seal_point(PointDraft(str(number) * 16, "p", "j", "success", (entry.ref,)))
        repository.collect()
        repository.hold("0" * 16, "a court asks")
        repository.seal_point(PointDraft("2" * 16, "q", "j", "warning", (entry.ref,)))
        repository.forget(["1" * 16])
    pack = next(name for name in store.objects if name.startswith(PACKS))
    store.objects[DAMAGED + pack] = b"{}"
    return store


def without(store: MemoryStore, *prefixes: str) -> MemoryStore:
    left = MemoryStore()
    left.objects = {n: data for n, data in store.objects.items() if not n.startswith(prefixes)}
    return left


def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "lc", tmp_path / "ls")


def test_everything_is_told(filled: MemoryStore, open_repo: OpenRepository, tmp_path: Path) -> None:
    """Of a whole bucket: what the repository says of itself; nothing is written, no pack and no run is read."""
    before = dict(filled.objects)
    found = leftover(without(filled, "pack/", "run/"), PASSPHRASE, places(tmp_path))
    assert filled.objects == before
    repository = open_repo(filled)
    facts = found.configuration
    assert found.damaged == {}
    assert [p.id for p in found.points] == [c * 16 for c in "012"]
    assert (facts.repository, facts.created_at) == (repository.id, repository.config.created_at)
    assert (facts.padding, facts.parity, facts.lock_mode, facts.lock_days) == ("none", "on", "", 0)
    (key,) = repository.keyring.ring.keys
    assert facts.keys == [KeyFacts(key.id, "passphrase", key.label, key.created_at)]
    assert facts.generation == repository.state.generation.number
    assert facts.holds == {"0" * 16: "a court asks"}
    assert facts.forgotten == ["1" * 16]
    cells = repository.state.cells
    assert facts.writers == {writer: cell.turn for writer, cell in cells.items()}
    assert facts.packs_marked == [
        n.removeprefix(DAMAGED) for n in filled.objects if n.startswith(DAMAGED)
    ]
    assert [(p.kind, p.name, p.workloads) for p in facts.protected] == [
        ("user", "v", ("files",)),
        ("user", "w", ("files",)),
    ]


def test_what_is_lost_costs_itself_alone(filled: MemoryStore, tmp_path: Path) -> None:
    """Without cells, generations, runs, packs: all points, keys, objects and the turns that manifests show."""
    left = without(filled, "sess/", "gc/", "run/", "pack/", "damaged/")
    facts = leftover(left, PASSPHRASE, places(tmp_path)).configuration
    assert (facts.generation, facts.holds, len(facts.keys)) == (0, {}, 1)
    assert set(facts.writers) == {"v", "w"}
    assert len(facts.protected) == 2
    point = next(name for name in left.objects if name.startswith("point/0"))
    manifest = next(name for name in left.objects if name.startswith("manifest/"))
    for name in (point, manifest):
        left.objects[name] = b"not as written" * 20
    found = leftover(left, PASSPHRASE, places(tmp_path))
    assert set(found.damaged) == {point, manifest}
    assert [p.id for p in found.points] == ["1" * 16, "2" * 16]
    assert len(found.configuration.protected) == 1
    with pytest.raises(Corruption, match="keys"):
        leftover(without(left, "keys/"), PASSPHRASE, places(tmp_path))
