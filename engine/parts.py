"""Parts: what an item is made of, as lists of chunks (docs/format.md, "Parts")."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cext import runs
from engine.errors import Corruption
from engine.ids import ChunkId
from engine.recipe import content_bytes

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
        recipe: how content is made of what the chunks hold; empty: they hold it as it is.
        generation: collector generation its references were decided under; in memory only, -1 when read back.
    """

    role: str
    size: int
    chunks: bytes
    recipe: bytes = b""
    generation: int = -1

    def references(self) -> Iterator[tuple[ChunkId, int]]:
        """Chunk ids with their plain bytes, in order."""
        for chunk, length in _REFERENCE.iter_unpack(self.chunks):
            yield ChunkId(chunk), length


def checked_part(role: str, size: int, chunks: bytes, recipe: bytes = b"") -> Part:
    """A part read back; Corruption if its references do not add up."""
    if len(chunks) % REFERENCE_BYTES:
        raise Corruption("a list of chunks is cut short", code="part-corrupt")
    held = runs.sum_lengths(chunks)
    if (content_bytes(held, recipe) if recipe else held) != size:
        raise Corruption("the chunks of a part do not add up", code="part-corrupt")
    return Part(role, size, chunks, recipe)
