"""
Files one by one: large ones, and those that a batch does not take. Threads read several side by side.

Each is read straight into the buffer that it is cut in; while that one is hashed the next one fills. So two threads are busy
with a single huge file, and what a file holds at once does not grow with it. Only mail is held whole (up to
MAIL_BUFFER_BYTES_MAX, to be split at its attachments): of large mails one is read at a time. New content of files goes into the
packs by turns, so that a file lies together and reading or forgetting it does not concern the frames of others.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from io import FileIO

from cext import mime
from engine.catalog import Row
from engine.parts import Part
from repository.part_writer import PART_BUFFER_BYTES
from repository.session import WriteSession
from repository.tree.nodes import Node, extended_attributes, node_row

REST_BYTES = 64 * 1024  # read at once of what a file has beyond the size it was found with
MAIL_START_BYTES = 256  # enough to tell mail by


@dataclass(frozen=True, slots=True)
class ReadFile:
    """
    A file that was to be read.

    Attributes:
        row: None if it could not be read; its size is what was read, whatever the disk says now.
        failure: why it could not be read. changed: it was not the same after reading.
    """

    path: bytes
    row: Row | None
    failure: str = ""
    changed: bool = False


class FileReader:
    """
    Reads files into parts. Thread-safe.

    Args:
        count: is told of bytes that were read. stopped: whether nobody waits for the rest; asked between two pieces.
    """

    def __init__(
        self, session: WriteSession, count: Callable[[int], None], stopped: Callable[[], bool]
    ) -> None:
        self._session = session
        self._count = count
        self._stopped = stopped
        self._large_mail = threading.Lock()
        self._turns = threading.Lock()

    def read(self, node: Node, path: bytes, same_as: bytes | None) -> ReadFile:
        """
        Store the file at `path`, found as `node`; `same_as`: the first of its names, if it has several and this is another.

        Raises: CancelledError if nobody waits any more; what storing failed with. Errors of reading are outcomes.
        """
        try:
            with open(path, "rb", buffering=0, opener=_open_quietly) as file:
                with self._room_for(file, node.status.st_size):
                    part = self._store(file, node.status.st_size)
                after = Node(node.path, os.fstat(file.fileno()))
                attributes = extended_attributes(path)
        except OSError as error:
            return ReadFile(node.path, None, failure=error.strerror or "unreadable")
        row = node_row(node, (part,), same_as=same_as, xattrs=attributes)
        changed = after.version != node.version or part.size != row.size
        if part.size != row.size:
            row = Row(
                row.id, row.container, row.name, row.kind, part.size, row.created_ns,
                row.modified_ns, "", row.meta, row.parts,
            )  # fmt: skip
        return ReadFile(node.path, row, changed=changed)

    def _room_for(self, file: FileIO, size: int) -> AbstractContextManager[object]:
        """What must be held while a file of this size is read."""
        held_whole = size > PART_BUFFER_BYTES and mime.looks_like_mail(
            os.pread(file.fileno(), MAIL_START_BYTES, 0)
        )
        return self._large_mail if held_whole else nullcontext()

    def _store(self, file: FileIO, expected: int) -> Part:
        """All that there is to read; nothing is asked for beyond the expected size until that much was read."""
        with self._session.open_part("content", self._turns) as writer:
            read = 0
            while read < expected and (size := writer.fill(file.readinto)):
                read += size
                self._note(size)
            while rest := file.read(REST_BYTES):
                writer.write(rest)
                self._note(len(rest))
        return writer.part

    def _note(self, size: int) -> None:
        self._count(size)
        if self._stopped():
            raise CancelledError


def _open_quietly(path: str | bytes, flags: int) -> int:
    """Without following a link that took the file's place, without touching atime where permitted."""
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:
        return os.open(path, flags)
