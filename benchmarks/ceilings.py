"""What the machine itself allows on a set: the parts of a backup alone, on two threads, from memory."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import zstandard
from blake3 import blake3

from benchmarks.datasets import sorted_files

T = TypeVar("T")

THREADS = 2
CHUNK_BYTES = 256 << 10
BATCH_BYTES = 64 << 20  # of the set in memory at a time

# the parts that no step can do without, as far as these libraries go; deduplication may spare the compressor some
PARTS = {
    "fresh": ("read", "blake3", "zstd1"),
    "again": ("read", "blake3"),
    "changed": ("read", "blake3"),
    "verify": ("unzstd1", "blake3"),
    "restore": ("unzstd1", "write"),
}


def seconds(data: Path, scratch: Path) -> dict[str, float]:
    """Seconds of each part over all bytes of the set, files in pieces of at most 256 KiB.

    `zstd1`, `zstd3`, `unzstd1`, `blake3`: two threads, from memory; `copy`: one thread, memory to memory;
    `read`, `write`: every file, by one or two threads, whatever is faster.
    """
    # in a process of its own: its memory must not count in the peaks of commands started later
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        return other.submit(_seconds, data, scratch).result()


def ceiling(parts: dict[str, float], step: str) -> float | None:
    """Seconds below which a step cannot come with these parts one after the other, each on two threads."""
    return sum(parts[part] for part in PARTS[step]) if step in PARTS else None


def _seconds(data: Path, scratch: Path) -> dict[str, float]:
    files = list(sorted_files(data))
    total = dict.fromkeys(("copy", "blake3", "zstd1", "zstd3", "unzstd1", "write"), 0.0)
    target = memoryview(bytearray(b"x" * BATCH_BYTES))
    for batch in _batches(files):
        pieces = [piece for content in batch for piece in _pieces(content)]
        packer = zstandard.ZstdCompressor(level=1)
        packed = [packer.compress(piece) for piece in pieces]
        total["copy"] += _timed(lambda batch=batch: _copy(batch, target))  # type: ignore[misc]
        total["blake3"] += _on_threads(lambda: _hash, pieces)
        total["zstd1"] += _on_threads(lambda: zstandard.ZstdCompressor(level=1).compress, pieces)
        total["zstd3"] += _on_threads(lambda: zstandard.ZstdCompressor(level=3).compress, pieces)
        total["unzstd1"] += _on_threads(lambda: zstandard.ZstdDecompressor().decompress, packed)
        total["write"] += _write(batch, scratch)
    total["read"] = min(_on_threads(lambda: _read, files, count) for count in (1, THREADS))
    return total


def _copy(batch: Sequence[bytes], target: memoryview) -> None:
    start = 0
    for content in batch:
        target[start : start + len(content)] = content
        start += len(content)


def _hash(piece: memoryview) -> bytes:
    return blake3(piece).digest()


def _read(path: Path) -> None:
    with open(path, "rb", buffering=0) as file:
        while file.read(CHUNK_BYTES):
            pass


def _batches(files: Sequence[Path]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    length = 0
    for path in files:
        with path.open("rb") as file:
            while content := file.read(BATCH_BYTES - length):
                batch.append(content)
                length += len(content)
                if length == BATCH_BYTES:
                    yield batch
                    batch, length = [], 0
    if batch:
        yield batch


def _pieces(content: bytes) -> list[memoryview]:
    view = memoryview(content)
    return [view[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES)]


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _on_threads(
    worker: Callable[[], Callable[[T], object]], pieces: Sequence[T], count: int = THREADS
) -> float:
    """Seconds of all pieces; each thread has its own worker and takes the next piece when it can."""
    left = iter(pieces)

    def run() -> None:
        work = worker()
        # taking from one iterator is safe under the interpreter's lock; results are dropped, so that
        # their memory is used again: what fresh pages cost is not part of the work
        for piece in left:
            work(piece)

    threads = [threading.Thread(target=run) for _ in range(count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def _write(batch: Sequence[bytes], scratch: Path) -> float:
    """Create a file for each content, by one and by two threads; the faster time."""

    def write(work: tuple[Path, bytes]) -> None:
        with open(work[0], "wb", buffering=0) as file:
            file.write(work[1])

    times = []
    for count in (1, THREADS):
        folder = Path(tempfile.mkdtemp(dir=scratch))
        works = [(folder / f"{number}", content) for number, content in enumerate(batch)]
        times.append(_on_threads(lambda: write, works, count))
        shutil.rmtree(folder)
    return min(times)
