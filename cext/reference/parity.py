"""
Parity slices over GF(2^8), and the checks that tell which slice is damaged.

The field has the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11d), in which 2 generates all elements but 0. Of k slices d_0 ...
d_(k-1), the last one filled with zeros, the parity slices are P = sum of d_i and Q = sum of 2^(k-1-i) d_i; any two lost
slices of the k + 2 follow from the others. The check of a slice is its CRC-32 (the one of zlib), of the last one as it is.
"""

import struct
import zlib

from typing_extensions import Buffer

SLICES_MAX = 255
simd = "reference"


def product(a: int, b: int) -> int:
    """Product of two elements."""
    total = 0
    while b:
        total ^= a if b & 1 else 0
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return total


def _slices(data: Buffer, slice_bytes: int) -> list[memoryview]:
    view = memoryview(data).cast("B")
    if slice_bytes < 1:
        raise ValueError("slices of at least one byte")
    return [view[at : at + slice_bytes] for at in range(0, len(view), slice_bytes)]


def encode(data: Buffer, slice_bytes: int) -> bytes:
    """The two parity slices of `data` in slices of so many bytes, joined. ValueError beyond SLICES_MAX slices."""
    slices = _slices(data, slice_bytes)
    if len(slices) > SLICES_MAX:
        raise ValueError("1 to 255 slices of at least one byte")
    p = q = 0
    doubled = bytes(product(value, 2) for value in range(256))
    for piece in slices:
        number = int.from_bytes(piece, "little")  # zeros behind a short one
        p ^= number
        q = int.from_bytes(q.to_bytes(slice_bytes, "little").translate(doubled), "little") ^ number
    return p.to_bytes(slice_bytes, "little") + q.to_bytes(slice_bytes, "little")


def checks(data: Buffer, slice_bytes: int) -> bytes:
    """CRC-32 of each slice, 4 bytes each."""
    return b"".join(struct.pack("<I", zlib.crc32(piece)) for piece in _slices(data, slice_bytes))


def add_product(target: Buffer, source: Buffer, factor: int) -> None:
    """Add `factor` times `source` to the beginning of `target`. ValueError if that is too small."""
    view, added = memoryview(target).cast("B"), memoryview(source).cast("B")
    if len(view) < len(added):
        raise ValueError("the target is too small")
    row = bytes(product(value, factor) for value in range(256))
    for at, value in enumerate(added):
        view[at] ^= row[value]
