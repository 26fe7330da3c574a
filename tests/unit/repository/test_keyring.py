"""Keys of a repository: several of every kind, removed, rotated, cut off at every operation; nobody is locked out."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import (
    BackupError,
    Conflict,
    Corruption,
    Denied,
    NotFound,
    Unavailable,
    UsageError,
)
from engine.keyring import Key, open_ring, read_ring
from engine.keys import OpeningKey, opening_key
from engine.seal import ObjectClass, decode_header
from repository import Places, Repository
from repository import unlocking as unlocking_module
from repository.blobstore.memory import MemoryStore
from repository.keyring import ring_name
from repository.keyservice import FileKeyService, file_key_service
from repository.repository import open_on
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
