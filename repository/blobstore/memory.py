"""Blob store in memory: a real driver, for tests and small tools."""

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from blake3 import blake3

from engine.errors import Conflict, NotFound
from repository.blobstore.names import checked_name
from repository.blobstore.protocol import BlobInfo


class MemoryStore:
    """Objects in a dict. Thread-safe."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> bytes:
        """See BlobStore."""
        try:
            return self.objects[checked_name(name)]
        except KeyError:
            raise NotFound(f"{name} is not in the store", code="blob-not-found") from None

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See BlobStore."""
        data = self.get(name)
        start = max(0, len(data) + offset) if offset < 0 else offset
        return data[start : start + length]

    def put_new(self, name: str, data: bytes) -> None:
        """See BlobStore."""
        with self._lock:
            if checked_name(name) in self.objects:
                raise Conflict(f"{name} exists", code="blob-exists")
            self.objects[name] = bytes(data)

    def get_tagged(self, name: str) -> tuple[bytes, str]:
        """See BlobStore."""
        data = self.get(name)
        return data, blake3(data).hexdigest()

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """See BlobStore."""
        with self._lock:
            found = self.objects.get(checked_name(name))
            if (None if found is None else blake3(found).hexdigest()) != expected:
                raise Conflict(f"{name} was changed by another writer", code="blob-changed")
            self.objects[name] = bytes(data)
        return blake3(data).hexdigest()

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See BlobStore."""
        for name in sorted(name for name in list(self.objects) if name.startswith(prefix)):
            yield BlobInfo(name, len(self.objects[name]))

    def delete(self, name: str) -> None:
        """See BlobStore."""
        with self._lock:
            self.objects.pop(checked_name(name), None)

    def spool(self) -> "MemorySpool":
        """See BlobStore."""
        return MemorySpool(self)

    def size(self, name: str) -> int:
        """See BlobStore."""
        return len(self.get(name))

    def local_folder(self) -> None:
        """See BlobStore."""

    def calls_at_once(self) -> int:
        """See BlobStore."""
        return 1

    def describe(self) -> str:
        """See BlobStore."""
        return "memory"


class MemorySpool:
    """See Spool."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        """See Spool."""
        self._data += data

    def put(self, name: str) -> None:
        """See Spool."""
        self._store.put_new(name, bytes(self._data))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._data.clear()
