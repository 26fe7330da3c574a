"""
What a restore will do, decided before its first write. Pure.

An item collides with one that lies in the same place and is the same by id or by key; each item there is met by one
wanted item at most, so two equal items of the source stay two.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
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

    Attributes:
        there: ids that have its key in the target already. old: the one it replaces.
        version: of the old one, if it can be replaced by writing over it; "" if a new one has to be made first.
        tells_others: the service would write to other people if the old one were taken away.
    """

    row: Row
    key: str
    action: Action
    there: tuple[str, ...] = ()
    old: str = ""
    version: str = ""
    tells_others: bool = False


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
            removal = step.action == "replace" and not step.version
            self.cost.add(requests + removal, step.row.size)


def decided(
    wanted: Sequence[tuple[Row, str]],
    present: Iterable[Present],
    collision: Collision,
    over: Collection[bytes] = (),
) -> list[Step]:
    """
    A step for each wanted row of one place.

    Args:
        wanted: rows with their keys.
        present: what lies in the place and was not put there by this restore.
        over: ids of the rows that can be written over what is there.
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
        step = Step(row, key, "create", tuple(by_key[key]))
        steps.append(_met(step, by_id[hit], collision, over) if hit else step)
    return steps


def _meet(one: str, free: dict[str, bool]) -> str:
    if free.get(one):
        free[one] = False
        return one
    return ""


def _met(step: Step, found: Present, collision: Collision, over: Collection[bytes]) -> Step:
    """The step of a row that has met an item."""
    row = step.row
    if collision == "copy":
        return replace(step, action="copy")
    same = found.id == row.id.decode() or found.says_all
    if same and found.version and found.version == row.version:
        return replace(step, action="unchanged")
    if collision == "skip":
        return replace(step, action="skip")
    version = found.version if row.id in over else ""
    if found.tells_others and not version:
        return replace(step, action="refuse")  # replacing it would send mail
    return replace(
        step, action="replace", old=found.id, version=version, tells_others=found.tells_others
    )
