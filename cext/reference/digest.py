"""
Keyed BLAKE3-256 of many spans in one call (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, BLAKE3, 2020).

Spans are flat pairs start, end of uint64 with start <= end <= len(data). They may be empty, overlap, and come in any order.
"""

from blake3 import blake3
from typing_extensions import Buffer

DIGEST_BYTES = 32
simd = "reference"


def keyed(data: Buffer, spans: Buffer, key: Buffer) -> bytes:
    """The digests of all spans, 32 bytes each, in their order. ValueError: a bad span, or a key that has not 32 bytes."""
    view = memoryview(data)
    ends = memoryview(spans).tolist()
    secret = bytes(key)
    if len(secret) != 32:
        raise ValueError("the key has 32 bytes")
    if len(ends) % 2:
        raise ValueError("a span without an end")
    pairs = list(zip(ends[::2], ends[1::2], strict=True))
    if any(not start <= end <= len(view) for start, end in pairs):
        raise ValueError("a span outside its buffer")
    return b"".join(blake3(view[start:end], key=secret).digest() for start, end in pairs)
