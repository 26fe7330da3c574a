"""Who is measured, and the commands of each step. Encryption and compression are on for all, data is read again."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks import peers

PASSPHRASE = "benchmark passphrase"
STEPS = ("init", "fresh", "again", "changed", "verify", "restore", "reclaim", "start")
BACKUPS = ("fresh", "again", "changed")
OURS = "strongroom"

Commands = list[list[str]]  # one after the other


class Contender(Protocol):
    """Commands by step. `place` is a folder of this run alone; commands run in `place/out`."""

    @property
    def name(self) -> str:
        """As it stands in the tables."""

    @property
    def version(self) -> str:
        """As the program says."""

    def environment(self, place: Path) -> Mapping[str, str]:
        """What its processes see beyond this one's."""

    def commands(self, place: Path, data: Path, backups: Sequence[str]) -> dict[str, Commands]:
        """Step to commands, in the order they run; `backups` are the backup steps that will have run, oldest first.

        A step that is missing does not exist for this contender yet.
        """

    def repository(self, place: Path) -> Path:
        """Where its repository lies."""

    def restored(self, place: Path, data: Path) -> Path:
        """Where the restored tree lies."""


def out_folder(place: Path) -> Path:
    """Where restores go; empty at first."""
    return place / "out"


@dataclass(frozen=True, slots=True)
class Strongroom:
    """This project."""

    name: str = OURS
    version: str = ""

    def environment(self, place: Path) -> Mapping[str, str]:
        """See Contender."""
        local = {"XDG_CACHE_HOME": str(place / "cache"), "XDG_STATE_HOME": str(place / "state")}
        return {"STRONGROOM_PASSPHRASE": PASSPHRASE, **local}

    def commands(self, place: Path, data: Path, backups: Sequence[str]) -> dict[str, Commands]:
        """See Contender."""
        program = [sys.executable, "-P", "-m", "tools.cli.main"]
        repo = str(self.repository(place))
        backup = [*program, "import", str(data), repo, "--name", "data"]
        return {
            # sizes are compared without padding and parity; what these would add is a line of its own
            "init": [[*program, "repo", "init", repo, "--padding", "none", "--parity", "off"]],
            "fresh": [backup],
            "again": [[*backup, "--reread"]],
            "changed": [[*backup, "--reread"]],
            "verify": [[*program, "repo", "verify", repo, "--read-data"]],
            "restore": [[*program, "export", repo, "latest", str(out_folder(place))]],
            "reclaim": [
                [*program, "forget", repo, "--keep-last", "1"],
                [*program, "repo", "collect", repo],
            ],
            "start": [[*program, "repo", "info", repo]],
        }

    def repository(self, place: Path) -> Path:
        """See Contender."""
        return place / "repository"

    def restored(self, place: Path, data: Path) -> Path:
        """See Contender."""
        return out_folder(place)


@dataclass(frozen=True, slots=True)
class Restic:
    """restic, default settings."""

    program: str
    version: str
    name: str = "restic"

    def environment(self, place: Path) -> Mapping[str, str]:
        """See Contender."""
        return {"RESTIC_PASSWORD": PASSPHRASE, "RESTIC_CACHE_DIR": str(place / "cache")}

    def commands(self, place: Path, data: Path, backups: Sequence[str]) -> dict[str, Commands]:
        """See Contender."""
        program = [self.program, "--quiet", "-r", str(self.repository(place))]
        backup = [*program, "backup", "--compression", "auto", str(data)]
        return {
            "init": [[*program, "init"]],
            "fresh": [backup],
            "again": [[*backup, "--force"]],
            "changed": [[*backup, "--force"]],
            "verify": [[*program, "check", "--read-data"]],
            "restore": [[*program, "restore", "latest", "--target", str(out_folder(place))]],
            "reclaim": [[*program, "forget", "--keep-last", "1", "--prune"]],
            "start": [[*program, "cat", "config"]],
        }

    def repository(self, place: Path) -> Path:
        """See Contender."""
        return place / "repository"

    def restored(self, place: Path, data: Path) -> Path:
        """See Contender."""
        return out_folder(place) / data.relative_to("/")


@dataclass(frozen=True, slots=True)
class Borg:
    """borg 1.4 with zstd; AES-CTR and HMAC-SHA-256, its fastest where the processor knows SHA."""

    program: str
    version: str
    name: str = "borg"

    def environment(self, place: Path) -> Mapping[str, str]:
        """See Contender."""
        return {"BORG_PASSPHRASE": PASSPHRASE, "BORG_BASE_DIR": str(place / "base")}

    def commands(self, place: Path, data: Path, backups: Sequence[str]) -> dict[str, Commands]:
        """See Contender."""
        repo = str(self.repository(place))
        create = [self.program, "create", "-C", "zstd,3", "--files-cache=disabled"]
        newest = f"{repo}::{backups[-1]}" if backups else repo
        return {
            "init": [[self.program, "init", "-e", "repokey", repo]],
            **{step: [[*create, f"{repo}::{step}", str(data)]] for step in BACKUPS},
            "verify": [[self.program, "check", "--verify-data", repo]],
            "restore": [[self.program, "extract", newest]],
            "reclaim": [
                [self.program, "prune", "--keep-last", "1", repo],
                [self.program, "compact", repo],
            ],
            "start": [[self.program, "info", repo]],
        }

    def repository(self, place: Path) -> Path:
        """See Contender."""
        return place / "repository"

    def restored(self, place: Path, data: Path) -> Path:
        """See Contender."""
        return out_folder(place) / data.relative_to("/")


def contenders(restic_wanted: str = "") -> list[Contender]:
    """This project, and the peers that can be had."""
    found: list[Contender] = [Strongroom(version=_own_version())]
    if program := peers.restic(restic_wanted):
        found.append(Restic(program, peers.version(program)))
    if program := peers.borg():
        found.append(Borg(program, peers.version(program)))
    return found


def _own_version() -> str:
    from importlib import metadata

    return metadata.version(OURS)
