"""Writing and checking the audit chain. A record goes in the same transaction as its change."""

from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from server.database.connector import Database, Row
from server.domain.audit import AuditRecord, ChainCheck, follow
from server.identifiers import now_text

CHAIN_LOCK = 0x57_52_00_02
PAGE = 500
FIRST = -(2**63)  # a record before the first one does not fit either


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


@dataclass(frozen=True, slots=True)
class AuditReport:
    """
    What a look at the whole chain found.

    `head` is number and hash of the last record (0 and zeros without any); `broken_at` the number of the first record
    that does not fit, counted from 1; `as_noted` whether the record that somebody noted earlier is still there.
    """

    records: int
    head: tuple[int, bytes]
    broken_at: int | None = None
    as_noted: bool = True

    @property
    def ok(self) -> bool:
        """Nothing was changed, taken away or put in, as far as the chain and what was noted tell."""
        return self.broken_at is None and self.as_noted


async def verify(database: Database, noted: tuple[int, bytes] | None = None) -> AuditReport:
    """
    Check the whole chain, up to the first record that does not fit.

    Args:
        noted: head of an earlier report. Whoever can write the database can end the chain earlier, or compute all of it
            anew: then this record is another one, or gone.
    """
    check, count, after = ChainCheck(), 0, FIRST
    as_noted = noted is None or noted == check.last
    while rows := await database.rows("audit.after", after=after, count=PAGE):
        for row in rows:
            record, after = record_of(row), row["sequence"]
            count += 1
            if not check.accept(record):
                return AuditReport(count, check.last, check.broken_at, as_noted)
            as_noted = as_noted or noted == check.last
    return AuditReport(count, check.last, None, as_noted)
