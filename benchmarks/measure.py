"""One command as a whole process: wall, CPU, peak memory."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds by the clock, seconds of processor, peak resident MB."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def measured(command: Sequence[str], environment: Mapping[str, str]) -> Figures:
    """Run a command to its end. RuntimeError with its last words if it fails."""
    # as on a user's machine: the first step (init) leaves the byte code that the others find
    seen = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    started = time.monotonic()
    with subprocess.Popen(
        command,
        env={**seen, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        words = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed: {words.decode(errors='replace')[-400:]}")
    wall = time.monotonic() - started
    return Figures(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
