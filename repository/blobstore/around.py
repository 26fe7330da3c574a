"""
A blob store around another one: every call goes by a `Passage`, which may let it wait and sees what it took.

`limited` and `traced` are such passages. Locks and versions of the inner store go the same way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar

from repository.blobstore.locks import (
    BucketState,
    Lock,
    Lockable,
    LockStore,
    Policy,
    Progress,
    Version,
)
from repository.blobstore.protocol import BlobInfo, BlobStore, Spool

T = TypeVar("T")

Kind = Literal["get", "range", "size", "list", "put", "swap", "delete", "fill", "lock"]


@dataclass(frozen=True, slots=True)
class Call:
    """
    One call of a store.

    Attributes:
        kind: `fill` gives a spool more bytes and asks nothing of a service; `lock` is all about locks and versions.
        sent: bytes that go with it. awaited: bytes that come back at most, 0 if nobody knows.
    """

    kind: Kind
    sent: int = 0
    awaited: int = 0


class Passage(Protocol):
    """What stands around a store. Thread-safe."""

    def through(self, call: Call, act: Callable[[], T], received: Callable[[T], int]) -> T:
        """Do `act`, once; its result or error. `received`: bytes that came with a result."""


def around(inner: BlobStore, passage: Passage) -> BlobStore:
    """The same store with a passage around it; Lockable if it is."""
    kind = LockableAroundStore if isinstance(inner, Lockable) else AroundStore
    return kind(inner, passage)


def _none(result: object) -> int:
    return 0


class AroundStore:
    """See the module head. Thread-safe if the inner store is."""

    def __init__(self, inner: BlobStore, passage: Passage) -> None:
        self._inner = inner
        self._passage = passage

    def get(self, name: str) -> bytes:
        """See BlobStore."""
        return self._passage.through(Call("get"), lambda: self._inner.get(name), len)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See BlobStore."""
        call = Call("range", awaited=length)
        return self._passage.through(call, lambda: self._inner.get_range(name, offset, length), len)

    def put_new(self, name: str, data: bytes) -> None:
        """See BlobStore."""
        call = Call("put", len(data))
        self._passage.through(call, lambda: self._inner.put_new(name, data), _none)

    def get_tagged(self, name: str) -> tuple[bytes, str]:
        """See BlobStore."""
        return self._passage.through(
            Call("get"), lambda: self._inner.get_tagged(name), lambda found: len(found[0])
        )

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """See BlobStore."""
        call = Call("swap", len(data))
        return self._passage.through(call, lambda: self._inner.replace(name, data, expected), _none)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See BlobStore."""
        yield from self._passage.through(
            Call("list"), lambda: list(self._inner.list(prefix)), _none
        )

    def delete(self, name: str) -> None:
        """See BlobStore."""
        self._passage.through(Call("delete"), lambda: self._inner.delete(name), _none)

    def spool(self) -> "AroundSpool":
        """See BlobStore."""
        return AroundSpool(self._inner.spool(), self._passage)

    def size(self, name: str) -> int:
        """See BlobStore."""
        return self._passage.through(Call("size"), lambda: self._inner.size(name), _none)

    def local_folder(self) -> Path | None:
        """See BlobStore."""
        return self._inner.local_folder()

    def calls_at_once(self) -> int:
        """See BlobStore."""
        return self._inner.calls_at_once()

    def describe(self) -> str:
        """See BlobStore."""
        return self._inner.describe()


class AroundSpool:
    """See Spool. Its bytes pass while it is filled, so that they pass evenly."""

    def __init__(self, inner: Spool, passage: Passage) -> None:
        self._inner = inner
        self._passage = passage

    def write(self, data: bytes) -> None:
        """See Spool."""
        self._passage.through(Call("fill", len(data)), lambda: self._inner.write(data), _none)

    def put(self, name: str) -> None:
        """See Spool."""
        self._passage.through(Call("put"), lambda: self._inner.put(name), _none)

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._inner.__exit__(kind, error, trace)


class LockableAroundStore(AroundStore):
    """See Lockable."""

    def locks(self) -> "AroundLocks":
        """See Lockable."""
        return AroundLocks(self._lockable().locks(), self._passage)

    def locking(self, policy: Policy) -> "LockableAroundStore":
        """See Lockable."""
        return LockableAroundStore(self._lockable().locking(policy), self._passage)

    def _lockable(self) -> Lockable:
        assert isinstance(self._inner, Lockable)
        return self._inner


class AroundLocks:
    """See LockStore."""

    def __init__(self, inner: LockStore, passage: Passage) -> None:
        self._inner = inner
        self._passage = passage

    def _asked(self, act: Callable[[], T]) -> T:
        return self._passage.through(Call("lock"), act, _none)

    def now(self) -> datetime:
        """See LockStore."""
        return self._asked(self._inner.now)

    def bucket_state(self) -> BucketState:
        """See LockStore."""
        return self._asked(self._inner.bucket_state)

    def lock_of(self, name: str, version_id: str | None = None) -> Lock | None:
        """See LockStore."""
        return self._asked(lambda: self._inner.lock_of(name, version_id))

    def extend(
        self,
        names: Sequence[str],
        lock: Lock,
        least: Lock | None = None,
        progress: Progress = lambda done, todo: None,
    ) -> int:
        """See LockStore."""

        def passed(done: int, todo: int) -> None:
            self._asked(lambda: progress(done, todo))

        return self._inner.extend(names, lock, least, passed)

    def versions(self, prefix: str) -> Iterator[Version]:
        """See LockStore."""
        yield from self._asked(lambda: list(self._inner.versions(prefix)))

    def read_version(self, version: Version, offset: int, length: int) -> bytes:
        """See LockStore."""
        call = Call("range", awaited=length)
        return self._passage.through(
            call, lambda: self._inner.read_version(version, offset, length), len
        )

    def delete_version(self, version: Version) -> None:
        """See LockStore."""
        self._passage.through(Call("delete"), lambda: self._inner.delete_version(version), _none)
