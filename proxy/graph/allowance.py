"""
What is known of one bucket of the service: used units, open leases, fence, limit. Pure; time comes in as numbers.

The state is the value of one entry of a `budget_store`. Times are those of the store, in seconds. They are known to
lie between `early` and `late`: whatever ends is judged by `early`, whatever begins by `late`.
"""

import math
from dataclasses import dataclass

import msgspec

__all__ = ["LEASE_S", "Allowance", "Lease", "Moment", "Window"]

LEASE_S = 5.0
SLICE_SHARE_MAX = 1 / 8  # of a window, so that one lease never starves the others
# A slot is free again when its end has left the window: so much of each window is lost.
WINDOW_SLOTS = 120
ROUNDING = 1e-6  # units


@dataclass(frozen=True, slots=True)
class Moment:
    """The store's time is not before `early` and not after `late`."""

    early: float
    late: float


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` units in any `period_s`."""

    limit: float
    period_s: float

    @property
    def slice_units(self) -> float:
        """What one lease takes: enough for LEASE_S at the rate of the limit."""
        return self.limit * min(LEASE_S / self.period_s, SLICE_SHARE_MAX)

    def slot_end(self, late: float) -> float:
        """End of the slot that `late` falls in."""
        slot_s = self.period_s / WINDOW_SLOTS
        return round((math.floor(late / slot_s) + 1) * slot_s, 3)


class Lease(msgspec.Struct, array_like=True):
    """`units` that one holder may use before `until`."""

    units: float
    until: float


class Allowance(msgspec.Struct):
    """
    State of one bucket.

    `used` holds for each window the ends of slots and the units in them; `per_minute` is the limit learned (0: none).
    """

    used: list[dict[float, float]] = []
    leases: dict[str, Lease] = {}
    fence: float = 0.0
    per_minute: int = 0
    told: bool = False

    @classmethod
    def decode(cls, body: bytes) -> "Allowance":
        """From the bytes of an entry; what cannot be read counts as empty."""
        try:
            return msgspec.json.decode(body, type=cls)
        except msgspec.DecodeError:
            return cls()

    def encode(self) -> bytes:
        """As the bytes of an entry."""
        return msgspec.json.encode(self)

    def settle(
        self, holder: str, used: float, leased: float, windows: list[Window], now: Moment
    ) -> bool:
        """
        End the lease of `holder`, who used so much of the `leased` units (0: none); False if that changes nothing.

        A lease that has run out here was counted in full: only what was used beyond it is added.
        """
        self._fit(windows)
        found = self.leases.pop(holder, None)
        units = max(0.0, used - leased) if found is None else used
        self._use(units, windows, now.late)
        return found is not None or units > 0

    def expire(self, windows: list[Window], now: Moment) -> None:
        """Count leases that ran out as used, forget what has left its window."""
        self._fit(windows)
        for holder, lease in list(self.leases.items()):
            if lease.until <= now.early:
                del self.leases[holder]
                self._use(lease.units, windows, lease.until)
        for slots, window in zip(self.used, windows, strict=True):
            for end in [end for end in slots if end + window.period_s <= now.early]:
                del slots[end]

    def grant(self, holder: str, units: float, windows: list[Window], now: Moment) -> float:
        """Lease at least `units` (or all of a smaller window) to `holder`; 0 if that does not fit now."""
        self._fit(windows)
        least = min(units, *(window.limit for window in windows))
        free = self._free(windows)
        if free < least - ROUNDING:
            return 0.0
        usual = max(window.slice_units for window in windows)  # the shortest one's
        granted = max(least, round(min(usual, free / 2 if self.leases else free), 3))
        self.leases[holder] = Lease(granted, now.late + LEASE_S)
        return granted

    def delay_s(self, units: float, windows: list[Window], now: Moment) -> float:
        """Seconds until `units` fit if every open lease is used up; 0 if they fit now."""
        self._fit(windows)
        return max(
            self._window_delay_s(units, slots, window, now)
            for slots, window in zip(self.used, windows, strict=True)
        )

    def used_units(self, number: int, window: Window, now: Moment) -> float:
        """What is known to be used in a window that ends now; open leases are not in it."""
        slots = self.used[number] if number < len(self.used) else {}
        return sum(n for end, n in slots.items() if end + window.period_s > now.late)

    def others_until(self, holder: str) -> float:
        """When the last lease of somebody else ends; 0 without one."""
        return max((lease.until for who, lease in self.leases.items() if who != holder), default=0)

    def _window_delay_s(
        self, units: float, slots: dict[float, float], window: Window, now: Moment
    ) -> float:
        taken = [*slots.items(), *((lease.until, lease.units) for lease in self.leases.values())]
        missing = sum(count for _, count in taken) + min(units, window.limit) - window.limit
        if missing <= ROUNDING:
            return 0.0
        for end, count in sorted(taken):
            missing -= count
            if missing <= ROUNDING:
                return max(0.0, end + window.period_s - now.early)
        return window.period_s

    def _free(self, windows: list[Window]) -> float:
        leased = sum(lease.units for lease in self.leases.values())
        free = (w.limit - sum(slots.values()) for slots, w in zip(self.used, windows, strict=True))
        return min(free) - leased

    def _use(self, units: float, windows: list[Window], at: float) -> None:
        for slots, window in zip(self.used, windows, strict=True):
            if units:
                end = window.slot_end(at)
                slots[end] = round(slots.get(end, 0.0) + units, 3)

    def _fit(self, windows: list[Window]) -> None:
        if len(self.used) != len(windows):
            self.used = [{} for _ in windows]
