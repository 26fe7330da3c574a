"""Where the peers are, as `install_peers.sh` leaves them, and what they call themselves."""

import os
import re
import shutil
import subprocess
from pathlib import Path


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "strongroom-bench"


def version(program: str) -> str:
    """`0.18.0` and the like, from the program itself; empty if it does not run."""
    for word in ("version", "--version"):
        try:
            answer = subprocess.run([program, word], capture_output=True, text=True, check=False)
        except OSError:
            return ""
        found = re.search(r"\d+\.\d+(\.\d+)?\S*", answer.stdout)
        if answer.returncode == 0 and found:
            return found.group()
    return ""


def _order(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))


def restic(wanted: str = "") -> str | None:
    """The newest restic that was fetched, or the newest whose version begins with `wanted`; else the one on PATH."""
    found = [str(path) for path in _cache().glob("restic-*/usr/bin/restic")]
    on_path = shutil.which("restic")
    if not found or wanted:
        found += [on_path] if on_path else []
    fitting = [program for program in found if version(program).startswith(wanted)]
    return max(fitting, key=lambda program: _order(version(program)), default=None)


def borg() -> str | None:
    """borg 1.4 as it was built; else one on PATH of the same line."""
    for program in (str(_cache() / "borg/bin/borg"), shutil.which("borg")):
        if program and version(program).startswith("1.4"):
            return program
    return None
