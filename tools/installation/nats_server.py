"""
A private NATS with JetStream: loopback, a fixed port, users with the rights they need, always synced.

Users: `server` may do everything; each proxy is a user of its own. The server writes one file a
proxy into `users_dir`; whoever supervises calls `refresh_users` and signals the server (SIGHUP).
"""

import asyncio
import json
import random
import socket
from dataclasses import dataclass
from pathlib import Path

from engine.errors import Unavailable
from tools.installation import binaries, privileges, stale
from tools.installation.children import ChildCommand
from tools.installation.private_files import private_folder, write_private

HOST = "127.0.0.1"
READY_WAIT_S = 15.0
POLL_S = 0.02
SERVER_USER = "server"
PORTS = range(20_000, 32_768)  # above are those of outgoing connections, on Linux
PORTS_TRIED = 40
PAYLOAD_BYTES_MAX = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PrivateNats:
    """One private server below `data_dir`."""

    data_dir: Path
    port: int
    password: str
    program: Path

    @classmethod
    def locate(cls, data_dir: Path, port: int, password: str) -> "PrivateNats":
        """Use the nats-server found on this machine."""
        return cls(data_dir, port, password, binaries.nats_binary())

    @property
    def url(self) -> str:
        """Without credentials."""
        return f"nats://{HOST}:{self.port}"

    @property
    def server_url(self) -> str:
        """With the credentials of the user `server`."""
        return f"nats://{SERVER_USER}:{self.password}@{HOST}:{self.port}"

    @property
    def users_dir(self) -> Path:
        """Where the server puts one JSON file for each proxy: user, password, permissions."""
        return self.data_dir / "users"

    @property
    def config_file(self) -> Path:
        return self.data_dir / "nats.conf"

    @property
    def pid_file(self) -> Path:
        return self.data_dir / "nats.pid"

    def initialize(self) -> None:
        """Write the configuration; idempotent."""
        private_folder(self.data_dir)
        private_folder(self.users_dir)
        private_folder(self.data_dir / "store")
        config = "\n".join(
            (
                f"listen: {json.dumps(f'{HOST}:{self.port}')}",
                'server_name: "strongroom"',
                f"pid_file: {json.dumps(str(self.pid_file))}",
                f"max_payload: {PAYLOAD_BYTES_MAX}",
                "max_pending: 64MB",
                f"jetstream {{ store_dir: {json.dumps(str(self.data_dir / 'store'))}"
                ", sync_interval: always }",
                'authorization { timeout: 5, include "users.conf" }',
                "",
            )
        )
        write_private(self.config_file, config)
        self.refresh_users()

    def refresh_users(self) -> bool:
        """Write the list of users from `users_dir`; True when it changed (then signal SIGHUP)."""
        users = [{"user": SERVER_USER, "password": self.password}]
        users += [
            json.loads(file.read_text(encoding="utf-8"))
            for file in sorted(self.users_dir.glob("*.json"))
        ]
        path = self.data_dir / "users.conf"
        text = f"users: {json.dumps(users)}\n"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return False
        write_private(path, text)
        return True

    def has_user(self, proxy: str) -> bool:
        """Whether the server gave this proxy an account."""
        return (self.users_dir / f"{proxy}.json").exists()

    def command(self) -> ChildCommand:
        """How to start it."""
        return ChildCommand(
            words=(
                *privileges.die_with_parent("INT"),
                *(str(self.program), "-c", str(self.config_file)),
            )
        )

    async def stop_stale(self) -> None:
        """Stop a server of this folder that outlived its supervisor."""
        await stale.stop_stale(self.pid_file, str(self.config_file))

    async def wait_ready(self, pid: int) -> None:
        """
        Wait until process `pid` greets on its port.

        Raises:
            Unavailable: it did not within the time limit.
        """
        deadline = asyncio.get_running_loop().time() + READY_WAIT_S
        while stale.pid_of(self.pid_file) != pid or not await self._greets():
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable("NATS did not become ready.", code="nats-not-ready")
            await asyncio.sleep(POLL_S)

    async def _greets(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(HOST, self.port)
        except OSError:
            return False
        try:
            greeting = await asyncio.wait_for(reader.readline(), 2)
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()
        return greeting.startswith(b"INFO ")


def free_port(wanted: int | None = None) -> int:
    """
    `wanted` if nobody listens there, else any other.

    Not of those that the system gives to connections that go out: one of them, even of a client that asks for this very
    port, may sit on it while its server is away.
    """
    others = random.SystemRandom().sample(PORTS, PORTS_TRIED)
    for port in (*((wanted,) if wanted else ()), *others, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Unavailable("No free port on the loopback address.", code="no-free-port")
