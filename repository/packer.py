"""
Chunks to stored packs: group, compress on every core, seal and store in order.

Frames are compressed by the workers and taken in order by one I/O thread, which seals them into the open pack. At most
FRAMES_IN_FLIGHT_MAX frames are held in memory. A failure is kept and raised at the next call: nothing is half stored,
because a pack has no name before it is whole.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from blake3 import blake3

from engine.errors import BackupError
from engine.frame import FrameInfo, PackedFrame, pack_frame, seal_frame
from engine.ids import ChunkId, object_id
from engine.keys import SALT_BYTES, KeySet
from engine.limits import (
    DATA_PACK_BYTES_TARGET,
    FRAME_PLAIN_BYTES_TARGET,
    METADATA_PACK_BYTES_TARGET,
    PACK_CHUNKS_TARGET,
)
from engine.pack import DirectoryFrame, fill_bytes, seal_tail
from engine.run import RunPack
from engine.seal import HEADER_BYTES, Header, ObjectClass, frame_cipher
from repository.ambient import cores, random_bytes
from repository.blobstore.protocol import BlobStore
from repository.layout import pack_name

FRAMES_IN_FLIGHT_MAX = 16
_TARGETS = {
    ObjectClass.DATA_PACK: DATA_PACK_BYTES_TARGET,
    ObjectClass.METADATA_PACK: METADATA_PACK_BYTES_TARGET,
}

Refs = tuple[tuple[ChunkId, int], ...]


class OpenPack:
    """A pack that still grows in a spool. Used by the I/O thread alone."""

    def __init__(
        self, store: BlobStore, keys: KeySet, repository: bytes, object_class: ObjectClass
    ) -> None:
        self._keys = keys
        self._store = store
        self._repository = repository
        self._class = object_class
        self._header = Header(object_class, keys.newest_epoch, repository, random_bytes(SALT_BYTES))
        self._cipher = frame_cipher(keys, object_class, self._header.epoch, self._header.salt)
        self._frames: list[DirectoryFrame] = []
        self._stack = ExitStack()
        self._spool = self._stack.enter_context(store.spool())
        self._hash = blake3()
        self.size = 0
        self.chunks = 0
        with self._stack.pop_all() as held:
            self._write(self._header.encode())
            self._stack = held.pop_all()

    def _write(self, data: bytes) -> None:
        self._spool.write(data)
        self._hash.update(data)
        self.size += len(data)

    def append(self, refs: Refs, frame: PackedFrame) -> None:
        """Seal a frame and write it."""
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
        self._write(stored)
        self._frames.append(DirectoryFrame(info, refs))
        self.chunks += len(refs)

    def close(self) -> RunPack:
        """Write directory, fill and trailer; store the pack under its name."""
        offset = self.size
        fill = random_bytes(fill_bytes(self._frames, offset))
        directory, trailer = seal_tail(self._keys, self._header, self._frames, offset)
        for piece in (directory, fill, trailer):
            self._write(piece)
        pack = object_id(self._hash.hexdigest())
        self._spool.put(pack_name(self._class, pack))
        self.discard()
        return RunPack(pack, self._class, tuple(self._frames))

    def discard(self) -> None:
        """Give the spool back."""
        self._stack.close()


class Packer:
    """Packs of one class for one write session. `add` and `flush` from one thread at a time."""

    def __init__(
        self, store: BlobStore, keys: KeySet, repository: bytes, object_class: ObjectClass
    ) -> None:
        self._new_pack = partial(OpenPack, store, keys, repository, object_class)
        self._target = _TARGETS[object_class]
        self._workers = ThreadPoolExecutor(cores(), "compress")
        self._io = ThreadPoolExecutor(1, "pack")
        self._in_flight = threading.BoundedSemaphore(FRAMES_IN_FLIGHT_MAX)
        self._pack: OpenPack | None = None
        self._stored: list[RunPack] = []
        self._failure: BaseException | None = None
        self._group: list[bytes] = []
        self._refs: list[tuple[ChunkId, int]] = []
        self._group_bytes = 0
        self.bytes_stored = 0

    def add(self, chunk: ChunkId, data: bytes) -> None:
        """Queue a new chunk. Raises what an earlier chunk failed with."""
        self._raise_failure()
        self._group.append(data)
        self._refs.append((chunk, len(data)))
        self._group_bytes += len(data)
        if self._group_bytes >= FRAME_PLAIN_BYTES_TARGET:
            self._close_group()

    def _close_group(self) -> None:
        if not self._refs:
            return
        refs, group = tuple(self._refs), self._group
        self._group, self._refs, self._group_bytes = [], [], 0
        self._in_flight.acquire()
        packed = self._workers.submit(_compress, refs, group)
        self._io.submit(self._append, refs, packed)

    def _append(self, refs: Refs, packed: Future[PackedFrame]) -> None:
        try:
            frame = packed.result()
            if self._failure is None:
                if self._pack is None:
                    self._pack = self._new_pack()
                self._pack.append(refs, frame)
                if self._pack.size >= self._target or self._pack.chunks >= PACK_CHUNKS_TARGET:
                    self._close_pack()
        except BaseException as error:  # noqa: BLE001 - raised again by the next call
            self._failure = error
        finally:
            self._in_flight.release()

    def _close_pack(self) -> None:
        pack, self._pack = self._pack, None
        if pack is not None:
            try:
                self._stored.append(pack.close())
                self.bytes_stored += pack.size
            finally:
                pack.discard()

    def _raise_failure(self) -> None:
        if isinstance(self._failure, BackupError):
            raise type(self._failure)(self._failure.message, code=self._failure.code)
        if self._failure is not None:
            raise self._failure

    def flush(self) -> list[RunPack]:
        """Store everything queued; the packs stored since the last flush."""
        self._close_group()
        self._io.submit(self._flush_pack).result()
        self._raise_failure()
        stored, self._stored = self._stored, []
        return stored

    def _flush_pack(self) -> None:
        try:
            if self._failure is None:
                self._close_pack()
        except BaseException as error:  # noqa: BLE001 - raised again by the next call
            self._failure = error

    def close(self) -> None:
        """Stop the threads; what was not flushed is dropped."""
        self._workers.shutdown(cancel_futures=False)
        self._io.shutdown()
        if self._pack is not None:
            self._pack.discard()
            self._pack = None


def _compress(refs: Refs, group: Sequence[bytes]) -> PackedFrame:
    return pack_frame([chunk for chunk, _ in refs], b"".join(group))


assert HEADER_BYTES < FRAME_PLAIN_BYTES_TARGET
