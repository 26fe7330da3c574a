"""
A directory tree into the repository.

Unchanged files are told by size, mtime, ctime and inode and not read again. What cannot be read is named and the rest goes
on; a session that was cut off goes on from its last commit, because stored files are found unchanged. Small plain files
go in batches (repository/tree/batches.py), other files one by one (repository/tree/files.py).
"""

import os
import secrets
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa

from cext import filebatch, runs
from engine.catalog import Row, removed_row
from engine.errors import Corruption, UsageError
from engine.manifest import ObjectKey, PointForm
from repository.ambient import cores
from repository.entries import Entry
from repository.points import PointDraft, new_point_id
from repository.repository import Repository
from repository.session import WriteSession
from repository.slices import Slice
from repository.tree import KIND, ROOT, WORKLOAD
from repository.tree.batches import (
    Batch,
    Batcher,
    BatchReader,
    Listed,
    ReadBatch,
    listed,
    small_ones,
)
from repository.tree.files import FileReader, ReadFile
from repository.tree.nodes import Node, extended_attributes, node_row
from repository.tree.paths import check_folder

READERS_MAX = 4  # threads that read and store: a batch each, or a large file with its two buffers
COMMIT_ROWS_MAX = 65_536
COMMIT_BYTES_MAX = 4 * 1024**3
ROWS_PER_STEP = 1024


@dataclass(slots=True)
class Progress:
    """How far an import or export is; bytes of file content."""

    items: int = 0
    items_total: int = 0
    bytes: int = 0
    bytes_total: int = 0


ShowProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class TreeProblem:
    """A node that was not kept or not given back as it was."""

    path: bytes
    result: Literal["skipped", "failed", "changed"]
    reason: str


@dataclass(slots=True)
class ImportResult:
    """What an import did."""

    point: PointForm | None = None
    files_read: int = 0
    unchanged: int = 0
    removed: int = 0
    bytes_read: int = 0
    bytes_stored: int = 0
    problems: list[TreeProblem] = field(default_factory=list)


def import_tree(
    repository: Repository,
    root: Path,
    name: str,
    *,
    reread: bool = False,
    show: ShowProgress | None = None,
    identity: str | None = None,
    scope: str | None = None,
) -> ImportResult:
    """
    Store the tree below `root` as one restore point named `name`, in a scope if one is named.

    Raises: NotFound or UsageError if `root` is not a folder or holds the repository; errors of the store. Nodes that
        cannot be read are problems.
    """
    check_folder(root)
    home = repository.store.local_folder()
    if home is not None and home.resolve().is_relative_to(root.resolve()):
        raise UsageError(
            f"the repository lies inside {root} and would store itself: move one of them",
            code="repository-inside",
        )
    if repository.state.generation.items_from_ns is not None:
        raise UsageError(
            "this repository drops items by their age, and files may be old when they come: import into another one",
            code="item-period-unfit",
        )
    with repository.write_session(identity, scope) as session:
        work = _Import(repository, session, os.fsencode(root), name, reread=reread, show=show)
        return work.run()


class _Import:
    def __init__(
        self,
        repository: Repository,
        session: WriteSession,
        root: bytes,
        name: str,
        *,
        reread: bool,
        show: ShowProgress | None,
    ) -> None:
        self._repository = repository
        self._session = session
        self._root = root
        self._name = name
        self._reread = reread
        self._show = show or _no_show
        self._progress = Progress()
        self._result = ImportResult()
        self._committed_bytes = 0  # of those read, what the last commit held
        self._closing = False
        self._lock = threading.Lock()
        self._files = FileReader(session, self._note_read, lambda: self._closing)
        self._rows: list[Row] = []
        self._unread: set[bytes] = set()
        self._first_names: dict[tuple[int, int], bytes] = {}
        self._job_session = secrets.token_hex(16)
        heads = repository.entries.heads(KIND, name, WORKLOAD)
        self._lost: set[bytes] = (
            set()
        )  # stored rows whose chunks are in packs that could not be repaired
        ground = session.scope.ground(heads)
        previous = None if ground is None else self._readable(ground)
        self._went_before = previous is not None
        self._slice: Slice = session.open_slice(
            ObjectKey(KIND, name, name),
            WORKLOAD,
            self._job_session,
            previous=previous,
            parents=tuple(head.ref for head in heads),
            walk=True,
        )

    def _readable(self, previous: Entry) -> Entry | None:
        """The entry to go on from, its lost rows noted; None if marked packs took its catalog: then all is read anew."""
        if not self._repository.state.damaged:
            return previous
        try:
            self._repository.checkpoint(previous)
            index, usable = self._repository.index, self._repository.state.usable()
            for row in self._repository.catalog(previous).rows():
                ids = runs.gather_ids(b"".join(part.chunks for part in row.parts))
                if index.absent(ids, usable):
                    self._lost.add(row.id)
        except Corruption:
            self._reread = True
            return None
        return previous

    def run(self) -> ImportResult:
        gone = self._slice.ids()
        with ThreadPoolExecutor(_readers(), "read") as threads:
            counted = threads.submit(self._count_all) if self._show is not _no_show else None
            try:
                self._walk(gone, threads)
            finally:
                self._closing = True
            if counted is not None:
                counted.result()
        gone = {path for path in gone if not self._is_unread(path)}
        self._rows += [removed_row(path) for path in sorted(gone)]
        self._result.removed = len(gone)
        return self._finish()

    def _count_all(self) -> None:
        """Totals for whoever watches; the walk itself needs none."""
        pending = [self._root]
        while pending and not self._closing:
            folder = pending.pop()
            try:
                names, ends, stats = filebatch.scan(folder)
            except OSError:
                continue
            modes = stats[filebatch.MODE :: filebatch.STAT_FIELDS]
            sizes = stats[filebatch.SIZE :: filebatch.STAT_FIELDS]
            start = 0
            for mode, size, end in zip(modes, sizes, ends, strict=True):
                if stat.S_ISDIR(mode):
                    pending.append(os.path.join(folder, names[start:end]))
                elif stat.S_ISREG(mode):
                    self._progress.bytes_total += size
                start = end
            self._progress.items_total += len(ends)

    def _walk(self, gone: set[bytes], threads: ThreadPoolExecutor) -> None:
        """Take all nodes, parents first; threads read and store files, which are taken in the order in which they were met."""
        reader = BatchReader(self._root)
        under_way: deque[Future[pa.Table | ReadFile]] = deque()

        def read_and_store(batch: Batch) -> pa.Table:
            read = reader.read(batch)
            try:
                return self._store_batch(read)
            finally:
                reader.give_back(read)

        def drain(most: int) -> None:
            while len(under_way) > most:
                done = under_way.popleft().result()
                if isinstance(done, ReadFile):
                    self._took(done)
                else:
                    self._slice.advance_table(done)

        for node in self._scan(gone):
            if isinstance(node, Node):
                read_file = self._take(node)
                if read_file is not None:
                    under_way.append(threads.submit(read_file))
            else:
                under_way.append(threads.submit(read_and_store, node))
            drain(_readers())
            self._step()
            if self._is_commit_due():
                drain(0)  # what was stored in a turn belongs to its commit
                self._commit()
        drain(0)
        self._step()

    def _store_batch(self, read: ReadBatch) -> pa.Table:
        """Store a batch of small files that was read; their rows."""
        stored = self._session.store_many(read.buffer, read.spans)
        table = read.table(stored)
        with self._lock:
            for path, reason in read.failed:
                self._problem(path, "failed", reason)
            for path in read.changed:
                self._problem(path, "changed", "it changed while it was read")
            self._result.files_read += len(read.spans) // 2
            self._count(sum(stored.sizes))
            self._progress.items += read.taken
        return table

    def _step(self) -> None:
        with self._lock:
            self._show(self._progress)
        if len(self._rows) >= ROWS_PER_STEP:
            self._advance()

    def _is_commit_due(self) -> bool:
        read = self._result.bytes_read - self._committed_bytes
        return read >= COMMIT_BYTES_MAX or self._session.pending_rows >= COMMIT_ROWS_MAX

    def _commit(self) -> None:
        self._advance()
        self._session.commit()
        self._committed_bytes = self._result.bytes_read

    def _advance(self) -> None:
        self._slice.advance(self._rows)
        self._rows = []

    def _finish(self) -> ImportResult:
        self._advance()
        self._slice.finish()
        self._session.commit()
        assert self._slice.entry is not None, "a finished slice is always committed"
        result = "warning" if self._result.problems else "success"
        draft = PointDraft(
            new_point_id(), self._name, self._job_session, result, (self._slice.entry,)
        )
        self._result.point = self._session.seal_point(draft)
        self._result.bytes_stored = self._session.bytes_stored
        return self._result

    def _scan(self, gone: set[bytes]) -> Iterator[Node | Batch]:
        """
        All nodes, parents first, those of a folder in order of their names' bytes; what is there leaves `gone`.

        Small plain files come in batches, behind the other nodes listed with them, if they are not known to be unchanged.
        """
        yield Node(ROOT, os.stat(self._root))
        gone.discard(ROOT)
        batcher = Batcher()
        pending = [b""]
        while pending:
            folder = pending.pop()
            try:
                names, ends, stats = filebatch.scan(os.path.join(self._root, folder))
            except OSError as error:
                self._problem(folder or ROOT, "failed", error.strerror or "unreadable")
                continue
            folders: list[bytes] = []
            for found in listed(folder, names, ends, stats):
                small = small_ones(found.statuses)
                for node in self._others(found, small):
                    if node.kind is not None:
                        gone.discard(node.path)
                    if node.kind == "container":
                        folders.append(node.path)
                    yield node
                yield from batcher.add(self._changed(found.only(small), gone))
            pending += reversed(folders)
        if len(rest := batcher.rest()):
            yield rest

    def _others(self, found: Listed, small: list[int]) -> Iterator[Node]:
        """What does not go in batches."""
        errors = found.statuses[filebatch.ERRNO :: filebatch.STAT_FIELDS]
        for number in sorted(set(range(len(found.paths))).difference(small)):
            node = self._node(found.paths[number], errors[number])
            if node is not None:
                yield node

    def _changed(self, files: Listed, gone: set[bytes]) -> Listed:
        """Those of small files that are not known to be unchanged; all of them leave `gone`."""
        if gone:
            gone.difference_update(files.paths)
        if self._reread or not self._went_before:
            return files
        changed = []
        skipped = 0
        sizes = files.statuses[filebatch.SIZE :: filebatch.STAT_FIELDS]
        for number, version in enumerate(files.versions()):
            if self._is_unchanged(files.paths[number], version):
                skipped += sizes[number]
            else:
                changed.append(number)
        with self._lock:
            self._progress.bytes += skipped
            self._progress.items += len(files.paths) - len(changed)
        return files.only(changed)

    def _node(self, path: bytes, errno: int) -> Node | None:
        try:
            if errno:
                raise OSError(errno, os.strerror(errno))
            return Node(path, os.lstat(os.path.join(self._root, path)))
        except OSError as error:
            self._problem(path, "failed", error.strerror or "unreadable")
            return None

    def _is_unchanged(self, path: bytes, version: str) -> bool:
        if self._reread or path in self._lost or self._slice.version(path) != version:
            return False
        self._result.unchanged += 1
        return True

    def _is_unread(self, path: bytes) -> bool:
        """Whether a node, or a folder above it, could not be read: what was stored of it before is kept."""
        if not self._unread:
            return False
        if ROOT in self._unread:
            return True
        while path:
            if path in self._unread:
                return True
            path = path.rpartition(b"/")[0]
        return False

    def _problem(
        self, path: bytes, result: Literal["skipped", "failed", "changed"], reason: str
    ) -> None:
        self._result.problems.append(TreeProblem(path, result, reason))
        if result == "failed":
            self._unread.add(path)

    def _take(self, node: Node) -> Callable[[], ReadFile] | None:
        """One node: its row, unless it is a file to be read; that is done by what is returned, on any thread."""
        with self._lock:
            self._progress.items += 1
        kind = node.kind
        if kind is None:
            self._problem(node.path, "skipped", "a socket or a device")
            return None
        same_as = self._same_as(node) if kind == "file" else None
        if self._is_unchanged(node.path, node.version):
            if kind == "file":
                with self._lock:
                    self._progress.bytes += node.status.st_size
            return None
        path = self._root if node.path == ROOT else os.path.join(self._root, node.path)
        if kind == "file":
            return partial(self._files.read, node, path, same_as)
        try:
            link = os.readlink(path) if kind == "link" else None
            self._rows.append(node_row(node, (), link=link, xattrs=extended_attributes(path)))
        except OSError as error:
            self._problem(node.path, "failed", error.strerror or "unreadable")
        return None

    def _took(self, file: ReadFile) -> None:
        """A file was read, or not."""
        if file.row is None:
            self._problem(file.path, "failed", file.failure)
            return
        self._result.files_read += 1
        if file.changed:
            self._problem(file.path, "changed", "it changed while it was read")
        self._rows.append(file.row)

    def _same_as(self, node: Node) -> bytes | None:
        """Path of the first name of a file with several, or None."""
        status = node.status
        if status.st_nlink < 2:
            return None
        first = self._first_names.setdefault((status.st_dev, status.st_ino), node.path)
        return None if first == node.path else first

    def _note_read(self, size: int) -> None:
        """Bytes of a file, while it is read."""
        with self._lock:
            self._count(size)
            self._show(self._progress)

    def _count(self, size: int) -> None:
        self._result.bytes_read += size
        self._progress.bytes += size


def _readers() -> int:
    """Threads that read."""
    return min(max(cores(), 2), READERS_MAX)


def _no_show(progress: Progress) -> None:
    """Nobody watches."""
