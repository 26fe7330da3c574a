"""
Plain bytes of chunks and parts: locate, read the frame, open it, check every chunk's id.

Decoded frames are kept in a small cache, so that neighbours cost one read; `by_location` gives the order in which
many parts are best read.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator

from engine.chunker import chunk_id
from engine.errors import Corruption, NotFound
from engine.frame import open_frame
from engine.ids import ChunkId
from engine.keys import KeySet
from engine.parts import Part
from engine.seal import frame_cipher
from repository.blobstore.protocol import BlobStore
from repository.index import Index, Location
from repository.layout import pack_name

FRAMES_CACHED_MAX = 64


class Reader:
    """Reads through an index. Thread-safe."""

    def __init__(self, store: BlobStore, keys: KeySet, repository: bytes, index: Index) -> None:
        self._store = store
        self._keys = keys
        self._repository = repository
        self._index = index
        self._frames: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def chunk(self, chunk: ChunkId) -> bytes:
        """Plain bytes of a chunk. Corruption if it is missing, damaged or not what its id says."""
        location = self._index.locate(chunk)
        if location is None:
            raise Corruption(
                f"chunk {chunk.hex()[:16]} is in no index run: run `strongroom repo verify`",
                code="chunk-missing",
            )
        plain = self._frame(location)
        data = plain[location.offset : location.offset + location.length]
        if chunk_id(data, self._keys.id_key) != chunk:
            raise Corruption(
                f"a chunk of pack {location.pack[:16]} is not what its id says",
                code="chunk-corrupt",
                pack=location.pack,
            )
        return data

    def _frame(self, location: Location) -> bytes:
        key = (location.pack, location.frame.offset)
        with self._lock:
            if key in self._frames:
                self._frames.move_to_end(key)
                return self._frames[key]
        plain = self.load_frame(location)
        with self._lock:
            self._frames[key] = plain
            while len(self._frames) > FRAMES_CACHED_MAX:
                self._frames.popitem(last=False)
        return plain

    def load_frame(self, location: Location) -> bytes:
        """Read and open one frame, past the cache."""
        info = location.frame
        name = pack_name(location.object_class, location.pack)
        try:
            stored = self._store.get_range(name, info.offset, info.stored_bytes)
        except NotFound as error:
            raise Corruption(
                f"pack {location.pack[:16]} is missing: run `strongroom repo verify`",
                code="pack-missing",
                pack=location.pack,
            ) from error
        cipher = frame_cipher(self._keys, location.object_class, info.epoch, info.salt)
        try:
            return open_frame(cipher, stored, info, self._repository, location.object_class)
        except Corruption as error:
            raise Corruption(
                f"pack {location.pack[:16]} is damaged: `strongroom repo verify --read-data` lists what is affected",
                code="pack-corrupt",
                pack=location.pack,
            ) from error

    def read(self, part: Part) -> Iterator[bytes]:
        """Plain bytes of a part, chunk by chunk."""
        for chunk, length in part.references():
            data = self.chunk(chunk)
            if len(data) != length:
                raise Corruption(
                    "a chunk has another length than its part says", code="part-corrupt"
                )
            yield data

    def read_all(self, part: Part) -> bytes:
        """Plain bytes of a part."""
        return b"".join(self.read(part))

    def by_location(self, part: Part) -> tuple[str, int]:
        """Sort key: where the first chunk of a part lies. Empty parts come first."""
        for chunk, _ in part.references():
            location = self._index.locate(chunk)
            if location is not None:
                return location.pack, location.frame.offset
        return "", 0
