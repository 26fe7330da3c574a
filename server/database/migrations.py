"""
The schema: ordered files, each applied once in a transaction of its own.

An advisory lock lets several servers start at once. A database written by a newer program is
refused, not guessed at.
"""

import re
from dataclasses import dataclass
from importlib import resources

from proxy.contract import InternalError, Unsupported
from server.database.connector import Connector, Database

LOCK = 0x57_52_00_01


@dataclass(frozen=True, slots=True)
class Migration:
    """One schema file."""

    version: int
    name: str
    text: str


def migrations() -> list[Migration]:
    """All schema files, oldest first; versions count from 1 without gaps."""
    found = []
    for file in resources.files("server.database").joinpath("schema").iterdir():
        match = re.fullmatch(r"(\d{4})_([a-z_]+)\.sql", file.name)
        if match:
            text = file.read_text(encoding="utf-8")
            found.append(Migration(int(match.group(1)), match.group(2), text))
    found.sort(key=lambda migration: migration.version)
    if [m.version for m in found] != list(range(1, len(found) + 1)):
        raise InternalError("Schema files are not numbered without gaps.")
    return found


async def present_version(database: Database) -> int:
    """Version of the schema that a database has, 0 before the first start. Writes nothing."""
    if not await database.value("schema.has_version_table"):
        return 0
    return int(await database.value("schema.version") or 0)


async def migrate(connector: Connector) -> int:
    """
    Bring the database to this program's schema; returns the version.

    Raises:
        Unsupported: the database was written by a newer program.
    """
    known = migrations()
    async with connector.transaction() as transaction:
        await transaction.run("schema.lock", key=LOCK)
        await transaction.run("schema.make_version_table")
        present = await transaction.value("schema.version") or 0
        if present > len(known):
            raise Unsupported(
                f"The database has schema {present}; this program knows {len(known)}.",
                code="schema-too-new",
            )
        for migration in known[present:]:
            await transaction.script(migration.text)
            await transaction.run("schema.note", version=migration.version, name=migration.name)
    return len(known)
