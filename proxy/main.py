"""
The process of one proxy: bus, worker, answers and the bulk port put together.

`strongroom proxy --join FILE` calls `main`; tests call `run` with work of their own.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

from engine.errors import BackupError
from proxy.answers import Answers, Questions
from proxy.bulk import BulkPort
from proxy.bus import ProxyBus
from proxy.contract import ProxyStatus, Task
from proxy.pipeline.context import TaskContext
from proxy.settings import TASKS_MAX, ProxySettings, default_folder, read_join_document
from proxy.shared_budgets import SharedBudgets
from proxy.worker import DRAIN_EVENTS_S, DRAIN_S, Worker

log = logging.getLogger(__name__)

CANCEL_AGAIN_S = 1.0


class DataPlane(Questions, Protocol):
    """Everything that touches repositories and Microsoft 365, as one part."""

    async def run_task(self, task: Task, context: TaskContext) -> None:
        """Work on one delivery of one task."""

    async def close(self) -> None:
        """Commit what is pending and let go of repositories."""


def _program_version() -> str:
    try:
        return version("strongroom")
    except PackageNotFoundError:
        return "unknown"


async def run(
    settings: ProxySettings, make: Callable[[ProxyBus], DataPlane], stop: asyncio.Event
) -> None:
    """
    Work until `stop` is set, then drain: tasks are brought to a commit and handed back.

    Raises:
        Unavailable: the bus let go of us for good.
    """
    join, started = settings.join, datetime.now(UTC).isoformat()
    host = settings.announced_host or settings.bulk_host
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(ProxyBus.opened(join))
        port = await stack.enter_async_context(
            BulkPort().serving(join, settings.bulk_host, settings.bulk_port)
        )

        def status(tasks: list[str]) -> ProxyStatus:
            return ProxyStatus(
                id=join.proxy,
                pool=join.pool,
                version=_program_version(),
                host=settings.host_name,
                public_key=bus.public_key,
                started_at=started,
                bulk_port=port.port,
                tasks=tasks,
            )

        data_plane = make(bus)
        worker = Worker(bus, status, data_plane.run_task, settings.tasks_max)
        answers = Answers(bus, data_plane, port, (join.proxy, host))
        if settings.ready_file is not None:
            await bus.beat(status([]))
            settings.ready_file.write_text(f"{os.getpid()}\n", encoding="utf-8")
        try:
            async with asyncio.TaskGroup() as group:
                side = [
                    group.create_task(answers.answer_for_ever()),
                    group.create_task(bus.wait_closed()),
                ]
                work = group.create_task(worker.run())
                group.create_task(_drain_when(stop, worker, work))
                await asyncio.wait({work})
                await _end(side)
        finally:
            await data_plane.close()


async def _end(tasks: "list[asyncio.Task[None]]") -> None:
    """Cancel until all have ended: inside the bus library a single cancellation can get lost."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)


async def _drain_when(stop: asyncio.Event, worker: Worker, work: "asyncio.Task[None]") -> None:
    await stop.wait()
    log.info("draining")
    worker.draining.set()
    # Events may wait for a bus that is away; what is not published is worked on again elsewhere.
    done, _ = await asyncio.wait({work}, timeout=DRAIN_S + DRAIN_EVENTS_S)
    if not done:
        work.cancel()


async def run_until_told(
    settings: ProxySettings, make: Callable[[ProxyBus], DataPlane], *, watch_input: bool
) -> None:
    """`run`, ended by SIGTERM, SIGINT or (with `watch_input`) by the end of standard input."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if watch_input:
        loop.add_reader(sys.stdin.fileno(), _end_of_input, loop, stop)
    await run(settings, make, stop)


def _end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stop.set()


def parse(arguments: list[str]) -> tuple[ProxySettings, bool]:
    """Settings from the words of a command line, and whether standard input is watched."""
    environment = dict(os.environ)
    parser = argparse.ArgumentParser(prog="strongroom proxy")
    parser.add_argument("--join", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=default_folder("XDG_STATE_HOME", ".local/state", environment),
    )
    parser.add_argument(
        "--cache-dir", type=Path, default=default_folder("XDG_CACHE_HOME", ".cache", environment)
    )
    parser.add_argument("--bulk-host", default="127.0.0.1")
    parser.add_argument("--bulk-port", type=int, default=0)
    parser.add_argument("--announced-host", default="")
    parser.add_argument("--tasks-max", type=int, default=TASKS_MAX)
    parser.add_argument("--ready-file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--watch-input", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args(arguments)
    settings = ProxySettings(
        join=read_join_document(words.join),
        state_dir=words.state_dir,
        cache_dir=words.cache_dir,
        bulk_host=words.bulk_host,
        bulk_port=words.bulk_port,
        announced_host=words.announced_host,
        tasks_max=words.tasks_max,
        ready_file=words.ready_file,
    )
    return settings, bool(words.watch_input)


def main(
    arguments: list[str] | None = None,
    data_plane: "Callable[[ProxySettings, ProxyBus], DataPlane] | None" = None,
) -> int:
    """The command line; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings, watch_input = parse(sys.argv[1:] if arguments is None else arguments)
        make = data_plane or _real_data_plane
        asyncio.run(run_until_told(settings, partial(make, settings), watch_input=watch_input))
    except BackupError as error:
        log.error("%s (%s)", error.message, error.code)
        return 1
    except BaseExceptionGroup as errors:
        known, others = errors.split(BackupError)
        if known is None or others is not None:
            raise
        log.error("%s", known.exceptions[0])
        return 1
    return 0


def _real_data_plane(settings: ProxySettings, bus: ProxyBus) -> DataPlane:
    from proxy.pipeline.plane import DataPlane as RealDataPlane
    from repository import Places

    places = Places(settings.cache_dir, settings.state_dir)
    version = _program_version()
    return RealDataPlane(settings.join.proxy, places, version, budgets=SharedBudgets(bus))


if __name__ == "__main__":
    sys.exit(main())
