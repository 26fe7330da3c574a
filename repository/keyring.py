"""Key objects of a repository: make them, open one with a passphrase."""

from engine.errors import BackupError, Corruption, Denied, Unavailable
from engine.keys import KEY_BYTES, SALT_BYTES, EpochKeys, KdfCost, KeySet, unwrap, wrap
from repository.ambient import random_bytes
from repository.blobstore.protocol import BlobStore
from repository.layout import KEYS


def new_key_set(config_digest: bytes) -> KeySet:
    """Fresh random keys, epoch 1."""
    return KeySet(
        id_key=random_bytes(KEY_BYTES),
        chunker_key=random_bytes(KEY_BYTES),
        signing_seed=random_bytes(KEY_BYTES),
        epochs={1: EpochKeys(random_bytes(KEY_BYTES), random_bytes(KEY_BYTES))},
        config_digest=config_digest,
    )


def add_key(
    store: BlobStore, keys: KeySet, passphrase: str, repository: bytes, cost: KdfCost
) -> str:
    """Wrap the key set with one more passphrase; the name of the new object."""
    name = f"{KEYS}{random_bytes(16).hex()}"
    wrapped = wrap(keys, passphrase.encode(), random_bytes(SALT_BYTES), repository, cost)
    store.put_new(name, wrapped)
    return name


def open_key_set(store: BlobStore, passphrase: str, repository: bytes) -> KeySet:
    """
    The key set that a passphrase opens.

    Raises:
        Denied: no key takes the passphrase. Corruption: no key is whole, or it is of another repository. Unavailable: one takes
            more memory than there is.
    """
    failures: list[BackupError] = []
    for blob in store.list(KEYS):
        try:
            return unwrap(store.get(blob.name), passphrase.encode(), repository)
        except (Denied, Corruption, Unavailable) as error:
            failures.append(error)
    for failure in failures:
        if isinstance(failure, Unavailable) or failure.code == "key-foreign":
            raise failure
    wrong = [error for error in failures if isinstance(error, Denied)]
    if wrong:
        raise Denied(
            "the passphrase is wrong: give the one that was chosen when the repository was made",
            code="passphrase-wrong",
        )
    raise Corruption(
        "the repository has no key that can be read: put back keys/ from a copy of the repository",
        code="keys-missing",
    )
