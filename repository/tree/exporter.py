"""
A directory tree out of the repository, as it was: names, bytes, modes, times, links, holes, empty folders.

Nothing is overwritten: the destination must be new or empty. Folders come first and get their modes and times last; links
come after all files, so that nothing is ever written through one.
"""

import errno
import os
import threading
from array import array
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cext import runs
from engine.catalog import SCHEMA, Row, rows_of
from engine.errors import BackupError, Conflict, NotFound
from repository.blobstore.ahead import workers
from repository.blobstore.local import translated
from repository.catalogs import CONTAINER, Catalog
from repository.entries import Entry
from repository.repository import Repository
from repository.tree import ROOT
from repository.tree.importer import Progress, ShowProgress, TreeProblem
from repository.tree.nodes import NodeMeta, row_meta
from repository.tree.paths import display
from repository.tree.windows import (
    in_order_of_packs,
    is_large,
    is_plain,
    ranges_of,
    windows_of,
    write_files,
)

HOLE_BYTES = 4096
# what is needed of rows, and of all those of files as long as there is one to write
_COLUMNS = ("id", "kind", "size", "created_ns", "modified_ns", "meta", "parts", "removed")
_FILE_COLUMNS = ["id", "size", "modified_ns", "meta", "parts"]


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
    entry: Entry,
    destination: Path,
    *,
    path: bytes = b"",
    show: ShowProgress | None = None,
) -> ExportResult:
    """
    Write the tree of an entry (or what is below `path` in it) to `destination`.

    Raises: Conflict if the destination is not empty, NotFound if `path` is not in the tree, Corruption for damaged bytes.
    """
    path = path.strip(b"/")
    path = b"" if path == ROOT else path
    others, files = _nodes(repository.catalog(entry, _COLUMNS), path)
    pa.default_memory_pool().release_unused()
    if not others and not files.num_rows:
        raise NotFound("the path is not in this restore point", code="path-not-found")
    prepare_destination(destination)
    try:
        return _Export(repository, os.fsencode(destination), path, show).run(others, files)
    except OSError as error:
        raise translated_destination(error, destination) from error


def _nodes(catalog: Catalog, path: bytes) -> tuple[list[Row], pa.Table]:
    """What is to be written: rows of all but files, and a compact table of the files, in one piece."""
    others: list[Row] = []
    files = []
    tables = chain((SCHEMA.empty_table().select(_COLUMNS),), catalog.live())
    for some, compact in map(partial(_parted, path=path), tables):
        others += some
        files.append(compact)
        pa.default_memory_pool().release_unused()
    return others, pa.concat_tables(files).unify_dictionaries().combine_chunks()


def _parted(table: pa.Table, path: bytes) -> tuple[list[Row], pa.Table]:
    """Rows of all but the files in one table, and the files with what is needed of them; owners and modes repeat."""
    if path:
        ids = table.column("id")
        table = table.filter(pc.or_(pc.equal(ids, path), pc.starts_with(ids, path + b"/")))
    is_file = pc.equal(table.column("kind"), "file")
    files = table.select(_FILE_COLUMNS).filter(is_file).combine_chunks()
    metas = pc.dictionary_encode(files.column("meta"))
    files = files.set_column(_FILE_COLUMNS.index("meta"), "meta", metas)
    return list(rows_of(table.filter(pc.invert(is_file)))), files


class _Export:
    def __init__(
        self, repository: Repository, root: bytes, base: bytes, show: ShowProgress | None
    ) -> None:
        self._repository = repository
        self._root = root
        self._base = base
        self._show = show or (lambda progress: None)
        self._threads = workers(repository.store)
        self._progress = Progress()
        self._result = ExportResult()
        self._lock = threading.Lock()
        self._names: set[bytes] = set()  # of files, where some have several

    def _relative(self, row_id: bytes) -> bytes:
        return row_id[len(self._base) + 1 :] if self._base else row_id

    def _target(self, row_id: bytes) -> bytes:
        if row_id in (ROOT, self._base):
            # a single file or link keeps its name
            return self._root
        return os.path.join(self._root, self._relative(row_id))

    def run(self, others: list[Row], files: pa.Table) -> ExportResult:
        if not any(row.kind == CONTAINER for row in others):
            self._base = self._base.rpartition(b"/")[0]
        folders = sorted((r for r in others if r.kind == CONTAINER), key=lambda r: r.id.count(b"/"))
        self._progress.items_total = len(others) + files.num_rows
        self._progress.bytes_total = pc.sum(files.column("size")).as_py() or 0
        for row in folders:
            row_meta(row)
            if self._target(row.id) != self._root:
                os.mkdir(self._target(row.id), 0o700)
            self._result.folders += 1
        self._files(files)
        for row in others:
            if row.kind in ("link", "fifo"):
                self._special(row, row_meta(row))
        for row in reversed(folders):
            self._attributes(self._target(row.id), row, row_meta(row))
            self._step(1)
        return self._result

    # -- files -----------------------------------------------------------------------------------

    def _files(self, files: pa.Table) -> None:
        """
        Files in the order in which their chunks lie in the packs, in windows that a thread of each core fills.

        Further names of a file come last, as links to the first one.
        """
        metas = files.column("meta").combine_chunks().dictionary
        if pc.any(pc.match_substring(metas, b'"same_as"')).as_py():
            self._names = set(files.column("id").to_pylist())
        order = in_order_of_packs(self._repository.reader, files)
        windows = windows_of(files, order)
        later: list[tuple[Row, NodeMeta]] = []
        with ThreadPoolExecutor(self._threads, "restore") as threads:
            under_way: deque[Future[list[tuple[Row, NodeMeta]]]] = deque()
            try:
                for window in windows:
                    under_way.append(threads.submit(self._window, files, window))
                    if len(under_way) > 2 * self._threads:
                        later += under_way.popleft().result()
                while under_way:
                    later += under_way.popleft().result()
                for row, meta in later:
                    if not self._is_another_name(meta):
                        self._large(row, meta, threads)
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise
        for row, meta in later:
            if self._is_another_name(meta):
                os.link(self._target(meta.same_as or b""), self._target(row.id))
                self._step(1)

    def _window(self, files: pa.Table, numbers: "array[int]") -> list[tuple[Row, NodeMeta]]:
        """Write the files of one window, all but further names of another file and those for every core: these come later."""
        plain, later = [], []
        for row in rows_of(files.take(pa.array(numbers, pa.int64()))):
            meta = row_meta(row)
            if self._is_another_name(meta) or is_large(row, meta):
                later.append((row, meta))
            elif is_plain(row, meta):
                plain.append((row, meta))
            else:
                self._file(row, meta)
        self._write_plain(plain)
        return later

    def _is_another_name(self, meta: NodeMeta) -> bool:
        """Whether a file is a further name of one that is exported as well."""
        return meta.same_as is not None and meta.same_as in self._names

    def _write_plain(self, plain: list[tuple[Row, NodeMeta]]) -> None:
        for row, outcome in write_files(self._repository.reader, self._root, plain, self._relative):
            if outcome > 0:
                raise OSError(outcome, os.strerror(outcome), os.fsdecode(self._target(row.id)))
            if outcome < 0:
                self._problem(row, f"owner not set ({os.strerror(-outcome)})")
        with self._lock:
            self._result.files += len(plain)
            size = sum(row.size for row, _ in plain)
            self._result.bytes += size
            self._progress.bytes += size
            self._step(len(plain))

    def _step(self, items: int) -> None:
        self._progress.items += items
        self._show(self._progress)

    def _file(self, row: Row, meta: NodeMeta) -> None:
        """One file by one thread: with holes, extended attributes, or a recipe for much."""
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
                    with self._lock:
                        self._progress.bytes += len(data)
                        self._show(self._progress)
            os.ftruncate(file, size)
        finally:
            os.close(file)
        self._attributes(target, row, meta)
        with self._lock:
            self._result.files += 1
            self._result.bytes += size
            self._step(1)

    def _large(self, row: Row, meta: NodeMeta, threads: ThreadPoolExecutor) -> None:
        """One file by all threads, each a range of it at a time."""
        target = self._target(row.id)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
        file, at = os.open(target, flags, 0o600), 0
        under_way: deque[Future[None]] = deque()
        try:
            for refs in ranges_of(row.parts):
                under_way.append(threads.submit(self._range, file, at, refs))
                at += runs.sum_lengths(refs)
                if len(under_way) > 2 * self._threads:
                    under_way.popleft().result()
            while under_way:
                under_way.popleft().result()
        finally:
            wait(under_way)  # nobody writes to a descriptor that is closed
            os.close(file)
        self._attributes(target, row, meta)
        with self._lock:
            self._result.files += 1
            self._result.bytes += at
            self._step(1)

    def _range(self, file: int, at: int, refs: bytes) -> None:
        gathered = self._repository.reader.gather(refs)
        for number in range(len(gathered.numbers)):
            piece = gathered.piece(number)
            while piece:
                written = os.pwrite(file, piece, at)
                piece, at = piece[written:], at + written
        with self._lock:
            self._progress.bytes += runs.sum_lengths(refs)
            self._show(self._progress)

    def _special(self, row: Row, meta: NodeMeta) -> None:
        target = self._target(row.id)
        if row.kind == "link":
            os.symlink(meta.link or b"", target)
        else:
            os.mkfifo(target, 0o600)
        self._attributes(target, row, meta)
        self._result.links += 1
        self._step(1)

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
