"""An installation for as long as a block runs: for the demo, and for a rebuild that sets one up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tools.installation.supervisor import InstallationInfo, InstallationOptions, run_installation

START_S = 90.0


@contextlib.asynccontextmanager
async def running(options: InstallationOptions) -> AsyncIterator[InstallationInfo]:
    """A whole installation that runs as long as the block."""
    ready: asyncio.Future[InstallationInfo] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        stop = asyncio.Event()
        group.create_task(run_installation(options, ready.set_result, stop))
        try:
            async with asyncio.timeout(START_S):
                info = await ready
            yield info
        finally:
            stop.set()  # every child is stopped in order; the group waits for it
