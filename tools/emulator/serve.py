"""
An emulator as a whole: builds the tenant, opens the three listeners, writes the `--org` file.

Listeners: TLS (Graph, sign-in, downloads), the CONNECT door, and control. All on one loopback host.
"""

import asyncio
import contextlib
import json
import secrets
import ssl
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from tools.emulator import connect, content, empty
from tools.emulator.call import Services
from tools.emulator.certificates import KeyStore, write_atomically
from tools.emulator.clock import Clock
from tools.emulator.control import REQUEST_BYTES_MAX as CONTROL_BYTES_MAX
from tools.emulator.control import ControlDoor, Controls
from tools.emulator.demo import recipe as demo
from tools.emulator.door import REQUEST_BYTES_MAX, Door
from tools.emulator.entra import AppName, Registration
from tools.emulator.faults import Faults
from tools.emulator.ledger import Ledger
from tools.emulator.options import EmulatorOptions
from tools.emulator.recipes import huge, mid, nasty, tiny
from tools.emulator.request_size import up_to
from tools.emulator.sealing import Sealer
from tools.emulator.tenant import Tenant
from tools.emulator.throttle import Throttle

RECIPES: dict[str, Callable[[int, Clock], Tenant]] = {
    "demo": demo.build,
    "empty": empty.build,
    "huge": huge.build,
    "mid": mid.build,
    "nasty": nasty.build,
    "tiny": tiny.build,
}
_SIZED = "huge"  # may be followed by a colon and the number of messages


def _tenant(options: EmulatorOptions, clock: Clock) -> Tenant:
    if options.content is not None:
        return content.build(options.content, options.seed, clock)
    recipe, _, size = options.recipe.partition(":")
    if recipe == _SIZED and size.isascii() and size.isdigit():
        return huge.build(options.seed, clock, int(size))
    if options.recipe not in RECIPES:
        raise ValueError(f"no recipe {options.recipe!r}; there are {', '.join(sorted(RECIPES))}")
    return RECIPES[options.recipe](options.seed, clock)


class Emulator:
    """
    One emulator, usable in the process of a test: `async with Emulator(options) as emu:`.

    Attributes that name addresses are set once it serves; `org` and `restore_org` are what the
    product needs to sign in as the app of the backup and as that of the restore. `services` is everything inside;
    `tenant`, `clock`, `ledger`, `faults` and `controls` are the parts that tests use.
    """

    graph_url: str
    authority: str
    proxy_url: str
    control_url: str
    org: dict[str, str]
    restore_org: dict[str, str]

    def __init__(self, options: EmulatorOptions, clock: Clock | None = None) -> None:
        self.options = options
        self.clock = clock or Clock(options.rate)
        self.tenant = _tenant(options, self.clock)
        self.keys = KeyStore(options.data_dir)
        self.ledger = Ledger()
        self.faults = Faults()
        self.services = Services(
            options=options,
            clock=self.clock,
            tenant=self.tenant,
            registration=Registration(
                self.keys,
                self.clock,
                self.tenant.key,
                self.tenant.domain,
                options,
            ),
            sealer=Sealer(self.keys.seal_key),
            faults=self.faults,
            ledger=self.ledger,
            throttle=Throttle(options.throttling, self.clock, self.ledger, options.grace),
            incarnation=secrets.token_hex(8),
            latency=options.latency,
            mime_drift=options.inject_mime_drift,
        )
        self.controls = Controls(self.services)
        if options.script is not None:
            self.controls.script(json.loads(options.script.read_text()))
        self._put_in_force()
        self.control_token = secrets.token_urlsafe(24)
        self._stack = contextlib.AsyncExitStack()

    def _put_in_force(self) -> None:
        """The faults that the recipe says its items have."""
        for failing in self.tenant.failing:
            self.faults.fail_item(
                failing.item, failing.status, failing.code, None, content_only=failing.content_only
            )
        for user in self.tenant.denied:
            self.controls.deny(user)
        if self.tenant.rules:
            self.controls.script(self.tenant.rules)

    @property
    def ca_file(self) -> Path:
        """The CA certificate to trust, PEM."""
        return self.keys.ca_file

    async def __aenter__(self) -> Self:
        host = self.options.host
        try:
            port = await self._listen_tls(host)
            door = connect.ConnectDoor((host, port))
            proxy = await connect.listen(door, host)
            self._stack.push_async_callback(_close, proxy, door)
            control = await self._listen_control(host)
        except BaseException:
            await self._stack.aclose()
            raise
        self.graph_url = f"https://{host}:{port}"
        self.authority = f"{self.graph_url}/{self.tenant.key}"
        self.proxy_url = f"http://{host}:{proxy.sockets[0].getsockname()[1]}"
        self.control_url = f"http://{host}:{control}/_emu"
        self.org = self._organization("backup")
        self.restore_org = self._organization("restore")
        self._publish()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _listen_tls(self, host: str) -> int:
        context = self.keys.server_context(host)
        server = web.Server(
            Door(self.services).handle,
            request_factory=up_to(REQUEST_BYTES_MAX),
            access_log=None,
        )
        return await self._start(server, host, self.options.port, context)

    async def _listen_control(self, host: str) -> int:
        door = ControlDoor(self.controls, self.control_token)
        server = web.Server(door.handle, request_factory=up_to(CONTROL_BYTES_MAX), access_log=None)
        return await self._start(server, host, 0, None)

    async def _start(
        self, server: web.Server, host: str, port: int, context: ssl.SSLContext | None
    ) -> int:
        runner = web.ServerRunner(server, shutdown_timeout=0.5)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, host, port, ssl_context=context)
        await site.start()
        return int(runner.addresses[0][1])

    def _organization(self, name: AppName) -> dict[str, str]:
        registration = self.services.registration
        app = registration.apps[name]
        return {
            "tenant_id": registration.tenant,
            "client_id": app.client_id,
            "client_secret": app.keys.secret,
            "authority": self.authority,
            "graph_endpoint": self.graph_url,
            "ca_file": str(self.ca_file.resolve()),
            "proxy_url": self.proxy_url,
        }

    def org_with_certificate(self) -> dict[str, str]:
        """`org` with the certificate file in place of the secret."""
        org = dict(self.org)
        del org["client_secret"]
        return org | {"certificate_file": str(self.keys.backup.file.resolve())}

    def _publish(self) -> None:
        """Write `control.json` and, last since it says that all is ready, the `--org` file."""
        control = {"url": self.control_url, "token": self.control_token}
        write_atomically(
            self.options.data_dir / "control.json", json.dumps(control, indent=2).encode()
        )
        files = (
            (self.options.restore_org_file, self.restore_org),
            (self.options.org_file, self.org),
        )
        for file, org in files:
            if file is not None:
                write_atomically(file, organization_toml(org).encode())


async def _close(server: asyncio.Server, door: connect.ConnectDoor) -> None:
    server.close()
    door.close()
    await server.wait_closed()


def organization_toml(org: dict[str, str]) -> str:
    """The `--org` file: one table of strings."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in org.items()]
    return "[organization]\n" + "\n".join(lines) + "\n"


async def serve(options: EmulatorOptions, ready: Callable[[Emulator], None] | None = None) -> None:
    """
    Run an emulator until cancelled.

    Args:
        options: how.
        ready: called once with the emulator when it serves.
    """
    async with Emulator(options) as emulator:
        if ready is not None:
            ready(emulator)
        await asyncio.Event().wait()
