"""
Blob store on a local disk: one file an object.

A file is written without a name (O_TMPFILE, else a name below `tmp/`), synced, then linked: all or nothing, never over
another. Compare-and-swap is a lock on one never-renamed file around read, compare, rename. Only file systems that keep flock
and link promises are fit; `repo init` probes them.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from blake3 import blake3

from engine.errors import BackupError, Conflict, Denied, NotFound, Unavailable
from repository.blobstore.names import checked_name, is_name
from repository.blobstore.protocol import BlobInfo

_LOCK = "cas.lock"
_SPOOLS = "tmp"
_NAMED = ".spool"  # ends the names of spools where there are no nameless files
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def translated(error: OSError, what: str) -> BackupError:
    """An operating system error as one of ours."""
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return NotFound(f"{what} is not in the store", code="blob-not-found")
    if isinstance(error, FileExistsError):
        return Conflict(f"{what} exists", code="blob-exists")
    if error.errno in _FULL:
        return Unavailable(
            "the disk of the repository is full: free some space and run again; nothing is lost",
            code="store-full",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Denied(
            f"no right to use {what} ({os.strerror(error.errno)}): check owner and mount",
            code="store-denied",
        )
    reason = os.strerror(error.errno) if error.errno else "input/output error"
    return Unavailable(f"{what} cannot be used: {reason}", code="store-unavailable")


@contextlib.contextmanager
def _translating(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise translated(error, what) from error


class LocalStore:
    """Objects as files below `root`. Thread-safe and safe between processes of one machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def create(cls, root: Path) -> "LocalStore":
        """Make an empty store in a folder that is absent or empty. Conflict if something is in it."""
        with _translating(str(root)):
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if any(root.iterdir()):
                raise Conflict(
                    f"{root} is not empty: choose a new folder for a repository",
                    code="store-not-empty",
                )
            (root / _SPOOLS).mkdir(mode=0o700)
        return cls(root)

    def _path(self, name: str) -> Path:
        return self.root / checked_name(name)

    def get(self, name: str) -> bytes:
        """See BlobStore."""
        with _translating(name):
            return self._path(name).read_bytes()

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See BlobStore."""
        with _translating(name):
            file = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                if offset < 0:
                    offset = max(0, os.fstat(file).st_size + offset)
                return os.pread(file, length, offset)
            finally:
                os.close(file)

    def put_new(self, name: str, data: bytes) -> None:
        """See BlobStore."""
        with self.spool() as spool:
            spool.write(data)
            spool.put(name)

    def get_tagged(self, name: str) -> tuple[bytes, str]:
        """See BlobStore."""
        data = self.get(name)
        return data, blake3(data).hexdigest()

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """See BlobStore."""
        path = self._path(name)
        with _translating(name), open(self.root / _LOCK, "a+b", opener=_private) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                found = blake3(path.read_bytes()).hexdigest()
            except FileNotFoundError:
                found = None
            if found != expected:
                raise Conflict(f"{name} was changed by another writer", code="blob-changed")
            if not path.parent.is_dir():
                _make_folders(path.parent, self.root)
            temporary = _spools(self.root) / secrets.token_hex(16)
            _write_synced(temporary, data)
            temporary.rename(path)
            _sync_folder(path.parent)
        return blake3(data).hexdigest()

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See BlobStore."""
        above = prefix.rpartition("/")[0]
        folder = self._path(above) if above else self.root
        with _translating(prefix or "the store"):
            found = sorted(self._walk(folder))
        for name, size in found:
            if name.startswith(prefix):
                yield BlobInfo(name, size)

    def _walk(self, folder: Path) -> Iterator[tuple[str, int]]:
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if path != self.root / _SPOOLS:
                    yield from self._walk(path)
            elif entry.name != _LOCK and is_name(name := path.relative_to(self.root).as_posix()):
                # what no put could have made (.nfs..., .DS_Store) is none of ours
                with contextlib.suppress(FileNotFoundError):
                    yield name, entry.stat().st_size

    def delete(self, name: str) -> None:
        """See BlobStore."""
        path = self._path(name)
        with _translating(name):
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                _sync_folder(path.parent)

    def spool(self) -> "LocalSpool":
        """See BlobStore."""
        return LocalSpool(self.root)

    def size(self, name: str) -> int:
        """See BlobStore."""
        with _translating(name):
            found = self._path(name).stat()
            if not stat.S_ISREG(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            return found.st_size

    def local_folder(self) -> Path | None:
        """See BlobStore."""
        return self.root

    def calls_at_once(self) -> int:
        """See BlobStore."""
        return 1

    def describe(self) -> str:
        """See BlobStore."""
        return str(self.root)


class LocalSpool:
    """A file without a name that grows, then is linked to its place. See Spool."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._name: Path | None = None
        with _translating(str(root)):
            spools = _spools(root)
            try:
                self._file = os.open(spools, os.O_TMPFILE | os.O_RDWR, 0o600)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                    raise
                # this file system has no nameless files; a crash leaves the name until the next one comes
                _take_away_left(spools)
                self._file, self._name = _named_spool(spools)

    def write(self, data: bytes) -> None:
        """See Spool."""
        with _translating(str(self._root)):
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]

    def put(self, name: str) -> None:
        """See Spool."""
        path = self._root / checked_name(name)
        with _translating(name):
            os.fsync(self._file)
            if not path.parent.is_dir():
                _make_folders(path.parent, self._root)
            self._link(path)
            _sync_folder(path.parent)

    def _link(self, path: Path) -> None:
        if self._name is not None:
            os.link(self._name, path)
            return
        # with a folder descriptor given, the link is followed to the nameless file
        folder = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.link(str(self._file), path, src_dir_fd=folder, follow_symlinks=True)
        finally:
            os.close(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)
        if self._name is not None:
            self._name.unlink(missing_ok=True)


def _spools(root: Path) -> Path:
    """The folder of unfinished objects; a copy of a repository may have come without it, because it is empty."""
    folder = root / _SPOOLS
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _named_spool(spools: Path) -> tuple[int, Path]:
    """A new file, locked as long as it is open."""
    while True:
        path = spools / f"{secrets.token_hex(16)}{_NAMED}"
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        with contextlib.suppress(OSError):  # where locks are lacking nobody takes it away either
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            return file, path
        os.close(file)  # somebody took it for a left one before it was locked


def _take_away_left(spools: Path) -> None:
    """Unlink named spools that nobody has open: whoever wrote them was killed."""
    for path in spools.glob(f"*{_NAMED}"):
        with contextlib.suppress(OSError):
            file = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            finally:
                os.close(file)


def _make_folders(folder: Path, root: Path) -> None:
    for parent in reversed([folder, *folder.parents]):
        if root in parent.parents and not parent.is_dir():
            parent.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(parent.parent)


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "xb", opener=_private) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            path.unlink()
            raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
