"""
Processes that are kept running: started, watched, started again with back-off, stopped in order.

A child never outlives us knowingly: ours watch their standard input (it ends with the supervisor),
the private servers get a signal from the kernel where it can do that, and are looked for by pid
file at the next start.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import BackupError

log = logging.getLogger(__name__)

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 10.0
STEADY_S = 10.0  # a child that ran so long starts again without waiting
LOG_BYTES_MAX = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ChildCommand:
    """Words and options to start a process with."""

    words: tuple[str, ...]
    options: dict[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


async def _at_once(_pid: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """One child: how to start, when it is ready, how to stop."""

    name: str
    command: Callable[[], ChildCommand]
    log_file: Path
    wait_ready: Callable[[int], Awaitable[None]] = _at_once
    stop_signal: signal.Signals = signal.SIGTERM
    stop_wait_s: float = 12.0
    watches_input: bool = False  # ends itself when its standard input ends


class Child:
    """A process under supervision. `run` keeps it alive until `stop`."""

    def __init__(self, settings: ChildSettings, changed: Callable[[], None] = lambda: None) -> None:
        self.settings = settings
        self.starts = 0
        self.ready = asyncio.Event()
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process and running else None

    async def run(self) -> None:
        """Start and start again until stopped."""
        backoff_s = BACKOFF_FIRST_S
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            began = clock()
            code = await self._run_once()
            self.ready.clear()
            self._changed()
            if self._stopping.is_set():
                return
            backoff_s = (
                BACKOFF_FIRST_S if clock() - began > STEADY_S else min(backoff_s * 2, BACKOFF_MAX_S)
            )
            log.warning("%s ended with %s; again in %.1f s", self.settings.name, code, backoff_s)
            await _wait_set(self._stopping, backoff_s)

    async def _run_once(self) -> int:
        process = await self._start()
        self._process = process
        self.starts += 1
        self._changed()
        try:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(self._note_ready(process))
                code = await process.wait()
                watcher.cancel()
            return code
        finally:
            if process.returncode is None:
                _signal(process, signal.SIGKILL)
                await process.wait()

    async def _note_ready(self, process: asyncio.subprocess.Process) -> None:
        try:
            await self.settings.wait_ready(process.pid)
        except (BackupError, OSError) as error:
            log.error("%s: %s", self.settings.name, error)
            _signal(process, signal.SIGKILL)
        else:
            self.ready.set()
            self._changed()

    async def _start(self) -> asyncio.subprocess.Process:
        command = self.settings.command()
        options: dict[str, Any] = dict(command.options)
        with _open_log(self.settings.log_file) as output:
            return await asyncio.create_subprocess_exec(
                *command.words,
                stdin=asyncio.subprocess.PIPE
                if self.settings.watches_input
                else asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=os.environ | command.environment,
                # Ctrl-C on the terminal reaches the supervisor only: it stops the others in order.
                start_new_session=True,
                **options,
            )

    async def stop(self, *, now: bool = False) -> None:
        """End it: politely, by force after the time limit or with `now`."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        if not now:
            _signal(process, self.settings.stop_signal)
            try:
                await asyncio.wait_for(process.wait(), self.settings.stop_wait_s)
            except TimeoutError:
                log.error("%s did not stop in time", self.settings.name)
            else:
                return
        _signal(process, signal.SIGKILL)
        await process.wait()

    def send(self, number: signal.Signals) -> None:
        """Signal the process, if there is one."""
        if self._process is not None:
            _signal(self._process, number)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)


def _open_log(path: Path) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


async def _wait_set(event: asyncio.Event, wait_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), wait_s)
