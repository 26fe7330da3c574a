"""
The data plane as one part: repositories, connections to organizations, and the work and answers that need both.

`proxy.main` puts it beside the bus; nothing in here knows of NATS.
"""

from proxy.contract import BrowseRequest, Task, TaskSecrets
from proxy.keeper import RepositoryKeeper
from proxy.pipeline import questions
from proxy.pipeline.context import Download, TaskContext
from proxy.pipeline.organizations import Organizations
from proxy.pipeline.tasks import run_task
from proxy.settings import ProxySettings
from repository import Places


class RealDataPlane:
    """Implements `proxy.main.DataPlane`. The proxy's id is its permanent name as a writer."""

    def __init__(self, settings: ProxySettings, version: str) -> None:
        places = Places(settings.cache_dir, settings.state_dir)
        self._keeper = RepositoryKeeper(settings.join.proxy, places)
        self._organizations = Organizations(version)

    async def open(self) -> None:
        """Begin; `close` is called by the same task."""
        await self._keeper.__aenter__()

    async def run_task(self, task: Task, context: TaskContext) -> None:
        """See `proxy.pipeline.tasks.run_task`."""
        await run_task(task, context, self._keeper, self._organizations)

    def answer(self, operation: str, request: BrowseRequest, secrets: TaskSecrets) -> bytes:
        """See `proxy.pipeline.questions.answer`."""
        return questions.answer(operation, request, secrets, self._keeper)

    def open_download(self, request: BrowseRequest, secrets: TaskSecrets) -> Download:
        """See `proxy.pipeline.questions.open_download`."""
        return questions.open_download(request, secrets, self._keeper)

    async def close(self) -> None:
        """Commit what is pending and let go of repositories and connections."""
        try:
            await self._organizations.close()
        finally:
            await self._keeper.__aexit__(None, None, None)
