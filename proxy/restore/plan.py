"""
What a restore will do, decided before its first write. Pure.

An item collides with one that lies in the same place and is the same by id or by key; each item there is met by one
wanted item at most, so two equal items of the source stay two.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from engine.catalog import Row
from proxy.restore.protocol import Collision, Present

__all__ = ["Action", "Cost", "EntryPlan", "Step", "decided"]

Action = Literal["create", "copy", "replace", "skip", "unchanged", "refuse"]

# What Exchange allows one application in one mailbox (Graph, service-specific throttling limits).
REQUESTS_PER_S = 10_000 / 600
UPLOAD_BYTES_PER_S = 150_000_000 / 300
BASE64 = 4 / 3


@dataclass(frozen=True, slots=True)
class Step:
    """
    One item and what becomes of it.

    `there`: ids that have its key in the target already; `old`: the one it replaces.
    """

    row: Row
    key: str
    action: Action
    there: tuple[str, ...] = ()
    old: str = ""


@dataclass(slots=True)
class Cost:
    """What it takes: requests, bytes sent, and at least how many seconds the service needs for that."""

    requests: int = 0
    upload_bytes: int = 0

    @property
    def seconds_min(self) -> float:
        """For one mailbox: its window of requests, or its volume of uploads."""
        return max(self.requests / REQUESTS_PER_S, self.upload_bytes / UPLOAD_BYTES_PER_S)

    def add(self, requests: int, size: int) -> None:
        """One item more."""
        self.requests += requests
        self.upload_bytes += int(size * BASE64)


@dataclass(slots=True)
class EntryPlan:
    """Everything one object and workload needs. `places_made`: containers that are not there yet."""

    entry: str
    target: str
    places_made: int = 0
    counts: dict[Action, int] = field(default_factory=lambda: defaultdict(int))
    cost: Cost = field(default_factory=Cost)

    def add(self, step: Step, requests: int) -> None:
        """Count a step."""
        self.counts[step.action] += 1
        if step.action in ("create", "copy", "replace"):
            self.cost.add(requests + (step.action == "replace"), step.row.size)


def decided(
    wanted: Sequence[tuple[Row, str]], present: Iterable[Present], collision: Collision
) -> list[Step]:
    """
    A step for each wanted row of one place.

    Args:
        wanted: rows with their keys.
        present: what lies in the place and was not put there by this restore.
    """
    by_id = {one.id: one for one in present}
    by_key: dict[str, list[str]] = defaultdict(list)
    for one in by_id.values():
        by_key[one.key].append(one.id)
    free = dict.fromkeys(by_id, True)
    met = {row.id: _meet(row.id.decode(), free) for row, _ in wanted}  # by id first
    steps = []
    for row, key in wanted:
        hit = met[row.id] or next((one for one in by_key[key] if _meet(one, free)), "")
        there = tuple(by_key[key])
        steps.append(Step(row, key, *_action(row, hit, by_id, collision, there)))
    return steps


def _meet(one: str, free: dict[str, bool]) -> str:
    if free.get(one):
        free[one] = False
        return one
    return ""


def _action(
    row: Row, hit: str, by_id: Mapping[str, Present], collision: Collision, there: tuple[str, ...]
) -> tuple[Action, tuple[str, ...], str]:
    if not hit:
        return "create", there, ""
    if collision == "copy":
        return "copy", there, ""
    found = by_id[hit]
    if found.id == row.id.decode() and found.version and found.version == row.version:
        return "unchanged", there, ""
    if collision == "skip":
        return "skip", there, ""
    if found.tells_others:
        return "refuse", there, ""  # replacing it would send mail
    return "replace", there, hit
