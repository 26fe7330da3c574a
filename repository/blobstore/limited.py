"""
How fast a store is used: bytes and requests a second, over all threads of this process.

A call goes when what went before has been paid for, then its own bytes and itself are owed, at the rate of the limits. So
an average is kept whatever the sizes, nothing is saved up for a burst, and the smallest limit lets the largest call through.
What a call brings back is owed when it is known. One request sends an object in one go, at the speed of the line; the
average holds over it and the pause around it (docs/decisions/0026-around-a-store.md).
"""

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

from engine.errors import UsageError
from repository import ambient
from repository.blobstore.around import Call, around
from repository.blobstore.protocol import BlobStore

T = TypeVar("T")

BANDWIDTH, REQUESTS = "bandwidth", "requests"  # in addresses
BANDWIDTH_VARIABLE, REQUESTS_VARIABLE = "STRONGROOM_BANDWIDTH", "STRONGROOM_REQUESTS"
BANDWIDTH_MIN, REQUESTS_MIN = 1_000, 0.1
_NUMBER = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)([kMG]?)")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes a second in both directions together, and requests a second; None: as fast as it goes."""

    bandwidth: float | None = None
    requests: float | None = None


NO_LIMITS = Limits()


class Limit:
    """Keeps `limits`. See Passage."""

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float] = ambient.monotonic_s,
        wait: Callable[[float], None] = ambient.wait,
    ) -> None:
        self._byte_s = 0.0 if limits.bandwidth is None else 1 / limits.bandwidth
        self._request_s = 0.0 if limits.requests is None else 1 / limits.requests
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._bytes_paid_at = self._requests_paid_at = clock()

    def through(self, call: Call, act: Callable[[], T], received: Callable[[T], int]) -> T:
        """See Passage."""
        known = call.sent + call.awaited
        wait_s = self._owe(known, 0 if call.kind == "fill" else 1)
        if wait_s > 0:
            self._wait(wait_s)
        result = act()
        if (more := received(result) - call.awaited) > 0:
            self._owe(more, 0)
        return result

    def _owe(self, bytes_: int, requests: int) -> float:
        """Put a call behind those before it; seconds until it may go."""
        with self._lock:
            now = self._clock()
            bytes_free, requests_free = (
                max(now, self._bytes_paid_at),
                max(now, self._requests_paid_at),
            )
            self._bytes_paid_at = bytes_free + bytes_ * self._byte_s
            self._requests_paid_at = requests_free + requests * self._request_s
        wait_s = bytes_free - now
        return max(wait_s, requests_free - now) if requests else wait_s


def limited(store: BlobStore, where: str, limits: Limits) -> BlobStore:
    """
    A store that keeps limits.

    Args:
        where: stores of one place and of the same limits share them; "": all that have these limits.
    """
    return store if limits == NO_LIMITS else around(store, _shared(where, limits))


@lru_cache(64)
def _shared(where: str, limits: Limits) -> Limit:
    return Limit(limits)


def split_limits(address: str) -> tuple[str, Limits]:
    """
    An address without `bandwidth=` and `requests=` behind its question mark, and what they say.

    Raises: UsageError(bad-limit).
    """
    place, mark, query = address.partition("?")
    if not mark or "://" not in place:
        return address, NO_LIMITS
    options = parse_qsl(query, keep_blank_values=True)
    ours = {name: value for name, value in options if name in (BANDWIDTH, REQUESTS)}
    if not ours:
        return address, NO_LIMITS
    others = urlencode([option for option in options if option[0] not in ours], safe=":/@")
    return f"{place}?{others}" if others else place, _limits(ours, BANDWIDTH, REQUESTS)


def limits_of_environment() -> Limits:
    """
    For everything that this process does: STRONGROOM_BANDWIDTH, STRONGROOM_REQUESTS.

    Raises: UsageError(bad-limit).
    """
    variables = {name: value for name, value in os.environ.items() if value}
    return _limits(variables, BANDWIDTH_VARIABLE, REQUESTS_VARIABLE)


def _limits(texts: "dict[str, str]", bandwidth: str, requests: str) -> Limits:
    return Limits(
        _number(bandwidth, texts.get(bandwidth), BANDWIDTH_MIN),
        _number(requests, texts.get(requests), REQUESTS_MIN),
    )


def _number(name: str, text: str | None, least: float) -> float | None:
    if text is None:
        return None
    found = _NUMBER.fullmatch(text)
    value = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if value < least:
        raise UsageError(
            f"{name}={text!r}: write how much a second, {least:g} at least, like 500k, 2M or 20",
            code="bad-limit",
        )
    return value
