"""
What clients did: requests by template, peak concurrency, and the rules they broke.

Tests assert `Ledger.breaches` to be empty. No secret enters the ledger: of a request it keeps the
template of the path, never tokens or queries.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

BREACHES_MAX = 1000
MAILBOX_CONCURRENCY_MAX = 4
_DECORATED = re.compile(r"^(ISV|NONISV)\|[^|]+\|[^|/]+/\S+")

BreachKind = Literal[
    "call-in-retry-after",
    "mailbox-concurrency",
    "authorization-on-preauthenticated-url",
    "link-altered",
    "user-agent",
    "write-call",
    "duplicate-create",
    "too-many-exports",
    "upload-piece",
    "batch",
    "mail-sent",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Breach:
    """One rule broken; `at` is in virtual seconds since the epoch."""

    kind: BreachKind
    detail: str
    at: float


@dataclasses.dataclass(slots=True)
class Tally:
    """Sums for one template and status."""

    requests: int = 0
    bytes: int = 0
    resource_units: int = 0


class Ledger:
    """Counts everything since the start or the last `clear`."""

    def __init__(self) -> None:
        self.active: Counter[str] = Counter()
        self.clear()

    def clear(self) -> None:
        """Forget everything but what is under way."""
        self.tallies: dict[tuple[str, int], Tally] = {}
        self.breaches: list[Breach] = []
        self.breach_counts: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.peaks: Counter[str] = Counter()
        self.lost: set[str] = set()  # fingerprints of creates whose answer was dropped

    def breach(self, kind: BreachKind, detail: str, at: float) -> None:
        """Record a broken rule; beyond `BREACHES_MAX` only the count grows."""
        self.breach_counts[kind] += 1
        if len(self.breaches) < BREACHES_MAX:
            self.breaches.append(Breach(kind, detail, at))

    def note(self, name: str) -> None:
        """Count something that is allowed but worth knowing."""
        self.notes[name] += 1

    def check_agent(self, agent: str, template: str, at: float) -> None:
        """A User-Agent must be decorated `ISV|Company|App/1.0` or `NONISV|...`."""
        if not _DECORATED.match(agent):
            self.breach("user-agent", f"{template}: {agent[:80] or 'none'}", at)

    @contextmanager
    def mailbox_call(self, owner: str, at: float) -> Iterator[int]:
        """Count a call on a mailbox while it runs; gives how many run now."""
        self.active[owner] += 1
        running = self.active[owner]
        self.peaks[owner] = max(self.peaks[owner], running)
        if running > MAILBOX_CONCURRENCY_MAX:
            self.breach("mailbox-concurrency", f"{running} on {owner}", at)
        try:
            yield running
        finally:
            self.active[owner] -= 1

    def finish(self, template: str, status: int, size: int, units: int) -> None:
        """Add an answered request."""
        tally = self.tallies.setdefault((template, status), Tally())
        tally.requests += 1
        tally.bytes += size
        tally.resource_units += units

    def requests(self, template: str | None = None, status: int | None = None) -> int:
        """Number of requests, of one template and one status when given."""
        return sum(
            tally.requests
            for (name, code), tally in self.tallies.items()
            if template in (None, name) and status in (None, code)
        )

    def dump(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "requests": [
                {"template": name, "status": status, **dataclasses.asdict(tally)}
                for (name, status), tally in sorted(self.tallies.items())
            ],
            "peak_concurrency": dict(self.peaks),
            "breach_counts": dict(self.breach_counts),
            "breaches": [dataclasses.asdict(breach) for breach in self.breaches],
            "notes": dict(self.notes),
        }
