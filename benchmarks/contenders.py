"""Who is measured, and the commands of each step. Encryption and compression are on for all."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PASSPHRASE = "benchmark passphrase"


class Contender(Protocol):
    """Commands by step; `place` is an empty folder of this run."""

    name: str

    def environment(self, place: Path) -> Mapping[str, str]:
        """What its processes see."""

    def commands(self, place: Path, data: Path) -> dict[str, list[str]]:
        """Step to command, in the order they run."""

    def repository(self, place: Path) -> Path:
        """Where its repository lies."""


@dataclass(frozen=True, slots=True)
class Strongroom:
    """This project."""

    name: str = "strongroom"

    def environment(self, place: Path) -> Mapping[str, str]:
        """See Contender."""
        local = {"XDG_CACHE_HOME": str(place / "cache"), "XDG_STATE_HOME": str(place / "state")}
        return {"STRONGROOM_PASSPHRASE": PASSPHRASE, **local}

    def commands(self, place: Path, data: Path) -> dict[str, list[str]]:
        """See Contender."""
        program = [sys.executable, "-m", "tools.cli.main"]
        repo = str(self.repository(place))
        return {
            "init": [*program, "repo", "init", repo],
            "fresh": [*program, "import", str(data), repo, "--name", "data"],
            "again": [*program, "import", str(data), repo, "--name", "data", "--reread"],
            "verify": [*program, "repo", "verify", repo, "--read-data"],
            "restore": [*program, "export", repo, "latest", str(place / "out")],
        }

    def repository(self, place: Path) -> Path:
        """See Contender."""
        return place / "repository"


@dataclass(frozen=True, slots=True)
class Restic:
    """restic of this machine."""

    name: str = "restic"

    def environment(self, place: Path) -> Mapping[str, str]:
        """See Contender."""
        return {"RESTIC_PASSWORD": PASSPHRASE, "RESTIC_CACHE_DIR": str(place / "cache")}

    def commands(self, place: Path, data: Path) -> dict[str, list[str]]:
        """See Contender."""
        program = ["restic", "--quiet", "-r", str(self.repository(place))]
        backup = [*program, "backup", "--compression", "auto", str(data)]
        return {
            "init": [*program, "init"],
            "fresh": backup,
            "again": [*backup, "--force"],
            "verify": [*program, "check", "--read-data"],
            "restore": [*program, "restore", "latest", "--target", str(place / "out")],
        }

    def repository(self, place: Path) -> Path:
        """See Contender."""
        return place / "repository"


def contenders() -> list[Contender]:
    """This project, and the peers that are installed."""
    found: list[Contender] = [Strongroom()]
    if shutil.which("restic"):
        found.append(Restic())
    return found
