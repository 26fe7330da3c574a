"""
Small plain files in batches: read with one call, stored with one call, kept as columns.

There is no object for each file; what differs from the ordinary (a failure, a change, extended attributes) is looked at singly.
"""

import os
from array import array
from dataclasses import dataclass, field
from queue import SimpleQueue

import msgspec
import pyarrow as pa

from cext import filebatch
from engine.catalog import columns_table, encode_single_parts
from repository.intake import StoredParts
from repository.tree.nodes import NodeMeta, extended_attributes

BATCH_BYTES_TARGET = 4 * 1024 * 1024
BATCH_BYTES_MAX = BATCH_BYTES_TARGET + 1024 * 1024
BATCH_FILES_MAX = 1024
BATCHES_IN_FLIGHT_MAX = 2

_PERMISSIONS = 0o7777


def version_of(status: "array[int]") -> str:
    """As `Node.version`, of a row of `filebatch.scan`."""
    size, mtime, ctime = (
        status[filebatch.SIZE],
        status[filebatch.MTIME_NS],
        status[filebatch.CTIME_NS],
    )
    return f"{size}:{mtime}:{ctime}:{status[filebatch.INO] & 0xFFFFFFFFFFFFFFFF}"


@dataclass(slots=True)
class Batch:
    """Files that are going to be read together: columns, one value for each."""

    paths: list[bytes] = field(default_factory=list)  # below the root
    folders: list[bytes] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    statuses: list["array[int]"] = field(default_factory=list)
    size: int = 0  # of all, in bytes

    def __len__(self) -> int:
        return len(self.paths)

    def add(self, path: bytes, folder: bytes, name: bytes, status: "array[int]") -> None:
        """One more file; `status` is its row of `filebatch.scan`."""
        self.paths.append(path)
        self.folders.append(folder)
        self.names.append(name)
        self.statuses.append(status)
        self.size += status[filebatch.SIZE]

    @property
    def full(self) -> bool:
        """Whether it should be read now."""
        return self.size >= BATCH_BYTES_TARGET or len(self.paths) >= BATCH_FILES_MAX


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
        times = [status[filebatch.MTIME_NS] for status in batch.statuses]
        versions = [
            version_of(status) if size == status[filebatch.SIZE] else ""
            for status, size in zip(batch.statuses, stored.sizes, strict=True)
        ]
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
        known: dict[tuple[int, int, int], bytes] = {}
        metas = []
        for number, status in enumerate(self.batch.statuses):
            key = (
                status[filebatch.MODE] & _PERMISSIONS,
                status[filebatch.UID],
                status[filebatch.GID],
            )
            xattrs = self.xattrs.get(number)
            if xattrs:
                metas.append(msgspec.json.encode(NodeMeta(*key, xattrs=xattrs)))
                continue
            if key not in known:
                known[key] = msgspec.json.encode(NodeMeta(*key))
            metas.append(known[key])
        return metas


class BatchReader:
    """Reads batches into a few buffers that are used again and again."""

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._buffers: SimpleQueue[bytearray] = SimpleQueue()
        for _ in range(BATCHES_IN_FLIGHT_MAX + 1):
            self._buffers.put(bytearray())

    def read(self, batch: Batch) -> ReadBatch:
        """Read all files of a batch; waits for a free buffer."""
        buffer = self._buffers.get()
        if not buffer:
            buffer = bytearray(BATCH_BYTES_MAX + BATCH_FILES_MAX)
        prefix = os.path.join(self._root, b"")
        full = [prefix + path for path in batch.paths]
        ends, at = array("Q"), 0
        for path in full:
            at += len(path)
            ends.append(at)
        sizes = array("Q", [status[filebatch.SIZE] for status in batch.statuses])
        spans, after = filebatch.read(b"".join(full), ends, sizes, buffer)
        made = ReadBatch(batch, buffer, spans, [], [], {}, len(batch))
        if after != _expected(batch):
            _look_closer(made, after, full)
        return made

    def give_back(self, read: ReadBatch) -> None:
        """The buffer of a batch that was stored."""
        self._buffers.put(read.buffer)


def _expected(batch: Batch) -> "array[int]":
    """What `filebatch.read` says when every file is as it was found."""
    expected = array("q")
    for status in batch.statuses:
        expected.extend(
            (
                0,
                status[filebatch.SIZE],
                status[filebatch.MTIME_NS],
                status[filebatch.CTIME_NS],
                status[filebatch.INO],
                0,
            )
        )
    return expected


def _look_closer(read: ReadBatch, after: "array[int]", full: list[bytes]) -> None:
    """Sort out what failed, what changed, what has extended attributes."""
    batch, spans = Batch(), array("Q")
    for number, status in enumerate(read.batch.statuses):
        at = number * filebatch.READ_FIELDS
        now = after[at : at + filebatch.READ_FIELDS]
        path = read.batch.paths[number]
        if now[filebatch.AFTER_ERRNO]:
            read.failed.append((path, os.strerror(now[filebatch.AFTER_ERRNO])))
            continue
        start, end = read.spans[2 * number : 2 * number + 2]
        seen = (
            now[filebatch.AFTER_SIZE],
            now[filebatch.AFTER_MTIME_NS],
            now[filebatch.AFTER_CTIME_NS],
            now[filebatch.AFTER_INO],
        )
        before = (
            status[filebatch.SIZE],
            status[filebatch.MTIME_NS],
            status[filebatch.CTIME_NS],
            status[filebatch.INO],
        )
        if seen != before or end - start != status[filebatch.SIZE]:
            read.changed.append(path)
        if now[filebatch.AFTER_XATTR]:
            read.xattrs[len(batch)] = extended_attributes(full[number])
        batch.add(path, read.batch.folders[number], read.batch.names[number], status)
        spans.extend((start, end))
    read.batch, read.spans = batch, spans
