"""How many bytes a restore holds at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Room"]


class Room:
    """
    Lets in who holds bytes, as long as all together hold no more than `bytes_max`.

    Whoever wants more than that alone gets in when nobody else is.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes for the block."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: not self._held or self._held + size <= self._bytes_max
            )
            self._held += size
        try:
            yield
        finally:
            async with self._changed:
                self._held -= size
                self._changed.notify_all()
