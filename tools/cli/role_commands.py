"""Roles that run until they are stopped: `up`, `server`, `proxy`, `emulator`; and `demo`."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from engine.errors import BackupError, UsageError
from tools.cli.arguments import CacheDirOption, StateDirOption
from tools.cli.errors import leaves
from tools.cli.output import DONE, facts, say

if TYPE_CHECKING:
    from tools.emulator.serve import Emulator

ThrottlingChoice = Literal["off", "real", "tiny"]


def until_stopped(work: Coroutine[None, None, None]) -> None:
    """Run until the work ends, Ctrl-C or SIGTERM; the work is cancelled and cleans up."""

    async def supervised() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise

    asyncio.run(supervised())


def demo(
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Leave it running and print the addresses and a sign-in"),
    ] = False,
) -> int:
    """One backup, verification and restore on an emulated tenant."""
    from tools.demo.story import run_demo

    return run_demo(keep=keep)


def up(
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Everything it keeps lies here")],
    listen: Annotated[
        str, typer.Option("--listen", help="HOST:PORT of the web")
    ] = "127.0.0.1:8443",
    postgres: Annotated[
        str | None, typer.Option("--postgres", help="Use this PostgreSQL (DSN), not a private one")
    ] = None,
    nats: Annotated[
        str | None, typer.Option("--nats", help="Use this NATS (URL), not a private one")
    ] = None,
    proxy_nats: Annotated[
        str | None, typer.Option("--proxy-nats", help="The URL proxies get with --nats")
    ] = None,
    proxies: Annotated[int, typer.Option("--proxies", min=1, max=16, help="Proxy processes")] = 2,
) -> int:
    """The whole installation on this machine; Ctrl-C stops every part of it."""
    from tools.installation.supervisor import (
        InstallationInfo,
        InstallationOptions,
        run_installation,
    )

    def ready(info: InstallationInfo) -> None:
        facts(
            {
                "console": f"{info.url}/console/",
                "portal": f"{info.url}/portal/",
                "API": f"{info.url}/api/v1",
                "CA file": str(info.ca_file),
                "sign-in": f"{info.administrator}, password in {data_dir}/installation.json",
            }
        )
        say("Ctrl-C stops everything")
        sys.stdout.flush()

    host, port = _host_port(listen)
    options = InstallationOptions(
        data_dir=data_dir.absolute(),
        host=host,
        port=port,
        postgres=postgres,
        nats=nats,
        proxy_nats=proxy_nats,
        proxies=proxies,
    )
    _flat(run_installation(options, ready))
    return DONE


def _flat(work: Coroutine[None, None, None]) -> None:
    """Run; of a group of errors of the tree the first one is told."""
    try:
        asyncio.run(work)
    except BaseExceptionGroup as errors:
        known, others = errors.split(BackupError)
        if known is None or others is not None:
            raise
        raise next(leaves(known)) from None


def server(
    config: Annotated[Path, typer.Option("--config", help="Settings file of the server (JSON)")],
) -> int:
    """The server alone, against existing PostgreSQL and NATS."""
    from server.main import main

    return main(["--config", str(config)])


def proxy(
    join: Annotated[Path, typer.Option("--join", help="Join document of this proxy")],
    cache_dir: CacheDirOption = None,
    state_dir: StateDirOption = None,
    tasks_max: Annotated[int, typer.Option("--tasks", min=1, max=64, help="Tasks at once")] = 4,
) -> int:
    """One backup proxy."""
    from proxy.main import main
    from tools.cli.arguments import places

    local = places(cache_dir, state_dir)
    words = ["--join", str(join), "--tasks-max", str(tasks_max)]
    words += ["--state-dir", str(local.state_dir), "--cache-dir", str(local.cache_dir)]
    return main(words)


def emulator(
    recipe: Annotated[str, typer.Option("--recipe", help="demo or empty")] = "demo",
    content: Annotated[
        Path | None, typer.Option("--content", help="Serve a tenant made of this folder")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds give equal tenants")] = 1,
    listen: Annotated[str, typer.Option("--listen", help="HOST:PORT (TLS)")] = "127.0.0.1:0",
    org: Annotated[
        Path | None, typer.Option("--org", help="Written when ready: what --org of backup takes")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="CA and keys; a temporary folder by default")
    ] = None,
    throttling: Annotated[
        ThrottlingChoice, typer.Option("--throttling", help="Limits it enforces")
    ] = "real",
) -> int:
    """A local Microsoft Graph and Entra ID with a seeded tenant."""
    import tempfile

    from tools.emulator.options import EmulatorOptions
    from tools.emulator.serve import serve

    host, port = _host_port(listen)
    if content is not None and not content.is_dir():
        raise UsageError(f"{content} is not a folder: check --content", code="not-a-folder")
    with tempfile.TemporaryDirectory(prefix="strongroom-emulator-") as temporary:
        options = EmulatorOptions(
            data_dir=data_dir or Path(temporary),
            recipe=recipe,
            content=content,
            seed=seed,
            host=host,
            port=port,
            org_file=org,
            throttling=throttling,
        )
        until_stopped(serve(options, _announce))
    return DONE


def _announce(emulator: "Emulator") -> None:
    facts(
        {
            "Graph": emulator.graph_url,
            "authority": emulator.authority,
            "CONNECT proxy": emulator.proxy_url,
            "control": f"{emulator.control_url} (token in {emulator.options.data_dir}/control.json)",
            "CA file": str(emulator.ca_file),
            "users": str(len(emulator.tenant.users)),
        }
    )
    say("Ctrl-C stops it")
    sys.stdout.flush()


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{text!r} is not HOST:PORT", code="bad-listen")
    return host, int(port)
