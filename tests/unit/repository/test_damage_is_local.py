"""A damaged manifest or restore point takes nothing but itself away."""

import pytest

from engine.errors import Corruption
from repository import PointDraft, new_point_id
from repository.blobstore.memory import MemoryStore
from tests.fixtures.repositories import OpenRepository, commit_files, contents, object_key


@pytest.fixture
def two_points(store: MemoryStore, open_repo: OpenRepository) -> tuple[MemoryStore, list[str]]:
    """A repository with two restore points over two manifests; their ids, oldest first."""
    ids = [new_point_id(), new_point_id()]
    with open_repo(store) as repository, repository.write_session("w") as session:
        for point, name in zip(ids, ("first", "second"), strict=True):
            entry = commit_files(repository, session, {name: name.encode()}, object_key(name))
            repository.seal_point(PointDraft(point, name, name, "success", (entry.ref,)))
    return store, ids


def flip(store: MemoryStore, name: str) -> None:
    """Damage one byte in the middle."""
    data = bytearray(store.objects[name])
    data[len(data) // 2] ^= 1
    store.objects[name] = bytes(data)


def test_a_damaged_manifest_leaves_the_others_readable(
    two_points: tuple[MemoryStore, list[str]], open_repo: OpenRepository
) -> None:
    """Only the restore point whose manifest is damaged cannot be read; backups go on."""
    store, ids = two_points
    with open_repo(store) as repository:
        manifest = repository.point(ids[0]).entries[0].entry.manifest
    flip(store, f"manifest/{manifest}")
    with open_repo(store) as repository:
        assert [point.id for point in repository.points()] == ids
        with pytest.raises(Corruption, match="manifest"):
            repository.entries.get(repository.point(ids[0]).entries[0].entry)
        good = repository.entries.get(repository.point(ids[1]).entries[0].entry)
        assert contents(repository, good) == {"second": b"second"}
        assert not repository.verify("listing").ok
        with repository.write_session("w") as session:
            again = commit_files(repository, session, {"first": b"first"}, object_key("first"))
        assert contents(repository, again) == {"first": b"first"}


def test_a_missing_manifest_is_like_a_damaged_one(
    two_points: tuple[MemoryStore, list[str]], open_repo: OpenRepository
) -> None:
    """The repository opens, and says which entry it lacks."""
    store, ids = two_points
    with open_repo(store) as repository:
        manifest = repository.point(ids[0]).entries[0].entry.manifest
    del store.objects[f"manifest/{manifest}"]
    with open_repo(store) as repository:
        with pytest.raises(Corruption):
            repository.entries.get(repository.point(ids[0]).entries[0].entry)
        assert any(manifest in problem.name for problem in repository.verify("listing").problems)


def test_a_damaged_point_leaves_the_others_and_latest_is_not_guessed(
    two_points: tuple[MemoryStore, list[str]], open_repo: OpenRepository
) -> None:
    """The other point is listed and readable by its id; `latest` refuses, because nobody knows."""
    store, ids = two_points
    bad = next(name for name in store.objects if name.startswith(f"point/{ids[1]}"))
    flip(store, bad)
    with open_repo(store) as repository:
        damaged: dict[str, Exception] = {}
        assert [point.id for point in repository.points(damaged)] == ids[:1]
        assert list(damaged) == [bad]
        assert repository.point(ids[0]).name == "first"
        with pytest.raises(Corruption, match="by its id"):
            repository.point("latest")
        with pytest.raises(Corruption):
            repository.point(ids[1])
