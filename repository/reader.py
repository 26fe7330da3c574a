"""
Plain bytes of parts: locate, read frames in coalesced ranges, open them, check every chunk's id.

Decoded frames are kept in a small cache, so that neighbours cost one read. Many parts at once (`gather`) are read frame by
frame in the order of the packs; threads may do so side by side, because nearly all of it runs without the
interpreter's lock.
"""

import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cext import digest, runs
from engine.errors import Corruption, NotFound
from engine.frame import open_frame
from engine.keys import KeySet
from engine.parts import REFERENCE_BYTES, Part
from engine.recipe import stream_content, text_bytes
from engine.seal import ObjectClass, frame_cipher
from repository import ambient
from repository.blobstore.blocks import Blocks
from repository.blobstore.protocol import BlobStore
from repository.index import NOT_FOUND, Found, FramePlace, Index, Usable
from repository.layout import pack_name

FRAME_CACHE_BYTES_MAX = 16 * 1024 * 1024
RANGE_BYTES_MAX = 8 * 1024 * 1024  # of one read from the store
RANGE_GAP_BYTES_MAX = (
    1024 * 1024
)  # bytes between two frames that are read along rather than skipped
PART_CHUNKS_AT_ONCE = 128
RENEWALS_MAX = 3  # of the state, while collections overtake one reading

FrameKey = tuple[str, int]  # pack, offset


@dataclass(frozen=True, slots=True)
class Gathered:
    """
    Chunks found, in the order asked for.

    Attributes:
        frames: plain bytes of frames. numbers: for each chunk, which of them. offsets, lengths: where in it, in bytes.
    """

    frames: list[bytes]
    numbers: "array[int]"
    offsets: "array[int]"
    lengths: "array[int]"

    def piece(self, chunk: int) -> memoryview:
        """Plain bytes of the chunk of this number."""
        at = self.offsets[chunk]
        return memoryview(self.frames[self.numbers[chunk]])[at : at + self.lengths[chunk]]


class Reader:
    """
    Reads through an index. Thread-safe.

    `renew` reads the state anew and says whether it was another one: then what is missing was collected, not lost. `whole`
    gives the packs that are not known to be damaged: they are preferred.
    """

    def __init__(
        self,
        store: BlobStore,
        keys: KeySet,
        repository: bytes,
        index: Index,
        renew: Callable[[], bool] = lambda: False,
        whole: Callable[[], Usable | None] = lambda: None,
    ) -> None:
        is_near = store.calls_at_once() == 1
        self._store = store if is_near else Blocks(store, ambient.temporary_folder())
        self._whole = whole
        self._renew = renew
        self._keys = keys
        self._repository = repository
        self._index = index
        self._cache: OrderedDict[FrameKey, bytes] = OrderedDict()
        self._cache_bytes = 0
        self._lock = threading.Lock()
        self._cipher = lru_cache(256)(self._new_cipher)

    # -- parts -----------------------------------------------------------------------------------

    def read(self, part: Part) -> Iterator[bytes]:
        """Content of a part, piece by piece, each checked."""
        if not part.recipe:
            yield from self._stream(part.chunks)
            return
        lengths = runs.lengths(part.chunks)
        text, at, border = text_bytes(sum(lengths), part.recipe), 0, 0
        while at < text:
            at += lengths[border]
            border += 1
        if at != text:
            raise Corruption("a recipe does not fit its chunks", code="part-corrupt")
        place = border * REFERENCE_BYTES
        streams = self._stream(part.chunks[:place]), self._stream(part.chunks[place:])
        yield from stream_content(*streams, part.recipe)

    def read_all(self, part: Part) -> bytes:
        """Content of a part."""
        return b"".join(self.read(part))

    def _stream(self, refs: bytes) -> Iterator[bytes]:
        step = PART_CHUNKS_AT_ONCE * REFERENCE_BYTES
        for at in range(0, len(refs), step):
            gathered = self.gather(refs[at : at + step])
            for number in range(len(gathered.numbers)):
                yield bytes(gathered.piece(number))

    def first_places(self, refs: bytes) -> "array[int]":
        """For each reference where it lies: numbers that sort as packs and places in them do."""
        return self._index.find(runs.gather_ids(refs), self._whole()).frames

    # -- chunks ----------------------------------------------------------------------------------

    def gather(self, refs: bytes) -> Gathered:
        """
        The chunks of these references; memory is theirs and that of the frames they lie in.

        Raises: Corruption if a chunk is missing, damaged or not what its id says. ScopeClosed.
        """
        for _ in range(RENEWALS_MAX):
            try:
                return self._gather(refs)
            except Corruption as error:
                if error.code not in ("pack-missing", "chunk-missing") or not self._renew():
                    raise
        return self._gather(refs)

    def _gather(self, refs: bytes) -> Gathered:
        ids = runs.gather_ids(refs)
        found = self._index.find(ids, self._whole())
        if found.lengths != runs.lengths(refs):
            self._raise_missing(found, ids)
        handles = sorted(set(found.frames))
        frames = self._frames([found.place(handle) for handle in handles])
        number_of = {handle: number for number, handle in enumerate(handles)}
        numbers = array("I", map(number_of.__getitem__, found.frames))
        gathered = Gathered(frames, numbers, found.offsets, found.lengths)
        self._check(gathered, ids, found, handles)
        return gathered

    def _raise_missing(self, found: Found, ids: bytes) -> None:
        for number, handle in enumerate(found.frames):
            if handle == NOT_FOUND:
                chunk = ids[32 * number : 32 * number + 8].hex()
                raise Corruption(
                    f"chunk {chunk} is in no index run: run `strongroom repo verify`",
                    code="chunk-missing",
                )
        raise Corruption("a chunk has another length than its part says", code="part-corrupt")

    def _check(self, gathered: Gathered, ids: bytes, found: Found, handles: list[int]) -> None:
        """Compare every chunk with its id, frame by frame."""
        inside: list[list[int]] = [[] for _ in handles]
        for chunk, number in enumerate(gathered.numbers):
            inside[number].append(chunk)
        for number, chunks in enumerate(inside):
            places = array("Q")
            for chunk in chunks:
                at = gathered.offsets[chunk]
                places.extend((at, at + gathered.lengths[chunk]))
            expected = b"".join(ids[32 * chunk : 32 * chunk + 32] for chunk in chunks)
            place = found.place(handles[number])
            id_key = self._keys.id_key_of(place.info.epoch)
            if digest.keyed(gathered.frames[number], places, id_key) != expected:
                pack = place.pack
                raise Corruption(
                    f"a chunk of pack {pack[:16]} is not what its id says",
                    code="chunk-corrupt",
                    pack=pack,
                )

    # -- frames ----------------------------------------------------------------------------------

    def _frames(self, places: Sequence[FramePlace]) -> list[bytes]:
        """Plain bytes of frames, given in the order of packs and offsets."""
        held: dict[FrameKey, bytes] = {}
        with self._lock:
            for place in places:
                key = (place.pack, place.info.offset)
                plain = self._cache.get(key)
                if plain is not None:
                    self._cache.move_to_end(key)
                    held[key] = plain
        wanted = [place for place in places if (place.pack, place.info.offset) not in held]
        for near in near_frames(wanted):
            for place, plain in self._load(near):
                held[place.pack, place.info.offset] = plain
                self._keep((place.pack, place.info.offset), plain)
        return [held[place.pack, place.info.offset] for place in places]

    def _keep(self, key: FrameKey, plain: bytes) -> None:
        with self._lock:
            if key not in self._cache:
                self._cache_bytes += len(plain)
            self._cache[key] = plain
            while self._cache_bytes > FRAME_CACHE_BYTES_MAX:
                self._cache_bytes -= len(self._cache.popitem(last=False)[1])

    def _load(self, near: Sequence[FramePlace]) -> Iterator[tuple[FramePlace, bytes]]:
        """Read frames of one pack that lie near each other with one request, and open them."""
        pack, first, last = near[0].pack, near[0].info, near[-1].info
        name = pack_name(near[0].object_class, pack)
        size = last.offset + last.stored_bytes - first.offset
        try:
            stored = memoryview(self._store.get_range(name, first.offset, size))
            for place in near:
                at = place.info.offset - first.offset
                yield place, self.open(place, stored[at : at + place.info.stored_bytes])
        except NotFound as error:
            raise Corruption(
                f"pack {pack[:16]} is missing: run `strongroom repo verify`",
                code="pack-missing",
                pack=pack,
            ) from error
        except Corruption as error:
            if isinstance(self._store, Blocks):
                self._store.forget(name)
            raise Corruption(
                f"pack {pack[:16]} is damaged: `strongroom repo verify --read-data` lists what is affected",
                code="pack-corrupt",
                pack=pack,
            ) from error

    def open(self, place: FramePlace, stored: memoryview) -> bytes:
        """Plain bytes of a frame from its stored bytes. Corruption."""
        info = place.info
        cipher = self._cipher(place.object_class, info.epoch, info.salt)
        return open_frame(cipher, stored, info, self._repository, place.object_class)

    def _new_cipher(self, object_class: ObjectClass, epoch: int, salt: bytes) -> AESGCM:
        return frame_cipher(self._keys, object_class, epoch, salt)


def near_frames(places: Sequence[FramePlace]) -> Iterator[list[FramePlace]]:
    """Frames in groups that one request reads: of one pack, small gaps, bounded."""
    group: list[FramePlace] = []
    for place in places:
        if group:
            first, last = group[0].info, group[-1].info
            end = last.offset + last.stored_bytes
            gap = place.info.offset - end
            size = place.info.offset + place.info.stored_bytes - first.offset
            near = place.pack == group[0].pack and 0 <= gap <= RANGE_GAP_BYTES_MAX
            if not near or size > RANGE_BYTES_MAX:
                yield group
                group = []
        group.append(place)
    if group:
        yield group
