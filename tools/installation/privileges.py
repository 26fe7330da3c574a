"""
PostgreSQL refuses to run as root: how a root installation gives its rights away.

First a user namespace in which we are nobody (every folder stays reachable and owned by us). Where
the kernel refuses that, the account `nobody`, to which the data folders are handed; every parent
folder must then be traversable. A plain user needs neither.
"""

import functools
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534
NAMESPACE = (
    "unshare",
    "--user",
    f"--map-user={NOBODY}",
    f"--map-group={NOBODY}",
    "--",
)


@dataclass(frozen=True, slots=True)
class Demotion:
    """How to start a program without root's rights: words before its command, or another account."""

    prefix: tuple[str, ...] = ()
    user: str | None = None

    def own(self, *folders: Path) -> None:
        """Hand folders (with what is in them) to the account, where one is used."""
        if self.user is None:
            return
        account = pwd.getpwnam(self.user)
        for folder in folders:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)

    @property
    def start_options(self) -> dict[str, object]:
        """Keyword arguments for the subprocess call."""
        if self.user is None:
            return {}
        group = pwd.getpwnam(self.user).pw_gid
        return {"user": self.user, "group": group, "extra_groups": []}


@functools.cache
def _namespace_works() -> bool:
    if not shutil.which("unshare"):
        return False
    tried = subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False)
    return tried.returncode == 0


def demotion() -> Demotion:
    """What this process must do to start PostgreSQL."""
    if os.geteuid() != 0:
        return Demotion()
    return Demotion(prefix=NAMESPACE) if _namespace_works() else Demotion(user="nobody")


def die_with_parent(signal_name: str) -> tuple[str, ...]:
    """Words that make the kernel signal the program when its parent dies; none where unknown."""
    if shutil.which("setpriv"):
        return ("setpriv", "--pdeathsig", signal_name, "--")
    return ()
