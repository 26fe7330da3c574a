"""
The request budget of one organization and application, as this process may use it.

A bucket is what the service counts together: one mailbox, all SharePoint and OneDrive sites of the tenant, the
directory. Each bucket has sliding windows (limit per time), a gate (calls at once) and one fence: after a Retry-After
nothing leaves for that bucket, whoever asks, because calls made while throttled lengthen the pause. The budget sits
inside the retry loop, so every physical attempt pays.

Numbers: Graph "Service-specific throttling limits" and "Avoid getting throttled in SharePoint Online", 2026.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from proxy.graph.clock import Clock

__all__ = [
    "Admission",
    "Budget",
    "BudgetLimits",
    "Bucket",
    "Meter",
    "Scope",
    "Window",
    "resource_units_per_minute",
]

SAFETY_SHARE = 0.96  # our clock and theirs do not agree on where a window begins
MAILBOX_REQUESTS, MAILBOX_PERIOD_S = 10_000, 600.0
MAILBOX_CALLS = 4
SITE_CALLS = 16
DIRECTORY_UNITS, DIRECTORY_PERIOD_S = 3_500, 10.0
DIRECTORY_CALLS = 8
DAY_S = 86_400.0
DAY_UNITS_PER_MINUTE_UNIT = 960  # 1.2 million a day go with 1,250 a minute
BANDS = ((1_000, 1_250), (5_000, 2_500), (15_000, 3_750), (50_000, 5_000))
BAND_ABOVE = 6_250
WINDOW_SLOTS = 600
RESET_S_MAX = 600.0
NO_HEADERS_SHARE = 0.9  # answers carry RateLimit headers from 80 % of the limit on
PACE_FIRST_S, PACE_MAX_S, PACE_RECOVERY = 0.02, 2.0, 0.97
FENCE_JITTER_SHARE, FENCE_JITTER_MAX_S = 0.05, 2.0
BUCKETS_MAX = 20_000  # mailboxes remembered before idle ones are forgotten

_RANDOM = random.Random()  # noqa: S311 - spreads calls, guards nothing


def resource_units_per_minute(licenses: int) -> int:
    """SharePoint resource units a minute for one application in a tenant with so many licences."""
    return next((units for limit, units in BANDS if licenses <= limit), BAND_ABOVE)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which bucket a request belongs to: kind "mailbox" (with the user's id), "sites" or "directory"."""

    kind: str
    owner: str = ""

    @staticmethod
    def mailbox(user_id: str) -> "Scope":
        """The mailbox of one user."""
        return Scope("mailbox", user_id)


SITES = Scope("sites")
DIRECTORY = Scope("directory")


@dataclass(slots=True)
class Meter:
    """What one task spent and received. Counts and bytes."""

    requests: int = 0
    resource_units: int = 0
    throttled: int = 0
    bytes_read: int = 0
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """
    The limits before `share` and SAFETY_SHARE are taken.

    `share` 0 < share <= 1 is this installation's part; requests for Exchange, resource units elsewhere.
    """

    share: float = 1.0
    licenses: int = 1
    mailbox_requests: int = MAILBOX_REQUESTS
    mailbox_calls: int = MAILBOX_CALLS
    site_calls: int = SITE_CALLS
    directory_units: int = DIRECTORY_UNITS
    site_units_per_minute: int | None = None  # None: by `licenses`


class Window:
    """At most `limit` units in any `period_s`, counted in slots of period / WINDOW_SLOTS."""

    def __init__(self, limit: float, period_s: float) -> None:
        self.limit = max(1.0, limit)
        self.period_s = period_s
        self.used = 0.0
        self._slot_s = period_s / WINDOW_SLOTS
        self._slots: deque[tuple[float, float]] = deque()  # end of the slot, units in it

    def delay_s(self, now: float, units: float) -> float:
        """Seconds until `units` fit; 0 if they fit now. More units than the limit fit once all is free."""
        self._forget(now)
        missing = self.used + min(units, self.limit) - self.limit
        if missing <= 0:
            return 0.0
        freed = 0.0
        for end, count in self._slots:
            freed += count
            if freed >= missing:
                return max(0.0, end + self.period_s - now)
        return self.period_s

    def take(self, now: float, units: float) -> None:
        """Count `units` as spent at `now`."""
        self._forget(now)
        self.used += units
        if self._slots and now <= self._slots[-1][0]:
            end, count = self._slots.pop()
            self._slots.append((end, count + units))
        else:
            self._slots.append((now + self._slot_s, units))

    def _forget(self, now: float) -> None:
        while self._slots and self._slots[0][0] + self.period_s <= now:
            self.used -= self._slots.popleft()[1]
        if not self._slots:
            self.used = 0.0


@dataclass(slots=True)
class Admission:
    """Permission for one attempt; `settle` tells what it turned out to be."""

    bucket: "Bucket"
    meter: Meter
    units: float
    throttled: bool = field(default=False, init=False)

    def settle(self, headers: Mapping[str, str]) -> None:
        """Correct the charge by what the service says the call cost, and the limit by what it says of it."""
        told = _number(headers.get("x-ms-resource-unit", ""))
        actual = self.units if told is None else float(told)
        self.bucket.correct(actual - self.units)
        self.bucket.learn(headers)
        if self.bucket.in_units:
            self.meter.resource_units += round(actual)

    def pause(self, seconds: float) -> None:
        """The service asked for a pause: the whole bucket keeps it."""
        self.throttled = True
        self.meter.throttled += 1
        self.bucket.fence(seconds)


class Bucket:
    """One bucket. All waiting is first come, first served."""

    def __init__(
        self,
        clock: Clock,
        windows: list[Window],
        calls: int,
        *,
        band: "Band | None" = None,
        in_units: bool = True,
    ) -> None:
        """`in_units`: it counts resource units, not requests."""
        self.clock = clock
        self.in_units = in_units
        self._band = band
        self.fenced_until = float("-inf")
        self.running = 0
        self._windows = windows
        self._gate = asyncio.Semaphore(calls)
        self._turn = asyncio.Lock()
        self._pace_s = 0.0
        self._last = float("-inf")

    @property
    def idle(self) -> bool:
        """Nobody uses it and it remembers nothing worth keeping."""
        now = self.clock.monotonic()
        fresh = all(window.delay_s(now, window.limit) == 0 for window in self._windows)
        return not self.running and not self._turn.locked() and fresh and now > self.fenced_until

    @asynccontextmanager
    async def admit(self, units: float, meter: Meter) -> AsyncIterator[Admission]:
        """Wait for a turn, hold one of the gate's places for the block."""
        async with self._gate:
            began = self.clock.monotonic()
            await self._wait_for_turn(units)
            meter.waited_s += self.clock.monotonic() - began
            meter.requests += 1
            self.running += 1
            admission = Admission(self, meter, units)
            try:
                yield admission
            finally:
                self.running -= 1
            if not admission.throttled:
                self._pace_s = self._pace_s * PACE_RECOVERY if self._pace_s > 0.001 else 0.0

    async def _wait_for_turn(self, units: float) -> None:
        async with self._turn:
            while (delay := self._delay_s(units)) > 0:
                await self.clock.sleep(delay)
            now = self._last = self.clock.monotonic()
            for window in self._windows:
                window.take(now, units)

    def _delay_s(self, units: float) -> float:
        now = self.clock.monotonic()
        waits = [window.delay_s(now, units) for window in self._windows]
        return max(self.fenced_until - now, self._last + self._pace_s - now, *waits)

    def fence(self, seconds: float) -> None:
        """Let nothing out for `seconds` (and a little jitter on top). Fences overlap, they do not add up."""
        # Several calls on the way may be told off for one overrun: slow down once per fence.
        if self.clock.monotonic() > self.fenced_until:
            self._pace_s = min(max(PACE_FIRST_S, 2 * self._pace_s), PACE_MAX_S)
        self._hold(seconds)

    def _hold(self, seconds: float) -> None:
        jitter = min(FENCE_JITTER_MAX_S, seconds * FENCE_JITTER_SHARE) * _RANDOM.random()
        self.fenced_until = max(self.fenced_until, self.clock.monotonic() + seconds + jitter)

    def correct(self, units: float) -> None:
        """Charge or give back a difference found afterwards."""
        if units:
            now = self.clock.monotonic()
            for window in self._windows:
                window.take(now, units)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take note of what an answer says of the limit; nothing left means a pause before being told off."""
        if self._band is None:
            return
        self._band.learn(_number(headers.get("RateLimit-Limit", "")), self._windows[0].used)
        for window, units in zip(self._windows, self._band.limits(), strict=True):
            window.limit = units
        reset = _number(headers.get("RateLimit-Reset", ""))
        if _number(headers.get("RateLimit-Remaining", "")) == 0 and reset is not None:
            self._hold(min(float(reset), RESET_S_MAX))


class Band:
    """
    What SharePoint allows this application, as far as is known.

    The number of licences that decides it is a guess. Answers name the limit once 80 % of it are used, so the absence
    of that header says that more is allowed, and its presence says how much exactly.
    """

    def __init__(self, per_minute: int, share: float) -> None:
        self.per_minute = per_minute
        self._share = share
        self._told = False

    def limits(self) -> tuple[float, float]:
        """Units for the windows of a minute and of a day."""
        minute = self.per_minute * self._share
        return minute, minute * DAY_UNITS_PER_MINUTE_UNIT

    def learn(self, limit: int | None, used: float) -> None:
        """An answer came that told `limit`, after `used` units in the last minute."""
        if limit:
            # A lower one is not taken over: what is left of it, and until when, says enough.
            self._told = True
            self.per_minute = max(limit, self.per_minute)
        elif not self._told and used >= NO_HEADERS_SHARE * self.per_minute:
            higher = [units for _, units in BANDS if units > self.per_minute]
            self.per_minute = min([*higher, max(BAND_ABOVE, self.per_minute)])


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


class Budget:
    """All buckets of one organization and application in this process."""

    def __init__(self, clock: Clock, limits: BudgetLimits) -> None:
        self._clock = clock
        self._limits = limits
        self._buckets: dict[Scope, Bucket] = {}

    def bucket(self, scope: Scope) -> Bucket:
        """The bucket of `scope`, made at its first use."""
        bucket = self._buckets.get(scope)
        if bucket is None:
            if len(self._buckets) >= BUCKETS_MAX:
                self._buckets = {key: kept for key, kept in self._buckets.items() if not kept.idle}
            bucket = self._buckets[scope] = self._make(scope)
        return bucket

    def _make(self, scope: Scope) -> Bucket:
        limits = self._limits
        share = limits.share * SAFETY_SHARE
        band: Band | None = None
        if scope.kind == "mailbox":
            windows = [Window(limits.mailbox_requests * share, MAILBOX_PERIOD_S)]
            calls = limits.mailbox_calls
        elif scope.kind == "directory":
            windows = [Window(limits.directory_units * share, DIRECTORY_PERIOD_S)]
            calls = DIRECTORY_CALLS
        else:
            minute = limits.site_units_per_minute or resource_units_per_minute(limits.licenses)
            band = Band(minute, share)
            per_minute, per_day = band.limits()
            windows = [Window(per_minute, 60.0), Window(per_day, DAY_S)]
            calls = limits.site_calls
        # The service allows so many calls at once to all installations together.
        in_units = scope.kind != "mailbox"
        calls = max(1, int(calls * limits.share))
        return Bucket(self._clock, windows, calls, band=band, in_units=in_units)
