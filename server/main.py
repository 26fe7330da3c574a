"""
The process of one server: database, bus, loops and the web put together.

`strongroom server` calls `main`. It waits for PostgreSQL and NATS as long as it takes, and goes on
when either comes back after a loss.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvicorn

from proxy.contract import SERVER_NAME, BackupError, Unavailable
from server import audit
from server.app import make_app
from server.bus.connection import Bus
from server.bus.events import consume_for_ever
from server.bus.outbox import publish_for_ever, reconcile_for_ever
from server.bus.questions import client_context
from server.bus.responder import answer_for_ever
from server.certificates import Authority
from server.database.connector import Connector
from server.database.migrations import migrate
from server.identifiers import new_id
from server.joining import renew_accounts
from server.passwords import Passwords
from server.sealing import SecretBox
from server.services import Services, Signal
from server.settings import ServerSettings, read_settings

log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.2
RETRY_MAX_S = 5.0
CONNECTIONS_MAX = 1000
KEEP_ALIVE_S = 20
SHUTDOWN_S = 3
HEADER_BYTES_MAX = 32 * 1024


class QuietServer(uvicorn.Server):
    """The web server without its own signal handling: the process decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


async def opened_database(stack: AsyncExitStack, dsn: str) -> Connector:
    """Connect and bring the schema up to date, waiting for PostgreSQL as long as it takes."""
    wait_s = RETRY_FIRST_S
    while True:
        try:
            connector = await stack.enter_async_context(Connector.opened(dsn))
            await migrate(connector)
        except Unavailable as error:
            log.warning("%s", error.message)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RETRY_MAX_S)
        else:
            return connector


async def prepare(services: Services) -> None:
    """What a fresh installation needs: its pool and its first administrator."""
    settings = services.settings
    async with services.database.transaction() as transaction:
        await transaction.run("pools.ensure", name=settings.pool)
        if not settings.administrator_password or await transaction.value("users.any"):
            return
        hashed = await services.passwords.hash(settings.administrator_password)
        user = await transaction.row(
            "users.insert",
            id=new_id(),
            name=settings.administrator,
            password_hash=hashed,
            roles=["administrator"],
        )
        assert user is not None
        details = {"name": settings.administrator, "roles": ["administrator"]}
        await audit.note(transaction, "installation", "create-user", f"users/{user['id']}", details)


@asynccontextmanager
async def opened_services(
    settings: ServerSettings, stopping: asyncio.Event
) -> AsyncIterator[Services]:
    """Everything the loops and the web share."""
    async with AsyncExitStack() as stack:
        settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        box = SecretBox.from_file(settings.folder / "secrets.key")
        authority = Authority.from_folder(settings.folder / "ca")
        database = await opened_database(stack, settings.postgres)
        bus = await stack.enter_async_context(Bus.opened(settings.nats))
        yield Services(
            settings=settings,
            database=database,
            bus=bus,
            secret_box=box,
            authority=authority,
            passwords=Passwords(),
            outbox_filled=Signal(),
            events_stored=Signal(),
            stopping=stopping,
        )


def web_certificate(services: Services) -> Path:
    """
    The server's certificate and key in one private file; made at each start.

    It is the web's certificate and the server's own when it fetches from proxies.
    """
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), SERVER_NAME]
    names += services.settings.names
    made = services.authority.issue(*dict.fromkeys(names))
    path = services.settings.folder / "ca" / "server.pem"
    draft = path.with_suffix(".draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(made.certificate + made.private_key)
    draft.replace(path)
    return path


def _web_server(services: Services, certificate: Path) -> QuietServer:
    settings = services.settings
    context = client_context(settings.folder / "ca" / "ca.pem", certificate)
    faces = Path(settings.faces_dir) if settings.faces_dir else None
    config = uvicorn.Config(
        make_app(services, faces, context),
        host=settings.host,
        port=settings.port,
        ssl_certfile=str(certificate),
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        lifespan="off",
        ws="none",
    )
    return QuietServer(config)


async def run(settings: ServerSettings, stop: asyncio.Event) -> None:
    """
    Serve until `stop` is set.

    Raises:
        Unavailable: the bus let go of us for good; the process must start again.
    """
    stopping = asyncio.Event()
    async with opened_services(settings, stopping) as services:
        await prepare(services)
        for proxy in await renew_accounts(services):
            log.info("proxy %s has the rights of this program now", proxy)
        web = _web_server(services, web_certificate(services))
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(loop(services))
                for loop in (
                    publish_for_ever,
                    reconcile_for_ever,
                    consume_for_ever,
                    answer_for_ever,
                )
            ]
            loops.append(group.create_task(services.bus.wait_closed()))
            serving = group.create_task(_serve(web))
            await stop.wait()
            stopping.set()
            services.events_stored.call()
            web.should_exit = True
            await asyncio.wait({serving})
            for loop in loops:
                loop.cancel()


async def _serve(web: QuietServer) -> None:
    try:
        await web.serve()
    except SystemExit as error:
        # The library's word for a port that is taken.
        raise Unavailable("The web port cannot be opened.", code="port-taken") from error
    if not web.should_exit:
        raise Unavailable("The web server ended by itself.", code="web-ended")


async def run_until_told(settings: ServerSettings, *, watch_input: bool) -> None:
    """`run`, ended by SIGTERM, SIGINT or (with `watch_input`) by the end of standard input."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def read_input() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    if watch_input:
        loop.add_reader(sys.stdin.fileno(), read_input)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(run(settings, stop))

        def told() -> None:
            # Before the servers were reached there is nothing to bring to an end.
            if stop.is_set():
                serving.cancel()
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told)
        watcher = group.create_task(_cancel_late(stop, serving))
        await asyncio.wait({serving})
        watcher.cancel()


async def _cancel_late(stop: asyncio.Event, serving: "asyncio.Task[None]") -> None:
    await stop.wait()
    await asyncio.sleep(SHUTDOWN_S + 2)
    serving.cancel()


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="strongroom server")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--watch-input", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = read_settings(words.config)
        asyncio.run(run_until_told(settings, watch_input=words.watch_input))
    except BackupError as error:
        log.error("%s (%s)", error.message, error.code)
        return 1
    except BaseExceptionGroup as errors:
        known, others = errors.split(BackupError)
        if known is None or others is not None:
            raise
        log.error("the server ends: %s", known.exceptions[0])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
