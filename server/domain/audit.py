"""
The audit chain: each record holds the hash of the one before, so a change or a gap shows.

Pure; `server.audit` writes and reads the rows. The hash covers lengths and texts exactly as stored:
SHA-256 over the previous hash and each member as 8 bytes of length and its UTF-8 text.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change of state: who did what to what."""

    sequence: int
    at: str
    actor: str
    action: str
    target: str
    details: str
    previous_hash: bytes
    hash: bytes


def record_hash(previous_hash: bytes, sequence: int, members: Iterable[str]) -> bytes:
    """Hash of a record from its predecessor's hash, its number and its texts."""
    digest = hashlib.sha256(b"strongroom audit 1" + previous_hash + sequence.to_bytes(8, "big"))
    for member in members:
        text = member.encode()
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.digest()


def follow(
    last: tuple[int, bytes] | None, at: str, members: tuple[str, str, str, str]
) -> AuditRecord:
    """
    The record after `last` (sequence and hash; None begins the chain).

    Args:
        last: sequence and hash of the newest record.
        at: RFC 3339 time.
        members: actor, action, target, details.
    """
    sequence, previous = (last[0] + 1, last[1]) if last else (1, GENESIS)
    actor, action, target, details = members
    digest = record_hash(previous, sequence, (at, *members))
    return AuditRecord(sequence, at, actor, action, target, details, previous, digest)


@dataclass(slots=True)
class ChainCheck:
    """Walks a chain from its beginning; `broken_at` names the first record that does not fit."""

    last: tuple[int, bytes] = (0, GENESIS)
    broken_at: int | None = None

    def accept(self, record: AuditRecord) -> bool:
        """Take the next record; False when the chain is broken here."""
        sequence, previous = self.last
        members = (record.at, record.actor, record.action, record.target, record.details)
        expected = record_hash(previous, sequence + 1, members)
        fits = (
            record.sequence == sequence + 1
            and hmac.compare_digest(record.previous_hash, previous)
            and hmac.compare_digest(record.hash, expected)
        )
        if not fits and self.broken_at is None:
            self.broken_at = sequence + 1
        self.last = (record.sequence, record.hash)
        return fits
