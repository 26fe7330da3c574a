"""
Chunks to stored packs: group, compress on every core, seal and store in order.

Frames are compressed by the workers and taken in order by one I/O thread, which seals and writes them into the open pack while
another one hashes what was written. At most FRAMES_IN_FLIGHT_MAX frames are held in memory. Whole packs are sent to a store
behind a network while the next one grows. A failure is kept and raised at the next call: nothing is half stored, because a
pack has no name before it is whole.
"""

import threading
from array import array
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

from blake3 import blake3
from typing_extensions import Buffer

from cext import spans
from engine.errors import BackupError
from engine.frame import FrameCompressor, FrameInfo, PackedFrame, seal_frame
from engine.ids import object_id
from engine.keys import SALT_BYTES, KeySet
from engine.limits import (
    DATA_PACK_BYTES_TARGET,
    FRAME_PLAIN_BYTES_MAX,
    FRAME_PLAIN_BYTES_TARGET,
    METADATA_PACK_BYTES_TARGET,
    PACK_CHUNKS_TARGET,
    SALVAGE_INTERVAL_BYTES,
)
from engine.pack import DirectoryFrame, fill_bytes, seal_salvage_point, seal_tail
from engine.parity import ParityEncoder
from engine.parts import REFERENCE_BYTES
from engine.run import RunPack
from engine.seal import HEADER_BYTES, Header, ObjectClass, frame_cipher
from repository.ambient import cores, random_bytes
from repository.blobstore.protocol import BlobStore
from repository.layout import pack_name

FRAMES_IN_FLIGHT_MAX = 16
PIECES_TO_HASH_MAX = 8
SENDS_AT_ONCE_MAX = 4  # whole packs on their way to a store behind a network; each lies in the temporary folder until then
_TARGETS = {
    ObjectClass.DATA_PACK: DATA_PACK_BYTES_TARGET,
    ObjectClass.METADATA_PACK: METADATA_PACK_BYTES_TARGET,
}


class OpenPack:
    """A pack that still grows in a spool. Used by the I/O thread alone; `hashing` is a thread beside it."""

    def __init__(
        self,
        store: BlobStore,
        keys: KeySet,
        repository: bytes,
        object_class: ObjectClass,
        hashing: ThreadPoolExecutor,
        *,
        padded: bool,
        parity: bool = False,
    ) -> None:
        self._keys = keys
        self._hashing = hashing
        self._hashed: deque[Future[object]] = deque()  # pieces that wait for it, in order
        self._repository = repository
        self._class = object_class
        self._padded = padded
        self._header = Header(object_class, keys.newest_epoch, repository, random_bytes(SALT_BYTES))
        self._cipher = frame_cipher(keys, object_class, self._header.epoch, self._header.salt)
        self._frames: list[DirectoryFrame] = []
        self._salvaged_frames = 0
        self._salvaged_bytes = 0
        self._stack = ExitStack()
        self._spool = self._stack.enter_context(store.spool())
        self._hash = blake3()
        self._parity = ParityEncoder() if parity else None
        self.size = 0
        self.chunks = 0
        with self._stack.pop_all() as held:
            self._write(self._header.encode())
            self._stack = held.pop_all()

    def _write(self, data: bytes, *, body: bool = True) -> None:
        self._hashed.append(self._hashing.submit(self._take, data, body=body))
        self._spool.write(data)
        self.size += len(data)
        if len(self._hashed) > PIECES_TO_HASH_MAX:
            self._hashed.popleft().result()

    def _take(self, data: bytes, *, body: bool) -> None:
        """Beside writing: the name, and the parity of what is before the trailer."""
        self._hash.update(data)
        if body and self._parity is not None:
            self._parity.update(data)

    def append(self, refs: bytes, frame: PackedFrame) -> None:
        """Seal a frame and write it; behind it a salvage point when one is due."""
        ordinal = len(self._frames)
        header = self._header
        stored = seal_frame(
            self._cipher, frame, self._repository, self._class, header.epoch, ordinal
        )
        info = FrameInfo(
            frame.identity,
            self.size,
            len(stored),
            frame.plain_bytes,
            ordinal,
            header.epoch,
            0,
            frame.codec,
            header.salt,
        )
        self._write_frame(DirectoryFrame(info, refs), stored)

    def append_sealed(self, frame: DirectoryFrame, stored: bytes) -> None:
        """Write a frame of another pack as it is sealed there: its salt and number come along in the directory."""
        listed = DirectoryFrame(replace(frame.info, offset=self.size), frame.refs)
        self._write_frame(listed, stored)

    def _write_frame(self, frame: DirectoryFrame, stored: bytes) -> None:
        self._write(stored)
        self._frames.append(frame)
        self.chunks += len(frame.refs) // REFERENCE_BYTES
        if self.size - self._salvaged_bytes >= SALVAGE_INTERVAL_BYTES:
            self._salvage_point()

    def _salvage_point(self) -> None:
        listed = self._frames[self._salvaged_frames :]
        fill, sealed = seal_salvage_point(self._keys, self._header, listed, self.size)
        self._write(random_bytes(fill))
        self._write(sealed)
        self._salvaged_frames, self._salvaged_bytes = len(self._frames), self.size

    def seal(self) -> RunPack:
        """Write directory, fill, parity and trailer: the pack is whole, `store` gives it its name."""
        offset = self.size
        directory, trailer = seal_tail(self._keys, self._header, self._frames, offset)
        fill = fill_bytes(len(directory), offset) if self._padded else 0
        self._write(directory)
        self._write(random_bytes(fill))
        self._await_hashes()
        self._write(trailer if self._parity is None else self._parity.finish(trailer), body=False)
        self._await_hashes()
        return RunPack(object_id(self._hash.hexdigest()), self._class, tuple(self._frames))

    def store(self, pack: RunPack) -> None:
        """Put what `seal` made whole."""
        self._spool.put(pack_name(self._class, pack.pack))

    def _await_hashes(self) -> None:
        while self._hashed:
            self._hashed.popleft().result()

    def discard(self) -> None:
        """Give the spool back."""
        self._stack.close()


@dataclass(slots=True)
class _OpenFrame:
    """Chunks that wait until a frame is full: their bytes joined, and their references."""

    buffer: bytearray
    refs: list[bytes] = field(default_factory=list)
    size: int = 0


class Packer:
    """Packs of one class for one write session. `add` and `flush` from one thread at a time."""

    def __init__(
        self,
        store: BlobStore,
        keys: KeySet,
        repository: bytes,
        object_class: ObjectClass,
        *,
        padded: bool,
        parity: bool = False,
    ) -> None:
        self._hashing = ThreadPoolExecutor(1, "hash-pack")
        self._new_pack = partial(
            OpenPack,
            store,
            keys,
            repository,
            object_class,
            self._hashing,
            padded=padded,
            parity=parity,
        )
        self._target = _TARGETS[object_class]
        self._workers = ThreadPoolExecutor(cores(), "compress")
        self._io = ThreadPoolExecutor(1, "pack")
        self._sends_at_once = min(store.calls_at_once(), SENDS_AT_ONCE_MAX)
        self._senders = ThreadPoolExecutor(self._sends_at_once, "send-pack")
        self._sent = deque[Future[tuple[RunPack, int]]]()  # under way, in order
        self._in_flight = threading.BoundedSemaphore(FRAMES_IN_FLIGHT_MAX)
        self._own = threading.local()  # of each worker: its compressor
        self._pack: OpenPack | None = None
        self._stored: list[RunPack] = []
        self._failure: BaseException | None = None
        self._buffers: list[bytearray] = []  # free ones
        # what compresses, what looks incompressible
        self._open = [_OpenFrame(self._buffer()), _OpenFrame(self._buffer())]
        self.bytes_stored = 0

    def add(self, data: Buffer, chunk_spans: "array[int]", refs: bytes) -> None:
        """
        Queue new chunks: where they lie in `data`, and their references. Both are copied.

        Raises what an earlier chunk failed with.
        """
        self._raise_failure()
        mask = spans.dense(data, chunk_spans)
        held = self._open[0].size, self._open[1].size
        for kind, among, full in spans.groups(chunk_spans, mask, held, FRAME_PLAIN_BYTES_TARGET):
            frame = self._open[kind]
            some = spans.select(chunk_spans, among)
            frame.size = spans.gather_into(data, some, frame.buffer, frame.size)
            frame.refs.append(spans.take(refs, among))
            if full:
                self._close_frame(kind)

    def copy(self, frame: DirectoryFrame, stored: bytes) -> None:
        """Queue a frame of another pack as it is sealed there. `stored` is not changed until `flush`."""
        self._raise_failure()
        self._in_flight.acquire()
        self._io.submit(self._append_sealed, frame, stored)

    def _append_sealed(self, frame: DirectoryFrame, stored: bytes) -> None:
        try:
            if self._failure is None:
                self._open_pack().append_sealed(frame, stored)
                self._close_if_full()
        except BaseException as error:  # noqa: BLE001 - raised again by the next call
            self._failure = error
        finally:
            self._in_flight.release()

    def _open_pack(self) -> OpenPack:
        if self._pack is None:
            self._pack = self._new_pack()
        return self._pack

    def _close_if_full(self) -> None:
        pack = self._pack
        if pack and (pack.size >= self._target or pack.chunks >= PACK_CHUNKS_TARGET):
            self._close_pack()

    def _buffer(self) -> bytearray:
        return self._buffers.pop() if self._buffers else bytearray(FRAME_PLAIN_BYTES_MAX)

    def _close_frame(self, kind: int) -> None:
        frame = self._open[kind]
        if not frame.refs:
            return
        self._in_flight.acquire()
        self._open[kind] = _OpenFrame(self._buffer())
        refs = b"".join(frame.refs)
        packed = self._workers.submit(self._compress, refs, frame, dense=bool(kind))
        self._io.submit(self._append, refs, frame.buffer, packed)

    def _compress(self, refs: bytes, frame: _OpenFrame, *, dense: bool) -> PackedFrame:
        compressor: FrameCompressor | None = getattr(self._own, "compressor", None)
        if compressor is None:
            compressor = self._own.compressor = FrameCompressor()
        return compressor.pack(refs, memoryview(frame.buffer)[: frame.size], dense=dense)

    def _append(self, refs: bytes, buffer: bytearray, packed: Future[PackedFrame]) -> None:
        try:
            frame = packed.result()
            if self._failure is None:
                self._open_pack().append(refs, frame)
                self._close_if_full()
        except BaseException as error:  # noqa: BLE001 - raised again by the next call
            self._failure = error
        finally:
            self._buffers.append(buffer)  # what was packed may lie in it: not before it was written
            self._in_flight.release()

    def _close_pack(self) -> None:
        pack, self._pack = self._pack, None
        if pack is None:
            return
        try:
            whole = pack.seal()
        except BaseException:
            pack.discard()
            raise
        if self._sends_at_once == 1:  # nothing is waited for: the order of operations stays
            self._note_stored(self._store(pack, whole))
            return
        self._sent.append(self._senders.submit(self._store, pack, whole))
        if len(self._sent) > self._sends_at_once:
            self._note_stored(self._sent.popleft().result())

    def _store(self, pack: OpenPack, whole: RunPack) -> tuple[RunPack, int]:
        try:
            pack.store(whole)
        finally:
            pack.discard()
        return whole, pack.size

    def _note_stored(self, stored: tuple[RunPack, int]) -> None:
        pack, size = stored
        self._stored.append(pack)
        self.bytes_stored += size

    def _raise_failure(self) -> None:
        if isinstance(self._failure, BackupError):
            raise type(self._failure)(self._failure.message, code=self._failure.code)
        if self._failure is not None:
            raise self._failure

    def flush(self) -> list[RunPack]:
        """Store everything queued; the packs stored since the last flush."""
        self._close_frame(0)
        self._close_frame(1)
        self._io.submit(self._flush_pack).result()
        self._raise_failure()
        stored, self._stored = self._stored, []
        return stored

    def _flush_pack(self) -> None:
        try:
            if self._failure is None:
                self._close_pack()
            while self._sent:
                self._note_stored(self._sent.popleft().result())
        except BaseException as error:  # noqa: BLE001 - raised again by the next call
            self._failure = error

    def close(self) -> None:
        """Stop the threads; what was not flushed is dropped."""
        self._workers.shutdown(cancel_futures=False)
        self._io.shutdown()
        self._hashing.shutdown()
        self._senders.shutdown()
        if self._pack is not None:
            self._pack.discard()
            self._pack = None


assert HEADER_BYTES < FRAME_PLAIN_BYTES_TARGET
