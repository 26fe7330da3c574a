"""
Parts to chunks (docs/format.md, "Chunking"; Xia et al., FastCDC, USENIX ATC 2016).

Pure and portable: equal bytes and key give equal cuts with every kernel. A part below the minimum is one chunk.
"""

from array import array
from dataclasses import dataclass

from blake3 import blake3
from typing_extensions import Buffer

from cext import gear
from engine.errors import UsageError
from engine.limits import (
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    CHUNK_BYTES_NORMAL,
    CHUNK_WINDOW_BYTES,
)

CHUNKER_NAME = "gear32-1"


@dataclass(frozen=True, slots=True, repr=False)
class ChunkerParams:
    """Sizes in bytes and the keyed table (256 32-bit words, little-endian)."""

    table: bytes
    size_min: int = CHUNK_BYTES_MIN
    size_normal: int = CHUNK_BYTES_NORMAL
    size_max: int = CHUNK_BYTES_MAX

    def __post_init__(self) -> None:
        rising = CHUNK_WINDOW_BYTES <= self.size_min < self.size_normal < self.size_max
        ordered = rising and self.size_max <= CHUNK_BYTES_MAX  # what a frame has room for
        if not ordered or self.size_normal.bit_count() != 1 or len(self.table) != 1024:
            raise UsageError(
                "chunker sizes are not min < normal < max, or too large", code="chunker-params"
            )

    @property
    def masks(self) -> tuple[int, int]:
        """Strict and loose mask: two bits more and two bits less than the normal size, in the high bits."""
        bits = self.size_normal.bit_length() - 1
        return _high_mask(bits + 2), _high_mask(bits - 2)


def _high_mask(bits: int) -> int:
    return ((1 << bits) - 1) << (32 - bits)


def keyed_table(chunker_key: bytes) -> bytes:
    """The gear table of a chunker key (32 bytes)."""
    return blake3(b"strongroom gear32 table", key=chunker_key).digest(length=1024)


def cut_spans(
    data: Buffer, spans: Buffer, params: ChunkerParams
) -> "tuple[array[int], array[int]]":
    """
    The chunks of every span (flat pairs of uint64: start, end) as spans of `data`, and their number for each span.

    Every chunk of a span but its last has size_min .. size_max bytes; an empty span has none. ValueError: a span outside.
    """
    strict, loose = params.masks
    cuts: tuple[array[int], array[int]] = gear.cut_spans(
        data,
        spans,
        params.table,
        params.size_min,
        params.size_normal,
        params.size_max,
        strict,
        loose,
    )
    return cuts
