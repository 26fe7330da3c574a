"""
`python -m benchmarks.kernels [WORD]`: GB/s of each kernel at each SIMD level, one thread, best of several.

The reference column holds what others reached on another processor (Zen 5 with AVX-512), not on this one. A new row is
a new entry in `rows`.
"""

import os
import random
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

from blake3 import blake3

from cext import digest, gear, parity
from engine.chunker import ChunkerParams, cut_spans, keyed_table
from tools.cli.output import table

MIB = 1024 * 1024
ROUNDS = 5
SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: `run` touches `size` bytes of input; `reference` is free text."""

    kernel: str
    what: str
    level: str
    size: int
    run: Callable[[], object]
    reference: str = ""


def best_gb_per_s(row: Row) -> float:
    """Bytes by processor time of this thread, best of the rounds that fit in the time."""
    best = float("inf")
    started = time.monotonic()
    for _ in range(ROUNDS):
        before = time.thread_time()
        row.run()
        best = min(best, time.thread_time() - before)
        if time.monotonic() - started > SECONDS_MAX:
            break
    return row.size / best / 1e9


def spans_of(length: int, least: int, most: int) -> "array[int]":
    """Neighbouring spans of `least` to `most` bytes, as many as fit in the buffer."""
    rng = random.Random(1)
    spans = array("Q")
    at = 0
    while at + most <= length:
        size = rng.randint(least, most)
        spans.extend((at, at + size))
        at += size
    return spans


def at_level(kernel: ModuleType, level: str, run: Callable[[], object]) -> Callable[[], object]:
    """`run` at a SIMD level of its kernel; ValueError where this machine lacks it."""
    kernel.use_simd(level)
    kernel.use_simd("")

    def switched() -> object:
        kernel.use_simd(level)
        try:
            return run()
        finally:
            kernel.use_simd("")

    return switched


def leveled(
    kernel: ModuleType, what: str, size: int, run: Callable[[], object], reference: str
) -> Iterator[Row]:
    """A row for each level that this machine has."""
    for level in ("scalar", "avx2", "avx512"):
        try:
            switched = at_level(kernel, level, run)
        except ValueError:
            continue
        name = kernel.__name__.rsplit(".", 1)[-1]
        yield Row(name, what, level, size, switched, reference)


def gear_rows(data: bytes) -> Iterator[Row]:
    """Chunks of one large buffer at the sizes of the format."""
    params = ChunkerParams(keyed_table(bytes(32)))
    whole = array("Q", (0, len(data)))
    yield from leveled(
        gear,
        f"cut {len(data) // MIB} MiB random",
        len(data),
        lambda: cut_spans(data, whole, params),
        "scalar 3.6-4.3, AVX-512 5.8-6.3",
    )


def digest_rows(data: bytes) -> Iterator[Row]:
    """Batches of one size each; the wheel hashes the same spans one call at a time."""
    key = bytes(32)
    view = memoryview(data)
    for what, least, most, reference in (
        ("1 MiB", MIB, MIB, "8.7-9.1"),
        ("64 KiB", 65536, 65536, "6.7"),
        ("6-14 KB", 6000, 14000, "2.0 at 4 K"),
        ("1-2 KB", 1000, 2000, ""),
        ("0.3-0.6 KB", 300, 600, ""),
    ):
        spans = spans_of(len(data), least, most)
        pairs = list(zip(spans[::2], spans[1::2], strict=True))

        def wheel(pairs: list[tuple[int, int]] = pairs) -> None:
            for start, end in pairs:
                blake3(view[start:end], key=key).digest()

        def ours(spans: "array[int]" = spans) -> object:
            return digest.keyed(data, spans, key)

        yield Row("digest", what, "blake3 wheel", spans[-1], wheel, reference)
        yield from leveled(digest, what, spans[-1], ours, reference)


def parity_rows(data: bytes) -> Iterator[Row]:
    """A full stripe: the sums of its slices, and their checks."""
    for what, run in (
        ("P and Q of 32 slices of 64 KiB", lambda: parity.encode(data, 65536)),
        ("checks of 32 slices of 64 KiB", lambda: parity.checks(data, 65536)),
    ):
        yield from leveled(parity, what, len(data), run, "")


def rows() -> Iterator[Row]:
    """Every measurement, in the order of the table."""
    yield from gear_rows(os.urandom(64 * MIB))
    yield from digest_rows(os.urandom(16 * MIB))
    yield from parity_rows(os.urandom(2 * MIB))


def main() -> int:
    """Measure the rows whose kernel is named on the command line, or all."""
    wanted = set(sys.argv[1:])
    found = [
        [row.kernel, row.what, row.level, f"{best_gb_per_s(row):.2f}", row.reference]
        for row in rows()
        if not wanted or row.kernel in wanted
    ]
    table(["kernel", "what", "level", "GB/s", "reference, Zen 5"], found, right=(3,))
    return 0


if __name__ == "__main__":
    sys.exit(main())
