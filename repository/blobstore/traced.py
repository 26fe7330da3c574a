"""
What a store was asked: calls by kind, with bytes and seconds.

It counts calls of the repository, not requests of a protocol: a driver may repeat a request, and ask for the pages of a
listing. Time is that of the calls, so calls side by side count as often as there are.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from repository import ambient
from repository.blobstore.around import Call, Kind, around
from repository.blobstore.protocol import BlobStore

T = TypeVar("T")

VARIABLE = "STRONGROOM_TRACE"


@dataclass(slots=True)
class Count:
    """Calls of one kind. `failed`: those of them that ended in an error, a refused condition too."""

    calls: int = 0
    failed: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0


class Trace:
    """See Passage. `counts`: kinds that occurred."""

    def __init__(self, clock: Callable[[], float] = ambient.monotonic_s) -> None:
        self.counts: dict[Kind, Count] = {}
        self._clock = clock
        self._lock = threading.Lock()

    def through(self, call: Call, act: Callable[[], T], received: Callable[[T], int]) -> T:
        """See Passage."""
        begun = self._clock()
        try:
            result = act()
        except BaseException:
            self._note(call, self._clock() - begun, 0, failed=1)
            raise
        self._note(call, self._clock() - begun, received(result), failed=0)
        return result

    def _note(self, call: Call, seconds: float, received: int, failed: int) -> None:
        with self._lock:
            count = self.counts.setdefault(call.kind, Count())
            count.calls += 1
            count.failed += failed
            count.bytes_sent += call.sent
            count.bytes_received += received
            count.seconds += seconds
            count.longest_s = max(count.longest_s, seconds)


TRACES: dict[str, Trace] = {}  # of this process: where -> what was asked there


def traced(store: BlobStore) -> BlobStore:
    """A store whose calls are counted in TRACES, if STRONGROOM_TRACE asks for it."""
    if os.environ.get(VARIABLE, "0") in ("", "0"):
        return store
    return around(store, TRACES.setdefault(store.describe(), Trace()))
