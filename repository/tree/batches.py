"""
Small plain files in batches: read with one call, stored with one call, kept as columns.

There is no object for each file; what differs from the ordinary (a failure, a change, extended attributes) is looked at singly.
"""

import os
import stat
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from queue import LifoQueue

import msgspec
import pyarrow as pa

from cext import filebatch
from engine.catalog import columns_table, encode_single_parts
from repository.intake import StoredParts
from repository.tree import ROOT
from repository.tree.nodes import BLOCK_BYTES, TIME_NS_MAX, NodeMeta, extended_attributes

SMALL_BYTES_MAX = 1024 * 1024  # a plain file up to this size goes in a batch
BATCH_BYTES_TARGET = 4 * 1024 * 1024
BATCH_BYTES_MAX = BATCH_BYTES_TARGET + SMALL_BYTES_MAX
BATCH_FILES_MAX = 1024
LISTED_MAX = 4096  # nodes of a folder that are looked at together
BATCHES_IN_FLIGHT_MAX = 3  # that hold a buffer: two cores keep two busy

_PERMISSIONS = 0o7777


def _column(statuses: "array[int]", field_: int) -> "array[int]":
    """One field of rows of `filebatch.scan`."""
    return statuses[field_ :: filebatch.STAT_FIELDS]


def small_ones(statuses: "array[int]") -> list[int]:
    """Numbers of the nodes that go in batches: small plain files with one name, no holes and an ordinary time."""
    fields = (
        *(filebatch.ERRNO, filebatch.MODE, filebatch.NLINK),
        *(filebatch.SIZE, filebatch.BLOCKS, filebatch.MTIME_NS),
    )
    rows = zip(*(_column(statuses, one) for one in fields), strict=True)
    return [
        number
        for number, (error, mode, links, size, blocks, time_ns) in enumerate(rows)
        if links == 1
        and size <= SMALL_BYTES_MAX
        and not error
        and stat.S_ISREG(mode)
        and blocks * BLOCK_BYTES >= size
        and abs(time_ns) < TIME_NS_MAX
    ]


@dataclass(slots=True)
class Listed:
    """
    Some nodes of one folder: columns, one value for each.

    Attributes:
        folder: its path below the root. paths: below the root. statuses: their rows of `filebatch.scan`, joined.
    """

    folder: bytes
    paths: Sequence[bytes]
    names: Sequence[bytes]
    statuses: "array[int]"

    def versions(self) -> list[str]:
        """As `Node.version`."""
        return _versions(self.statuses)

    def only(self, among: Sequence[int]) -> "Listed":
        """Those with these numbers, which rise."""
        if len(among) == len(self.paths):
            return self
        paths, names = [self.paths[n] for n in among], [self.names[n] for n in among]
        return Listed(self.folder, paths, names, _rows(self.statuses, among))


def listed(
    folder: bytes, names: bytes, ends: "array[int]", statuses: "array[int]"
) -> Iterator[Listed]:
    """A folder (b"" the root) as `filebatch.scan` gives it, so many nodes at once that a folder of millions needs no more."""
    prefix = folder + b"/" if folder else b""
    width = filebatch.STAT_FIELDS
    for first in range(0, len(ends), LISTED_MAX):
        some = ends[first : first + LISTED_MAX]
        starts = chain((ends[first - 1] if first else 0,), some)
        named = [names[start:end] for start, end in zip(starts, some, strict=False)]
        rows = statuses[first * width : (first + len(some)) * width]
        yield Listed(folder or ROOT, [prefix + name for name in named], named, rows)


def _rows(statuses: "array[int]", among: Iterable[int]) -> "array[int]":
    width = filebatch.STAT_FIELDS
    return array("q", b"".join(statuses[n * width : (n + 1) * width].tobytes() for n in among))


def _versions(statuses: "array[int]") -> list[str]:
    fields = (filebatch.SIZE, filebatch.MTIME_NS, filebatch.CTIME_NS, filebatch.INO)
    rows = zip(*(_column(statuses, one) for one in fields), strict=True)
    return [
        f"{size}:{mtime}:{ctime}:{ino & 0xFFFFFFFFFFFFFFFF}" for size, mtime, ctime, ino in rows
    ]


@dataclass(slots=True)
class Batch:
    """Files that are going to be read together: columns, one value for each. `statuses` are rows of `filebatch.scan`."""

    paths: list[bytes] = field(default_factory=list)  # below the root
    folders: list[bytes] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    statuses: "array[int]" = field(default_factory=lambda: array("q"))
    size: int = 0  # of all, in bytes

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, files: Listed, start: int, sums: Sequence[int]) -> int:
        """
        Add files from number `start` on, until the batch is full or none is left; the number of the next one.

        Args:
            sums: bytes of the files before each one, and of all.
        """
        room = sums[start] + BATCH_BYTES_TARGET - self.size
        most = min(len(files.paths), start + BATCH_FILES_MAX - len(self.paths))
        stop = min(bisect_left(sums, room, start + 1), most)
        width = filebatch.STAT_FIELDS
        self.paths += files.paths[start:stop]
        self.names += files.names[start:stop]
        self.folders += [files.folder] * (stop - start)
        self.statuses += files.statuses[start * width : stop * width]
        self.size += sums[stop] - sums[start]
        return stop

    @property
    def full(self) -> bool:
        """Whether it should be read now."""
        return self.size >= BATCH_BYTES_TARGET or len(self.paths) >= BATCH_FILES_MAX

    def column(self, field_: int) -> "array[int]":
        """One field of all statuses."""
        return _column(self.statuses, field_)


class Batcher:
    """Files of many folders into batches, in their order."""

    def __init__(self) -> None:
        self._open = Batch()

    def add(self, files: Listed) -> Iterable[Batch]:
        """Add files; the batches that are full now."""
        sums = list(accumulate(_column(files.statuses, filebatch.SIZE), initial=0))
        at = 0
        while at < len(files.paths):
            at = self._open.take(files, at, sums)
            if self._open.full:
                yield self.rest()

    def rest(self) -> Batch:
        """What is in no batch yet."""
        batch, self._open = self._open, Batch()
        return batch


@dataclass(slots=True)
class ReadBatch:
    """
    A batch that was read.

    Attributes:
        batch: the files that could be read, spans (in `buffer`) and xattrs belong to these.
        failed: path and reason of the others. changed: paths of files that were not the same after reading.
        taken: number of files that were to be read.
    """

    batch: Batch
    buffer: bytearray
    spans: "array[int]"
    failed: list[tuple[bytes, str]]
    changed: list[bytes]
    xattrs: dict[int, dict[bytes, bytes]]
    taken: int

    def table(self, stored: StoredParts) -> pa.Table:
        """Catalog rows, given what was stored of each file."""
        batch = self.batch
        count = len(batch)
        times = batch.column(filebatch.MTIME_NS)
        versions = _versions(batch.statuses)
        for number, (size, found) in enumerate(
            zip(stored.sizes, batch.column(filebatch.SIZE), strict=True)
        ):
            if size != found:
                versions[number] = ""  # never found unchanged
        return columns_table(
            {
                "id": batch.paths,
                "container": batch.folders,
                "name": batch.names,
                "kind": ["file"] * count,
                "size": stored.sizes,
                "created_ns": times,
                "modified_ns": times,
                "version": versions,
                "meta": self._metas(),
                "parts": encode_single_parts(
                    "content", stored.sizes, stored.chunks, stored.recipes
                ),
                "removed": [False] * count,
            }
        )

    def _metas(self) -> list[bytes]:
        fields = (filebatch.MODE, filebatch.UID, filebatch.GID)
        keys = zip(*(self.batch.column(one) for one in fields), strict=True)
        known: dict[tuple[int, ...], bytes] = {}
        metas = []
        for key in keys:
            if (meta := known.get(key)) is None:
                meta = known[key] = self._meta(key, {})
            metas.append(meta)
        for number, xattrs in self.xattrs.items():
            key = tuple(self.batch.column(one)[number] for one in fields)
            metas[number] = self._meta(key, xattrs)
        return metas

    def _meta(self, key: tuple[int, ...], xattrs: dict[bytes, bytes]) -> bytes:
        mode, uid, gid = key
        return msgspec.json.encode(NodeMeta(mode & _PERMISSIONS, uid, gid, xattrs=xattrs))


class BatchReader:
    """Reads batches into a few buffers that are used again and again."""

    def __init__(self, root: bytes) -> None:
        self._root = root
        # the one given back last comes first: no more are made than are read at once
        self._buffers: LifoQueue[bytearray] = LifoQueue()
        for _ in range(BATCHES_IN_FLIGHT_MAX):
            self._buffers.put(bytearray())

    def read(self, batch: Batch) -> ReadBatch:
        """Read all files of a batch; waits for a free buffer."""
        buffer = self._buffers.get()
        if not buffer:
            buffer = bytearray(BATCH_BYTES_MAX + BATCH_FILES_MAX)
        prefix = os.path.join(self._root, b"")
        full = [prefix + path for path in batch.paths]
        ends = array("Q", accumulate(map(len, full)))
        sizes = batch.column(filebatch.SIZE)
        spans, after = filebatch.read(b"".join(full), ends, sizes, buffer)
        made = ReadBatch(batch, buffer, spans, [], [], {}, len(batch))
        if after != _expected(batch):
            _look_closer(made, after, full)
        return made

    def give_back(self, read: ReadBatch) -> None:
        """The buffer of a batch that was stored."""
        self._buffers.put(read.buffer)


_SAME = {  # what is read again after the file, and where the walk found it
    filebatch.AFTER_SIZE: filebatch.SIZE,
    filebatch.AFTER_MTIME_NS: filebatch.MTIME_NS,
    filebatch.AFTER_CTIME_NS: filebatch.CTIME_NS,
    filebatch.AFTER_INO: filebatch.INO,
}


def _expected(batch: Batch) -> "array[int]":
    """What `filebatch.read` says when every file is as it was found."""
    expected = array("q", bytes(8 * filebatch.READ_FIELDS * len(batch)))
    for after, found in _SAME.items():
        expected[after :: filebatch.READ_FIELDS] = batch.column(found)
    return expected


def _look_closer(read: ReadBatch, after: "array[int]", full: list[bytes]) -> None:
    """Sort out what failed, what changed, what has extended attributes."""
    batch, spans = read.batch, array("Q")
    kept: list[int] = []
    width = filebatch.STAT_FIELDS
    for number, path in enumerate(batch.paths):
        at = number * filebatch.READ_FIELDS
        now = after[at : at + filebatch.READ_FIELDS]
        if now[filebatch.AFTER_ERRNO]:
            read.failed.append((path, os.strerror(now[filebatch.AFTER_ERRNO])))
            continue
        status = batch.statuses[number * width : (number + 1) * width]
        start, end = read.spans[2 * number : 2 * number + 2]
        same = all(now[seen] == status[found] for seen, found in _SAME.items())
        if not same or end - start != status[filebatch.SIZE]:
            read.changed.append(path)
        if now[filebatch.AFTER_XATTR]:
            read.xattrs[len(kept)] = extended_attributes(full[number])
        kept.append(number)
        spans.extend((start, end))
    paths, folders, names = (
        [column[n] for n in kept] for column in (batch.paths, batch.folders, batch.names)
    )
    read.batch = Batch(paths, folders, names, _rows(batch.statuses, kept), batch.size)
    read.spans = spans
