"""
Budgets of organizations on the bus: the `budget_store` that all proxies of an installation share.

Its time is the bus's. A message that this proxy wrote is stamped between sending and acknowledgement, so the bus's
clock is known as exactly as that round trip; the clocks of machines are never compared.
"""

import asyncio
from typing import Any

from engine.errors import Unavailable
from proxy.bus import ProxyBus
from proxy.graph.allowance import Moment
from proxy.graph.budget_store import Seen
from proxy.graph.clock import Clock, SystemClock

__all__ = ["SharedBudgets"]

CLOCK_KEY = "clock"
CLOCK_LIFE_S = 60.0  # then the bus's clock is read again
DRIFT_SHARE = 0.0005  # how far two clocks may part meanwhile


class SharedBudgets:
    """Implements `BudgetStore` over one connection. `calls` counts requests to the bus."""

    def __init__(self, bus: ProxyBus, clock: Clock | None = None) -> None:
        self.calls = 0
        self._bus = bus
        self._clock = clock or SystemClock()
        self._clock_lock = asyncio.Lock()
        # The bus's clock is ahead of ours by at least and at most so much, as found at some time of ours.
        self._ahead: tuple[float, float, float] | None = None
        self._watching: dict[str, tuple[Any, list[Seen]]] = {}
        self._watch_lock = asyncio.Lock()
        bus.on_reconnect(self._missed)

    def now(self) -> Moment:
        """The bus's time in seconds since 1970, as exactly as it is known."""
        if self._ahead is None:
            raise Unavailable("The bus's clock is not known yet.", code="bus-unavailable")
        least, most, found = self._ahead
        ours = self._clock.monotonic()
        drift = (ours - found) * DRIFT_SHARE
        return Moment(ours + least - drift, ours + most + drift)

    async def watch(self, tenant: str, seen: Seen) -> None:
        """See `BudgetStore`."""
        await self._read_clock()
        async with self._watch_lock:
            if tenant not in self._watching:
                hearing: list[Seen] = []

                async def hear(message: Any) -> None:
                    key = message.subject.partition(".")[2]
                    for each in tuple(hearing):
                        each(key, message.data, int(message.headers["Nats-Sequence"]))

                self.calls += 1
                self._watching[tenant] = (await self._bus.hear_budgets(tenant, hear), hearing)
            self._watching[tenant][1].append(seen)

    async def unwatch(self, tenant: str, seen: Seen) -> None:
        """See `BudgetStore`."""
        async with self._watch_lock:
            subscription, hearing = self._watching[tenant]
            hearing.remove(seen)
            if not hearing:
                del self._watching[tenant]
                await self._bus.hear_no_more(subscription)

    async def read(self, key: str) -> tuple[bytes, int] | None:
        """See `BudgetStore`."""
        await self._read_clock()
        self.calls += 1
        found = await self._bus.read_budget(key)
        return None if found is None else (found.value, found.revision)

    async def write(self, key: str, value: bytes, revision: int) -> int | None:
        """See `BudgetStore`."""
        await self._read_clock()
        self.calls += 1
        return await self._bus.write_budget(key, value, revision)

    async def _read_clock(self) -> None:
        async with self._clock_lock:
            ours = self._clock.monotonic()
            if self._ahead is not None and ours < self._ahead[2] + CLOCK_LIFE_S:
                return
            self.calls += 2
            key = f"{CLOCK_KEY}.{self._bus.proxy}"
            await self._bus.write_budget(key, b"", None)
            acknowledged = self._clock.monotonic()
            found = await self._bus.read_budget(key)
            if found is None:
                raise Unavailable("The bus has lost a message.", code="bus-unavailable")
            self._ahead = (found.stamp - acknowledged, found.stamp - ours, acknowledged)

    def _missed(self) -> None:
        for _, hearing in self._watching.values():
            for each in tuple(hearing):
                each("", b"", 0)
