"""
Where the states of buckets are kept: cells with compare-and-swap, a time of their own, and a call for each change.

`MemoryBudgetStore` serves one process; `proxy.shared_budgets` keeps the same on the bus for all proxies.
"""

from collections.abc import Callable
from typing import Protocol

from engine.errors import Unavailable
from proxy.contract import BUDGETS_LIFE_S
from proxy.graph.allowance import Moment
from proxy.graph.clock import Clock, SystemClock

__all__ = ["BudgetStore", "MemoryBudgetStore", "Seen"]

ENTRIES_MAX = 20_000  # in memory, before old ones are forgotten

Seen = Callable[[str, bytes, int], None]  # key, value and revision of a change


class BudgetStore(Protocol):
    """Keys are `<tenant>.<scope>`, values bytes, revisions numbers that grow with each change."""

    def now(self) -> Moment:
        """The store's time; only after `watch` returned."""

    async def watch(self, tenant: str, seen: Seen) -> None:
        """
        Tell `seen` of every change of the tenant's keys from now on, until `unwatch`; an empty key: some were missed.

        Raises:
            Unavailable: the store cannot be reached now. Also the other calls.
        """

    async def unwatch(self, tenant: str, seen: Seen) -> None:
        """Tell `seen` no more."""

    async def read(self, key: str) -> tuple[bytes, int] | None:
        """Value and revision of a key; None if there is none."""

    async def write(self, key: str, value: bytes, revision: int) -> int | None:
        """Replace the value of `revision` (0: none yet); the new revision, None if somebody else was first."""


class MemoryBudgetStore:
    """The store of one process. `away` makes it unreachable, for tests."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.away = False
        self._clock = clock or SystemClock()
        self._entries: dict[str, tuple[bytes, int, float]] = {}  # with the time of the change
        self._watching: dict[str, list[Seen]] = {}
        self._revision = 0

    def now(self) -> Moment:
        """The clock's time, known exactly."""
        now = self._clock.monotonic()
        return Moment(now, now)

    async def watch(self, tenant: str, seen: Seen) -> None:
        """See `BudgetStore`."""
        self._check()
        self._watching.setdefault(tenant, []).append(seen)

    async def unwatch(self, tenant: str, seen: Seen) -> None:
        """See `BudgetStore`."""
        self._watching[tenant].remove(seen)

    async def read(self, key: str) -> tuple[bytes, int] | None:
        """See `BudgetStore`."""
        self._check()
        found = self._entries.get(key)
        return None if found is None else found[:2]

    async def write(self, key: str, value: bytes, revision: int) -> int | None:
        """See `BudgetStore`."""
        self._check()
        known = self._entries.get(key)
        if revision != (0 if known is None else known[1]):
            return None
        now = self._clock.monotonic()
        if known is None and len(self._entries) >= ENTRIES_MAX:
            oldest = now - BUDGETS_LIFE_S
            self._entries = {k: kept for k, kept in self._entries.items() if kept[2] > oldest}
        self._revision += 1
        self._entries[key] = (value, self._revision, now)
        for seen in self._watching.get(key.partition(".")[0], ()):
            seen(key, value, self._revision)
        return self._revision

    def _check(self) -> None:
        if self.away:
            raise Unavailable("The budgets cannot be reached now.", code="bus-unavailable")
