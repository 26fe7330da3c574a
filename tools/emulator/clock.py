"""
The one clock of an emulator: tokens, URLs, throttles and time stamps all read it.

Virtual time runs `rate` times as fast as real time and can be advanced or frozen. A duration that
is sent to a client is divided by the rate, so that a client on a real clock is right.
"""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Virtual time in seconds since the epoch."""

    def __init__(
        self,
        rate: float = 1.0,
        start: float | None = None,
        source: Callable[[], float] = time.monotonic,
    ) -> None:
        if rate <= 0:
            raise ValueError("the clock rate must be above 0")
        self.rate = rate
        self._source = source
        self._base = time.time() if start is None else start
        self._since = source()
        self._frozen = False

    def now(self) -> float:
        """Virtual seconds since the epoch."""
        if self._frozen:
            return self._base
        return self._base + (self._source() - self._since) * self.rate

    def real(self) -> float:
        """Seconds of the underlying real source; only differences mean something."""
        return self._source()

    def advance(self, seconds: float) -> None:
        """Jump `seconds` of virtual time ahead."""
        if seconds < 0:
            raise ValueError("virtual time does not run backwards")
        self._base += seconds

    def freeze(self) -> None:
        """Stop virtual time; `advance` still moves it."""
        self._base, self._frozen = self.now(), True

    def resume(self) -> None:
        """Let virtual time run again from where it stands."""
        self._since, self._frozen = self._source(), False

    def sent(self, duration: float) -> int:
        """Whole real seconds to tell a client for a virtual duration; never below 1."""
        return max(1, math.ceil(duration / self.rate))


def iso(seconds: float) -> str:
    """Graph's spelling of a time given in seconds since the epoch."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
