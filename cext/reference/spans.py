"""
Spans of a buffer, and the 36-byte references that name chunks: `<32sI`, id and plain bytes.

Spans are flat pairs of uint64 (start, end). A span that is no part of the buffer is a ValueError.
"""

import math
from array import array
from collections import Counter

from typing_extensions import Buffer

REFERENCE_BYTES = 36
DENSE_SAMPLE_BYTES = 4096
DENSE_ENTROPY_BITS = 7.5  # of a byte; random bytes of a sample have about 7.95


def _pairs(data: memoryview, spans: Buffer) -> list[tuple[int, int]]:
    numbers = memoryview(spans).cast("B").cast("Q").tolist()
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    if any(not start <= end <= len(data) for start, end in pairs):
        raise ValueError("a span outside its buffer")
    return pairs


def gather_into(data: Buffer, spans: Buffer, target: Buffer, at: int) -> int:
    """Copy the bytes of the spans, joined, to `target` from `at` on; where they end there."""
    view = memoryview(data).cast("B")
    joined = b"".join(view[start:end] for start, end in _pairs(view, spans))
    held = memoryview(target).cast("B")
    if not 0 <= at <= len(held) - len(joined):
        raise ValueError("the target is too small")
    held[at : at + len(joined)] = joined
    return at + len(joined)


def select(spans: Buffer, among: Buffer) -> "array[int]":
    """The spans numbered in `among` (uint32)."""
    numbers = memoryview(spans).cast("B").cast("Q")
    wanted = memoryview(among).cast("B").cast("I").tolist()
    if len(numbers) % 2 or any(2 * n >= len(numbers) for n in wanted):
        raise ValueError("a number outside the spans")
    return array("Q", [place for n in wanted for place in numbers[2 * n : 2 * n + 2]])


def groups(
    spans: Buffer, mask: bytes, held: tuple[int, int], target: int
) -> "list[tuple[int, array[int], bool]]":
    """
    How chunks fill frames of two kinds, in order.

    Args:
        spans: of the chunks. mask: the kind (0 or 1) of each. held: bytes that each kind's open frame has already.
        target: bytes at which a frame is full.

    Returns: (kind, numbers of chunks that join its open frame, whether the frame is full then).
    """
    numbers = memoryview(spans).cast("B").cast("Q").tolist()
    if len(numbers) != 2 * len(mask) or any(kind > 1 for kind in mask):
        raise ValueError("a kind for every span")
    if any(start > end for start, end in zip(numbers[::2], numbers[1::2], strict=True)):
        raise ValueError("an impossible span")
    sizes = list(held)
    open_: list[array[int]] = [array("I"), array("I")]
    made: list[tuple[int, array[int], bool]] = []
    for number, kind in enumerate(mask):
        open_[kind].append(number)
        sizes[kind] += numbers[2 * number + 1] - numbers[2 * number]
        if sizes[kind] >= target:
            made.append((kind, open_[kind], True))
            open_[kind], sizes[kind] = array("I"), 0
    made += [(kind, open_[kind], False) for kind in (0, 1) if open_[kind]]
    return made


def references(ids: Buffer, spans: Buffer) -> bytes:
    """References of chunks with these ids (32 bytes each) and spans."""
    names = bytes(memoryview(ids))
    numbers = memoryview(spans).cast("B").cast("Q").tolist()
    if len(names) % 32 or len(numbers) != len(names) // 16:
        raise ValueError("ids and spans of different number")
    sizes = [end - start for start, end in zip(numbers[::2], numbers[1::2], strict=True)]
    if any(not 0 <= size < 1 << 32 for size in sizes):
        raise ValueError("an impossible span")
    return b"".join(
        names[32 * i : 32 * i + 32] + size.to_bytes(4, "little") for i, size in enumerate(sizes)
    )


def take(references: Buffer, among: Buffer) -> bytes:
    """The references numbered in `among` (uint32), joined."""
    held = bytes(memoryview(references))
    numbers = memoryview(among).cast("B").cast("I").tolist()
    if len(held) % REFERENCE_BYTES or any(n * REFERENCE_BYTES >= len(held) for n in numbers):
        raise ValueError("a number outside the references")
    return b"".join(held[REFERENCE_BYTES * n : REFERENCE_BYTES * (n + 1)] for n in numbers)


def of_references(references: Buffer) -> "array[int]":
    """Spans of chunks that lie one after the other, from their references."""
    held = bytes(memoryview(references))
    if len(held) % REFERENCE_BYTES:
        raise ValueError("references cut short")
    at, spans = 0, array("Q")
    for place in range(0, len(held), REFERENCE_BYTES):
        size = int.from_bytes(held[place + 32 : place + 36], "little")
        spans.extend((at, at + size))
        at += size
    return spans


def dense(data: Buffer, spans: Buffer) -> bytes:
    """
    One byte per span: 1 if it looks incompressible (order-0 entropy of a sample), else 0.

    The sample is the whole of a short span, else every n-th byte up to DENSE_SAMPLE_BYTES. Spans under a quarter of
    that are never dense: too little to tell.
    """
    view = memoryview(data).cast("B")
    return bytes(_is_dense(view[start:end]) for start, end in _pairs(view, spans))


def _is_dense(piece: memoryview) -> bool:
    if len(piece) < DENSE_SAMPLE_BYTES // 4:
        return False
    step = max(1, len(piece) // DENSE_SAMPLE_BYTES)
    sample = bytes(piece[::step])[:DENSE_SAMPLE_BYTES]
    total = sum(count * math.log2(count) for count in Counter(sample).values())
    return math.log2(len(sample)) - total / len(sample) > DENSE_ENTROPY_BITS
