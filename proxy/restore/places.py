"""
Which container of the target stands for which of the source. Pure.

By id if it is still there, by the name that the service gives it in every language, else by its name below the
container that stands for its parent. Names are equal without regard to case, as Exchange has it.
"""

from collections.abc import Sequence

from proxy.restore.protocol import Place

__all__ = ["Matched", "matched", "parents_first"]

Matched = dict[str, str | None]  # source id -> id of the target, None: to be made


def matched(source: Sequence[Place], target: Sequence[Place], base: str | None) -> Matched:
    """
    The target's place for each of `source`.

    Args:
        source: parents first.
        base: the target's place under which everything goes by name; None: to where it was. "" stands for one that is
            still to be made.
    """
    ids = {place.id for place in target}
    known = {place.known_as: place.id for place in target if place.known_as}
    by_name: dict[tuple[str, str], str] = {}
    for place in target:
        parent = place.parent if place.parent in ids else ""
        by_name.setdefault((parent, place.name.casefold()), place.id)
    own = {place.id for place in source}
    found: Matched = {}
    for place in source:
        if base is None:
            there = place.id if place.id in ids else known.get(place.known_as)
            if there is not None:
                found[place.id] = there
                continue
        holder: str | None = base or ""
        if place.parent in own:
            holder = found[place.parent]
        elif base == "":
            holder = None  # what everything goes under is still to be made
        named = (holder or "", place.name.casefold())
        found[place.id] = None if holder is None else by_name.get(named)
    return found


def parents_first(places: Sequence[Place]) -> list[Place]:
    """The same places, each behind the one that holds it; those in a circle are at the end."""
    own = {place.id for place in places}
    placed: set[str] = set()
    left = list(places)
    ordered: list[Place] = []
    while left:
        ready = [p for p in left if p.parent not in own or p.parent in placed]
        if not ready:
            return ordered  # a circle holds nothing that could be reached
        ordered += ready
        placed |= {place.id for place in ready}
        left = [place for place in left if place.id not in placed]
    return ordered
