"""What every record of a benchmark begins with."""

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from cext import implementation


def conditions(program: str) -> dict[str, str | int]:
    """When, where and how a record was made; `program`: the module in this folder that makes it."""
    return {
        "when": datetime.now(UTC).date().isoformat(),
        "command": " ".join(("python -m benchmarks." + program, *sys.argv[1:])),
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "kernels": implementation,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
