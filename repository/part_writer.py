"""One part of any size, stored while it is written."""

import threading
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
TURN_BYTES = 16 * PART_BUFFER_BYTES  # more than is read along between two places of a pack
MAIL_BUFFER_BYTES_MAX = 32 * 1024 * 1024  # a larger mail is cut as it is, attachments and all


class PartWriter:
    """
    A part that grows. `part` is there after the block.

    Args:
        turns: parts that are written side by side share it. One at a time adds new chunks, TURN_BYTES and more of them, so
            that packs are no mixture of parts. For who writes without waiting for others.
    """

    def __init__(
        self,
        intake: Intake,
        packer: Packer,
        role: str,
        generation: int,
        turns: "threading.Lock | None" = None,
    ) -> None:
        self._intake = intake
        self._packer = packer
        self._role = role
        self._buffer = bytearray(PART_BUFFER_BYTES_MIN)
        self._held = 0  # bytes in it
        self._spare = bytearray()
        self._chunks: list[bytes] = []  # references so far
        self._hashing: Future[tuple[bytes, bool]] | None = None  # those to come next
        self._turns = turns
        self._has_turn = False
        self._turn_bytes = 0  # written in it
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
        chunk_spans = self._intake.cut_stream(data, final=final)
        used = chunk_spans[-1] if chunk_spans else 0
        if self._hashing is not None:
            refs, is_new = self._hashing.result()  # it worked on the spare buffer
            self._chunks.append(refs)
            self._take_turn(used, is_new=is_new)
        self._hashing = self._intake.store_stream(data, chunk_spans, self._packer)
        if len(self._spare) < len(full):
            self._spare = bytearray(len(full))
        self._buffer, self._spare = self._spare, full
        self._held -= used
        with memoryview(self._buffer) as buffer:
            buffer[: self._held] = data[used:]
        self._size += used

    def _take_turn(self, size: int, *, is_new: bool) -> None:
        """Have the turn for the next bytes, if those before were new."""
        if self._turns is None:
            return
        if not is_new or self._turn_bytes >= TURN_BYTES:
            self._end_turn()
        if is_new and not self._has_turn:
            self._turns.acquire()
            self._has_turn, self._turn_bytes = True, 0
        self._turn_bytes += size

    def _end_turn(self) -> None:
        if self._turns is not None and self._has_turn:
            self._has_turn = False
            self._turns.release()

    def _finished(self) -> Part:
        if self._hashing is None:
            with memoryview(self._buffer) as buffer:
                data = buffer[: self._held]
                return self._intake.store_part(self._role, data, self._packer, self._generation)
        self._cut(final=True)
        chunks = b"".join((*self._chunks, self._hashing.result()[0]))
        return Part(self._role, self._size, chunks, generation=self._generation)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._part = self._finished()
        finally:
            self._end_turn()
