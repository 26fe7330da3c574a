"""
What the repository asks of a medium that keeps versions and locks them (docs/decisions/0019-immutability.md).

A lock belongs to one version of an object and has an end. Until then nobody deletes or overwrites that version:
in mode `compliance` nobody at all, in mode `governance` nobody without a right of its own. A lock is extended, never
shortened. Whether a lock has ended is the store's decision; nothing here reads our clock.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

LockMode = Literal["compliance", "governance"]


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock of one version; `until` in UTC, whole seconds."""

    mode: LockMode
    until: datetime


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
    """Versions and locks of the objects of one blob store. Errors as of BlobStore, and Denied(blob-locked)."""

    def bucket_state(self) -> BucketState:
        """How the bucket is set. Denied if we may not ask."""

    def put_locked(self, name: str, data: bytes, lock: Lock) -> None:
        """`BlobStore.put_new` of an object that is locked from its first moment."""

    def lock_of(self, name: str, version_id: str | None = None) -> Lock | None:
        """The lock of a version (None: of the latest one), None if it has none. NotFound."""

    def extend(self, locks: Mapping[str, Lock]) -> None:
        """Lock the latest version of each object at least until its lock's end; longer locks stay. NotFound."""

    def versions(self, prefix: str) -> Iterator[Version]:
        """All versions and deletion markers below `prefix`: by name, then from the latest to the first."""

    def get_version(self, name: str, version_id: str) -> bytes:
        """All bytes of a version. NotFound."""

    def delete_versions(self, name: str) -> Sequence[str]:
        """Delete every version and marker of an object for good; the ids of those that a lock keeps stay and are returned."""
