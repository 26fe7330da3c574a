"""Roles that run until they are stopped: `up`, `server`, `proxy`, `emulator`; and `demo`."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.errors import UsageError
from tools.cli.errors import flat
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
    keep: bool,
) -> int:
    """One backup, verification and restore on an emulated tenant."""
    from tools.demo.story import run_demo

    return run_demo(keep=keep)


def up(
    data_dir: Path,
    listen: str,
    postgres: str | None,
    nats: str | None,
    proxy_nats: str | None,
    proxies: int,
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
    flat(run_installation(options, ready))
    return DONE


def server(
    config: Path,
) -> int:
    """The server alone, against existing PostgreSQL and NATS."""
    from server.main import main

    return main(["--config", str(config)])


def proxy(
    join: Path,
    cache_dir: Path | None,
    state_dir: Path | None,
    tasks_max: int,
) -> int:
    """One backup proxy."""
    from proxy.main import main
    from tools.cli.arguments import places

    local = places(cache_dir, state_dir)
    words = ["--join", str(join), "--tasks-max", str(tasks_max)]
    words += ["--state-dir", str(local.state_dir), "--cache-dir", str(local.cache_dir)]
    return main(words)


def emulator(
    recipe: str,
    content: Path | None,
    seed: int,
    listen: str,
    org: Path | None,
    restore_org: Path | None,
    data_dir: Path | None,
    throttling: ThrottlingChoice,
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
            restore_org_file=restore_org,
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
