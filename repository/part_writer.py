"""One part of any size, stored while it is written."""

from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from typing_extensions import Buffer

from cext import mime
from engine.errors import Conflict
from engine.parts import Part
from repository.intake import Intake
from repository.packer import Packer

PART_BUFFER_BYTES_MIN = 64 * 1024
PART_BUFFER_BYTES = 1024 * 1024  # of two for each part; larger ones fall out of the caches
MAIL_BUFFER_BYTES_MAX = 32 * 1024 * 1024  # a larger mail is cut as it is, attachments and all


class PartWriter:
    """A part that grows. `part` is there after the block."""

    def __init__(self, intake: Intake, packer: Packer, role: str, generation: int) -> None:
        self._intake = intake
        self._packer = packer
        self._role = role
        self._buffer = bytearray(PART_BUFFER_BYTES_MIN)
        self._held = 0  # bytes in it
        self._spare = bytearray()
        self._chunks: list[bytes] = []  # references so far
        self._hashing: Future[bytes] | None = None  # those to come next
        self._size = 0
        self._generation = generation
        self._part: Part | None = None

    @property
    def part(self) -> Part:
        """What was written. Conflict before the block has ended well."""
        if self._part is None:
            raise Conflict("the part is not finished", code="part-open")
        return self._part

    def write(self, data: Buffer) -> None:
        """Append bytes."""
        with memoryview(data).cast("B") as view:
            at = 0
            while at < len(view):
                self._make_room()
                size = min(len(self._buffer) - self._held, len(view) - at)
                with memoryview(self._buffer) as held:
                    held[self._held : self._held + size] = view[at : at + size]
                self._held += size
                at += size

    def fill(self, read_into: Callable[[memoryview], int | None]) -> int:
        """Append what `read_into` puts at the beginning of the room that it is given; how much that was, as it says."""
        self._make_room()
        with memoryview(self._buffer) as held, held[self._held :] as room:
            size = read_into(room) or 0
        self._held += size
        return size

    def _make_room(self) -> None:
        """Where the buffer is full: a larger one, or the chunks in it stored."""
        size = len(self._buffer)
        if self._held < size:
            return
        is_mail = self._hashing is None and mime.looks_like_mail(self._buffer)  # split in one piece
        if size < (MAIL_BUFFER_BYTES_MAX if is_mail else PART_BUFFER_BYTES):
            self._buffer += bytes(size)
        else:
            self._cut(final=False)

    def _cut(self, *, final: bool) -> None:
        """Store the chunks whose ends no later byte can move; the rest waits for what follows."""
        full = self._buffer
        data = memoryview(full)[: self._held]
        refs, used = self._intake.store_stream(data, self._packer, final=final)
        if self._hashing is not None:
            self._chunks.append(self._hashing.result())  # it worked on the spare buffer
        if len(self._spare) < len(full):
            self._spare = bytearray(len(full))
        self._buffer, self._spare = self._spare, full
        self._held -= used
        with memoryview(self._buffer) as buffer:
            buffer[: self._held] = data[used:]
        self._hashing = refs
        self._size += used

    def _finished(self) -> Part:
        if self._hashing is None:
            with memoryview(self._buffer) as buffer:
                data = buffer[: self._held]
                return self._intake.store_part(self._role, data, self._packer, self._generation)
        self._cut(final=True)
        chunks = b"".join((*self._chunks, self._hashing.result()))
        return Part(self._role, self._size, chunks, generation=self._generation)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._part = self._finished()
