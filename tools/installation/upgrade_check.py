"""What a start of this program would change or refuse: schema, formats of repositories, rights of proxies. Writes nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.errors import BackupError, Unsupported
from engine.version import FORMAT_VERSION
from repository.blobstore.addresses import open_store
from repository.layout import CONFIG
from repository.settings import read_config
from server.database.connector import Database
from server.database.migrations import migrations, present_version
from server.joining import outdated_account
from server.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Of a database: the version it has, the one this program has, the schema files that a start would apply."""

    present: int
    known: int
    pending: tuple[str, ...]

    @property
    def refused(self) -> bool:
        """A newer program made it: this one does not start on it."""
        return self.present > self.known


@dataclass(frozen=True, slots=True)
class FormatState:
    """
    Of a repository: `format` is None where it could not be looked at, `detail` then says why.

    newer: this program refuses it. older: it is read, and written as it is.
    """

    address: str
    format: int | None
    state: Literal["current", "older", "newer", "unknown"]
    detail: str = ""


async def schema_state(database: Database) -> SchemaState:
    """How far the schema of a database is from this program's."""
    known = migrations()
    present = await present_version(database)
    pending = tuple(f"{file.version:04}_{file.name}" for file in known[present:])
    return SchemaState(present, len(known), pending)


async def proxies_to_renew(database: Database, settings: ServerSettings) -> tuple[str, ...]:
    """Proxies of a private bus whose rights a start would replace by those of this program."""
    if not settings.nats_users_dir:
        return ()
    users_dir = Path(settings.nats_users_dir)
    rows = await database.rows("proxies.all")
    return tuple(r["id"] for r in rows if outdated_account(users_dir, r["id"], r["pool"]))


async def known_repositories(database: Database) -> list[str]:
    """Addresses of the installation's repositories, as its proxies see them."""
    return [row["url"] for row in await database.rows("repositories.all")]


def format_states(addresses: Iterable[str]) -> list[FormatState]:
    """The format of each repository; asks for its configuration alone, which needs no passphrase."""
    return [_format_state(address) for address in dict.fromkeys(addresses)]


def _format_state(address: str) -> FormatState:
    try:
        store = open_store(address)
        found = read_config(store.get(CONFIG), store.describe()).format
    except Unsupported as error:
        return FormatState(address, None, "newer", error.message)
    except BackupError as error:
        return FormatState(address, None, "unknown", error.message)
    return FormatState(address, found, "current" if found == FORMAT_VERSION else "older")
