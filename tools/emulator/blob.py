"""
Content of messages and files, read when asked for: from memory, from a slice of a file on disk,
or made anew by a function of the seed.

Made content is cached within a bound of bytes; size and hashes are kept once computed.
"""

import abc
import hashlib
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from tools.emulator.quickxor import quick_xor

CACHE_BYTES_MAX = 96 << 20


class Blob(abc.ABC):
    """Immutable bytes with their size and hashes."""

    __slots__ = ("_quick_xor", "_sha256", "_size")
    costly = False  # True where reading takes long enough to be done in a thread

    def __init__(self, size: int | None = None) -> None:
        self._size = size
        self._sha256: str | None = None
        self._quick_xor: str | None = None

    @abc.abstractmethod
    def read(self) -> bytes:
        """All bytes."""

    def head(self, limit: int) -> bytes:
        """The first `limit` bytes, or all when there are fewer."""
        return self.read()[:limit]

    @property
    def size(self) -> int:
        """Length in bytes."""
        if self._size is None:
            self._size = len(self.read())
        return self._size

    @property
    def sha256(self) -> str:
        """SHA-256 in hexadecimal."""
        if self._sha256 is None:
            self._sha256 = hashlib.sha256(self.read()).hexdigest()
        return self._sha256

    @property
    def quick_xor(self) -> str:
        """quickXorHash in base64."""
        if self._quick_xor is None:
            self._quick_xor = quick_xor(self.read())
        return self._quick_xor


class BytesBlob(Blob):
    """Bytes in memory."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        super().__init__(len(data))
        self._data = data

    def read(self) -> bytes:
        return self._data


class FileBlob(Blob):
    """A slice of a file on disk that does not change while the emulator runs."""

    __slots__ = ("_offset", "_path")

    def __init__(self, path: Path, offset: int, size: int) -> None:
        super().__init__(size)
        self._path = path
        self._offset = offset

    def read(self) -> bytes:
        return self.head(self.size)

    def head(self, limit: int) -> bytes:
        with open(self._path, "rb") as file:
            return os.pread(file.fileno(), min(limit, self.size), self._offset)


class ContentCache:
    """Made content, least recently used out first; safe from several threads."""

    def __init__(self, limit: int = CACHE_BYTES_MAX) -> None:
        self._limit = limit
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: int, make: Callable[[], bytes]) -> bytes:
        """Return the content under `key`, making it when it is not held."""
        with self._lock:
            if (held := self._held.get(key)) is not None:
                self._held.move_to_end(key)
                return held
        data = make()
        with self._lock:
            if key not in self._held and len(data) <= self._limit // 4:
                self._held[key] = data
                self._bytes += len(data)
            while self._bytes > self._limit:
                self._bytes -= len(self._held.popitem(last=False)[1])
        return data


class MadeBlob(Blob):
    """Bytes that a pure function gives again each time."""

    __slots__ = ("_cache", "_key", "_make")
    costly = True
    _keys = itertools.count()

    def __init__(self, make: Callable[[], bytes], cache: ContentCache) -> None:
        super().__init__()
        self._make = make
        self._cache = cache
        self._key = next(self._keys)

    def read(self) -> bytes:
        data = self._cache.get(self._key, self._make)
        self._size = len(data)
        return data


class ComposedBlob(Blob):
    """Bytes that a pure function gives again each time, and that nobody keeps."""

    __slots__ = ("_make",)
    costly = True

    def __init__(self, make: Callable[[], bytes]) -> None:
        super().__init__()
        self._make = make

    def read(self) -> bytes:
        data = self._make()
        self._size = len(data)
        return data
