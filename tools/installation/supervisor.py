"""
`strongroom up`: starts the parts of an installation in order, keeps them running, stops them in the
opposite order. The first Ctrl-C stops politely, the second at once.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engine.errors import BackupError, Unavailable
from server.settings import ServerSettings
from tools.installation import joining
from tools.installation.children import Child, ChildCommand, ChildSettings
from tools.installation.layout import SOCKETS_PREFIX, Kept, Layout, State
from tools.installation.nats_server import PrivateNats, free_port
from tools.installation.postgres_server import PrivatePostgres
from tools.installation.private_files import private_folder, write_private

log = logging.getLogger(__name__)

READY_WAIT_S = 60.0
USERS_POLL_S = 0.5
SOCKET_PATH_MAX = 80  # of 107 bytes a socket's name may have
DEFAULT_PORT = 8443
PROXY_COMMAND = (sys.executable, "-m", "proxy.main")


@dataclass(frozen=True, slots=True)
class InstallationOptions:
    """
    What `strongroom up` was asked for.

    `postgres` and `nats` name existing servers (credentials included) instead of private ones;
    `proxy_nats` is the address with the credentials proxies get there. `port` 0 takes the port of
    the last start, else any that is free. `proxy_command` starts a proxy (tests give their own).
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    postgres: str | None = None
    nats: str | None = None
    proxy_nats: str | None = None
    proxies: int = 2
    pool: str = "default"
    proxy_command: tuple[str, ...] = PROXY_COMMAND
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InstallationInfo:
    """What runs and how to get in."""

    url: str
    ca_file: Path
    administrator: str
    administrator_password: str
    pids: dict[str, int]
    data_dir: Path


class Supervisor:
    """One installation while it runs."""

    def __init__(self, options: InstallationOptions, layout: Layout, sockets: Path) -> None:
        self._options = options
        self._layout = layout
        kept = layout.kept()
        nats_port = 0 if options.nats else free_port(kept.nats_port)
        web_port = options.port or free_port(kept.web_port)
        self._kept: Kept = msgspec.structs.replace(kept, nats_port=nats_port, web_port=web_port)
        self._postgres = (
            None
            if options.postgres
            else PrivatePostgres.locate(layout.postgres, sockets, kept.postgres_password)
        )
        self._nats = (
            None if options.nats else PrivateNats.locate(layout.nats, nats_port, kept.nats_password)
        )
        self._children: list[Child] = []
        self._failure: BackupError | None = None
        self._sockets = str(sockets)
        shown = "127.0.0.1" if options.host in ("0.0.0.0", "") else options.host  # noqa: S104
        self.url = f"https://{f'[{shown}]' if ':' in shown else shown}:{web_port}"

    @property
    def info(self) -> InstallationInfo:
        """As of now."""
        return InstallationInfo(
            url=self.url,
            ca_file=self._layout.authority,
            administrator=self._kept.administrator,
            administrator_password=self._kept.administrator_password,
            pids=self._pids(),
            data_dir=self._layout.root,
        )

    def _pids(self) -> dict[str, int]:
        return {c.settings.name: c.pid for c in self._children if c.pid is not None}

    def _write_state(self) -> None:
        self._layout.write_state(State(os.getpid(), self._pids(), self.url, self._sockets))

    async def run(
        self, ready: Callable[[InstallationInfo], None], stop: asyncio.Event, kill: asyncio.Event
    ) -> None:
        """Start everything, call `ready`, wait for `stop`, stop everything."""
        self._layout.keep(self._kept)
        async with asyncio.TaskGroup() as group:
            stopped = group.create_task(stop.wait())
            starting = group.create_task(self._start_or_fail(group, ready))
            await asyncio.wait({stopped, starting}, return_when=asyncio.FIRST_COMPLETED)
            if self._failure is None:
                await stopped
            stopped.cancel()
            starting.cancel()
            await asyncio.wait({starting})
            await self._stop(kill)
        if self._failure is not None:
            raise self._failure

    async def _start_or_fail(
        self, group: asyncio.TaskGroup, ready: Callable[[InstallationInfo], None]
    ) -> None:
        try:
            await self._start(group, ready)
        except BackupError as error:
            # What runs already is stopped in order before the error is told.
            self._failure = error

    async def _start(
        self, group: asyncio.TaskGroup, ready: Callable[[InstallationInfo], None]
    ) -> None:
        # Looked for even when existing servers are used now: an earlier start may have left them.
        if self._postgres:
            await self._postgres.stop_stale()
            await asyncio.to_thread(self._postgres.initialize)
            self._launch(group, self._postgres_settings(self._postgres))
        if self._nats:
            await self._nats.stop_stale()
            self._nats.initialize()
            nats = self._launch(group, self._nats_settings(self._nats))
        await self._wait_ready()
        self._write_server_config()
        self._launch(group, self._server_settings())
        await self._wait_ready()
        await self._join_proxies()
        for number in range(1, self._options.proxies + 1):
            self._launch(group, self._proxy_settings(number))
        await self._wait_ready()
        ready(self.info)
        while self._nats:
            # The server adds and removes accounts of proxies; NATS reads them when told.
            if self._nats.refresh_users():
                nats.send(signal.SIGHUP)
            await asyncio.sleep(USERS_POLL_S)

    def _launch(self, group: asyncio.TaskGroup, settings: ChildSettings) -> Child:
        child = Child(settings, self._write_state)
        self._children.append(child)
        group.create_task(child.run())
        return child

    async def _wait_ready(self) -> None:
        try:
            async with asyncio.timeout(READY_WAIT_S):
                for child in self._children:
                    await child.ready.wait()
        except TimeoutError as error:
            missing = [c.settings.name for c in self._children if not c.ready.is_set()]
            raise Unavailable(
                f"{', '.join(missing)} did not become ready; see the folder logs.",
                code="installation-not-ready",
            ) from error

    async def _stop(self, kill: asyncio.Event) -> None:
        names = [child.settings.name.partition("-")[0] for child in self._children]
        for part in ("proxy", "server", "nats", "postgres"):
            children = [c for c, name in zip(self._children, names, strict=True) if name == part]
            async with asyncio.TaskGroup() as group:
                stops = [group.create_task(child.stop(now=kill.is_set())) for child in children]
                forced = group.create_task(_force(kill, children))
                if stops:
                    await asyncio.wait(stops)
                forced.cancel()
        self._write_state()

    def _log(self, name: str) -> Path:
        return self._layout.logs / f"{name}.log"

    def _postgres_settings(self, postgres: PrivatePostgres) -> ChildSettings:
        return ChildSettings(
            "postgres", postgres.command, self._log("postgres"), postgres.wait_ready, signal.SIGINT
        )

    def _nats_settings(self, nats: PrivateNats) -> ChildSettings:
        return ChildSettings(
            "nats", nats.command, self._log("nats"), nats.wait_ready, signal.SIGINT
        )

    def _write_server_config(self) -> None:
        options, kept = self._options, self._kept
        postgres = self._postgres.dsn() if self._postgres else options.postgres
        nats = self._nats.server_url if self._nats else options.nats
        settings = ServerSettings(
            postgres=postgres or "",
            nats=nats or "",
            data_dir=str(self._layout.root),
            host=options.host,
            port=kept.web_port,
            pool=options.pool,
            administrator=kept.administrator,
            administrator_password=kept.administrator_password,
            nats_users_dir=str(self._nats.users_dir) if self._nats else "",
            proxy_nats_url="" if self._nats else options.proxy_nats or options.nats or "",
        )
        write_private(self._layout.server_config, msgspec.json.encode(settings).decode())

    def _server_settings(self) -> ChildSettings:
        words = (sys.executable, "-m", "server.main", "--watch-input")

        def command() -> ChildCommand:
            return ChildCommand(
                (*words, "--config", str(self._layout.server_config)),
                environment=self._options.environment,
            )

        async def answers(_pid: int) -> None:
            await joining.wait_healthy(self.url, self._layout.authority)

        return ChildSettings(
            "server", command, self._log("server"), answers, watches_input=True, stop_wait_s=8
        )

    def _join_file(self, number: int) -> Path:
        return self._layout.proxies / str(number) / "join.json"

    async def _join_proxies(self) -> None:
        api = joining.Api(self.url, self._layout.authority)
        options, kept = self._options, self._kept
        url = self._nats.url if self._nats else options.proxy_nats or options.nats or ""
        for number in range(1, options.proxies + 1):
            join_file = self._join_file(number)
            known = joining.renewed(join_file, url)
            # A proxy that was removed has no account any more: it joins as a new one.
            if known and not (self._nats and not self._nats.has_user(known.proxy)):
                continue
            document = await api.join(
                self._options.pool, kept.administrator, kept.administrator_password
            )
            joining.save(join_file, document)
        if self._nats and self._nats.refresh_users():
            for child in self._children:
                if child.settings.name == "nats":
                    child.send(signal.SIGHUP)

    def _proxy_settings(self, number: int) -> ChildSettings:
        folder = self._layout.proxies / str(number)
        ready_file = folder / "ready"

        def command() -> ChildCommand:
            words = (
                *(*self._options.proxy_command, "--watch-input"),
                *("--join", str(self._join_file(number))),
                *("--state-dir", str(private_folder(folder / "state"))),
                *("--cache-dir", str(private_folder(folder / "cache"))),
                *("--ready-file", str(ready_file)),
            )
            return ChildCommand(words, environment=self._options.environment)

        async def noted(pid: int) -> None:
            await joining.wait_noted(ready_file, pid)

        name = f"proxy-{number}"
        return ChildSettings(
            name, command, self._log(name), noted, watches_input=True, stop_wait_s=12
        )


async def _force(kill: asyncio.Event, children: list[Child]) -> None:
    await kill.wait()
    for child in children:
        await child.stop(now=True)


def socket_folder() -> Path:
    """A new folder for PostgreSQL's socket, whose name is short enough; the caller removes it."""
    wanted = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    usable = len(wanted) < SOCKET_PATH_MAX and os.access(wanted, os.W_OK)
    return Path(tempfile.mkdtemp(prefix=SOCKETS_PREFIX, dir=wanted if usable else "/tmp"))  # noqa: S108


async def run_installation(
    options: InstallationOptions,
    ready: Callable[[InstallationInfo], None],
    stop: asyncio.Event | None = None,
) -> None:
    """
    Run a whole installation until `stop` is set.

    Args:
        options: what was asked for.
        ready: called once, when everything answers.
        stop: None: SIGINT and SIGTERM stop it, a second one at once.

    Raises:
        UsageError: the data folder is in use or damaged, or a program is missing.
        Unavailable: a part did not become ready.
    """
    layout = Layout(options.data_dir.absolute())
    kill = asyncio.Event()
    with layout.held(), contextlib.ExitStack() as stack:
        if stop is None:
            stop = asyncio.Event()
            _listen_to_signals(stop, kill, stack)
        layout.remove_left_sockets()
        sockets = socket_folder()
        stack.callback(shutil.rmtree, sockets, ignore_errors=True)
        await Supervisor(options, layout, sockets).run(ready, stop, kill)


def _listen_to_signals(
    stop: asyncio.Event, kill: asyncio.Event, stack: contextlib.ExitStack
) -> None:
    """The first SIGINT or SIGTERM sets `stop`, the second `kill`."""
    loop = asyncio.get_running_loop()

    def told() -> None:
        (kill if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told)
        stack.callback(loop.remove_signal_handler, number)
