"""
Connections to organizations, shared by all tasks of a process: one `GraphService` per application and tenant.

All of them share their budgets in one store, so an organization whose secret changed goes on with the budget it had.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from proxy.graph.budget import BudgetLimits
from proxy.graph.budget_store import BudgetStore, MemoryBudgetStore
from proxy.graph.clock import Clock
from proxy.graph.service import GraphService
from proxy.graph.settings import OrganizationSettings

__all__ = ["Organizations"]


@dataclass(slots=True)
class _Shared:
    settings: OrganizationSettings
    service: GraphService
    users: int = 0


class Organizations:
    """`use` gives the service of an organization for a block; a changed secret replaces it once it is free."""

    def __init__(
        self,
        version: str,
        *,
        clock: Clock | None = None,
        limits: BudgetLimits | None = None,
        budgets: BudgetStore | None = None,
    ) -> None:
        self._version = version
        self._clock = clock
        self._limits = limits
        self._budgets = budgets or MemoryBudgetStore(clock)
        self._shared: dict[OrganizationSettings, _Shared] = {}
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def use(self, settings: OrganizationSettings) -> AsyncIterator[GraphService]:
        """The service for `settings`, open for the block."""
        async with self._lock:
            shared = self._shared.get(settings)
            if shared is None:
                await self._close_outdated(settings)
                service = GraphService(
                    settings,
                    self._version,
                    clock=self._clock,
                    limits=self._limits,
                    budgets=self._budgets,
                )
                shared = self._shared[settings] = _Shared(settings, service)
            shared.users += 1
        try:
            yield shared.service
        finally:
            shared.users -= 1

    async def _close_outdated(self, settings: OrganizationSettings) -> None:
        for known, shared in list(self._shared.items()):
            same = (known.tenant_id, known.client_id) == (settings.tenant_id, settings.client_id)
            if same and not shared.users:
                del self._shared[known]
                await shared.service.close()

    async def close(self) -> None:
        """Close all connections."""
        for shared in self._shared.values():
            await shared.service.close()
        self._shared.clear()
