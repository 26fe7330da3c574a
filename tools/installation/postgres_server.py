"""
A private PostgreSQL: one data folder, a socket in a short folder, scram there too, no network.

The server is a direct child of whoever runs `command` (a daemon would be orphaned); it is ready
when line 8 of its pid file says so.
"""

import asyncio
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg

from engine.errors import InternalError, Unavailable, UsageError
from tools.installation import binaries, privileges, stale
from tools.installation.children import ChildCommand

READY_WAIT_S = 30.0
POLL_S = 0.02
ADMIN = "strongroom"
DATABASE = "strongroom"
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "64MB",
    # Statements may carry sealed secrets: an error names the statement's error, never its text.
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}
FRAGILE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


@dataclass(frozen=True, slots=True)
class PrivatePostgres:
    """One private server. `durable` False (tests only) trades safety for speed."""

    data_dir: Path
    socket_dir: Path
    password: str
    binaries_dir: Path
    durable: bool = True

    @classmethod
    def locate(cls, data_dir: Path, socket_dir: Path, password: str) -> "PrivatePostgres":
        """Use the PostgreSQL found on this machine."""
        return cls(data_dir, socket_dir, password, binaries.postgres_binaries())

    def dsn(self, database: str = DATABASE) -> str:
        """How clients reach it."""
        password, host = quote(self.password, safe=""), quote(str(self.socket_dir), safe="")
        return f"postgresql://{ADMIN}:{password}@/{database}?host={host}"

    @property
    def pid_file(self) -> Path:
        return self.data_dir / "postmaster.pid"

    def initialize(self) -> None:
        """
        Make the data folder if it is not there; idempotent.

        Raises:
            UsageError: the folder was made by another major version, or initdb refused.
        """
        given_up = privileges.demotion()
        version_file = self.data_dir / "PG_VERSION"
        if version_file.exists():
            self._check_version(version_file.read_text(encoding="utf-8").strip())
            given_up.own(self.data_dir, self.socket_dir)
            return
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        # initdb reads the password from a file; in the private folder, gone right after.
        with tempfile.TemporaryDirectory(dir=self.socket_dir) as folder:
            password_file = Path(folder) / "initial"
            password_file.touch(mode=0o600)
            password_file.write_text(self.password + "\n", encoding="utf-8")
            given_up.own(self.data_dir, self.socket_dir)
            self._initdb(given_up, password_file)

    def _initdb(self, given_up: privileges.Demotion, password_file: Path) -> None:
        command = [
            *given_up.prefix,
            str(self.binaries_dir / "initdb"),
            *("-D", str(self.data_dir), "-U", ADMIN, "-E", "UTF8", "--locale=C.UTF-8"),
            *("--auth-local=scram-sha-256", "--auth-host=scram-sha-256"),
            *(f"--pwfile={password_file}", "--data-checksums", "--no-instructions"),
            *(() if self.durable else ("--no-sync",)),
        ]
        options: dict[str, object] = {"cwd": "/", "capture_output": True, "text": True}
        made = subprocess.run(  # type: ignore[call-overload]
            command, check=False, **options, **given_up.start_options
        )
        if made.returncode != 0:
            raise UsageError(
                "initdb could not make the database folder: "
                + " ".join(made.stderr.strip().splitlines()[-2:]),
                code="initdb-failed",
            )

    def _check_version(self, found: str) -> None:
        program = subprocess.run(
            [str(self.binaries_dir / "postgres"), "--version"],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        ).stdout
        major = program.rpartition(")")[2].strip().partition(".")[0]
        if major != found:
            raise UsageError(
                f"The database folder was made by PostgreSQL {found}; the one found here is "
                f"{major}. Install version {found}, or upgrade the folder with pg_upgrade.",
                code="postgres-version",
            )

    def command(self) -> ChildCommand:
        """How to start it."""
        given_up = privileges.demotion()
        settings = SETTINGS | ({} if self.durable else FRAGILE)
        return ChildCommand(
            words=(
                *given_up.prefix,
                *privileges.die_with_parent("INT"),
                str(self.binaries_dir / "postgres"),
                *("-D", str(self.data_dir), "-k", str(self.socket_dir)),
                *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
            ),
            options=given_up.start_options,
        )

    async def stop_stale(self) -> None:
        """Stop a server of this folder that outlived its supervisor."""
        await stale.stop_stale(self.pid_file, str(self.data_dir))

    async def wait_ready(self, pid: int) -> None:
        """
        Wait until the server with process `pid` takes connections, then make the database.

        Raises:
            Unavailable: it did not within the time limit.
        """
        deadline = asyncio.get_running_loop().time() + READY_WAIT_S
        while not self._says_ready(pid):
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable("PostgreSQL did not become ready.", code="postgres-not-ready")
            await asyncio.sleep(POLL_S)
        await self._make_database()

    def _says_ready(self, pid: int) -> bool:
        try:
            lines = self.pid_file.read_text(encoding="utf-8").split("\n")
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].startswith("ready")

    async def _make_database(self) -> None:
        try:
            connection = await asyncpg.connect(self.dsn("postgres"))
            try:
                if not await connection.fetchval(
                    "SELECT 1 FROM pg_database WHERE datname = $1", DATABASE
                ):
                    await connection.execute(f"CREATE DATABASE {DATABASE}")
            finally:
                await connection.close()
        except (OSError, asyncpg.PostgresError) as error:
            raise InternalError(f"The new database cannot be used: {error}") from error
