"""
The request budget of one organization and application: limits, and which bucket pays for what.

A bucket is one mailbox, all SharePoint and OneDrive sites of the tenant, or the directory. The budget sits inside the
retry loop, so every physical attempt pays.

Numbers: Graph "Service-specific throttling limits" and "Avoid getting throttled in SharePoint Online", 2026.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b

from engine.errors import Unavailable
from proxy.graph.allowance import Window
from proxy.graph.band import Band, resource_units_per_minute
from proxy.graph.bucket import Admission, Bucket, Meter, Partner, Shape
from proxy.graph.budget_store import BudgetStore, MemoryBudgetStore
from proxy.graph.clock import Clock

__all__ = [
    "DIRECTORY",
    "SITES",
    "Admission",
    "Bucket",
    "Budget",
    "BudgetLimits",
    "Meter",
    "Scope",
    "tenant_key",
]

SAFETY_SHARE = 0.96  # our clock and theirs do not agree on where a window begins
MAILBOX_REQUESTS, MAILBOX_PERIOD_S = 10_000, 600.0
MAILBOX_CALLS = 4
UPLOAD_BYTES, UPLOAD_PERIOD_S = 150 * 1024 * 1024, 300.0  # into one mailbox
SITE_CALLS = 16
DIRECTORY_UNITS, DIRECTORY_PERIOD_S = 3_500, 10.0
DIRECTORY_CALLS = 8
BUCKETS_MAX = 20_000  # mailboxes remembered before idle ones are forgotten
GIVE_BACK_S = 2.0


@dataclass(frozen=True, slots=True)
class Scope:
    """Which bucket a request belongs to: kind "mailbox" (with the user's id), "sites" or "directory"."""

    kind: str
    owner: str = ""

    @staticmethod
    def mailbox(user_id: str) -> "Scope":
        """The mailbox of one user."""
        return Scope("mailbox", user_id)

    def uploads(self) -> "Scope":
        """What pays for bytes sent into the mailbox of this scope."""
        return Scope("upload", self.owner)

    @property
    def key(self) -> str:
        """Its name in a store: no id of a user."""
        return f"{self.kind}-{_digest(self.owner)}" if self.owner else self.kind


SITES = Scope("sites")
DIRECTORY = Scope("directory")


def tenant_key(tenant_id: str, client_id: str, endpoint: str) -> str:
    """What the service counts as one application in one tenant; 32 hex digits."""
    return _digest(f"{tenant_id}\n{client_id}\n{endpoint}".lower())


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """
    The limits before `share` and SAFETY_SHARE are taken.

    `share` 0 < share <= 1 is this installation's part; requests and bytes sent for Exchange, resource units elsewhere.
    """

    share: float = 1.0
    licenses: int = 1
    mailbox_requests: int = MAILBOX_REQUESTS
    mailbox_calls: int = MAILBOX_CALLS
    upload_bytes: int = UPLOAD_BYTES
    site_calls: int = SITE_CALLS
    directory_units: int = DIRECTORY_UNITS
    site_units_per_minute: int | None = None  # None: by `licenses`


class Budget:
    """
    All buckets of one organization and application in this process; `tenant` as `tenant_key` gives it.

    `store`: where they are shared with others; None: nowhere.
    """

    def __init__(
        self,
        clock: Clock,
        limits: BudgetLimits,
        store: BudgetStore | None = None,
        tenant: str = "tenant",
    ) -> None:
        self._limits = limits
        self._partner = Partner(clock, store or MemoryBudgetStore(clock), tenant, self._see)
        self._buckets: dict[str, Bucket] = {}

    def bucket(self, scope: Scope) -> Bucket:
        """The bucket of `scope`, made at its first use."""
        key = f"{self._partner.tenant}.{scope.key}"
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= BUCKETS_MAX:
                self._buckets = {key: kept for key, kept in self._buckets.items() if not kept.idle}
            bucket = self._buckets[key] = Bucket(self._partner, key, self._shape(scope))
        return bucket

    async def close(self) -> None:
        """Give open leases back, as far as the store answers."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(GIVE_BACK_S):
                for bucket in self._buckets.values():
                    await bucket.give_back()
        for bucket in self._buckets.values():
            bucket.leave()
        await self._partner.close()

    def _see(self, key: str, value: bytes, revision: int) -> None:
        if not key:
            for bucket in self._buckets.values():
                bucket.doubt()
        elif key in self._buckets:
            self._buckets[key].see(value, revision)

    def _shape(self, scope: Scope) -> Shape:
        limits = self._limits
        share = limits.share * SAFETY_SHARE
        if scope.kind == "mailbox":
            window = Window(max(1.0, limits.mailbox_requests * share), MAILBOX_PERIOD_S)
            calls = self._calls(limits.mailbox_calls)
            return Shape(calls, (window,), in_units=False, alone=True)
        if scope.kind == "upload":
            window = Window(max(1.0, limits.upload_bytes * share), UPLOAD_PERIOD_S)
            return Shape(self._calls(limits.mailbox_calls), (window,), in_units=False, alone=True)
        if scope.kind == "directory":
            window = Window(max(1.0, limits.directory_units * share), DIRECTORY_PERIOD_S)
            return Shape(self._calls(DIRECTORY_CALLS), (window,))
        minute = limits.site_units_per_minute or resource_units_per_minute(limits.licenses)
        return Shape(self._calls(limits.site_calls), band=Band(minute, share))

    def _calls(self, calls: int) -> int:
        # The service allows so many calls at once to all installations together.
        return max(1, int(calls * self._limits.share))
