"""
Waiting without waiting: a clock for a client of the emulator. Where the client would sleep, the emulator's time jumps.

Both clocks run with real time and jump together, the emulator's first: the client never calls before its time has come.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

__all__ = ["WaitingClock"]


class WaitingClock:
    """Seconds of real time and of all jumps so far. In one event loop."""

    def __init__(self, advance: Callable[[float], Awaitable[object]]) -> None:
        """`advance`: moves the emulator's clock so many seconds ahead."""
        self.jumped_s = 0.0
        self._advance = advance
        self._jumping = asyncio.Lock()

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic() + self.jumped_s

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time() + self.jumped_s

    async def sleep(self, seconds: float) -> None:
        """Return when so much time has passed, by this clock."""
        until = self.monotonic() + seconds
        async with self._jumping:  # those who wait at the same time wait once
            missing = until - self.monotonic()
            if missing > 0:
                await self._advance(missing)
                self.jumped_s += missing
        await asyncio.sleep(0)
