"""What the services that keep versions and lock them have in common: bytes by obstore, locks by the service's own client."""

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, Self

import obstore

from engine.errors import Locked, NotFound
from repository.blobstore.locks import Lock, LockStore, Policy, Progress
from repository.blobstore.names import checked_name
from repository.blobstore.refusals import Service
from repository.blobstore.remote import Clients, Patience, RemoteStore

if TYPE_CHECKING:
    from obstore import GetOptions, PutMode
    from obstore.store import ObjectStore

CALLS_AT_ONCE = 16
LOCKED_CLIENTS_MAX = 4  # of the lock of now and that of a moment ago


class LockableRemoteStore(RemoteStore):
    """
    A prefix of a bucket. See Lockable.

    Args:
        locked: the client through which is written what gets this lock.
        load_locks: makes the service's own client at the first need; it takes long to import.
    """

    def __init__(
        self,
        clients: Clients,
        service: Service,
        address: str,
        *,
        suffix_ranges: bool,
        patience: Patience,
        locked: "Callable[[Lock], ObjectStore]",
        load_locks: Callable[["LockableRemoteStore"], LockStore],
    ) -> None:
        super().__init__(clients, service, address, suffix_ranges=suffix_ranges, patience=patience)
        self._locked = locked
        self._load_locks = load_locks
        self._policy: Policy | None = None
        self._own_locks: list[LockStore] = []  # one, shared with copies
        self._making = threading.Lock()  # boto3 makes clients for one thread at a time

    def locks(self) -> LockStore:
        """See Lockable."""
        with self._making:
            if not self._own_locks:
                self._own_locks.append(self._load_locks(self))
            return self._own_locks[0]

    def locking(self, policy: Policy) -> Self:
        """See Lockable."""
        made = copy.copy(self)
        made._policy = policy
        return made

    def _client_for(self, name: str, mode: "PutMode", *, small: bool) -> "ObjectStore":
        lock = self._policy(name) if self._policy else None
        if lock is None:
            return super()._client_for(name, mode, small=small)
        return self._locked(lock)

    def delete(self, name: str) -> None:
        """See BlobStore; see `Lockable.locking`."""
        if self._policy is None:
            super().delete(name)
        else:
            _delete_all(self.locks(), checked_name(name))

    def get_version(self, name: str, version_id: str, start: int, end: int) -> bytes:
        """Bytes of a version; there is at least one between `start` and `end`. NotFound."""
        asked: GetOptions = {"version": version_id, "range": (start, end)}
        return self._read(
            name, lambda path: obstore.get(self._clients.asking, path, options=asked).bytes()
        )


def _delete_all(locks: LockStore, name: str) -> None:
    """Every version of an object. Locked: some stay."""
    locked: Locked | None = None
    for version in list(locks.versions(name)):
        if version.name != name:
            continue
        try:
            locks.delete_version(version)
        except Locked as error:
            locked = error
    if locked is not None:
        raise locked


class _Each(Protocol):
    """What is asked of one object."""

    def lock_of(self, name: str, version_id: str | None = None) -> Lock | None:
        """See LockStore."""

    def set_lock(self, name: str, lock: Lock) -> None:
        """Lock the latest version of an object like this. NotFound."""


class ExtendsEach:
    """The part of a LockStore that extends locks object by object, several at a time."""

    def extend(
        self: _Each,
        names: Sequence[str],
        lock: Lock,
        least: Lock | None = None,
        progress: Progress = lambda done, todo: None,
    ) -> int:
        """See LockStore."""

        def extended(name: str) -> bool:
            try:
                held = self.lock_of(name)
                if held is not None and held.covers(least or lock):
                    return False
                self.set_lock(name, lock.over(held))
            except NotFound:
                return False
            return True

        changed = 0
        with ThreadPoolExecutor(CALLS_AT_ONCE, "lock") as threads:
            for number, has_changed in enumerate(threads.map(extended, names)):
                changed += has_changed
                progress(number + 1, len(names))
        return changed
