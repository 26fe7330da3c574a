"""
Cut points of content-defined chunking.

A 32-bit gear hash shifts left by one for each byte, so at any place it is a pure function of the last 32 bytes. A chunk
ends after the first byte at which hash & mask is zero: the strict mask up to the normal size, the loose one behind it; at
the latest at the maximum. The last chunk is what is left.
"""

import struct

from typing_extensions import Buffer

WINDOW_BYTES = 32


def cut(
    data: Buffer,
    table: bytes,
    size_min: int,
    size_normal: int,
    size_max: int,
    mask_strict: int,
    mask_loose: int,
) -> list[int]:
    """End offsets of the chunks of `data`; `table` holds 256 little-endian 32-bit words."""
    view = bytes(data)
    gear = struct.unpack("<256I", table)
    cuts: list[int] = []
    start = 0
    while start < len(view):
        start += _next(
            view[start : start + size_max], gear, size_min, size_normal, mask_strict, mask_loose
        )
        cuts.append(start)
    return cuts


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
