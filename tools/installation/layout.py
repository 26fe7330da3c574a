"""
What a data folder holds, and the generated credentials that are kept in it.

    installation.json         port numbers, passwords (0600); made at the first start
    installation-state.json   pids of the running children (0600); written at every change
    installation.lock         held by the one supervisor of the folder
    server.json               settings of the server (0600), written at every start
    secrets.key, ca/          the server's: key of sealed secrets, certificate authority
    postgres/ nats/           the private servers
    proxies/<n>/              join document, state and cache of each proxy
    logs/
"""

import fcntl
import os
import pwd
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from engine.errors import UsageError
from tools.installation.private_files import private_folder, write_private

PASSWORD_BYTES = 18
SOCKETS_PREFIX = "sr-"


def _owner() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one start leaves for the next. Secret."""

    postgres_password: str
    nats_password: str
    administrator_password: str
    administrator: str = "admin"
    nats_port: int = 0
    web_port: int = 0


class State(msgspec.Struct, frozen=True):
    """Children that run now."""

    supervisor: int
    pids: dict[str, int]
    url: str
    sockets: str = ""  # folder of PostgreSQL's socket; gone when the supervisor ended by itself


class Layout:
    """Paths below the data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir
        self.postgres = data_dir / "postgres"
        self.nats = data_dir / "nats"
        self.logs = data_dir / "logs"
        self.proxies = data_dir / "proxies"
        self.server_config = data_dir / "server.json"
        self.authority = data_dir / "ca" / "ca.pem"
        self.kept_file = data_dir / "installation.json"
        self.state_file = data_dir / "installation-state.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """
        Make the folder and hold it while the block runs.

        Raises:
            UsageError: another supervisor holds it, or it cannot be made.
        """
        try:
            private_folder(self.root)
            descriptor = os.open(self.root / "installation.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UsageError(
                f"The data folder cannot be used: {error.strerror}.", code="data-dir-unusable"
            ) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    "Another installation runs on this data folder.", code="data-dir-in-use"
                ) from error
            yield
        finally:
            os.close(descriptor)

    def kept(self) -> Kept:
        """
        What earlier starts left; made up at the first.

        Raises:
            UsageError: the file is damaged.
        """
        try:
            return msgspec.json.decode(self.kept_file.read_bytes(), type=Kept)
        except FileNotFoundError:
            first, second, third = (secrets.token_urlsafe(PASSWORD_BYTES) for _ in range(3))
            kept = Kept(first, second, third)
            self.keep(kept)
            return kept
        except msgspec.DecodeError as error:
            raise UsageError(
                "installation.json is damaged: restore it from a copy.", code="data-dir-damaged"
            ) from error

    def keep(self, kept: Kept) -> None:
        """Leave it for the next start."""
        write_private(self.kept_file, msgspec.json.encode(kept).decode())

    def remove_left_sockets(self) -> None:
        """Remove the socket folder of a supervisor that was killed."""
        try:
            left = Path(msgspec.json.decode(self.state_file.read_bytes(), type=State).sockets)
        except (OSError, msgspec.DecodeError):
            return
        if left.name.startswith(SOCKETS_PREFIX) and left.is_dir() and left.owner() == _owner():
            shutil.rmtree(left, ignore_errors=True)

    def write_state(self, state: State) -> None:
        """Say which processes run."""
        write_private(self.state_file, msgspec.json.encode(state).decode())
