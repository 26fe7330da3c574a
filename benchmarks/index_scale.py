"""
The chunk index at scale: made-up chunks through `repository.index`, next to LMDB.

    python -m benchmarks.index_scale --chunks 10000000 --record benchmarks/results/DATE-index.json

Chunks of 64 KiB, frames of four, packs of 64 MiB, runs of a million, each named by a commit of its own. Memory is told apart:
anonymous is what the process holds, file-backed is what the kernel may take back.
"""

import argparse
import concurrent.futures
import functools
import json
import multiprocessing
import os
import random
import shutil
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.conditions import conditions
from cext import runs
from engine.frame import Codec, FrameInfo
from engine.ids import ObjectId
from engine.pack import DirectoryFrame
from engine.run import RunPack, decode_run, encode_run
from engine.seal import ObjectClass
from repository.index import NOT_FOUND, FramePlace, Index

CHUNK_BYTES = 64 * 1024
FRAME_CHUNKS = 4
PACK_CHUNKS = 1024
RUN_CHUNKS = 1_000_000
LOOKUPS = 400_000

Figures = dict[str, float | int | str]


def main() -> int:
    """Build, ask, print, and with --record keep the result."""
    words = _words()
    folder = Path(tempfile.mkdtemp(prefix="index-", dir=words.scratch))
    try:
        result: dict[str, object] = {
            **conditions("index_scale"),
            "chunks": words.chunks,
            "index": _index(folder / "index", words.chunks),
            "table": _table(min(words.chunks, RUN_CHUNKS)),
            "lmdb": _lmdb(folder / "lmdb", words.lmdb_chunks),
        }
    finally:
        shutil.rmtree(folder)
    text = json.dumps(result, indent=1)
    print(text)
    if words.record:
        words.record.write_text(text + "\n")
    return 0


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--lmdb-chunks", type=int, default=1_000_000)
    parser.add_argument("--scratch", type=Path, help="folder for the cache (default: temporary)")
    parser.add_argument("--record", type=Path)
    return parser.parse_args()


def _ids(run: int, count: int) -> bytes:
    return random.Random(run).randbytes(32 * count)


def _run_packs(run: int, count: int) -> list[RunPack]:
    """Packs of a run; the last frame may be short."""
    ids = _ids(run, count)
    size = struct.pack("<I", CHUNK_BYTES)
    packs = []
    for first in range(0, count, PACK_CHUNKS):
        salt = random.Random(f"{run} {first}").randbytes(32)
        frames: list[DirectoryFrame] = []
        for at in range(first, min(first + PACK_CHUNKS, count), FRAME_CHUNKS):
            inside = range(at, min(at + FRAME_CHUNKS, count, first + PACK_CHUNKS))
            refs = b"".join(ids[32 * n : 32 * n + 32] + size for n in inside)
            info = FrameInfo(
                ids[32 * at : 32 * at + 16],
                64 + 200_000 * len(frames),
                200_000,
                CHUNK_BYTES * len(inside),
                len(frames),
                1,
                0,
                Codec.ZSTD,
                salt,
            )
            frames.append(DirectoryFrame(info, refs))
        packs.append(RunPack(ObjectId(salt.hex()), ObjectClass.DATA_PACK, tuple(frames)))
    return packs


class _AnonymousPeak:
    """Highest anonymous memory above that at the beginning, sampled every few milliseconds."""

    def __init__(self) -> None:
        self.base = self.peak = _anonymous_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.peak = max(self.peak, _anonymous_bytes())

    def __enter__(self) -> "_AnonymousPeak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _anonymous_bytes() -> int:
    return _resident_bytes("RssAnon")


def _resident_bytes(kind: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) * 1024
    return 0


def _reader(folder: Path, named: list[str], chunks: int) -> Figures:
    """What a fresh process holds that opened the cache and asked for chunks all over it."""
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        anonymous, mapped = pool.submit(_read_somewhere, folder, named, chunks).result()
    return {
        "anonymous_bytes_per_chunk_reader": round(anonymous / chunks, 2),
        "mapped_bytes_per_chunk_reader": round(mapped / chunks, 1),
    }


def _read_somewhere(folder: Path, named: list[str], chunks: int) -> tuple[int, int]:
    ids = _ids(0, min(RUN_CHUNKS, chunks))
    index = Index(folder)
    index.absent(ids[:32])
    before = _resident_bytes("RssAnon"), _resident_bytes("RssFile") + _resident_bytes("RssShmem")
    index.sync(named, lambda names: [b""] * len(names))
    for at in range(0, len(ids), 3200):
        assert not index.absent(ids[at : at + 3200])
    after = _resident_bytes("RssAnon"), _resident_bytes("RssFile") + _resident_bytes("RssShmem")
    return after[0] - before[0], after[1] - before[1]


def _seconds(call: Callable[[], object], rounds: int = 3) -> float:
    """Best of several: other programs share the machine."""
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


def _index(folder: Path, chunks: int) -> Figures:
    counts = [min(RUN_CHUNKS, chunks - at) for at in range(0, chunks, RUN_CHUNKS)]
    named = [random.Random(f"run {n}").randbytes(32).hex() for n in range(len(counts))]
    spool = folder.with_name("runs")
    spool.mkdir()
    encode_s = decode_s = 0.0
    for number, (name, count) in enumerate(zip(named, counts, strict=True)):
        packs = _run_packs(number, count)
        started = time.perf_counter()
        plain = encode_run(packs)
        encoded = time.perf_counter()
        decode_run(plain)
        encode_s += encoded - started
        decode_s += time.perf_counter() - encoded
        (spool / name).write_bytes(plain)
    del packs, plain

    def load(names: Sequence[str]) -> Iterator[bytes]:
        return ((spool / name).read_bytes() for name in names)

    index = Index(folder)
    with _AnonymousPeak() as memory:
        started = time.perf_counter()
        for number in range(len(named)):
            index.sync(named[: number + 1], load)
        build_s = time.perf_counter() - started
    again = Index(folder)
    with _AnonymousPeak() as memory_at_once:
        at_once = Index(folder.with_name("at-once"))
        at_once_s = _seconds(lambda: at_once.sync(named, load), 1)
    at_once.close()
    figures: Figures = {
        "encode_chunks_per_s": round(chunks / encode_s),
        "decode_chunks_per_s": round(chunks / decode_s),
        "build_run_by_run_s": round(build_s, 2),
        "build_at_once_s": round(at_once_s, 2),
        "files": len(list(folder.iterdir())),
        "file_bytes_per_chunk": round(index.file_bytes / chunks, 1),
        "anonymous_bytes_per_chunk_peak_run_by_run": round((memory.peak - memory.base) / chunks, 1),
        "anonymous_bytes_per_chunk_peak_at_once": round(
            (memory_at_once.peak - memory_at_once.base) / chunks, 1
        ),
        "open_ms": round(
            1000 * _seconds(lambda: again.sync(named, lambda names: [b""] * len(names)), 1), 1
        ),
        **_reader(folder, named, chunks),
        "count_s": round(_seconds(index.count, 1), 2),
    }
    assert index.count() == chunks
    shutil.rmtree(spool)
    return figures | _lookups(index, counts)


def _lookups(index: Index, counts: list[int]) -> Figures:
    """Chunks a second, in random order, by size of batch; hits and misses."""
    share = LOOKUPS // len(counts)
    hits = [
        ids[at : at + 32]
        for run, count in enumerate(counts)
        for ids in [_ids(run, count)]
        for at in range(0, 32 * min(share, count), 32)
    ]
    random.Random(1).shuffle(hits)
    rng = random.Random("misses")
    misses = [rng.randbytes(32) for _ in hits]
    figures: Figures = {}
    for kind, ids in (("hits", hits), ("misses", misses)):
        assert len(index.absent(b"".join(ids))) == (0 if kind == "hits" else len(ids))
        for size in (1, 100, 10_000):
            batches = [b"".join(ids[at : at + size]) for at in range(0, len(ids), size)]
            for word, ask in (("absent", index.absent), ("find", index.find)):
                rate = len(ids) / _seconds(functools.partial(_each, ask, batches))
                figures[f"{word}_{kind}_per_s_in_batches_of_{size}"] = round(rate)
        rate = len(ids) / _seconds(
            functools.partial(_each, functools.partial(_locate, index), ids), 1
        )
        figures[f"locate_{kind}_per_s"] = round(rate)
    return figures


def _locate(index: Index, chunk: bytes) -> FramePlace | None:
    """What a reader of one chunk asks: its frame as well."""
    found = index.find(chunk)
    return None if found.frames[0] == NOT_FOUND else found.place(found.frames[0])


def _each(ask: Callable[[Any], object], asked: Sequence[Any]) -> None:
    for one in asked:
        ask(one)


def _table(chunks: int) -> Figures:
    """The set of chunks that a writer has queued."""
    ids, others = _ids(0, chunks), _ids(1, chunks)
    table = runs.IdTable()
    steps = [ids[at : at + 320_000] for at in range(0, len(ids), 320_000)]
    seconds = _seconds(lambda: [table.add(step) for step in steps], 1)
    return {
        "chunks": chunks,
        "adds_per_s": round(chunks / seconds),
        "hits_per_s": round(chunks / _seconds(lambda: table.absent(ids))),
        "misses_per_s": round(chunks / _seconds(lambda: table.absent(others))),
        "bytes_per_chunk": round(table.memory_bytes / chunks, 1),
    }


def _lmdb(folder: Path, chunks: int) -> Figures:
    """The same rows as key and value: 32 bytes, 16 bytes; sorted batches of 100,000, nothing synced."""
    try:
        import lmdb
    except ImportError:
        return {"missing": "lmdb is not installed"}
    ids = _ids(0, chunks)
    keys = [ids[at : at + 32] for at in range(0, len(ids), 32)]
    environment = lmdb.open(str(folder), map_size=1 << 36, sync=False, metasync=False)
    started = time.perf_counter()
    for at in range(0, chunks, 100_000):
        with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti([(key, bytes(16)) for key in sorted(keys[at : at + 100_000])])
    put_s = time.perf_counter() - started
    asked = random.Random(1).sample(keys, min(LOOKUPS, chunks))
    rng = random.Random("misses")
    misses = [rng.randbytes(32) for _ in asked]

    def gets(wanted: list[bytes]) -> None:
        with environment.begin() as transaction:
            for key in wanted:
                transaction.get(key)

    figures: Figures = {
        "chunks": chunks,
        "puts_per_s": round(chunks / put_s),
        "file_bytes_per_chunk": round(os.stat(folder / "data.mdb").st_blocks * 512 / chunks, 1),
        "hits_per_s": round(len(asked) / _seconds(lambda: gets(asked))),
        "misses_per_s": round(len(asked) / _seconds(lambda: gets(misses))),
    }
    environment.close()
    return figures


if __name__ == "__main__":
    sys.exit(main())
