"""The database of an installation, whether the installation runs or not."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from engine.errors import Unavailable, UsageError
from server.database.connector import Connector
from server.settings import ServerSettings, read_settings
from tools.installation.children import Child, ChildSettings
from tools.installation.layout import SOCKETS_PREFIX, Layout
from tools.installation.postgres_server import PrivatePostgres
from tools.installation.supervisor import READY_WAIT_S, socket_folder


@asynccontextmanager
async def database_of(data_dir: Path) -> AsyncIterator[tuple[Connector, ServerSettings]]:
    """
    Connect to the database of a data folder; a private PostgreSQL that does not run is started for as long as the block runs.

    Raises:
        UsageError: there is no installation, or its PostgreSQL is of another version. Unavailable: it does not answer.
    """
    layout = Layout(data_dir.absolute())
    if not (layout.kept_file.exists() and layout.server_config.exists()):
        raise UsageError(
            f"{data_dir} holds no installation: name the folder that `strongroom up` was given.",
            code="installation-not-found",
        )
    settings = read_settings(layout.server_config)
    async with AsyncExitStack() as stack:
        address = settings.postgres
        if _is_private(address) and _hold(layout, stack):
            address = await stack.enter_async_context(_started(layout))
        yield await stack.enter_async_context(Connector.opened(address)), settings


def _hold(layout: Layout, stack: AsyncExitStack) -> bool:
    """Hold the data folder; False: the installation runs."""
    try:
        stack.enter_context(layout.held())
    except UsageError as error:
        if error.code != "data-dir-in-use":
            raise
        return False
    return True


def _is_private(dsn: str) -> bool:
    """Whether `up` made this address for its own PostgreSQL."""
    sockets = parse_qs(urlsplit(dsn).query).get("host", [""])[0]
    return Path(sockets).name.startswith(SOCKETS_PREFIX)


@asynccontextmanager
async def _started(layout: Layout) -> AsyncIterator[str]:
    """The private PostgreSQL of a data folder that is held; its address."""
    sockets = socket_folder()
    try:
        postgres = PrivatePostgres.locate(layout.postgres, sockets, layout.kept().postgres_password)
        await postgres.stop_stale()
        await asyncio.to_thread(postgres.initialize)
        log_file = layout.logs / "postgres.log"
        child = Child(
            ChildSettings(
                "postgres", postgres.command, log_file, postgres.wait_ready, signal.SIGINT
            )
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(child.run())
            try:
                await _until_ready(child)
                yield postgres.dsn()
            finally:
                await child.stop()
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


async def _until_ready(child: Child) -> None:
    try:
        async with asyncio.timeout(READY_WAIT_S):
            await child.ready.wait()
    except TimeoutError as error:
        raise Unavailable(
            "postgres did not become ready; see the folder logs.", code="installation-not-ready"
        ) from error
