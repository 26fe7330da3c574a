"""
Chunks to stored packs: group, compress and seal on every core, store in order.

Frames are compressed and sealed by the workers, and taken in order by one I/O thread, which writes them into the open pack
while another one hashes what was written. At most FRAMES_IN_FLIGHT_MAX frames are held in memory before they are sealed. Whole
packs are sent to a store behind a network while the next one grows. A failure is kept and raised at the next call: nothing is
half stored, because a pack has no name before it is whole.
"""

import threading
from array import array
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from typing_extensions import Buffer

from cext import spans
from engine.errors import BackupError
from engine.frame import FrameCompressor, PackedFrame
from engine.limits import (
    DATA_PACK_BYTES_TARGET,
    FRAME_PLAIN_BYTES_MAX,
    FRAME_PLAIN_BYTES_TARGET,
    METADATA_PACK_BYTES_TARGET,
    PACK_CHUNKS_TARGET,
)
from engine.pack import DirectoryFrame
from engine.run import RunPack
from engine.seal import HEADER_BYTES, ObjectClass
from repository.ambient import cores
from repository.open_pack import OpenPack, PackSetting

FRAMES_IN_FLIGHT_MAX = 16
SENDS_AT_ONCE_MAX = 4  # whole packs on their way to a store behind a network; each lies in the temporary folder until then
_TARGETS = {
    ObjectClass.DATA_PACK: DATA_PACK_BYTES_TARGET,
    ObjectClass.METADATA_PACK: METADATA_PACK_BYTES_TARGET,
}


@dataclass(slots=True)
class _OpenFrame:
    """Chunks that wait until a frame is full: their bytes joined, and their references."""

    buffer: bytearray
    refs: list[bytes] = field(default_factory=list)
    size: int = 0


class Packer:
    """Packs of one class for one write session. `add` and `flush` from one thread at a time."""

    def __init__(self, setting: PackSetting) -> None:
        self._hashing = ThreadPoolExecutor(1, "hash-pack")
        self._setting = setting
        self._target = _TARGETS[setting.object_class]
        self._workers = ThreadPoolExecutor(cores(), "compress")
        self._io = ThreadPoolExecutor(1, "pack")
        self._sends_at_once = min(setting.store.calls_at_once(), SENDS_AT_ONCE_MAX)
        self._senders = ThreadPoolExecutor(self._sends_at_once, "send-pack")
        self._sent: deque[Future[tuple[RunPack, int]]] = deque()  # under way, in order
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
            self._pack = OpenPack(self._setting, self._workers, self._hashing)
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
        handed_on = False
        try:
            frame = packed.result()
            if self._failure is None:
                pack = self._open_pack()
                handed_on = True
                # what was packed may lie in the buffer: not free before it was sealed
                pack.append(refs, frame, partial(self._free, buffer))
                self._close_if_full()
        except BaseException as error:  # noqa: BLE001 - raised again by the next call
            self._failure = error
        finally:
            if not handed_on:
                self._free(buffer)

    def _free(self, buffer: bytearray) -> None:
        self._buffers.append(buffer)
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
        self._io.shutdown()  # first: it gives work to the others
        self._workers.shutdown()
        self._hashing.shutdown()
        self._senders.shutdown()
        if self._pack is not None:
            self._pack.discard()
            self._pack = None


assert HEADER_BYTES < FRAME_PLAIN_BYTES_TARGET
