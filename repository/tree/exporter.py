"""
A directory tree out of the repository, as it was: names, bytes, modes, times, links, holes, empty folders.

Nothing is overwritten: the destination must be new or empty. Folders come first and get their modes and times last; links
come after all files, so that nothing is ever written through one.
"""

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from engine.catalog import Row
from engine.errors import BackupError, Conflict, NotFound
from repository.blobstore.local import translated
from repository.catalogs import CONTAINER, Catalog
from repository.repository import Repository
from repository.tree import ROOT
from repository.tree.importer import Progress, ShowProgress, TreeProblem
from repository.tree.nodes import NodeMeta, display, row_meta

HOLE_BYTES = 4096


@dataclass(slots=True)
class ExportResult:
    """What an export wrote."""

    files: int = 0
    folders: int = 0
    links: int = 0
    bytes: int = 0
    problems: list[TreeProblem] = field(default_factory=list)


def prepare_destination(destination: Path) -> None:
    """Make the destination; Conflict unless it is new or an empty folder."""
    try:
        destination.mkdir(parents=True, exist_ok=True)
        if any(destination.iterdir()):
            raise Conflict(
                f"{destination} is not empty: choose a new folder; nothing was written",
                code="destination-not-empty",
            )
    except FileExistsError as error:
        raise Conflict(f"{destination} is a file", code="destination-not-empty") from error
    except OSError as error:
        raise translated_destination(error, destination) from error


def translated_destination(error: OSError, destination: Path) -> BackupError:
    """An error of the destination's disk as one of ours."""
    made = translated(error, str(destination))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        made.message = f"the disk of {destination} is full: free some space or choose another place"
    return made


def export_tree(
    repository: Repository,
    catalog: Catalog,
    destination: Path,
    *,
    path: bytes = b"",
    show: ShowProgress | None = None,
) -> ExportResult:
    """
    Write the tree of a catalog (or what is below `path` in it) to `destination`.

    Raises: Conflict if the destination is not empty, NotFound if `path` is not in the tree, Corruption for damaged bytes.
    """
    path = path.strip(b"/")
    path = b"" if path == ROOT else path
    rows = [row for row in catalog.rows() if _below(row.id, path)]
    if not rows:
        raise NotFound("the path is not in this restore point", code="path-not-found")
    prepare_destination(destination)
    try:
        return _Export(repository, os.fsencode(destination), path, show).run(rows)
    except OSError as error:
        raise translated_destination(error, destination) from error


def _below(row_id: bytes, path: bytes) -> bool:
    return not path or row_id == path or row_id.startswith(path + b"/")


class _Export:
    def __init__(
        self, repository: Repository, root: bytes, base: bytes, show: ShowProgress | None
    ) -> None:
        self._repository = repository
        self._root = root
        self._base = base
        self._show = show or (lambda progress: None)
        self._progress = Progress()
        self._result = ExportResult()

    def _target(self, row_id: bytes) -> bytes:
        if row_id in (ROOT, self._base):
            # a single file or link keeps its name
            return self._root
        relative = row_id[len(self._base) + 1 :] if self._base else row_id
        return os.path.join(self._root, relative)

    def run(self, rows: list[Row]) -> ExportResult:
        meta = {row.id: row_meta(row) for row in rows}
        if len(rows) == 1 and rows[0].kind != CONTAINER:
            self._base = self._base.rpartition(b"/")[0]
        folders = sorted((r for r in rows if r.kind == CONTAINER), key=lambda r: r.id.count(b"/"))
        files = [r for r in rows if r.kind == "file"]
        self._progress.items_total = len(rows)
        self._progress.bytes_total = sum(r.size for r in files if meta[r.id].same_as is None)
        for row in folders:
            if self._target(row.id) != self._root:
                os.mkdir(self._target(row.id), 0o700)
            self._result.folders += 1
        present = {row.id for row in files}
        own = [r for r in files if meta[r.id].same_as not in present]
        for row in sorted(own, key=lambda r: self._location(r)):
            self._file(row, meta[row.id])
        for row in files:
            same_as = meta[row.id].same_as
            if same_as is not None and same_as in present:
                os.link(self._target(same_as), self._target(row.id))
                self._step()
        for row in rows:
            if row.kind in ("link", "fifo"):
                self._special(row, meta[row.id])
        for row in reversed(folders):
            self._attributes(self._target(row.id), row, meta[row.id])
            self._step()
        return self._result

    def _location(self, row: Row) -> tuple[str, int]:
        return self._repository.reader.by_location(row.parts[0]) if row.parts else ("", 0)

    def _step(self) -> None:
        self._progress.items += 1
        self._show(self._progress)

    def _file(self, row: Row, meta: NodeMeta) -> None:
        target = self._target(row.id)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
        write = _write_with_holes if meta.sparse else _write
        size = 0
        file = os.open(target, flags, 0o600)
        try:
            for part in row.parts:
                for data in self._repository.read(part):
                    write(file, data)
                    size += len(data)
                    self._progress.bytes += len(data)
                    self._show(self._progress)
            os.ftruncate(file, size)
        finally:
            os.close(file)
        self._attributes(target, row, meta)
        self._result.files += 1
        self._result.bytes += size
        self._step()

    def _special(self, row: Row, meta: NodeMeta) -> None:
        target = self._target(row.id)
        if row.kind == "link":
            os.symlink(meta.link or b"", target)
        else:
            os.mkfifo(target, 0o600)
        self._attributes(target, row, meta)
        self._result.links += 1
        self._step()

    def _attributes(self, target: bytes, row: Row, meta: NodeMeta) -> None:
        """Owner, extended attributes, mode, times, in the order in which none undoes another."""
        is_link = row.kind == "link"
        if (meta.uid, meta.gid) != _owner(target):
            try:
                os.chown(target, meta.uid, meta.gid, follow_symlinks=False)
            except OSError as error:
                self._problem(row, f"owner not set ({error.strerror})")
        for name, value in meta.xattrs.items():
            try:
                os.setxattr(target, name, value, follow_symlinks=False)
            except OSError as error:
                reason = f"extended attribute {display(name)} not set ({error.strerror})"
                self._problem(row, reason)
        if not is_link:
            os.chmod(target, meta.mode)
        modified_ns = row.modified_ns if meta.modified_ns is None else meta.modified_ns
        os.utime(target, ns=(modified_ns, modified_ns), follow_symlinks=False)

    def _problem(self, row: Row, reason: str) -> None:
        self._result.problems.append(TreeProblem(row.id, "changed", reason))


def _owner(target: bytes) -> tuple[int, int]:
    status = os.lstat(target)
    return status.st_uid, status.st_gid


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _write_with_holes(file: int, data: bytes) -> None:
    """Write, leaving aligned blocks of zeros as holes."""
    at = os.lseek(file, 0, os.SEEK_CUR)
    start = 0
    while start < len(data):
        end = min(len(data), start + HOLE_BYTES - (at + start) % HOLE_BYTES)
        piece = data[start:end]
        if piece.count(0) == len(piece):
            os.lseek(file, len(piece), os.SEEK_CUR)
        else:
            _write(file, piece)
        start = end
