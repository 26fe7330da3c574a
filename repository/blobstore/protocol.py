"""
What the repository asks of a medium.

Must: create-only writes that are all or nothing; compare-and-swap on single objects; strongly consistent reads and
listings; durable when a call returns. Errors are those of the tree: NotFound(blob-not-found), Conflict(blob-exists,
blob-changed), Unavailable(store-unavailable, store-full), Denied(store-denied).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """One listed object; size in bytes."""

    name: str
    size: int


class Spool(Protocol):
    """An object that grows before it has a name. Leaving the block without `put` discards it."""

    def write(self, data: bytes) -> None:
        """Append."""

    def put(self, name: str) -> None:
        """Store what was written as `name`, create-only and durable. Conflict if the name exists."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class BlobStore(Protocol):
    """Named opaque objects. Names are `/`-separated ASCII, at most NAME_BYTES_MAX."""

    def get(self, name: str) -> bytes:
        """All bytes of an object. NotFound."""

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` (from the end if negative); fewer if the object ends. NotFound."""

    def put_new(self, name: str, data: bytes) -> None:
        """Create; Conflict if the name exists."""

    def get_tagged(self, name: str) -> tuple[bytes, str]:
        """An object and the tag of this content, for `replace`. NotFound."""

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """Compare-and-swap: write if the tag is still `expected` (None: absent); new tag. Conflict otherwise."""

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Objects whose name begins with `prefix`, in order of their names."""

    def delete(self, name: str) -> None:
        """Take an object away for good; one that is not there is no error. Called by the collector alone."""

    def spool(self) -> Spool:
        """Begin an object of unknown name and size."""

    def size(self, name: str) -> int:
        """Bytes of an object. NotFound."""

    def local_folder(self) -> Path | None:
        """The folder of this machine in which the objects lie, None if there is none."""

    def calls_at_once(self) -> int:
        """How many calls side by side pay off: 1 if no call waits for a network."""

    def describe(self) -> str:
        """What it is, for people; no secrets."""
