"""Making and shredding a scope, cut off at every operation of the store and of the key service: never half of it."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import BackupError, ScopeClosed
from repository import Repository
from repository.blobstore.memory import MemoryStore
from repository.keyring import Keyring, open_keyring, ring_name
from repository.keyservice import FileKeyService
from repository.scopes import add_scope, attach_scope, destroy_scope
from repository.unlocking import ServiceKey
from tests.fixtures.crash import MODES, CrashPoint, CrashStore, Mode, clone
from tests.fixtures.repositories import PASSPHRASE, OpenRepository
from tests.fixtures.scopes import (
    CONTOSO,
    FABRIKAM,
    Dies,
    DyingService,
    Kept,
    put,
    service_key,
    with_scopes,
)
from tests.unit.repository.test_scopes import files_of

Change = Callable[[Keyring, ServiceKey], object]
NEW = "Northwind"


def add(keyring: Keyring, held: ServiceKey) -> None:
    add_scope(keyring, NEW, held)


def destroy(keyring: Keyring, held: ServiceKey) -> None:
    destroy_scope(keyring, keyring.scope(FABRIKAM), held)


def small(name: str) -> dict[str, bytes]:
    return {"file": name.encode() * 10}


class World:
    """A repository with two scopes and its key service; each trial works on a copy of both."""

    def __init__(self, store: MemoryStore, kept: Kept, keys: dict[str, bytes]) -> None:
        self.store = store
        self.kept = kept
        self._keys = keys

    def copy(self, folder: Path) -> MemoryStore:
        folder.mkdir()
        for name, data in self._keys.items():
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o600)
        return clone(self.store)


@pytest.fixture
def world(store: MemoryStore, repository: Repository, tmp_path: Path) -> World:
    kept = with_scopes(repository, tmp_path / "kms", small)
    keys = {path.name: path.read_bytes() for path in (tmp_path / "kms").iterdir()}
    return World(store, kept, keys)


def key_name(change: Change) -> str:
    return "northwind" if change is add else "fabrikam"


def finish_and_check(
    world: World,
    store: MemoryStore,
    folder: Path,
    change: Change,
    open_repo: OpenRepository,
    *,
    reported: bool,
) -> bool:
    """
    Nothing is lost that should stay; the change is done, or is done by doing it again. Whether it had been done.

    A ring never claims a destruction that did not happen, and what a ring does not claim may have happened only in the
    service: then it reads as closed.
    """
    held = service_key(folder, key_name(change))
    with open_repo(store) as repository:
        keyring = repository.keyring
        attach_scope(keyring, service_key(folder, "contoso"))
        scopes = {s.name: s for s in keyring.ring.key_set.scopes.values()}
        fabrikam = scopes[FABRIKAM]
        done = NEW in scopes if change is add else fabrikam.is_destroyed
        assert done or not reported
        if change is add or not (done or _ended(folder)):
            attach_scope(keyring, service_key(folder, "fabrikam"))
            assert files_of(repository, world.kept.points[FABRIKAM]) == small(FABRIKAM)
        else:
            with pytest.raises(ScopeClosed):
                files_of(repository, world.kept.points[FABRIKAM])
        assert not fabrikam.is_destroyed or _ended(folder)
        if not done:
            change(keyring, held)
        elif change is add:
            attach_scope(keyring, held)
        if change is add:
            assert files_of(repository, put(repository, NEW, small(NEW))) == small(NEW)
        keyring.rotate()
        rings = sorted(name for name in store.objects if name.startswith("keys/"))
        assert rings == [ring_name(keyring.ring.number, copy) for copy in "ab"]
        for name in (CONTOSO, ""):
            assert files_of(repository, world.kept.points[name]) == small(name)
        assert repository.verify("read").ok
        assert scopes_destroyed(keyring) == (set() if change is add else {FABRIKAM})
    return done


def _ended(folder: Path) -> bool:
    """Whether the key of the scope opens nothing any more."""
    try:
        FileKeyService(folder).wrap("fabrikam", bytes(32))
    except BackupError:
        return True
    return False


def scopes_destroyed(keyring: Keyring) -> set[str]:
    return {s.name for s in keyring.ring.key_set.scopes.values() if s.is_destroyed}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("change", [add, destroy])
def test_every_operation_of_the_store(
    world: World, open_repo: OpenRepository, tmp_path: Path, change: Change, mode: Mode
) -> None:
    """Dead before or after it, its answer lost, or sent twice."""
    seen = set()
    for ordinal in itertools.count():
        folder = tmp_path / f"{ordinal}"
        inner = world.copy(folder)
        store = CrashStore(inner)
        uuid = bytes.fromhex(open_repo(inner).id)
        keyring = open_keyring(store, PASSPHRASE, uuid, tmp_path / f"state{ordinal}")
        store.arm()
        store.schedule(CrashPoint(mode, ordinal))
        try:
            change(keyring, service_key(folder, key_name(change)))
            reported = True
        except BackupError:
            reported = False
        store.deliver()
        done = finish_and_check(world, inner, folder, change, open_repo, reported=reported)
        seen.add((reported, done))
        if len(store.trace) <= ordinal:
            break
    assert ordinal >= 6
    assert (True, True) in seen
    assert mode == "doubled" or (False, False) in seen


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("change", [add, destroy])
def test_every_operation_of_the_key_service(
    world: World, open_repo: OpenRepository, tmp_path: Path, change: Change, when: str
) -> None:
    """The process ends before or after it was done."""
    for ordinal in itertools.count():
        folder = tmp_path / f"{ordinal}"
        store = world.copy(folder)
        service = DyingService(FileKeyService(folder), ordinal, when)
        with open_repo(store) as repository:
            try:
                change(repository.keyring, ServiceKey(service, key_name(change)))
                reported = True
            except Dies:
                reported = False
        done = finish_and_check(world, store, folder, change, open_repo, reported=reported)
        assert done == reported  # the ring is written after the service has answered all
        if reported:
            break
    assert ordinal == (5 if change is add else 2)


def test_a_key_that_was_overwritten_only(
    world: World, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """Within the destruction of a file key: overwritten, not yet replaced. The scope is closed, and `destroy` ends it."""
    folder = tmp_path / "copy"
    store = world.copy(folder)
    path = folder / "fabrikam.key"
    path.write_bytes(bytes(path.stat().st_size))
    with open_repo(store) as repository, pytest.raises(ScopeClosed) as caught:
        attach_scope(repository.keyring, service_key(folder, "fabrikam"))
    assert caught.value.code == "scope-key-damaged"
    assert not finish_and_check(world, store, folder, destroy, open_repo, reported=False)


def test_a_folder_that_is_away_is_no_destruction(
    world: World, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """A wrong folder, or another key under the same name, must not be taken for the key: nothing changes."""
    store = world.copy(tmp_path / "copy")
    FileKeyService(tmp_path / "other").make("fabrikam")
    for folder in ("other", "nowhere"):
        with open_repo(store) as repository:
            before = repository.keyring.ring.number
            with pytest.raises(ScopeClosed) as caught:
                destroy(repository.keyring, service_key(tmp_path / folder, "fabrikam"))
            assert caught.value.code == "scope-closed"
            assert repository.keyring.renewed() is repository.keyring.keys
            assert repository.keyring.ring.number == before
    FileKeyService(tmp_path / "other").wrap("fabrikam", bytes(32))  # it is as it was
