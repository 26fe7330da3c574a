"""Versions and locks in memory: a real driver, for tests; it passes the contract of S3's (tests/contract/test_locks.py)."""

import copy
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from engine.errors import Locked, NotFound
from repository.blobstore.locks import BucketState, Lock, Policy, Progress, Version
from repository.blobstore.memory import MemoryStore


@dataclass(slots=True)
class _Held:
    """A stored version; `data` is None in a deletion marker."""

    version_id: str
    written: datetime
    data: bytes | None
    lock: Lock | None


class VersionedMemoryStore(MemoryStore):
    """
    A bucket with versions and locks. Thread-safe.

    Args:
        clock: the store's time, UTC.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self.state = [BucketState(versioning=True, object_lock=True, default_lock=False)]
        self._clock = clock
        self._policy: Policy | None = None
        self._held: dict[str, list[_Held]] = {}  # from the first to the latest
        self._numbers = itertools.count(1)
        self._turn = threading.RLock()  # a write and its version are one

    # -- as a blob store -------------------------------------------------------------------------

    def put_new(self, name: str, data: bytes) -> None:
        """See BlobStore."""
        with self._turn:
            super().put_new(name, data)
            self._note(name, bytes(data), self._lock_for(name))

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """See BlobStore."""
        with self._turn:
            tag = super().replace(name, data, expected)
            self._note(name, bytes(data), self._lock_for(name))
            return tag

    def overwrite(self, name: str, data: bytes, lock: Lock | None = None) -> None:
        """A write without a condition, as a medium takes it from anybody."""
        with self._turn:
            self.objects[name] = data
            self._note(name, data, lock)

    def delete(self, name: str) -> None:
        """See BlobStore; see `Lockable.locking`."""
        with self._turn:
            if self._policy is None:
                super().delete(name)
                self._note(name, None, None)
                return
            for version in [v for v in self.versions(name) if v.name == name]:
                self.delete_version(version)

    def _lock_for(self, name: str) -> Lock | None:
        return self._policy(name) if self._policy else None

    def _note(self, name: str, data: bytes | None, lock: Lock | None) -> None:
        held = _Held(f"v{next(self._numbers)}", self._clock(), data, lock)
        self._held.setdefault(name, []).append(held)

    # -- as a lock store -------------------------------------------------------------------------

    def locks(self) -> Self:
        """See Lockable."""
        return self

    def now(self) -> datetime:
        """See LockStore."""
        return self._clock()

    def bucket_state(self) -> BucketState:
        """See LockStore."""
        return self.state[0]

    def locking(self, policy: Policy) -> Self:
        """See Lockable."""
        made = copy.copy(self)
        made._policy = policy
        return made

    def _find(self, name: str, version_id: str | None) -> _Held:
        held = self._held.get(name, [])
        found = held[-1:] if version_id is None else [h for h in held if h.version_id == version_id]
        if not found or found[0].data is None:
            raise NotFound(f"{name} is not in the store", code="blob-not-found")
        return found[0]

    def lock_of(self, name: str, version_id: str | None = None) -> Lock | None:
        """See LockStore."""
        with self._turn:
            return self._find(name, version_id).lock

    def extend(
        self,
        names: Sequence[str],
        lock: Lock,
        least: Lock | None = None,
        progress: Progress = lambda done, todo: None,
    ) -> int:
        """See LockStore."""
        changed = 0
        with self._turn:
            for number, name in enumerate(names):
                progress(number + 1, len(names))
                try:
                    held = self._find(name, None)
                except NotFound:
                    continue
                if held.lock is None or not held.lock.covers(least or lock):
                    held.lock = lock.over(held.lock)
                    changed += 1
        return changed

    def versions(self, prefix: str) -> Iterator[Version]:
        """See LockStore."""
        with self._turn:
            for name in sorted(name for name in self._held if name.startswith(prefix)):
                for back, held in enumerate(reversed(list(self._held[name]))):
                    size = len(held.data or b"")
                    yield Version(
                        name, held.version_id, held.written, size, back == 0, held.data is None
                    )

    def read_version(self, version: Version, offset: int, length: int) -> bytes:
        """See LockStore."""
        with self._turn:
            data = self._find(version.name, version.version_id).data
        assert data is not None
        return data[offset : offset + length]

    def delete_version(self, version: Version) -> None:
        """See LockStore."""
        with self._turn:
            held = self._held.get(version.name, [])
            for found in [h for h in held if h.version_id == version.version_id]:
                if found.lock is not None and found.lock.until > self._clock():
                    raise Locked(
                        f"{version.name} is protected from changes by a policy: wait",
                        code="blob-locked",
                    )
                held.remove(found)
            if not held:
                self._held.pop(version.name, None)
            if held and held[-1].data is not None:
                self.objects[version.name] = held[-1].data
            else:
                self.objects.pop(version.name, None)
