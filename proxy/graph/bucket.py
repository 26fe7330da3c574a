"""
One bucket of a request budget: what the service counts together.

It has sliding windows (limit per time), a gate (calls at once) and one fence: after a Retry-After nothing leaves,
whoever asks, because calls made while throttled lengthen the pause. Everybody who works for the tenant shares its
state (`allowance`) in a `budget_store`; a bucket leases a few seconds' worth of units from it and pays attempts from
those (docs/decisions/0011).
"""

import asyncio
import logging
import random
import re
import uuid
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from engine.errors import Unavailable
from proxy.graph.allowance import LEASE_S, Allowance, Moment, Window
from proxy.graph.band import Band
from proxy.graph.budget_store import BudgetStore, Seen
from proxy.graph.clock import Clock

__all__ = ["Admission", "Bucket", "Meter", "Partner", "Shape"]

log = logging.getLogger(__name__)

RESET_S_MAX = 600.0
PACE_FIRST_S, PACE_MAX_S, PACE_RECOVERY = 0.02, 2.0, 0.97
FENCE_JITTER_SHARE, FENCE_JITTER_MAX_S = 0.05, 2.0
LOOK_AGAIN_S = 0.5  # somebody else may give back what is waited for
STORE_AGAIN_S = 0.5
TEND_S = LEASE_S / 2  # open leases are renewed or given back

SHARE = re.compile(r"\d(\.\d{1,6})?")

_RANDOM = random.Random()  # noqa: S311 - spreads calls, guards nothing


@dataclass(slots=True)
class Meter:
    """What one task spent and received. Counts and bytes."""

    requests: int = 0
    resource_units: int = 0
    throttled: int = 0
    bytes_read: int = 0
    waited_s: float = 0.0


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
        if self.bucket.shape.in_units:
            self.meter.resource_units += round(actual)

    def pause(self, seconds: float) -> None:
        """The service asked for a pause: the whole bucket keeps it, here and elsewhere."""
        self.throttled = True
        self.meter.throttled += 1
        self.bucket.fence(seconds)


@dataclass(frozen=True, slots=True)
class Shape:
    """
    What kind of bucket it is.

    `in_units`: it counts resource units, not requests. `alone`: only one holder at a time.
    """

    calls: int
    windows: tuple[Window, ...] = ()
    band: Band | None = None  # None: the windows are known
    in_units: bool = True
    alone: bool = False

    def limits(self) -> list[Window]:
        """The windows as far as is known now."""
        return list(self.windows) if self.band is None else self.band.windows()


class Bucket:
    """One bucket. All waiting is first come, first served."""

    def __init__(self, partner: "Partner", key: str, shape: Shape) -> None:
        self.shape = shape
        self.fenced_until = float("-inf")  # on our own clock
        self.running = 0
        self.key = key
        self._partner = partner
        self._clock = partner.clock
        self._gate = asyncio.Semaphore(shape.calls)
        self._several = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()
        self._pace_s = 0.0
        self._last = float("-inf")
        # The shared state, as last seen, and our part of it. All times in it are the store's.
        self._cell = asyncio.Lock()  # one change at a time
        self._state = Allowance()
        self._revision: int | None = None  # None: to be read
        self._leased = self._used = 0.0
        self._until = float("-inf")
        self._fence = self._heeded = 0.0  # newest fence of our own; newest one kept
        self._tending: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Nobody uses it and it remembers nothing that the store does not."""
        busy = self.running or self._turn.locked() or self._cell.locked() or self._tending
        return not busy and self._clock.monotonic() > self.fenced_until

    @asynccontextmanager
    async def admit(self, units: float, meter: Meter, calls: int = 1) -> AsyncIterator[Admission]:
        """Wait for a turn, hold `calls` of the gate's places for the block (a batch runs so many at once)."""
        calls = min(calls, self.shape.calls)
        async with self._places(calls):
            began = self._clock.monotonic()
            async with self._turn:
                await self._wait_for_turn(units, calls)
                self.running += calls
            meter.waited_s += self._clock.monotonic() - began
            meter.requests += 1 if self.shape.in_units else max(1, round(units))  # a batch has many
            admission = Admission(self, meter, units)
            try:
                yield admission
            finally:
                self.running -= calls
                self._freed.set()
            if not admission.throttled:
                self._pace_s = self._pace_s * PACE_RECOVERY if self._pace_s > 0.001 else 0.0

    @asynccontextmanager
    async def _places(self, calls: int) -> AsyncIterator[None]:
        held = 0
        try:
            async with (
                self._several
            ):  # two that each wait for the other's places would wait for ever
                for _ in range(calls):
                    await self._gate.acquire()
                    held += 1
            yield
        finally:
            for _ in range(held):
                self._gate.release()

    async def _wait_for_turn(self, units: float, calls: int) -> None:
        while True:
            now = self._clock.monotonic()
            delay = max(self.fenced_until - now, self._last + self._pace_s - now)
            if delay > 0:
                await self._clock.sleep(delay)
            elif not self._covers(units):
                await self._wait_for_lease(units)
            elif self.running and self.running + calls > self._calls():
                self._freed.clear()
                await self._freed.wait()
            else:
                break
        self._last = self._clock.monotonic()
        self._used += units

    def _calls(self) -> int:
        # The calls at once are for everybody together.
        return max(1, self.shape.calls // max(1, len(self._state.leases)))

    def fence(self, seconds: float) -> None:
        """Let nothing out for `seconds` (and a little jitter on top). Fences overlap, they do not add up."""
        # Several calls on the way may be told off for one overrun: slow down once per fence.
        if self._clock.monotonic() > self.fenced_until:
            self._pace_s = min(max(PACE_FIRST_S, 2 * self._pace_s), PACE_MAX_S)
        self._hold_everybody(seconds)

    def _hold_everybody(self, seconds: float) -> None:
        self._hold(seconds)
        until = self._partner.store.now().late + seconds
        if until > max(self._fence, self._heeded):
            self._fence = self._heeded = until
            self._partner.spawn(self._share_fence())

    def _hold(self, seconds: float) -> None:
        jitter = min(FENCE_JITTER_MAX_S, seconds * FENCE_JITTER_SHARE) * _RANDOM.random()
        self.fenced_until = max(self.fenced_until, self._clock.monotonic() + seconds + jitter)

    def correct(self, units: float) -> None:
        """Charge or give back a difference found afterwards."""
        self._used += units

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take note of what an answer says of the limit; nothing left means a pause before being told off."""
        band = self.shape.band
        if band is not None:
            minute = band.windows()[0]
            used = self._state.used_units(0, minute, self._partner.store.now()) + self._used
            band.learn(_number(headers.get("RateLimit-Limit", "")), used)
        reset = _number(headers.get("RateLimit-Reset", ""))
        if _number(headers.get("RateLimit-Remaining", "")) == 0 and reset is not None:
            self._hold_everybody(min(float(reset), RESET_S_MAX))
        over = _share(headers.get("x-ms-throttle-limit-percentage", "")) - 1.0
        if over > 0:  # the directory goes on answering up to 1.8 times the limit; then it refuses
            self._hold_everybody(over * min(window.period_s for window in self.shape.limits()))

    # -- the shared state ------------------------------------------------------------------------

    def see(self, value: bytes, revision: int) -> None:
        """Somebody changed the shared state."""
        state = Allowance.decode(value)
        if self._revision is not None and revision > self._revision:
            self._take(state, revision)
        else:
            self._heed(state)  # a fence holds, whatever is newest

    def doubt(self) -> None:
        """Changes were missed: look before anything else leaves."""
        self._revision = None

    def _take(self, state: Allowance, revision: int) -> None:
        self._state, self._revision = state, revision
        if self.shape.band is not None:
            self.shape.band.hear(state.per_minute, told=state.told)
        self._heed(state)

    def _heed(self, state: Allowance) -> None:
        if state.fence > self._heeded:
            self._heeded = state.fence
            left = state.fence - self._partner.store.now().early
            if left > 0:
                self._hold(left)

    def _covers(self, units: float) -> bool:
        if self._revision is None or self._leased <= 0:
            return False
        least = min(units, *(window.limit for window in self.shape.limits()))
        in_time = self._partner.store.now().late < self._until
        return in_time and self._leased - self._used >= least - 1e-6

    async def _wait_for_lease(self, units: float) -> None:
        try:
            delay = await self._change(units)
        except Unavailable as error:
            log.info("a budget waits: %s", error.code)
            delay = STORE_AGAIN_S
        if delay > 0 and self._clock.monotonic() >= self.fenced_until:
            await self._clock.sleep(delay)

    async def _change(self, units: float | None) -> float:
        """
        Say what was used of our lease, share what we know, and lease anew at least `units` (None: nothing more).

        Returns the seconds after which to try again (0: leased).

        Raises:
            Unavailable: the store cannot be reached now.
        """
        async with self._cell:
            while True:
                if self._revision is None:
                    await self._read()
                used, revision = self._used, self._revision or 0
                state, windows = Allowance.decode(self._state.encode()), self.shape.limits()
                now = self._partner.store.now()
                settled = state.settle(self._partner.holder, used, self._leased, windows, now)
                state.expire(windows, now)
                granted, delay = self._lease(state, units, windows, now)
                news = self._tell(state)
                if not (settled or granted or news):
                    return delay
                written = await self._partner.store.write(self.key, state.encode(), revision)
                if written is None:
                    self._revision = None
                    continue
                self._used -= used
                self._leased = granted
                self._until = now.late + LEASE_S if granted else float("-inf")
                if self._revision is None or self._revision < written:
                    self._take(state, written)
                self._tend_later()
                return delay

    async def _read(self) -> None:
        await self._partner.watch()
        found = await self._partner.store.read(self.key)
        if found is None:
            self._revision = 0  # a lost store begins from what we saw last
        else:
            self._take(Allowance.decode(found[0]), found[1])

    def _lease(
        self, state: Allowance, units: float | None, windows: list[Window], now: Moment
    ) -> tuple[float, float]:
        holder = self._partner.holder
        if units is None:
            return 0.0, 0.0
        if self.shape.alone and (held := state.others_until(holder) - now.early) > 0:
            return 0.0, min(held, LOOK_AGAIN_S)
        granted = state.grant(holder, units, windows, now)
        if granted:
            return granted, 0.0
        delay = max(0.01, state.delay_s(units, windows, now))
        return 0.0, min(delay, LOOK_AGAIN_S) if state.leases else delay

    def _tell(self, state: Allowance) -> bool:
        """Put what we learned into the state; False if it was there."""
        before = (state.fence, state.per_minute, state.told)
        state.fence = max(state.fence, self._fence)
        if self.shape.band is not None:
            state.per_minute, state.told = self.shape.band.per_minute, self.shape.band.told
        return (state.fence, state.per_minute, state.told) != before

    async def _share_fence(self) -> None:
        while self._partner.store.now().early < self._fence:
            try:
                await self._change(None)  # nobody needs a lease for now
            except Unavailable:
                await asyncio.sleep(STORE_AGAIN_S)
            else:
                return

    # -- open leases -----------------------------------------------------------------------------

    def _tend_later(self) -> None:
        self.leave()
        if self._leased > 0:
            loop = asyncio.get_running_loop()
            self._tending = loop.call_later(TEND_S, lambda: self._partner.spawn(self._tend()))

    async def _tend(self) -> None:
        """Renew a lease while calls run, so that nobody thinks they have ended; give an idle one back."""
        self._tending = None
        try:
            if self.running:
                await self._change(max(self._leased - self._used, 1.0))
            elif not self._turn.locked() and not self.shape.alone:
                await self._change(None)  # a mailbox's runs out: hardly anybody waits for it
        except Unavailable:
            self._tend_later()

    def leave(self) -> None:
        """Tend the lease no more."""
        if self._tending is not None:
            self._tending.cancel()
            self._tending = None

    async def give_back(self) -> None:
        """Say what was used, and let go of the rest."""
        self.leave()
        if self._leased > 0 and self._partner.store.now().late < self._until:
            await self._change(None)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _share(text: str) -> float:
    return float(text) if SHARE.fullmatch(text) else 0.0


class Partner:
    """One of those who share the budget of `tenant` in `store`: its name there, and what it does beside its requests."""

    def __init__(self, clock: Clock, store: BudgetStore, tenant: str, seen: Seen) -> None:
        self.clock = clock
        self.store = store
        self.tenant = tenant
        self.holder = uuid.uuid4().hex[:16]  # never a predecessor's: what it leased is not ours
        self._seen = seen
        self._watching = False
        self._watch_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Hear of changes by others, from the first use on."""
        async with self._watch_lock:
            if not self._watching:
                await self.store.watch(self.tenant, self._seen)
                self._watching = True

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run beside the requests; ended by `close`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Hear and do nothing more."""
        for task in self._tasks:
            task.cancel()
        if self._watching:
            self._watching = False
            await self.store.unwatch(self.tenant, self._seen)
