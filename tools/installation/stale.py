"""
A server of this data folder that outlived its supervisor: found by its pid file, stopped first.

A pid file may name a process that has nothing to do with us by now: only one whose command line
holds our folder is signalled.
"""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

STOP_WAIT_S = 10.0
POLL_S = 0.05


def alive(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state != "Z"


def command_line(pid: int) -> str:
    """The words the process was started with, or nothing."""
    asked = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()


def pid_of(pid_file: Path) -> int | None:
    """The process a pid file names, if it can be read."""
    try:
        return int(pid_file.read_text(encoding="utf-8").split("\n", 1)[0])
    except (OSError, ValueError):
        return None


async def wait_gone(pid: int, wait_s: float) -> bool:
    """Wait until a process that is not our child has ended."""
    deadline = asyncio.get_running_loop().time() + wait_s
    while alive(pid):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


async def stop_stale(pid_file: Path, belongs: str) -> None:
    """Stop the process of `pid_file` if its command line holds `belongs`: gently, then by force."""
    pid = pid_of(pid_file)
    if pid is None or not alive(pid) or belongs not in command_line(pid):
        return
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        if await wait_gone(pid, STOP_WAIT_S):
            return
