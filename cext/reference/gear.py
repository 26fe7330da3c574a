"""
Cut points of content-defined chunking.

A 32-bit gear hash shifts left by one for each byte, so at any place it is a pure function of the last 32 bytes. A chunk
ends after the first byte at which hash & mask is zero: the strict mask up to the normal size, the loose one behind it; at
the latest at the maximum. The last chunk is what is left.
"""

import struct
from array import array

from typing_extensions import Buffer

WINDOW_BYTES = 32
simd = "reference"


def cut_spans(
    data: Buffer,
    spans: Buffer,
    table: Buffer,
    size_min: int,
    size_normal: int,
    size_max: int,
    mask_strict: int,
    mask_loose: int,
) -> "tuple[array[int], array[int]]":
    """
    The chunks of every span as spans of `data`, in order, and their number for each span; an empty span has none.

    Spans are flat pairs start, end of uint64 with start <= end <= len(data); `table` holds 256 little-endian 32-bit words;
    sizes are in bytes.

    ValueError: a bad span, a table of another size, or not 32 <= size_min <= size_normal <= size_max.
    """
    view = bytes(data)
    ends = memoryview(spans).tolist()
    if len(bytes(table)) != 1024:
        raise ValueError("the table has 1024 bytes")
    if not WINDOW_BYTES <= size_min <= size_normal <= size_max:
        raise ValueError("the sizes are not window <= min <= normal <= max")
    if len(ends) % 2:
        raise ValueError("a span without an end")
    pairs = list(zip(ends[::2], ends[1::2], strict=True))
    if any(not start <= end <= len(view) for start, end in pairs):
        raise ValueError("a span outside its buffer")
    gear = struct.unpack("<256I", table)
    chunks, counts = array("Q"), array("Q")
    for start, end in pairs:
        before, at = len(chunks), start
        while at < end:
            piece = view[at : min(at + size_max, end)]
            size = _next(piece, gear, size_min, size_normal, mask_strict, mask_loose)
            chunks.extend((at, at + size))
            at += size
        counts.append((len(chunks) - before) // 2)
    return chunks, counts


def _next(
    data: bytes,
    gear: tuple[int, ...],
    size_min: int,
    size_normal: int,
    mask_strict: int,
    mask_loose: int,
) -> int:
    if len(data) <= size_min:
        return len(data)
    for end in range(size_min, len(data) + 1):
        value = 0
        for byte in data[end - WINDOW_BYTES : end]:
            value = ((value << 1) + gear[byte]) & 0xFFFFFFFF
        if value & (mask_strict if end < size_normal else mask_loose) == 0:
            return end
    return len(data)
