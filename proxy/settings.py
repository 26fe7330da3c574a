"""Settings of one proxy process: the join document and local folders."""

import socket
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engine.errors import UsageError
from proxy.contract import JoinDocument

JOIN_BYTES_MAX = 256 * 1024
TASKS_MAX = 4


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """
    One proxy.

    `state_dir` holds what must survive a crash of a write session, `cache_dir` what can be rebuilt.
    `bulk_host` is the address the bulk port listens on; `announced_host` is how the server reaches it.
    `ready_file` gets the process number once the bus is reached.
    """

    join: JoinDocument
    state_dir: Path
    cache_dir: Path
    bulk_host: str = "127.0.0.1"
    bulk_port: int = 0
    announced_host: str = ""
    tasks_max: int = TASKS_MAX
    ready_file: Path | None = None
    host_name: str = field(default_factory=socket.gethostname)


def read_join_document(path: Path) -> JoinDocument:
    """
    Read a join document.

    Raises:
        UsageError: missing, readable by others, or not a join document.
    """
    try:
        with path.open("rb") as file:
            mode, body = path.stat().st_mode, file.read(JOIN_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(
            f"The join document cannot be read: {error.strerror}.", code="join-document-unreadable"
        ) from error
    if mode & 0o077:
        raise UsageError(
            "The join document may be read by others: chmod 600 it.", code="join-document-open"
        )
    try:
        return msgspec.json.decode(body, type=JoinDocument)
    except msgspec.DecodeError as error:
        raise UsageError("This file is no join document.", code="join-document-invalid") from error


def default_folder(variable: str, fallback: str, environment: dict[str, str]) -> Path:
    """A folder of the user by the desktop's rules: `variable`/strongroom or `fallback`/strongroom."""
    base = environment.get(variable, "")
    return (Path(base) if base.startswith("/") else Path.home() / fallback) / "strongroom"
