"""
A pack that grows: frames in order into a spool, sealed beside it, hashed and given parity beside writing.

Places and numbers of frames are settled when they come, because the size of a sealed frame is known before it is sealed: so
cores seal while the I/O thread writes what is sealed already. The pack has no name before it is whole.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

from blake3 import blake3

from engine.frame import FrameInfo, PackedFrame, seal_frame
from engine.ids import object_id
from engine.keys import SALT_BYTES, KeySet
from engine.limits import SALVAGE_INTERVAL_BYTES
from engine.pack import DirectoryFrame, fill_bytes, seal_salvage_point, seal_tail
from engine.parity import ParityEncoder
from engine.parts import REFERENCE_BYTES
from engine.run import RunPack
from engine.seal import TAG_BYTES, Header, ObjectClass, frame_cipher
from repository.ambient import random_bytes
from repository.blobstore.protocol import BlobStore
from repository.layout import pack_name

PIECES_TO_WRITE_MAX = 4
PIECES_TO_HASH_MAX = 8


@dataclass(frozen=True, slots=True)
class PackSetting:
    """
    What all packs of one class in a write session share. `padded`, `parity`: as the repository wants its packs.

    `epoch`: seals the frames, by default the newest shared one, which seals all else in any case.
    """

    store: BlobStore
    keys: KeySet
    repository: bytes
    object_class: ObjectClass
    padded: bool
    parity: bool = False
    epoch: int | None = None


class OpenPack:
    """
    Used by one thread, which writes; `sealing` and `hashing` are threads beside it, the latter one alone (order counts).
    """

    def __init__(
        self, setting: PackSetting, sealing: ThreadPoolExecutor, hashing: ThreadPoolExecutor
    ) -> None:
        self._setting = setting
        self._sealing = sealing
        self._hashing = hashing
        self._unwritten: deque[Future[bytes]] = deque()
        self._hashed: deque[Future[None]] = deque()  # pieces that wait for it, in order
        keys, salt = setting.keys, random_bytes(SALT_BYTES)
        self._header = Header(setting.object_class, keys.newest_epoch, setting.repository, salt)
        self._epoch = self._header.epoch if setting.epoch is None else setting.epoch
        self._cipher = frame_cipher(keys, setting.object_class, self._epoch, salt)
        self._frames: list[DirectoryFrame] = []
        self._salvaged_frames = 0
        self._salvaged_bytes = 0
        self._hash = blake3()
        self._parity = ParityEncoder() if setting.parity else None
        self.size = 0
        self.chunks = 0
        self._add(self._header.encode())
        self._stack = ExitStack()
        self._spool = self._stack.enter_context(setting.store.spool())

    def append(self, refs: bytes, frame: PackedFrame, sealed: Callable[[], None]) -> None:
        """Seal a frame and write it; behind it a salvage point when one is due. `sealed` is called when `frame` may go."""
        ordinal, header = len(self._frames), self._header
        info = FrameInfo(
            frame.identity,
            self.size,
            len(frame.payload) + TAG_BYTES,
            frame.plain_bytes,
            ordinal,
            self._epoch,
            0,
            frame.codec,
            header.salt,
        )
        piece = self._sealing.submit(self._seal, frame, ordinal, sealed)
        self._add_frame(DirectoryFrame(info, refs), piece)

    def _seal(self, frame: PackedFrame, ordinal: int, sealed: Callable[[], None]) -> bytes:
        setting = self._setting
        try:
            return seal_frame(
                self._cipher,
                frame,
                setting.repository,
                setting.object_class,
                self._epoch,
                ordinal,
            )
        finally:
            sealed()

    def append_sealed(self, frame: DirectoryFrame, stored: bytes) -> None:
        """Write a frame of another pack as it is sealed there: its salt and number come along in the directory."""
        listed = DirectoryFrame(replace(frame.info, offset=self.size), frame.refs)
        self._add_frame(listed, _ready(stored))

    def _add_frame(self, frame: DirectoryFrame, piece: Future[bytes]) -> None:
        self._frames.append(frame)
        self.chunks += len(frame.refs) // REFERENCE_BYTES
        self._queue(piece, frame.info.stored_bytes)
        if self.size - self._salvaged_bytes >= SALVAGE_INTERVAL_BYTES:
            self._salvage_point()

    def _salvage_point(self) -> None:
        listed = self._frames[self._salvaged_frames :]
        fill, sealed = seal_salvage_point(self._setting.keys, self._header, listed, self.size)
        self._add(random_bytes(fill))
        self._add(sealed)
        self._salvaged_frames, self._salvaged_bytes = len(self._frames), self.size

    def _add(self, data: bytes) -> None:
        self._queue(_ready(data), len(data))

    def _queue(self, piece: Future[bytes], size: int) -> None:
        self._unwritten.append(piece)
        self.size += size
        self._write(PIECES_TO_WRITE_MAX)

    def _write(self, most: int) -> None:
        """Write until at most so many pieces wait for it."""
        while len(self._unwritten) > most:
            data = self._unwritten.popleft().result()
            self._hashed.append(self._hashing.submit(self._take, data))
            self._spool.write(data)
            self._await_hashes(PIECES_TO_HASH_MAX)

    def _take(self, data: bytes) -> None:
        """Beside writing: the name, and the parity of what is before the trailer."""
        self._hash.update(data)
        if self._parity is not None:
            self._parity.update(data)

    def _await_hashes(self, most: int) -> None:
        while len(self._hashed) > most:
            self._hashed.popleft().result()

    def seal(self) -> RunPack:
        """Write directory, fill, parity and trailer: the pack is whole, `store` gives it its name."""
        setting, offset = self._setting, self.size
        directory, trailer = seal_tail(setting.keys, self._header, self._frames, offset)
        self._add(directory)
        self._add(random_bytes(fill_bytes(len(directory), offset) if setting.padded else 0))
        self._write(0)
        self._await_hashes(0)
        end = trailer if self._parity is None else self._parity.finish(trailer)
        self._hash.update(end)
        self._spool.write(end)
        self.size += len(end)
        pack = object_id(self._hash.hexdigest())
        return RunPack(pack, setting.object_class, tuple(self._frames))

    def store(self, pack: RunPack) -> None:
        """Put what `seal` made whole."""
        self._spool.put(pack_name(self._setting.object_class, pack.pack))

    def discard(self) -> None:
        """Give the spool back."""
        self._stack.close()


def _ready(data: bytes) -> Future[bytes]:
    """A piece that waits for nothing."""
    piece: Future[bytes] = Future()
    piece.set_result(data)
    return piece


assert PIECES_TO_WRITE_MAX > 0  # nothing is written before the spool is there
