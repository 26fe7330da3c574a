"""Objects of equal size that changed places, and older states of a store: never taken for what should be there."""

import random
from pathlib import Path

import pytest

from engine.errors import Corruption
from repository import Places, PointDraft, Repository, new_point_id
from repository.blobstore.memory import MemoryStore
from repository.collector import CollectLimits
from repository.layout import GENERATIONS, MANIFESTS, PACKS
from repository.repository import open_on
from tests.fixtures.repositories import (
    PASSPHRASE,
    OpenRepository,
    commit_files,
    contents,
    object_key,
)

NOW = CollectLimits(wait_s=0.0, poll_s=0.01)
OBJECTS = 6  # alike in everything but their content
OBJECTS_MAX = 60  # sizes differ by a few bytes of compressed random ids: two of 60 always agree
SWAPPED = (f"{PACKS}d/", f"{PACKS}m/", MANIFESTS)


def back_up(repository: Repository, number: int) -> None:
    """A commit and a point of one object."""
    with repository.write_session("w") as session:
        files = {"f": random.Random(number).randbytes(6000)}
        entry = commit_files(repository, session, files, object_key(f"o{number}"))
        draft = PointDraft(new_point_id(), f"p{number}", "s", "success", (entry.ref,))
        session.seal_point(draft)


@pytest.fixture
def alike(store: MemoryStore, open_repo: OpenRepository) -> MemoryStore:
    """Commits until two packs of each kind and two manifests have equal sizes."""
    with open_repo(store) as repository:
        for number in range(OBJECTS_MAX):
            back_up(repository, number)
            if number + 1 >= OBJECTS and all(two_of_equal_size(store, p) for p in SWAPPED):
                return store
    raise AssertionError(f"no two objects of equal size among {OBJECTS_MAX}")


def two_of_equal_size(store: MemoryStore, prefix: str) -> tuple[str, str] | None:
    by_size: dict[int, str] = {}
    for name in sorted(store.objects):
        if name.startswith(prefix):
            size = len(store.objects[name])
            if size in by_size:
                return by_size[size], name
            by_size[size] = name
    return None


@pytest.mark.parametrize("prefix", SWAPPED)
def test_two_of_equal_size_that_changed_places_are_rejected(
    alike: MemoryStore, open_repo: OpenRepository, prefix: str
) -> None:
    """Exactly the two restore points over them fail, with a clear error, and verification names both; the others are whole."""
    found_two = two_of_equal_size(alike, prefix)
    assert found_two is not None
    one, two = found_two
    alike.objects[one], alike.objects[two] = alike.objects[two], alike.objects[one]
    with open_repo(alike) as repository:
        failed = 0
        for point in repository.points():
            try:
                found = contents(repository, repository.entries.get(point.entries[0].entry))
            except Corruption:
                failed += 1
            else:
                number = int(point.name.removeprefix("p"))
                assert found == {"f": random.Random(number).randbytes(6000)}
        assert failed == 2
        assert {p.name for p in repository.verify("directory").problems} >= {one, two}


def test_an_older_generation_under_a_newer_name_is_rejected(
    alike: MemoryStore, open_repo: OpenRepository
) -> None:
    """The number is part of what is sealed."""
    with open_repo(alike) as repository:
        for number in range(3):
            repository.collect(limits=NOW)
            back_up(repository, 10 + number)
    older, newer = sorted(n for n in alike.objects if n.startswith(GENERATIONS))[-2:]
    alike.objects[newer] = alike.objects[older]
    with pytest.raises(Corruption):
        open_repo(alike)


def test_a_store_before_a_collection_is_noticed(alike: MemoryStore, tmp_path: Path) -> None:
    """All objects as they were before it: every machine that has seen it refuses the older state."""
    places = Places(tmp_path / "cache", tmp_path / "state")
    with open_on(alike, PASSPHRASE, places) as repository:
        before = dict(alike.objects)
        repository.collect(limits=NOW)
        alike.objects.clear()
        alike.objects.update(before)
        with pytest.raises(Corruption) as caught:
            repository.refresh()
        assert caught.value.code == "store-rolled-back"
    with pytest.raises(Corruption) as caught:
        open_on(alike, PASSPHRASE, places)
    assert caught.value.code == "store-rolled-back"
