"""Changes of keys that are cut off, damaged rings, forged ones: nobody is locked out, nobody is fooled."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from engine.errors import (
    Corruption,
    Denied,
    Unavailable,
)
from engine.keyring import Ring, seal_ring
from repository import Places
from repository.ambient import random_bytes
from repository.blobstore.memory import MemoryStore
from repository.keyring import Keyring, new_key_set, open_keyring, ring_name
from repository.repository import initialize, open_on
from repository.scrub import scrub
from repository.unlocking import (
    recipient_key,
)
from tests.fixtures.crash import clone
from tests.fixtures.faults import FaultStore
from tests.fixtures.repositories import (
    CHEAP,
    PASSPHRASE,
    OpenRepository,
)
from tests.unit.repository.test_keyring import (
    NEW_FILES,
    OLD_FILES,
    PRIVATE,
    SECOND,
    THIRD,
    files_of,
    key,
    rings,
    shared,
    write,
)

__all__ = ["shared"]


# -- failing stores ----------------------------------------------------------------------------------


def add(keyring: Keyring) -> None:
    keyring.add(key(THIRD))


def remove(keyring: Keyring) -> None:
    keyring.remove(next(k.id for k in keyring.ring.keys if k.id != keyring.opened_with))


def rotate(keyring: Keyring) -> None:
    keyring.rotate()


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("when", ["before", "after", "killed"])
@pytest.mark.parametrize("change", [add, remove, rotate])
def test_any_failing_operation_of_a_change(
    shared: MemoryStore,
    open_repo: OpenRepository,
    tmp_path: Path,
    change: Callable[[Keyring], None],
    when: str,
) -> None:
    """
    Fail each operation of the store in turn, or end the process there.

    The repository opens and all data restores; either nothing changed or the change is done, which it is if it was
    reported; the next change tidies up.
    """
    numbers = itertools.count()
    outcomes = set()
    for ordinal in numbers:
        inner = clone(shared)
        store = FaultStore(inner)
        keyring = open_keyring(store, PASSPHRASE, uuid_of(inner), tmp_path / str(ordinal))
        before = keyring.ring.number
        if when == "killed":
            store.arm()
            store.on_operation = kill_at(store, ordinal)
        else:
            store.arm(**{when: (ordinal,)})
        try:
            change(keyring)
            reported = True
        except (Unavailable, Killed):
            reported = False
        failed = len(store.trace) > ordinal
        with open_repo(inner) as repository:
            after = repository.keyring.ring.number
            assert files_of(repository) == OLD_FILES
            assert after == before + 1 if reported else after in (before, before + 1)
            repository.keyring.rotate()
            write(repository, NEW_FILES)
            assert rings(inner) == [ring_name(after + 1, copy) for copy in "ab"]
            assert repository.verify("read").ok
        opens = []
        for passphrase in (PASSPHRASE, SECOND, THIRD):
            try:
                with open_repo(inner, credential=passphrase) as repository:
                    assert files_of(repository) == OLD_FILES | NEW_FILES
                opens.append(True)
            except Denied:
                opens.append(False)
        did = after == before + 1
        assert opens == [True, not (did and change is remove), did and change is add]
        outcomes.add((reported, did))
        if not failed:
            break
    assert ordinal >= 6
    assert {(True, True), (False, False)} <= outcomes


def kill_at(store: FaultStore, ordinal: int) -> Callable[[str, str], None]:
    def kill(operation: str, name: str) -> None:
        if len(store.trace) > ordinal:
            raise Killed

    return kill


def uuid_of(store: MemoryStore) -> bytes:
    import msgspec

    return bytes.fromhex(msgspec.json.decode(store.objects["config"])["repository"])


def test_an_answer_that_is_lost_is_no_failure(
    shared: MemoryStore, open_repo: OpenRepository
) -> None:
    """The put of the ring was done and its answer lost: read back, it is the change."""
    store = FaultStore(shared)
    keyring = open_repo(store).keyring
    store.arm()
    keyring.rotate()
    put = [step[0] for step in store.trace].index("put_new")
    store.arm(after=(put,))
    change = keyring.rotate()
    assert (change.left, keyring.keys.newest_epoch) == ([], 3)


def test_a_store_that_keeps_old_rings_is_told(
    shared: MemoryStore, open_repo: OpenRepository
) -> None:
    """Locked or unreachable: the change counts, what is left is named, and the next change takes it away."""
    store = FaultStore(shared)
    keyring = open_repo(store).keyring

    def locked(operation: str, name: str) -> None:
        if operation == "delete":
            raise Denied("the object is locked", code="store-denied")

    store.on_operation = locked
    change = keyring.rotate()
    assert len(change.left) == 2
    open_repo(shared)
    store.on_operation = lambda operation, name: None
    assert keyring.rotate().left == []
    assert len(rings(shared)) == 2


# -- damage and forgery ------------------------------------------------------------------------------


@pytest.mark.parametrize("copy", ["a", "b"])
@pytest.mark.parametrize("how", ["gone", "cut", "flipped"])
def test_one_copy_is_enough_and_verify_tells(
    shared: MemoryStore, open_repo: OpenRepository, copy: str, how: str
) -> None:
    """Either copy of the newest ring may be lost or damaged; both: the repository says so."""
    name = next(n for n in rings(shared) if n.endswith(copy))
    damage(shared, name, how)
    repository = open_repo(shared)
    assert [problem.name for problem in repository.verify("listing").problems] == [name]
    assert scrub(shared).damaged == [name]  # without a key
    repository.keyring.rotate()
    assert open_repo(shared).verify("listing").ok
    for name in rings(shared):
        damage(shared, name, how)
    with pytest.raises(Corruption) as caught:
        open_repo(shared)
    assert caught.value.code == ("keys-missing" if how == "gone" else "key-corrupt")


def damage(store: MemoryStore, name: str, how: str) -> None:
    data = store.objects[name]
    if how == "gone":
        del store.objects[name]
    else:
        store.objects[name] = data[:-1] if how == "cut" else data[:99] + b"?" + data[100:]


def test_an_older_ring_is_noticed(
    shared: MemoryStore, open_repo: OpenRepository, places: Places
) -> None:
    """A store that puts an older ring back brings a removed key back: a machine that saw the newer one refuses."""
    before = {name: shared.objects[name] for name in rings(shared)}
    with open_on(shared, PASSPHRASE, places) as repository:
        remove(repository.keyring)
        open_keyring_again = repository.keyring
        for name in rings(shared):
            del shared.objects[name]
        shared.objects |= before
        with pytest.raises(Corruption) as caught:
            open_keyring_again.renewed()
        assert caught.value.code == "store-rolled-back"
    with pytest.raises(Corruption) as caught:
        open_on(shared, PASSPHRASE, places)
    assert caught.value.code == "store-rolled-back"


def test_a_ring_of_another_repository_is_refused(
    shared: MemoryStore, open_repo: OpenRepository
) -> None:
    """The same passphrase, another repository: never its keys."""
    other = MemoryStore()
    initialize(other, PASSPHRASE, CHEAP)
    for name in rings(shared):
        del shared.objects[name]
    shared.objects |= {name: other.objects[name] for name in rings(other)}
    with pytest.raises(Corruption) as caught:
        open_repo(shared)
    assert caught.value.code == "key-foreign"


def test_a_made_up_repository_is_noticed_by_a_recipient_that_saw_the_true_one(
    shared: MemoryStore, open_repo: OpenRepository, places: Places
) -> None:
    """Anybody can seal a ring to a recipient, with keys of their own; a machine that never saw the true one is fooled."""
    open_repo(shared).keyring.add(recipient_key(PRIVATE.public))
    with open_on(shared, PRIVATE, places) as repository:
        assert files_of(repository) == OLD_FILES
        number, uuid = repository.keyring.ring.number, repository.uuid
    mine = recipient_key(PRIVATE.public)
    strangers = new_key_set(blake3(shared.objects["config"]).digest())
    forged = seal_ring(Ring(number + 1, (mine,), strangers), uuid, random_bytes)
    shared.objects[ring_name(number + 1)] = forged
    with pytest.raises(Corruption) as caught:
        open_on(shared, PRIVATE, places)
    assert caught.value.code == "key-foreign"
    state = places.state_dir / repository.id
    (state / "keys.json").unlink()
    assert open_keyring(shared, PRIVATE, uuid, state).ring.number == number + 1


def test_a_ring_under_another_number_is_damage(
    shared: MemoryStore, open_repo: OpenRepository
) -> None:
    """A ring cannot be made newer by giving it another name."""
    shared.objects[ring_name(77)] = shared.objects[rings(shared)[0]]
    with pytest.raises(Corruption) as caught:
        open_repo(shared)
    assert caught.value.code == "key-corrupt"
