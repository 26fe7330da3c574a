"""
quickXorHash, the only content hash that OneDrive for Business and SharePoint give.

Each byte is XORed into a 160-bit ring, 11 bits further than the byte before; the length is XORed
into the last 8 bytes. The pattern repeats after 160 bytes, so rows of 160 bytes may be XORed
together first, which big integers do quickly.

Source: Microsoft's published algorithm, "quickXorHash", OneDrive developer documentation.
"""

import base64

_RING_BITS = 160
_STEP_BITS = 11
_ROW_BYTES = 160
_LENGTH_BITS = 64
_MASK = (1 << _RING_BITS) - 1
assert _ROW_BYTES * _STEP_BITS % _RING_BITS == 0


def quick_xor(data: bytes) -> str:
    """Return the hash of `data` (any length) in base64, as Graph spells it."""
    row = _fold(data)
    ring = 0
    for index, byte in enumerate(row):
        ring ^= byte << (index * _STEP_BITS % _RING_BITS)
    ring = (ring ^ (ring >> _RING_BITS)) & _MASK  # what went over the end comes in at the start
    ring ^= len(data) << (_RING_BITS - _LENGTH_BITS)
    return base64.b64encode(ring.to_bytes(_RING_BITS // 8, "little")).decode()


def _fold(data: bytes) -> bytes:
    """XOR all rows of 160 bytes into one; a short last row counts as padded with zeros."""
    rows = -(-len(data) // _ROW_BYTES)
    while rows > 1:
        rows = (rows + 1) // 2
        half = rows * _ROW_BYTES
        upper = int.from_bytes(data[half:], "little")
        data = (int.from_bytes(data[:half], "little") ^ upper).to_bytes(half, "little")
    return data
