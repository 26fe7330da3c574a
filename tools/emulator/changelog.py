"""
Change tracking of one collection: what delta queries page through.

A log knows for every key when it last changed and whether it is present. A reader holds a cursor;
whatever changes behind the cursor moves ahead of it again, so a reader that pages to the end has
seen the last state of everything, whatever happened meanwhile. `Generations` decides which of the
tokens handed out are still good.
"""

import bisect
import dataclasses
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclasses.dataclass(frozen=True, slots=True)
class Change(Generic[K]):
    """The last change of one key; `at` is in virtual seconds since the epoch."""

    sequence: int
    key: K
    present: bool
    at: float


class ChangeLog(Generic[K]):
    """The last change of every key, in order of change."""

    def __init__(self) -> None:
        self._also: ChangeLog[K] | None = None
        self._last: dict[K, Change[K]] = {}
        self._order: list[Change[K]] = []
        self._head = 0

    def join(self, other: "ChangeLog[K]") -> None:
        """Let `other` get everything that changes here, from the beginning."""
        for change in self._order:
            if self._last[change.key] is change:
                other.record(change.key, present=change.present, at=change.at)
        self._also = other

    @property
    def head(self) -> int:
        """Sequence number of the newest change, 0 when there was none."""
        return self._head

    def record(self, key: K, *, present: bool = True, at: float = 0.0) -> None:
        """Note that `key` changed now."""
        if self._also is not None:
            self._also.record(key, present=present, at=at)
        self._head += 1
        change = Change(self._head, key, present, at)
        self._last[key] = change
        self._order.append(change)
        if len(self._order) > 64 + 2 * len(self._last):
            self._order = [c for c in self._order if self._last[c.key] is c]

    def after(self, cursor: int, limit: int, seen_from: int) -> tuple[list[Change[K]], int, bool]:
        """
        One page of changes behind `cursor`.

        Args:
            cursor: sequence number up to which the reader has everything.
            limit: changes on the page at most.
            seen_from: removals up to this sequence are left out: the reader never saw the key.

        Returns:
            The changes, the cursor for the next page, and whether there is more.
        """
        page: list[Change[K]] = []
        index = bisect.bisect_right(self._order, cursor, key=lambda c: c.sequence)
        while index < len(self._order):
            change = self._order[index]
            stale = self._last[change.key] is not change
            if not stale and (change.present or change.sequence > seen_from):
                if len(page) == limit:
                    return page, cursor, True
                page.append(change)
            cursor = change.sequence
            index += 1
        return page, self._head, False

    def sequence_at(self, moment: float) -> int:
        """The newest sequence number that lies before `moment` in virtual time."""
        return max((c.sequence for c in self._order if c.at < moment), default=0)


class Generations:
    """Which sync states of a collection live: the last `keep` that were handed out."""

    def __init__(self, keep: int = 3) -> None:
        self._keep = keep
        self.highest = 0
        self._floor = 0

    def issue(self) -> int:
        """Number a newly handed out sync state."""
        self.highest += 1
        return self.highest

    def alive(self, generation: int) -> bool:
        """True when a state of this generation is still known."""
        return generation >= self._floor and generation > self.highest - self._keep

    def kill(self) -> None:
        """Forget every state handed out so far."""
        self._floor = self.highest + 1
        self.highest += 1
