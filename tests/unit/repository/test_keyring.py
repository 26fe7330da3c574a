"""Keys of a repository: several of every kind, removed, rotated, cut off at every operation; nobody is locked out."""

import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from engine.errors import (
    BackupError,
    Conflict,
    Corruption,
    Denied,
    NotFound,
    Unavailable,
    UsageError,
)
from engine.keyring import Key, Ring, open_ring, read_ring, seal_ring
from engine.keys import OpeningKey, opening_key
from engine.seal import ObjectClass, decode_header
from repository import Places, Repository
from repository import unlocking as unlocking_module
from repository.ambient import random_bytes
from repository.blobstore.memory import MemoryStore
from repository.keyring import Keyring, new_key_set, open_keyring, ring_name
from repository.keyservice import FileKeyService, file_key_service
from repository.repository import initialize, open_on
from repository.scrub import scrub
from repository.unlocking import (
    Credential,
    ServiceKey,
    passphrase_key,
    recipient_key,
    recovery_key,
    service_key,
    unlock,
)
from tests.fixtures.faults import FaultStore
from tests.fixtures.repositories import (
    CHEAP,
    PASSPHRASE,
    TREE,
    OpenRepository,
    commit_files,
    contents,
    head,
)

SECOND = "second passphrase"
THIRD = "third passphrase"
OLD_FILES = {"old": b"written in epoch 1"}
NEW_FILES = {"new": b"written in epoch 2"}
PRIVATE = OpeningKey(b"p" * 32)


def key(passphrase: str) -> Key:
    return passphrase_key(passphrase, cost=CHEAP)


def clone(store: MemoryStore) -> MemoryStore:
    made = MemoryStore()
    made.objects = dict(store.objects)
    return made


def rings(store: MemoryStore) -> list[str]:
    return sorted(name for name in store.objects if name.startswith("keys/"))


def write(repository: Repository, files: dict[str, bytes]) -> None:
    with repository.write_session("w") as session:
        commit_files(repository, session, files)


def files_of(repository: Repository) -> dict[str, bytes]:
    entry = head(repository, TREE)
    return {} if entry is None else contents(repository, entry)


@pytest.fixture
def shared(store: MemoryStore, open_repo: OpenRepository) -> MemoryStore:
    """A repository with two passphrases and some data."""
    with open_repo(store) as repository:
        repository.keyring.add(key(SECOND))
        write(repository, OLD_FILES)
    return store


def epochs_of_objects(store: MemoryStore, repository: Repository, prefix: str) -> dict[str, int]:
    """Key epochs in the headers of manifests, cells, ..."""
    classes = {
        "manifest/": ObjectClass.MANIFEST,
        "sess/": ObjectClass.CELL,
        "pack/d/": ObjectClass.DATA_PACK,
    }
    return {
        name: decode_header(data, classes[prefix], repository.uuid).epoch
        for name, data in store.objects.items()
        if name.startswith(prefix)
    }


# -- every kind of key -------------------------------------------------------------------------------


def test_every_kind_of_key_opens(
    store: MemoryStore, open_repo: OpenRepository, tmp_path: Path
) -> None:
    """Passphrases, a recovery secret as typed, a recipient's private key, a key service; all see the same data."""
    service = FileKeyService(tmp_path / "service")
    service.make("vault")
    held = ServiceKey(service, "vault")
    recovery, lines = recovery_key("safe")
    owner = open_repo(store)
    for made in (key(SECOND), recovery, recipient_key(PRIVATE.public, "Ann"), service_key(held)):
        owner.keyring.add(made)
    write(owner, OLD_FILES)
    credentials: list[Credential] = [
        PASSPHRASE, SECOND, "\n".join(lines), " ".join(lines).lower(), PRIVATE, held,
    ]  # fmt: skip
    kinds = set()
    for credential in credentials:
        repository = open_repo(store, credential=credential)
        assert files_of(repository) == OLD_FILES
        assert repository.verify("read").ok
        kinds.add(repository.keyring.find(repository.keyring.opened_with).kind)
    assert kinds == {"passphrase", "recovery", "recipient", "service"}
    labels = [(k.kind, k.label) for k in owner.keyring.ring.keys]
    assert ("recipient", "Ann") in labels
    assert not any(b"Ann" in data or b"safe" in data for data in store.objects.values())


@pytest.mark.parametrize(
    ("credential", "code"),
    [
        ("not the passphrase", "passphrase-wrong"),
        (OpeningKey(b"q" * 32), "key-unknown"),
        ("\n".join(recovery_key()[1]), "key-unknown"),
    ],
)
def test_a_wrong_key_is_denied(
    shared: MemoryStore, open_repo: OpenRepository, credential: Credential, code: str
) -> None:
    """Of each kind; a person has to act, nothing is damaged."""
    with pytest.raises(Denied) as caught:
        open_repo(shared, credential=credential)
    assert caught.value.code == code


def test_a_wrong_letter_of_a_recovery_secret_is_named(
    shared: MemoryStore, open_repo: OpenRepository
) -> None:
    """The line is named; without a recovery key it is just a wrong passphrase."""
    recovery, lines = recovery_key()
    wrong = lines[2].replace(lines[2][0], "Z" if lines[2][0] != "Z" else "Y", 1)
    typed = "\n".join([*lines[:2], wrong, *lines[3:]])
    with pytest.raises(Denied):
        open_repo(shared, credential=typed)
    open_repo(shared).keyring.add(recovery)
    with pytest.raises(UsageError, match="line 3 of the recovery secret"):
        open_repo(shared, credential=typed)


def test_a_passphrase_may_look_like_a_recovery_secret(
    store: MemoryStore, open_repo: OpenRepository
) -> None:
    """Twelve words are about as long."""
    words = "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima"
    keyring = open_repo(store).keyring
    keyring.add(recovery_key()[0])
    keyring.add(key(words))
    open_repo(store, credential=words)


def test_one_derivation_when_the_key_is_known(
    shared: MemoryStore, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With several passphrases a machine tries the one that opened last first: one Argon2, as with one passphrase."""
    count = 0
    stretch = unlocking_module.stretch

    def counted(*arguments: object) -> bytes:
        nonlocal count
        count += 1
        return stretch(*arguments)  # type: ignore[arg-type]

    with open_on(shared, PASSPHRASE, places) as repository:
        repository.keyring.add(key(THIRD))
    monkeypatch.setattr(unlocking_module, "stretch", counted)
    for expected in (3, 1, 1):
        count = 0
        open_on(shared, THIRD, places).close()
        assert count == expected
    memory = (places.state_dir / repository.id / "keys.json").read_text()
    assert THIRD not in memory
    assert PASSPHRASE not in memory


# -- removal and rotation ----------------------------------------------------------------------------


def test_a_removed_key_opens_nothing_and_rotation_hides_what_comes(
    shared: MemoryStore, open_repo: OpenRepository
) -> None:
    """
    After the removal its passphrase is wrong. With a ring kept from before it still opens epoch 1, which is the reason
    to rotate: then not one of the stored rings, and none of the new data.
    """
    kept = shared.objects[rings(shared)[0]]
    with open_repo(shared, credential=SECOND) as insider:
        number, captured = insider.keyring.ring.number, insider.keys
        gone = insider.keyring.opened_with
    with open_repo(shared) as owner:
        owner.keyring.remove(gone)
        with pytest.raises(Denied):
            open_repo(shared, credential=SECOND)
        assert rings(shared) == [ring_name(number + 1), ring_name(number + 1, "b")]
        owner.keyring.rotate()
        write(owner, NEW_FILES)
        for prefix in ("manifest/", "pack/d/"):
            assert sorted(epochs_of_objects(shared, owner, prefix).values()) == [1, 2]
        repository = owner.uuid
    form = read_ring(kept)
    mine, opening = unlock(form, SECOND, "")
    assert open_ring(form, mine, opening, repository).key_set == captured
    newest = read_ring(shared.objects[rings(shared)[0]])
    for other in newest.keys:
        member = next(
            k.member for k in open_ring(form, mine, opening, repository).keys if k.id == other.id
        )
        for attempt in (opening, OpeningKey(opening.private, member)):
            with pytest.raises(Corruption):
                open_ring(newest, other, attempt, repository)
    assert set(captured.epochs) == {1}


def test_everything_restores_over_epochs(shared: MemoryStore, open_repo: OpenRepository) -> None:
    """Old data stays readable to every key that remains, whoever rotated."""
    for _ in range(3):
        open_repo(shared, credential=SECOND).keyring.rotate()
        write(open_repo(shared), NEW_FILES)
    for passphrase in (PASSPHRASE, SECOND):
        repository = open_repo(shared, credential=passphrase)
        assert files_of(repository) == OLD_FILES | NEW_FILES
        assert repository.keys.newest_epoch == 4
        assert repository.verify("read").ok


def test_the_last_key_and_the_key_in_hand_stay(
    shared: MemoryStore, open_repo: OpenRepository
) -> None:
    """Whoever removes has shown that another key works."""
    owner = open_repo(shared).keyring
    with pytest.raises(UsageError) as caught:
        owner.remove(owner.opened_with)
    assert caught.value.code == "key-in-use"
    other = next(k for k in owner.ring.keys if k.id != owner.opened_with)
    owner.remove(other.id)
    with pytest.raises(UsageError) as caught:
        owner.remove(owner.opened_with)
    assert caught.value.code == "key-last"
    with pytest.raises(NotFound):
        owner.remove(other.id)
    with pytest.raises(NotFound):
        owner.find("")


def test_a_recipient_is_added_once(store: MemoryStore, open_repo: OpenRepository) -> None:
    """A second key of the same private key is no second key."""
    keyring = open_repo(store).keyring
    keyring.add(recipient_key(PRIVATE.public))
    with pytest.raises(Conflict) as caught:
        keyring.add(recipient_key(PRIVATE.public))
    assert caught.value.code == "key-exists"


# -- side by side ------------------------------------------------------------------------------------


def test_a_writer_keeps_its_epoch_and_the_next_session_takes_the_newest(
    shared: MemoryStore, open_repo: OpenRepository
) -> None:
    """An open session goes on in epoch 1; a session begun after the rotation, in the same process, writes epoch 2."""
    writer, owner = open_repo(shared), open_repo(shared)
    with writer.write_session("w") as session:
        commit_files(writer, session, {"a": b"A"})
        owner.keyring.rotate()
        commit_files(writer, session, {"b": b"B"})
        assert set(epochs_of_objects(shared, writer, "manifest/").values()) == {1}
    write(writer, {"c": b"C"})
    assert sorted(epochs_of_objects(shared, writer, "manifest/").values()) == [1, 1, 1, 2]
    assert set(epochs_of_objects(shared, writer, "sess/").values()) == {2}
    assert files_of(open_repo(shared)) == OLD_FILES | {"a": b"A", "b": b"B", "c": b"C"}


def test_a_reader_that_meets_an_unknown_epoch_reads_the_keys_once_more(
    shared: MemoryStore, open_repo: OpenRepository
) -> None:
    """Without being opened anew; an epoch that no ring has stays an error, and a removed reader is told."""
    watched = FaultStore(shared)
    reader, owner = open_repo(watched), open_repo(shared, credential=SECOND)
    owner.keyring.rotate()
    write(owner, NEW_FILES)
    watched.arm()
    reader.refresh()
    assert files_of(reader) == OLD_FILES | NEW_FILES
    assert sum(step == ("list", "keys/") for step in watched.trace) == 1
    with pytest.raises(Corruption) as caught:
        reader.keys.epoch(9)
    assert caught.value.code == "epoch-unknown"
    owner.keyring.remove(reader.keyring.opened_with)
    owner.keyring.rotate()
    write(owner, {"late": b"late"})
    with pytest.raises(Denied) as denied:
        reader.refresh()
    assert denied.value.code == "key-removed"


def test_changes_at_the_same_time_all_count(shared: MemoryStore, open_repo: OpenRepository) -> None:
    """Whoever loses the race for the next ring reads again; nothing is undone."""
    store = FaultStore(shared)
    first, second = open_repo(store).keyring, open_repo(shared, credential=SECOND).keyring
    done: list[int] = []

    def intrude(operation: str, name: str) -> None:
        if operation == "put_new" and not done:
            done.append(second.add(recipient_key(PRIVATE.public, "in between")).ring)

    store.on_operation = intrude
    change = first.add(key(THIRD))
    assert change.ring == done[0] + 1
    for credential in (PASSPHRASE, SECOND, THIRD, PRIVATE):
        open_repo(shared, credential=credential)


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


# -- key service -------------------------------------------------------------------------------------


def test_versions_of_a_service_key(tmp_path: Path) -> None:
    """A new version wraps from now on, older ones still unwrap; a destroyed one is denied."""
    service, name = file_key_service(f"file:{tmp_path / 'keys'}/vault")
    assert service.make(name) == 1
    old = service.wrap(name, b"s" * 32)
    assert service.make(name) == 2
    new = service.wrap(name, b"t" * 32)
    assert (service.unwrap(name, old), service.unwrap(name, new)) == (b"s" * 32, b"t" * 32)
    path = tmp_path / "keys" / "vault.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other, _ = file_key_service(f"file:{tmp_path / 'other'}/vault")
    other.make(name)
    for wrapped in (old, new, b"", b"\1\0\0\0", bytes(64)):
        with pytest.raises(Denied):
            other.unwrap(name, wrapped)
    assert opening_key(service.unwrap(name, old)).public != opening_key(b"t" * 32).public


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda path: path.unlink(), Unavailable),
        (lambda path: path.chmod(0o640), Denied),
        (lambda path: path.write_bytes(path.read_bytes()[:-2]), Corruption),
        (lambda path: (path.unlink(), path.mkdir()), Unavailable),
    ],
)
def test_a_service_that_cannot_says_what_to_do(
    tmp_path: Path, spoil: Callable[[Path], object], kind: type[BackupError]
) -> None:
    """Away: attach it. No right, or open to others: a person acts. Damaged: put it back."""
    service = FileKeyService(tmp_path)
    service.make("vault")
    wrapped = service.wrap("vault", b"s" * 32)
    spoil(tmp_path / "vault.key")
    with pytest.raises(kind) as caught:
        service.unwrap("vault", wrapped)
    assert ":" in caught.value.message
    assert os.listdir(tmp_path) in ([], ["vault.key"])


@pytest.mark.parametrize("address", ["", "vault", "file:", "file:a/b c", "kms:a/b", "file:/"])
def test_addresses_of_key_services(address: str) -> None:
    """Anything but file:DIR/NAME is the caller's mistake."""
    with pytest.raises(UsageError):
        file_key_service(address)
