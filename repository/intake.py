"""
Parts in: split mail at its attachments, cut into chunks, name them, and queue those that no usable pack holds.

Works on batches: one call for many parts, in kernels that hold no lock of the interpreter. Deciding what is new is one short
step under a lock, so that two threads never store the same chunk twice.
"""

import threading
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from typing_extensions import Buffer

from cext import digest, mime, runs, spans
from engine.chunker import ChunkerParams, cut_spans
from engine.errors import BackupError, Fenced
from engine.pack import DirectoryFrame
from engine.parts import REFERENCE_BYTES, Part
from engine.run import RunPack
from repository.ambient import cores
from repository.index import Index
from repository.packer import Packer
from repository.state import Usable


@dataclass(frozen=True, slots=True)
class StoredParts:
    """Columns, one value for each part of a batch: plain bytes, references, recipe."""

    sizes: list[int]
    chunks: list[bytes]
    recipes: list[bytes]


def as_failure(error: BaseException) -> BackupError:
    """What a session says from then on that met `error` while storing."""
    if isinstance(error, BackupError):
        return error
    return Fenced(f"storing was cut off ({error!r})", code="commit-cut-off")


class Intake:
    """Chunks of one write session. Thread-safe."""

    def __init__(
        self,
        index: Index,
        usable: Callable[[], Usable | None],
        chunker: ChunkerParams,
        id_key: bytes,
    ) -> None:
        self._index = index
        self._usable = usable
        self._chunker = chunker
        self._id_key = id_key
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(cores(), "hash")
        self._new = runs.IdTable()  # queued since the last flush
        self._flushed = runs.IdTable()  # in packs that a commit under way is going to name
        self.failure: BackupError | None = None

    def store(self, data: Buffer, part_spans: "array[int]", packer: Packer) -> StoredParts:
        """Store the parts that lie at `part_spans` of `data`; see `engine.recipe` for how mail is split."""
        stream, stream_spans, counts, recipes = mime.split(data, part_spans)
        chunk_spans, chunk_counts = cut_spans(stream, stream_spans, self._chunker)
        refs, _ = self._store_chunks(stream, chunk_spans, packer)
        sizes = [end - start for start, end in zip(part_spans[::2], part_spans[1::2], strict=True)]
        made = StoredParts(sizes, [], recipes)
        at = stream_at = 0
        for count in counts:
            chunks = sum(chunk_counts[stream_at : stream_at + count])
            made.chunks.append(refs[at : at + chunks * REFERENCE_BYTES])
            at += chunks * REFERENCE_BYTES
            stream_at += count
        return made

    def store_part(self, role: str, data: Buffer, packer: Packer, generation: int) -> Part:
        """Store one part."""
        made = self.store(data, array("Q", (0, memoryview(data).nbytes)), packer)
        return Part(role, made.sizes[0], made.chunks[0], made.recipes[0], generation)

    def store_as_is(self, role: str, data: Buffer, packer: Packer, generation: int) -> Part:
        """Store one part that is not looked into: manifests name such parts, and keep no recipes."""
        size = memoryview(data).nbytes
        chunk_spans, _ = cut_spans(data, array("Q", (0, size)), self._chunker)
        refs, _ = self._store_chunks(data, chunk_spans, packer)
        return Part(role, size, refs, generation=generation)

    def cut_stream(self, data: memoryview, *, final: bool) -> "array[int]":
        """Spans of the chunks at the beginning of `data` whose ends no later byte can move, or of all if this is its end."""
        chunk_spans, _ = cut_spans(data, array("Q", (0, len(data))), self._chunker)
        if not final:
            del chunk_spans[-2:]
        return chunk_spans

    def store_stream(
        self, data: memoryview, chunk_spans: "array[int]", packer: Packer
    ) -> Future[tuple[bytes, bool]]:
        """
        Store chunks by another thread, which needs `data` as it is until it is done.

        Returns: their references, and whether one of them is new.
        """
        return self._threads.submit(self._store_chunks, data, chunk_spans, packer)

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown()

    def _store_chunks(
        self, data: Buffer, chunk_spans: "array[int]", packer: Packer
    ) -> tuple[bytes, bool]:
        """References of the chunks, and whether there are new ones; these are queued."""
        ids = digest.keyed(data, chunk_spans, self._id_key)
        refs: bytes = spans.references(ids, chunk_spans)
        with self._lock:
            if self.failure is not None:
                raise self.failure
            absent = self._absent(ids)
            try:
                new = self._new.add(ids, absent)
                if new:
                    packer.add(data, spans.select(chunk_spans, new), spans.take(refs, new))
            except BaseException as error:
                # some count as queued that are not: going on would refer to chunks that no run has
                self.failure = as_failure(error)
                raise
        return refs, bool(new)

    def copy_frame(self, frame: DirectoryFrame, stored: bytes, packer: Packer) -> None:
        """Queue a sealed frame of another pack."""
        with self._lock:
            packer.copy(frame, stored)

    def copy_chunks(
        self, data: Buffer, chunk_spans: "array[int]", refs: bytes, packer: Packer
    ) -> None:
        """Queue chunks although they are stored elsewhere."""
        with self._lock:
            packer.add(data, chunk_spans, refs)

    def _absent(self, ids: bytes) -> "array[int]":
        """Numbers of the chunks that are in no usable pack and in none that a commit is about to name."""
        absent: array[int] = self._flushed.absent(ids, self._index.absent(ids, self._usable()))
        return absent

    def holds(self, references: Buffer) -> bool:
        """Whether every chunk referred to is stored or queued."""
        ids = runs.gather_ids(references)
        with self._lock:
            return not self._new.absent(ids, self._absent(ids))

    def flush(self, packers: Sequence[Packer]) -> list[RunPack]:
        """Store what is queued in packs; what comes from now on belongs to the next commit."""
        with self._lock:
            packs = [pack for packer in packers for pack in packer.flush()]
            self._flushed, self._new = self._new, runs.IdTable()
        return packs

    def committed(self) -> None:
        """The index now names what was flushed."""
        with self._lock:
            self._flushed = runs.IdTable()
