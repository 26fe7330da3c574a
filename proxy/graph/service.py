"""What all tasks of one organization share: connections, token, budget. One per organization and process."""

from types import TracebackType

from proxy.graph.auth import TokenSource
from proxy.graph.budget import Budget, BudgetLimits, tenant_key
from proxy.graph.budget_store import BudgetStore
from proxy.graph.client import GraphClient
from proxy.graph.clock import Clock, SystemClock
from proxy.graph.settings import OrganizationSettings
from proxy.graph.transport import Transport
from proxy.graph.writer import GraphWriter

__all__ = ["GraphService"]


class GraphService:
    """Open in a running event loop, close with `close` or as a context."""

    def __init__(
        self,
        settings: OrganizationSettings,
        version: str,
        *,
        clock: Clock | None = None,
        limits: BudgetLimits | None = None,
        budgets: BudgetStore | None = None,
    ) -> None:
        """`budgets`: where the organization's budget is shared; None: this service alone uses it."""
        self.settings = settings
        self._clock = clock or SystemClock()
        limits = limits or BudgetLimits(share=settings.budget_share, licenses=settings.licenses)
        tenant = tenant_key(settings.tenant_id, settings.client_id, settings.graph_endpoint)
        self._budget = Budget(self._clock, limits, budgets, tenant)
        self._transport = Transport(settings, version)
        self._tokens = TokenSource(settings, self._transport)

    def client(self) -> GraphClient:
        """A client for one task, with a meter of its own."""
        return GraphClient(self.settings, self._transport, self._tokens, self._budget, self._clock)

    def writer(self) -> GraphWriter:
        """The same for a restore, which may write. `settings` should be of an application of its own."""
        return GraphWriter(self.settings, self._transport, self._tokens, self._budget, self._clock)

    async def close(self) -> None:
        """Give back what was leased of the budget, close connections and the sign-in thread."""
        await self._budget.close()
        self._tokens.close()
        await self._transport.close()

    async def __aenter__(self) -> "GraphService":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
