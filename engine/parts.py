"""Parts: what an item is made of, as lists of chunks (docs/format.md, "Parts")."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.errors import Corruption
from engine.ids import ChunkId

_REFERENCE = struct.Struct("<32sI")
REFERENCE_BYTES = _REFERENCE.size


@dataclass(frozen=True, slots=True)
class Part:
    """
    One stored body of an item.

    Attributes:
        role: what it is for the workload: "content", "mime", "json", ...
        size: plain bytes.
        chunks: references of 36 bytes each: chunk id, length.
        generation: collector generation its references were decided under; in memory only, -1 when read back.
    """

    role: str
    size: int
    chunks: bytes
    generation: int = -1

    def references(self) -> Iterator[tuple[ChunkId, int]]:
        """Chunk ids with their plain bytes, in order."""
        for chunk, length in _REFERENCE.iter_unpack(self.chunks):
            yield ChunkId(chunk), length


def part_of(role: str, references: Sequence[tuple[ChunkId, int]], generation: int = -1) -> Part:
    """The part whose chunks are `references`."""
    packed = b"".join(_REFERENCE.pack(chunk, length) for chunk, length in references)
    return Part(role, sum(length for _, length in references), packed, generation)


def checked_part(role: str, size: int, chunks: bytes) -> Part:
    """A part read back; Corruption if its references do not add up."""
    if len(chunks) % REFERENCE_BYTES:
        raise Corruption("a list of chunks is cut short", code="part-corrupt")
    part = Part(role, size, chunks)
    if sum(length for _, length in part.references()) != size:
        raise Corruption("the chunks of a part do not add up", code="part-corrupt")
    return part
