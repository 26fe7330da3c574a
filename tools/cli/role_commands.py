"""Roles that run until they are stopped: `up`, `server`, `proxy`, `emulator`; and `demo`."""

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Literal

import typer

from engine.errors import UsageError
from tools.cli.arguments import CacheDirOption, StateDirOption
from tools.cli.output import DONE, complain, say

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
    listen: Annotated[str, typer.Option("--listen", help="HOST:PORT of the web")] = "127.0.0.1:0",
    postgres: Annotated[
        str, typer.Option("--postgres", help="Use this PostgreSQL (DSN), not a private one")
    ] = "",
    nats: Annotated[
        str, typer.Option("--nats", help="Use this NATS (URL), not a private one")
    ] = "",
    proxies: Annotated[int, typer.Option("--proxies", min=1, max=16, help="Proxy processes")] = 2,
) -> int:
    """The whole installation on this machine; Ctrl-C stops every part of it."""
    from tools.installation.run import InstallationInfo, InstallationOptions, run_installation

    def ready(info: InstallationInfo) -> None:
        say(f"console   {info.url}/console/")
        say(f"portal    {info.url}/portal/")
        say(f"API       {info.url}/api/v1   (OpenAPI: {info.url}/api/v1/openapi.json)")
        say(f"CA file   {info.ca_file}")
        say(f"sign-in   {info.admin_user}, password in {info.admin_password_file}")
        say("Ctrl-C stops everything")

    host, port = _host_port(listen)
    options = InstallationOptions(
        data_dir=data_dir.absolute(),
        host=host,
        port=port,
        postgres=postgres,
        nats=nats,
        proxies=proxies,
    )
    until_stopped(run_installation(options, ready))
    return DONE


def server(
    settings: Annotated[Path, typer.Option("--settings", help="Settings file of the server")],
) -> int:
    """The server alone, against existing PostgreSQL and NATS."""
    from server.main import serve

    from server.settings import read_settings

    until_stopped(serve(read_settings(settings)))
    return DONE


def proxy(
    join: Annotated[Path, typer.Option("--join", help="Join document of this proxy")],
    cache_dir: CacheDirOption = None,
    state_dir: StateDirOption = None,
) -> int:
    """One backup proxy."""
    from proxy.main import run
    from proxy.settings import ProxySettings, read_join_document
    from tools.cli.arguments import places

    document = read_join_document(join)
    local = places(cache_dir, state_dir)
    until_stopped(
        run(ProxySettings(join=document, state_dir=local.state_dir, cache_dir=local.cache_dir))
    )
    return DONE


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
        complain("serving an emulated tenant; Ctrl-C stops it")
        until_stopped(serve(options))
    return DONE


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{text!r} is not HOST:PORT", code="bad-listen")
    return host, int(port)
