"""
Rounds of change tracking: where a delta call stands in a log, and the link to go on with.

A round starts from nothing (the whole present state) or from the state that a delta link names,
and gives next links until it has caught up, then a delta link.
"""

import dataclasses
from typing import Any

from tools.emulator.call import Call
from tools.emulator.changelog import Change, ChangeLog, Generations
from tools.emulator.paging import open_token


class DeadState(Exception):
    """The sync state is not known any more: 410, in the words of each service."""

    def __init__(self, generation: int, highest: int) -> None:
        super().__init__(f"generation={generation};highest={highest}")
        self.generation = generation
        self.highest = highest


@dataclasses.dataclass(slots=True)
class Round:
    """
    A reader's place in a round.

    Args:
        collection: which log it reads; a token opens for its own collection only.
        cursor: it has everything up to this sequence number.
        seen_from: removals up to here are no news to it.
        generation: the sync state it started from.
        first: it started from nothing.
        moved: it has been given something in this round.
        issued: virtual time of the token.
        asked: `$select`, page size and the like of the first call.
    """

    collection: str
    cursor: int = 0
    seen_from: int = 0
    generation: int = 0
    first: bool = True
    moved: bool = False
    issued: float = 0.0
    asked: dict[str, Any] = dataclasses.field(default_factory=dict)


def begin(
    call: Call,
    log: ChangeLog[str],
    generations: Generations,
    collection: str,
    asked: dict[str, Any],
    *,
    cursor: int = 0,
) -> Round:
    """A round from nothing, or from `cursor` when given."""
    now = call.services.clock.now()
    return Round(collection, cursor, log.head, generations.highest, cursor == 0, False, now, asked)


def resume(call: Call, generations: Generations, collection: str, token: str) -> Round:
    """
    The round that a token of ours belongs to.

    Raises:
        GraphError: 400, the token was altered or is for another collection.
        DeadState: the sync state has been forgotten.
    """
    state = open_token(call, f"delta:{collection}", token)
    incarnation = state.pop("incarnation")
    closed = state.pop("closed")
    now = Round(collection, **state)
    if incarnation != call.services.incarnation or not generations.alive(now.generation):
        raise DeadState(now.generation, generations.highest)
    if closed:
        now.first, now.moved, now.seen_from = False, False, now.cursor
    return now


def step(
    call: Call, log: ChangeLog[str], generations: Generations, now: Round, size: int
) -> tuple[list[Change[str]], str, bool]:
    """
    Give the next page of a round.

    Returns:
        The changes, the token to go on with, and True when that token ends the round.
    """
    page, cursor, more = log.after(now.cursor, size, now.seen_from if now.first else 0)
    moved = now.moved or bool(page)
    generation = now.generation
    if not more and (moved or now.first):
        generation = generations.issue()
    after = dataclasses.replace(now, cursor=cursor, generation=generation, moved=moved)
    return page, _seal(call, after, closed=not more), not more


def seal_start(call: Call, now: Round) -> str:
    """A token for the first page of a round, for the `Location` of a 410."""
    return _seal(call, now, closed=False)


def _seal(call: Call, now: Round, *, closed: bool) -> str:
    state = dataclasses.asdict(now) | {
        "issued": call.services.clock.now(),
        "closed": closed,
        "incarnation": call.services.incarnation,
    }
    del state["collection"]
    return call.services.sealer.seal(f"delta:{now.collection}", state)
