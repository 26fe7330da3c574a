"""Writing and checking the audit chain. A record goes in the same transaction as its change."""

from dataclasses import asdict
from typing import Any

import msgspec

from server.database.connector import Database, Row
from server.domain.audit import AuditRecord, ChainCheck, follow
from server.identifiers import now_text

CHAIN_LOCK = 0x57_52_00_02
PAGE = 500


async def note(
    database: Database, actor: str, action: str, target: str, details: dict[str, Any] | None = None
) -> None:
    """
    Add a record to the chain, inside the caller's transaction.

    `details` must hold no secret and no item text.
    """
    await database.run("lock.take", key=CHAIN_LOCK)
    last = await database.row("audit.last")
    text = msgspec.json.encode(details or {}, order="deterministic").decode()
    record = follow(
        (last["sequence"], bytes(last["hash"])) if last else None,
        now_text(),
        (actor, action, target, text),
    )
    await database.run("audit.insert", **asdict(record))


def record_of(row: Row) -> AuditRecord:
    """A stored record."""
    return AuditRecord(
        row["sequence"],
        row["at"],
        row["actor"],
        row["action"],
        row["target"],
        row["details"],
        bytes(row["previous_hash"]),
        bytes(row["hash"]),
    )


async def verify(database: Database) -> tuple[int, int | None]:
    """Check the whole chain: number of records, and the first that does not fit (None: all fit)."""
    check, count = ChainCheck(), 0
    while rows := await database.rows("audit.after", after=check.last[0], count=PAGE):
        for row in rows:
            count += 1
            if not check.accept(record_of(row)):
                return count, check.broken_at
    return count, None
