"""Bodies from the service into stored parts: small ones at once, large ones piece by piece."""

from collections.abc import AsyncIterator, Callable

from engine.parts import Part
from proxy.workloads.protocol import Shelf

__all__ = ["store_body"]

HELD_BYTES_MAX = 4 * 1024 * 1024
PIECE_BYTES = 1024 * 1024


async def store_body(
    shelf: Shelf, role: str, chunks: AsyncIterator[bytes], seen: Callable[[bytes], None]
) -> Part:
    """
    Store a body that comes in chunks.

    Args:
        seen: called with every chunk before it is stored, for counting and hashing.

    At most HELD_BYTES_MAX are in memory. An error of `chunks` stores nothing.
    """
    held = bytearray()
    async for chunk in chunks:
        seen(chunk)
        held += chunk
        if len(held) > HELD_BYTES_MAX:
            return await _store_large(shelf, role, bytes(held), chunks, seen)
    return await shelf.store(role, bytes(held))


async def _store_large(
    shelf: Shelf,
    role: str,
    begin: bytes,
    chunks: AsyncIterator[bytes],
    seen: Callable[[bytes], None],
) -> Part:
    async with shelf.open_part(role) as sink:
        await sink.write(begin)
        held = bytearray()
        async for chunk in chunks:
            seen(chunk)
            held += chunk
            if len(held) >= PIECE_BYTES:
                await sink.write(bytes(held))
                held.clear()
        await sink.write(bytes(held))
    return sink.part
