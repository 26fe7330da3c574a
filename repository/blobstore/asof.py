"""
A store as it was: of each object the version that was the latest at a time. Read-only.

Later deletion markers, overwrites and objects do not exist in it. Versions are listed folder by folder, when one is asked
for. Times are the store's, of whole seconds on some.
"""

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from engine.errors import Denied, NotFound
from repository.blobstore.locks import LockStore, Version
from repository.blobstore.names import checked_name
from repository.blobstore.protocol import BlobInfo


class AsOfStore:
    """
    A blob store that shows what was there at `moment` and takes nothing. Thread-safe.

    Args:
        locks: the versions. moment: UTC. where: the store, for people. calls_at_once: as of BlobStore.
    """

    def __init__(self, locks: LockStore, moment: datetime, where: str, calls_at_once: int) -> None:
        self._locks = locks
        self._moment = moment
        self._where = where
        self._calls_at_once = calls_at_once
        self._folders: dict[str, dict[str, Version]] = {}
        self._turn = threading.Lock()

    def _folder(self, name: str) -> dict[str, Version]:
        """Versions of all objects of that time below the first folder of a name; by name, in order."""
        prefix = name.partition("/")[0]
        with self._turn:
            if prefix not in self._folders:
                self._folders[prefix] = self._of_then(prefix)
            return self._folders[prefix]

    def _of_then(self, prefix: str) -> dict[str, Version]:
        found: dict[str, Version] = {}
        for version in self._locks.versions(prefix):
            if version.written <= self._moment:
                found.setdefault(version.name, version)
        return {name: version for name, version in found.items() if not version.is_deletion}

    def _version(self, name: str) -> Version:
        try:
            return self._folder(checked_name(name))[name]
        except KeyError:
            raise NotFound(f"{name} was not in the store then", code="blob-not-found") from None

    def get(self, name: str) -> bytes:
        """See BlobStore."""
        version = self._version(name)
        return self._locks.read_version(version, 0, version.size)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See BlobStore."""
        version = self._version(name)
        start = max(0, version.size + offset) if offset < 0 else offset
        return self._locks.read_version(version, start, length)

    def get_tagged(self, name: str) -> tuple[bytes, str]:
        """See BlobStore."""
        return self.get(name), self._version(name).version_id

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See BlobStore."""
        if "/" not in prefix:
            found = self._of_then(prefix)
        else:
            found = self._folder(prefix)
        for name, version in found.items():
            if name.startswith(prefix):
                yield BlobInfo(name, version.size)

    def size(self, name: str) -> int:
        """See BlobStore."""
        return self._version(name).size

    def local_folder(self) -> Path | None:
        """See BlobStore."""
        return None

    def calls_at_once(self) -> int:
        """See BlobStore."""
        return self._calls_at_once

    def describe(self) -> str:
        """See BlobStore."""
        return f"{self._where} as of {self._moment.isoformat()}"

    # -- what it does not do ---------------------------------------------------------------------

    def put_new(self, name: str, data: bytes) -> None:
        """Denied."""
        self._refuse()

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """Denied."""
        self._refuse()

    def delete(self, name: str) -> None:
        """Denied."""
        self._refuse()

    def spool(self) -> NoReturn:
        """Denied."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise not_written(self.describe())


def not_written(where: str) -> Denied:
    """The error of whoever would write into the past."""
    return Denied(f"{where} is looked at, not written: leave --as-of out", code="store-past")
