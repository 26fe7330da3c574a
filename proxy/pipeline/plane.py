"""
The data plane of one proxy process: what `proxy.main` runs tasks and answers questions with.

One keeper of repositories and one set of organizations for all tasks; questions are read-only and share the keeper's
open repositories.
"""

from types import TracebackType
from typing import Self

from proxy.contract import BrowseRequest, Task, TaskSecrets
from proxy.graph.budget_store import BudgetStore
from proxy.keeper import KeeperLimits, RepositoryKeeper
from proxy.pipeline.context import Download, TaskContext
from proxy.pipeline.organizations import Organizations
from proxy.pipeline.questions import Questions
from proxy.pipeline.tasks import run_task
from repository import Places

__all__ = ["DataPlane"]


class DataPlane:
    """Implements `proxy.main.DataPlane`. `close` commits what is there."""

    def __init__(
        self,
        identity: str,
        places: Places,
        version: str,
        limits: KeeperLimits | None = None,
        budgets: BudgetStore | None = None,
    ) -> None:
        """
        `identity`: the proxy's id, the permanent name of its write sessions.

        `budgets`: where budgets of organizations are shared; None: nobody else reads them.
        """
        self._keeper = RepositoryKeeper(identity, places, limits)
        self._organizations = Organizations(version, budgets=budgets)
        self._questions = Questions(self._keeper)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def run_task(self, task: Task, context: TaskContext) -> None:
        """Work on one delivery of one task, see `tasks.run_task`."""
        await run_task(task, context, self._keeper, self._organizations)

    def answer(self, operation: str, request: BrowseRequest, secrets: TaskSecrets) -> bytes:
        """JSON of `points` or `browse`."""
        return self._questions.answer(operation, request, secrets)

    def open_download(self, request: BrowseRequest, secrets: TaskSecrets) -> Download:
        """The bytes at a path."""
        return self._questions.open_download(request, secrets)

    async def close(self) -> None:
        """Commit what is pending and let go of repositories and connections."""
        await self._organizations.close()
        await self._keeper.close()
