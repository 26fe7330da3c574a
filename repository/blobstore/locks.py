"""
What the repository asks of a medium that keeps versions and locks them (docs/decisions/0019-immutability.md).

A lock belongs to one version of an object and has an end. Until then nobody deletes that version: in mode `compliance`
nobody at all, in mode `governance` nobody without a right of its own. A lock is extended, never shortened. Whether one has
ended is the store's decision; nothing here asks our clock.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from engine.errors import BackupError, Unsupported
from repository.blobstore.protocol import BlobStore

LockMode = Literal["compliance", "governance"]


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock of one version; `until` in UTC, whole seconds."""

    mode: LockMode
    until: datetime

    def covers(self, other: "Lock") -> bool:
        """Whether it is as strict and as long."""
        return self.until >= other.until and (self.mode == "compliance" or other.mode == self.mode)

    def over(self, held: "Lock | None") -> "Lock":
        """What extends a lock that is held: the stricter mode, the later end."""
        if held is None:
            return self
        mode: LockMode = "compliance" if held.mode == "compliance" else self.mode
        return Lock(mode, max(self.until, held.until))


Progress = Callable[[int, int], None]  # done, in all
Policy = Callable[[str], Lock | None]  # name of an object that is written -> its lock


@dataclass(frozen=True, slots=True)
class Version:
    """
    One version of an object, or the marker that a deletion left.

    Attributes:
        written: the store's time, UTC. size: bytes, 0 of a marker.
    """

    name: str
    version_id: str
    written: datetime
    size: int
    is_latest: bool
    is_deletion: bool


@dataclass(frozen=True, slots=True)
class BucketState:
    """What the bucket promises. `default_lock`: it locks what comes without a lock of its own."""

    versioning: bool
    object_lock: bool
    default_lock: bool


class LockStore(Protocol):
    """Versions and locks of the objects of one blob store. Errors as of BlobStore, and Locked(blob-locked)."""

    def now(self) -> datetime:
        """The store's time, UTC."""

    def bucket_state(self) -> BucketState:
        """How the bucket is set. Denied if we may not ask."""

    def lock_of(self, name: str, version_id: str | None = None) -> Lock | None:
        """The lock of a version (None: of the latest one), None if it has none. NotFound."""

    def extend(
        self,
        names: Sequence[str],
        lock: Lock,
        least: Lock | None = None,
        progress: Progress = lambda done, todo: None,
    ) -> int:
        """
        Lock the latest version of each object like `lock`, unless it is locked like `least` (by default `lock`) already.

        Longer locks stay; names that are gone are left out. How many changed.
        """

    def versions(self, prefix: str) -> Iterator[Version]:
        """Versions and deletion markers of names that begin with `prefix`: by name, of each from the latest to the first."""

    def read_version(self, version: Version, offset: int, length: int) -> bytes:
        """`length` bytes of a version from `offset`; fewer if it ends. NotFound."""

    def delete_version(self, version: Version) -> None:
        """
        Take a version or marker away for good. Locked: its lock has not ended.

        What becomes of the versions under it is the medium's: S3 shows the next one, Azure hides all that is left.
        """


@runtime_checkable
class Lockable(Protocol):
    """A blob store whose medium can keep versions and lock them."""

    def locks(self) -> LockStore:
        """Its versions and locks."""

    def locking(self, policy: Policy) -> BlobStore:
        """
        The same objects; what is written under a name with a lock is locked from its first moment.

        Its `delete` takes every version away. Locked: a lock still keeps one; run it again when that has ended.
        """


def lock_store(store: BlobStore) -> LockStore:
    """Versions and locks of a store. Unsupported(locks-unsupported)."""
    if not isinstance(store, Lockable):
        raise Unsupported(
            f"{store.describe()} keeps no versions and locks of objects: use an S3 bucket made with Object Lock "
            "or an Azure container with version-level immutability",
            code="locks-unsupported",
        )
    return store.locks()


def keeps_versions(store: BlobStore) -> bool:
    """Whether what is deleted stays as a version, which takes space and can be read; False where the store does not tell."""
    if not isinstance(store, Lockable):
        return False
    try:
        return store.locks().bucket_state().versioning
    except BackupError:
        return False


def kept_versions(store: BlobStore, prefix: str) -> set[str]:
    """Names below a prefix of which there are versions and no latest one; none where the store does not tell."""
    if not isinstance(store, Lockable):
        return set()
    try:
        versions = list(store.locks().versions(prefix))
    except BackupError:
        return set()
    gone = {version.name for version in versions if version.is_latest and version.is_deletion}
    return gone & {version.name for version in versions if not version.is_deletion}
