"""A bucket that keeps versions and locks nothing: what is deleted is still there, and that is said."""

import pytest

from repository.blobstore.addresses import create_store
from repository.blobstore.locks import BucketState, keeps_versions, lock_store
from repository.blobstore.locks_memory import VersionedMemoryStore
from repository.blobstore.memory import MemoryStore
from repository.blobstore.protocol import BlobStore
from repository.repository import initialize
from repository.settings import LockForm
from tests.fixtures.locks import AzureInProcess, Clock
from tests.fixtures.repositories import CHEAP, PASSPHRASE, OpenRepository


@pytest.fixture(params=["memory", "azure"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    """A bucket, or a container over the wire, that keeps versions and locks none."""
    if request.param == "azure":
        azure: AzureInProcess = request.getfixturevalue("azure_wire")
        for name, value in azure.server.environment.items():
            monkeypatch.setenv(name, value)
        return create_store(azure.address("versioned"))
    made = VersionedMemoryStore(Clock())
    made.state[0] = BucketState(versioning=True, object_lock=False, default_lock=False)
    return made


def test_older_key_rings_that_stay_as_versions_are_named(
    store: BlobStore, open_repo: OpenRepository
) -> None:
    """A rotation counts, and names each ring that whoever reads versions still reads; at every change, until they go."""
    initialize(store, PASSPHRASE, CHEAP)
    assert keeps_versions(store)
    keyring = open_repo(store).keyring
    change = keyring.rotate()
    assert {error.code for error in change.left} == {"versions-kept"}
    named = {error.message.split()[0] for error in change.left}
    assert named == {"keys/0000000001-a", "keys/0000000001-b"}
    assert len(keyring.rotate().left) == 4
    locks = lock_store(store)
    for version in list(locks.versions("keys/")):
        if not version.is_latest:
            locks.delete_version(version)
    assert len(keyring.rotate().left) == 2


@pytest.mark.parametrize("lock", [LockForm("governance", 1), None])
def test_nothing_is_said_where_nothing_stays(
    open_repo: OpenRepository, lock: LockForm | None
) -> None:
    """Without versions, or where locks have ended and deleting takes every version away."""
    clock = Clock()
    store = MemoryStore() if lock is None else VersionedMemoryStore(clock)
    initialize(store, PASSPHRASE, CHEAP, lock=lock)
    clock.advance(100 * 24 * 3600)
    assert keeps_versions(store) == (lock is not None)
    assert open_repo(store).keyring.rotate().left == []
