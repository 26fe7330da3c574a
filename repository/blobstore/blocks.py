"""
Ranges of packs behind a network, through a file of this machine.

Whoever restores much comes back to a pack again and again, because content that occurs twice is stored once, somewhere.
A block of which enough was asked for is read whole, with one request, and kept; those unused for longest make room. Blocks
that are come to in order are read before they are asked for. Whoever wants a few bytes gets these alone.
"""

import os
import tempfile
import threading
from collections import Counter, OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

from repository.blobstore.protocol import BlobStore

BLOCK_BYTES = 8 * 1024 * 1024
WORTH_BYTES = BLOCK_BYTES // 8  # asked for in a block before it is read whole
BLOCKS_AHEAD = 3
DISK_SHARE_MAX = 0.25  # of what is free
KEPT_BLOCKS_MAX = 512  # 4 GiB of the disk

Block = tuple[str, int]  # name of the object, number in it


@dataclass(frozen=True, slots=True)
class _Kept:
    slot: int
    size: int


class Blocks:
    """
    What `BlobStore.get_range` gives, of objects that never change. Thread-safe; a block is fetched by one thread at a time.

    `folder`: where the file lies, nameless; None: where temporary files do. If it cannot be written, nothing is kept.
    """

    def __init__(self, store: BlobStore, folder: str | None) -> None:
        self._store = store
        self._folder = folder
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._kept: OrderedDict[Block, _Kept] = OrderedDict()
        self._free: list[int] = []  # slots
        self._asked: Counter[Block] = Counter()  # bytes, of blocks that are not kept
        self._fetching: dict[Block, Future[bytes]] = {}
        self._unasked: set[Block] = set()  # fetched before anybody asked
        self._threads = ThreadPoolExecutor(BLOCKS_AHEAD, "read-ahead")

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See BlobStore; `offset` from the beginning."""
        end = offset + length
        numbers = range(offset // BLOCK_BYTES, (end + BLOCK_BYTES - 1) // BLOCK_BYTES)
        pieces = []
        for number in numbers:
            at = number * BLOCK_BYTES
            start, stop = max(0, offset - at), min(BLOCK_BYTES, end - at)
            pieces.append(self._piece((name, number), start, stop))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def forget(self, name: str) -> None:
        """Drop what is kept of an object: its bytes were not right."""
        with self._lock:
            for block in [block for block in self._kept if block[0] == name]:
                self._free.append(self._kept.pop(block).slot)

    def _piece(self, block: Block, start: int, stop: int) -> bytes:
        with self._lock:
            if block in self._unasked:
                self._read_ahead(block)
            kept = self._kept.get(block)
            if kept is not None and self._file is not None:
                self._kept.move_to_end(block)
                at, size = kept.slot * BLOCK_BYTES + start, min(stop, kept.size) - start
                return os.pread(self._file.fileno(), max(0, size), at)
            fetching = self._fetching.get(block)
            self._asked[block] += stop - start
            is_worth = self._asked[block] >= WORTH_BYTES
            if fetching is None and is_worth:
                mine = self._fetching[block] = Future[bytes]()
                if (block[0], block[1] - 1) in self._kept:
                    self._read_ahead(block)
        if fetching is not None:
            return fetching.result()[start:stop]
        if not is_worth:
            return self._store.get_range(block[0], block[1] * BLOCK_BYTES + start, stop - start)
        return self._fetch(block, mine)[start:stop]

    def _read_ahead(self, block: Block) -> None:
        """Begin to fetch the blocks behind one that was come to in order."""
        self._unasked.discard(block)
        for number in range(block[1] + 1, block[1] + 1 + BLOCKS_AHEAD):
            following = block[0], number
            if following not in self._kept and following not in self._fetching:
                self._unasked.add(following)
                made = self._fetching[following] = Future[bytes]()
                self._threads.submit(self._fetch, following, made)

    def _fetch(self, block: Block, made: "Future[bytes]") -> bytes:
        try:
            data = self._store.get_range(block[0], block[1] * BLOCK_BYTES, BLOCK_BYTES)
        except BaseException as error:
            with self._lock:
                self._unasked.discard(block)
                del self._fetching[block]
            made.set_exception(error)
            raise
        with self._lock:
            self._keep(block, data)
            self._asked.pop(block, None)
            del self._fetching[block]
        made.set_result(data)
        return data

    def _keep(self, block: Block, data: bytes) -> None:
        try:
            file = self._file or self._made_file()
            if self._free:
                slot = self._free.pop()
            elif self._kept:
                unused, oldest = self._kept.popitem(last=False)
                self._unasked.discard(unused)
                slot = oldest.slot
            else:
                return
            if os.pwrite(file.fileno(), data, slot * BLOCK_BYTES) == len(data):
                self._kept[block] = _Kept(slot, len(data))
        except OSError:  # a full disk costs speed alone; the slot is given up
            return

    def _made_file(self) -> IO[bytes]:
        """The file, with as many slots as leave others most of the disk."""
        self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115 - closed with its last user
        status = os.fstatvfs(self._file.fileno())
        room = int(status.f_bavail * status.f_frsize * DISK_SHARE_MAX) // BLOCK_BYTES
        self._free = list(range(min(KEPT_BLOCKS_MAX, room)))
        return self._file
