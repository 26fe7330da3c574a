"""
How chunks are best compressed: alone, alone with a trained dictionary, or in groups; mail as it is, or split at its bodies.

    python -m benchmarks.grouping --scale 0.1 --record benchmarks/results/DATE-grouping.json

Every tenth item trains the dictionary, the others are measured. Chunks are those of the product, each once. Stored bytes are
payloads, a tag (16) and a directory record (52) for each frame, a reference (36) for each chunk, and recipes. Processor
time, best of three; no encryption.
"""

import argparse
import json
import sys
import tarfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import zstandard

from benchmarks.catalog_year import cpu_seconds
from benchmarks.conditions import conditions
from benchmarks.datasets import SHARED, prepare, sorted_files
from cext import digest, mime, spans
from engine.chunker import ChunkerParams, cut_spans, keyed_table
from engine.frame import STORED_RATIO_MAX, ZSTD_PARAMETERS_DENSE
from engine.recipe import join
from repository.tree.batches import BATCH_BYTES_TARGET
from tools.cli.output import say, table

FRAME_OVERHEAD_BYTES, CHUNK_OVERHEAD_BYTES = 16 + 52, spans.REFERENCE_BYTES
DICTIONARY_BYTES, TRAINING_BYTES_MAX = 112 * 1024, 100 * 112 * 1024
KIB = 1024
GROUPS_KIB = (0, 128, 256, 512, 1024)  # 0: a frame for each chunk
LEVELS = (1, 3)
RESTORED_ITEMS = 400
WINDOW_BYTES_MAX = 1 << 27
PARAMS = ChunkerParams(keyed_table(bytes(32)))


@dataclass(frozen=True, slots=True)
class Items:
    """A data set in memory: what is measured, and what a dictionary is trained on."""

    name: str
    measured: list[bytes]
    training: list[bytes]

    @property
    def size(self) -> int:
        """Bytes that are measured."""
        return sum(map(len, self.measured))


@dataclass(frozen=True, slots=True)
class Chunks:
    """Unique chunks in order; which of them each item has. `seconds`: splitting, cutting, hashing, looking at density."""

    plain: list[bytes]
    dense: bytearray
    items: list[list[int]]
    recipes: list[bytes]
    seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """One way to store a set. Seconds of CPU over the whole set; `item_*` is the restore of one item, on average."""

    data: str
    content_bytes: int
    split: bool
    level: int
    group_kib: int
    dictionary: bool
    frames: int
    stored_bytes: int
    prepare_s: float
    compress_s: float
    expand_s: float
    join_s: float
    item_read_bytes: int
    item_plain_bytes: int
    item_s: float


def split_tenth(name: str, items: Sequence[bytes]) -> Items:
    """Every tenth item for training."""
    return Items(name, [x for n, x in enumerate(items) if n % 10], list(items[::10]))


def archive_members(archive: Path) -> Iterator[bytes]:
    """Content of each file of a tar, compressed by zstd or not."""
    expander = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
    with archive.open("rb") as file:
        stream: Any = expander.stream_reader(file) if archive.suffix == ".zst" else file
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield content.read()


def sets(scale: float, store: Path) -> Iterator[Items]:
    """Made mail, real mail where it is, source files, and the same as one stream."""
    made = prepare("mail", scale, store).data
    yield split_tenth("mail, made", [path.read_bytes() for path in sorted_files(made)])
    archives = sorted((SHARED / "mail").glob("*.tar.zst"))
    if archives:
        real = [content for archive in archives for content in archive_members(archive)]
        yield split_tenth("mail, real", real)
    archive = prepare("source", scale / 2, store).data / "source.tar"
    files = split_tenth("source files", list(archive_members(archive)))
    yield files
    yield Items("source, one stream", [b"".join(files.measured)], files.training)


def _batches(items: Sequence[bytes]) -> Iterator[tuple[bytes, "array[int]"]]:
    """Items joined to about the size of an import's batch, and where they lie."""
    held: list[bytes] = []
    places, at = array("Q"), 0
    for item in items:
        held.append(item)
        places.extend((at, at + len(item)))
        at += len(item)
        if at >= BATCH_BYTES_TARGET:
            yield b"".join(held), places
            held, places, at = [], array("Q"), 0
    if held:
        yield b"".join(held), places


def _prepared(batch: tuple[bytes, "array[int]"], *, split: bool) -> tuple[Any, ...]:
    """Stream, spans of its chunks, their ids and density; number of chunks and recipe of each item."""
    data, places = batch
    stream, stream_spans, counts, recipes = data, places, None, None
    if split:
        stream, stream_spans, counts, recipes = mime.split(data, places)
    cuts, chunk_counts = cut_spans(stream, stream_spans, PARAMS)
    ids = digest.keyed(stream, cuts, bytes(32))
    dense = spans.dense(stream, cuts) if split else bytes(len(cuts) // 2)
    if counts is None:
        return stream, cuts, ids, dense, chunk_counts, [b""] * (len(places) // 2)
    sums, at = [], 0
    for count in counts:
        sums.append(sum(chunk_counts[at : at + count]))
        at += count
    return stream, cuts, ids, dense, sums, recipes


def cut(items: Sequence[bytes], *, split: bool) -> Chunks:
    """The product's chunks, as `repository.intake` makes them; `split`: bodies apart, dense chunks told apart."""
    batches = list(_batches(items))

    def prepare() -> None:
        for batch in batches:
            _prepared(batch, split=split)

    seen: dict[bytes, int] = {}
    made = Chunks([], bytearray(), [], [], cpu_seconds(prepare))
    for batch in batches:
        stream, cuts, ids, dense, sums, recipes = _prepared(batch, split=split)
        made.recipes.extend(recipes)
        first = 0
        for count in sums:
            made.items.append([])
            for number in range(first, first + count):
                name = ids[32 * number : 32 * number + 32]
                if name not in seen:
                    seen[name] = len(made.plain)
                    made.plain.append(bytes(stream[cuts[2 * number] : cuts[2 * number + 1]]))
                    made.dense.append(dense[number])
                made.items[-1].append(seen[name])
            first += count
    return made


def frames_of(chunks: Chunks, group_bytes: int) -> list[tuple[bool, list[int]]]:
    """Whether it is dense, and the chunks of each frame, as the packer groups them."""
    flat, at = array("Q"), 0
    for piece in chunks.plain:
        flat.extend((at, at + len(piece)))
        at += len(piece)
    grouped = spans.groups(flat, bytes(chunks.dense), (0, 0), max(group_bytes, 1))
    return [(bool(kind), list(among)) for kind, among, _ in grouped]


def dictionary_of(
    training: Sequence[bytes], *, split: bool, level: int
) -> zstandard.ZstdCompressionDict:
    """Trained on chunks of the training items that compress, spread evenly."""
    chunks = cut(training, split=split)
    fit = [piece for piece, dense in zip(chunks.plain, chunks.dense, strict=True) if not dense]
    step = max(1, sum(map(len, fit)) // TRAINING_BYTES_MAX)
    made = zstandard.train_dictionary(DICTIONARY_BYTES, fit[::step])
    made.precompute_compress(level=level)
    return made


def measured(
    items: Items,
    chunks: Chunks,
    *,
    split: bool,
    level: int,
    group_kib: int,
    dictionary: zstandard.ZstdCompressionDict | None = None,
) -> Row:
    """Compress all, expand all, restore single items; the bytes must come back."""
    grouped = frames_of(chunks, group_kib * KIB)
    normal = zstandard.ZstdCompressor(level=level, dict_data=dictionary)
    quick = zstandard.ZstdCompressor(compression_params=ZSTD_PARAMETERS_DENSE)
    expander = zstandard.ZstdDecompressor(dict_data=dictionary)
    payloads: list[tuple[bool, bytes]] = []

    def compress() -> None:
        payloads.clear()
        for dense, among in grouped:
            plain = b"".join([chunks.plain[n] for n in among])
            packed = (quick if dense else normal).compress(plain)
            kept = len(packed) <= len(plain) * STORED_RATIO_MAX
            payloads.append((kept, packed if kept else plain))

    def expand(number: int) -> bytes:
        packed, payload = payloads[number]
        return expander.decompress(payload) if packed else payload

    def join_all() -> None:
        for number, recipe in enumerate(chunks.recipes):
            if recipe:
                join(b"".join([chunks.plain[n] for n in chunks.items[number]]), recipe)

    compress_s = cpu_seconds(compress)
    item_read, item_plain, item_s = _restored(items, chunks, grouped, payloads, expand)
    stored = sum(len(payload) for _, payload in payloads) + sum(map(len, chunks.recipes))
    overhead = len(grouped) * FRAME_OVERHEAD_BYTES + len(chunks.plain) * CHUNK_OVERHEAD_BYTES
    return Row(
        data=items.name,
        content_bytes=items.size,
        split=split,
        level=level,
        group_kib=group_kib,
        dictionary=dictionary is not None,
        frames=len(grouped),
        stored_bytes=stored + overhead,
        prepare_s=chunks.seconds,
        compress_s=compress_s,
        expand_s=cpu_seconds(lambda: [expand(number) for number in range(len(payloads))] and None),
        join_s=cpu_seconds(join_all) if split else 0.0,
        item_read_bytes=item_read,
        item_plain_bytes=item_plain,
        item_s=item_s,
    )


def _restored(
    items: Items,
    chunks: Chunks,
    grouped: Sequence[tuple[bool, list[int]]],
    payloads: Sequence[tuple[bool, bytes]],
    expand: Callable[[int], bytes],
) -> tuple[int, int, float]:
    """Single items one by one: bytes read and expanded, and seconds, on average."""
    places: dict[int, tuple[int, int]] = {}
    for frame, (_, among) in enumerate(grouped):
        at = 0
        for number in among:
            places[number] = frame, at
            at += len(chunks.plain[number])
    chosen = range(0, len(chunks.items), max(1, len(chunks.items) // RESTORED_ITEMS))
    read = plain = 0
    seconds = 0.0
    for item in chosen:
        wanted = dict.fromkeys(places[number][0] for number in chunks.items[item])
        before = time.thread_time()
        opened = {frame: expand(frame) for frame in wanted}
        pieces = []
        for number in chunks.items[item]:
            frame, at = places[number]
            pieces.append(opened[frame][at : at + len(chunks.plain[number])])
        content = join(b"".join(pieces), chunks.recipes[item])
        seconds += time.thread_time() - before
        if content != items.measured[item]:
            raise RuntimeError(f"{items.name}: item {item} came back otherwise")
        read += sum(len(payloads[frame][1]) for frame in wanted)
        plain += sum(len(data) for data in opened.values())
    count = len(chosen)
    return round(read / count), round(plain / count), seconds / count


def rows_of(items: Items) -> Iterator[Row]:
    """Every way to store one set."""
    for split in (False, True):
        chunks = cut(items.measured, split=split)
        for level in LEVELS:
            for group_kib in GROUPS_KIB:
                yield measured(items, chunks, split=split, level=level, group_kib=group_kib)
                if not group_kib and level == max(LEVELS):
                    trained = dictionary_of(items.training, split=split, level=level)
                    yield measured(
                        items,
                        chunks,
                        split=split,
                        level=level,
                        group_kib=group_kib,
                        dictionary=trained,
                    )


def _cells(row: Row) -> list[str]:
    megabytes = row.content_bytes / 1e6
    whole = row.prepare_s + row.compress_s
    return [
        row.data,
        "split" if row.split else "as it is",
        f"{row.group_kib} KiB" if row.group_kib else "chunk, dict." if row.dictionary else "chunk",
        str(row.level),
        f"{row.stored_bytes / 1e6:.1f}",
        f"{megabytes / row.prepare_s:.0f}",
        f"{megabytes / row.compress_s:.0f}",
        f"{megabytes / whole:.0f}",
        f"{megabytes / row.expand_s:.0f}",
        f"{megabytes / (row.expand_s + row.join_s):.0f}",
        f"{row.item_read_bytes / 1e3:.0f}",
        f"{row.item_plain_bytes / 1e3:.0f}",
        f"{row.item_s * 1e6:.0f}",
    ]


def main() -> int:
    """Measure, print one table, and with --record keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--scale", type=float, default=0.1, help="of the data sets; 0.1: 20,000 messages"
    )
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm/strongroom-grouping"))
    parser.add_argument("--record", type=Path)
    words = parser.parse_args()
    words.scratch.mkdir(parents=True, exist_ok=True)
    found = [row for items in sets(words.scale, words.scratch) for row in rows_of(items)]
    head = ["set", "bodies", "frame", "level", "stored MB", "prepare MB/s", "compress MB/s", "both"]
    head += ["expand MB/s", "with join", "item: KB read", "KB expanded", "us"]
    table(head, [_cells(row) for row in found], right=range(3, len(head)))
    sizes = {row.data: row.content_bytes for row in found}
    say("; ".join(f"{name}: {size / 1e6:.0f} MB" for name, size in sizes.items()))
    if words.record:
        record = {
            **conditions("grouping"),
            "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
            "rows": [asdict(row) for row in found],
        }
        words.record.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
