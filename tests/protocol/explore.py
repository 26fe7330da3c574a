"""Breadth first over all states that can be reached; the shortest way to a broken promise, as text."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

S = TypeVar("S", bound=Hashable)


class Broken(Exception):
    """A promise does not hold."""


@dataclass(slots=True)
class Explored:
    """How many states there are, which goals were met, and how a promise was broken (None: all were kept)."""

    states: int = 0
    goals: set[str] = field(default_factory=set)
    trace: list[str] | None = None


def explore(
    start: S,
    successors: Callable[[S], Iterable[tuple[str, S]]],
    check: Callable[[S], Iterable[str]],
    states_max: int = 20_000_000,
) -> Explored:
    """
    Visit every state once.

    Args:
        successors: steps from a state, with what they are called; may raise Broken. check: raises Broken, or says which
            goals a state meets.
    """
    result = Explored()
    came_from: dict[S, S | None] = {start: None}
    frontier = deque([start])
    state = start
    try:
        while frontier:
            state = frontier.popleft()
            result.states += 1
            assert result.states <= states_max, "the case is larger than it was thought to be"
            result.goals.update(check(state))
            for _, following in successors(state):
                if following not in came_from:
                    came_from[following] = state
                    frontier.append(following)
    except Broken as broken:
        result.trace = [*_way_to(state, came_from, successors), f"broken: {broken}"]
    return result


def _way_to(
    state: S,
    came_from: dict[S, S | None],
    successors: Callable[[S], Iterable[tuple[str, S]]],
) -> list[str]:
    labels = []
    before = came_from[state]
    while before is not None:
        labels.append(next(label for label, after in successors(before) if after == state))
        state, before = before, came_from[before]
    return labels[::-1]
