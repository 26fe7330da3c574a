"""Data for the tests of kernels: every kind of content that a fast path could get wrong, from a seed."""

import os
import random
import subprocess
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

KINDS = ("random", "two-symbols", "zeros", "periodic", "text")


def sample(kind: str, size: int, seed: int) -> bytes:
    """`size` bytes of a kind."""
    rng = random.Random(seed)
    if kind == "random":
        return rng.randbytes(size)
    if kind == "two-symbols":
        return bytes(rng.choices(b"ab", k=size))
    if kind == "zeros":
        return bytes(size)
    if kind == "periodic":
        period = rng.randbytes(rng.randint(1, 97))
        return (period * (size // len(period) + 1))[:size]
    words = [rng.randbytes(rng.randint(1, 9)).hex().encode() for _ in range(50)]
    return b" ".join(rng.choices(words, k=size // 2 + 1))[:size]


def random_spans(length: int, sizes: list[int], seed: int) -> "array[int]":
    """One span of each size that fits, anywhere in the buffer."""
    rng = random.Random(seed)
    spans = array("Q")
    for size in sizes:
        if size <= length:
            start = rng.randint(0, length - size)
            spans.extend((start, start + size))
    return spans


def levels(kernel: ModuleType) -> list[str]:
    """The SIMD levels that this machine can run."""
    found = []
    for level in ("scalar", "avx2", "avx512"):
        try:
            with at_level(kernel, level):
                found.append(level)
        except ValueError:
            continue
    return found


@contextmanager
def at_level(kernel: ModuleType, level: str) -> Iterator[None]:
    """The compiled kernel runs at a level; afterwards at the best again."""
    kernel.use_simd(level)
    try:
        yield
    finally:
        kernel.use_simd("")


def simd_of(kernel: str, demand: str) -> str | None:
    """The level at which a compiled kernel says it runs under a demand; None if its import fails with ImportError."""
    code = f"from cext.{kernel} import simd; print(simd)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "STRONGROOM_SIMD": demand, "STRONGROOM_KERNELS": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 or "ImportError: STRONGROOM_SIMD" in done.stderr
    return done.stdout.strip() or None
