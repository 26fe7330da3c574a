"""
quickXorHash, the hash OneDrive and SharePoint give for files, fast enough to check every byte that is stored.

Each byte is XORed into a ring of 160 bits, 11 bits further than the byte before; the length goes into the last
64 bits. 11 x 160 is a multiple of 160, so bytes 160 apart land on the same place: the data is first folded to one row
of 160 bytes, with whole blocks as big integers, and only that row is placed bit by bit.

Source: Microsoft, "QuickXorHash algorithm" (OneDrive developer documentation).
"""

import base64

__all__ = ["QuickXor"]

ROW_BYTES = 160
ROW_BITS = ROW_BYTES * 8
FOLDS = 8
BLOCK_BYTES = ROW_BYTES << FOLDS  # 40 KiB: the working set of the folding stays in the cache
RING_BITS = 160
SHIFT_BITS = 11


def _fold(block: bytes | memoryview) -> int:
    """XOR of all 160-byte rows of a full block, little-endian."""
    value = int.from_bytes(block, "little")
    bits = BLOCK_BYTES * 8
    while bits > ROW_BITS:
        bits >>= 1
        value = (value >> bits) ^ (value & ((1 << bits) - 1))
    return value


class QuickXor:
    """Feed with `update`, read with `digest` or `text`."""

    def __init__(self) -> None:
        self._row = 0
        self._pending = bytearray()
        self._length = 0

    @property
    def length(self) -> int:
        """Bytes so far."""
        return self._length

    def update(self, data: bytes) -> None:
        """Add bytes, any number."""
        self._length += len(data)
        view = memoryview(data)
        missing = BLOCK_BYTES - len(self._pending)
        if len(view) < missing:
            self._pending += view
            return
        if self._pending:
            self._row ^= _fold(bytes(self._pending) + view[:missing])
            self._pending.clear()
            view = view[missing:]
        end = len(view) - len(view) % BLOCK_BYTES
        for start in range(0, end, BLOCK_BYTES):
            self._row ^= _fold(view[start : start + BLOCK_BYTES])
        self._pending += view[end:]

    def digest(self) -> bytes:
        """The 20 bytes of the hash so far."""
        row = self._row
        if self._pending:
            row ^= _fold(bytes(self._pending).ljust(BLOCK_BYTES, b"\0"))
        ring = 0
        for position, byte in enumerate(row.to_bytes(ROW_BYTES, "little")):
            ring ^= byte << (position * SHIFT_BITS % RING_BITS)
        ring = (ring ^ (ring >> RING_BITS)) & ((1 << RING_BITS) - 1)
        ring ^= (self._length & (2**64 - 1)) << (RING_BITS - 64)
        return ring.to_bytes(RING_BITS // 8, "little")

    def text(self) -> str:
        """The hash in base64, as Graph gives it."""
        return base64.b64encode(self.digest()).decode("ascii")
