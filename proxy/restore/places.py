"""
Which container of the target stands for which of the source. Pure.

By id if it is still there, by the name that the service gives it in every language, else by its name below the
container that stands for its parent. Names are equal without regard to case, as Exchange has it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from proxy.restore.protocol import Place

__all__ = ["Matched", "find_path", "flat", "matched", "parents_first"]

Matched = dict[str, str | None]  # source id -> id of the target, None: to be made


def matched(
    source: Sequence[Place], target: Sequence[Place], *, below: str | None = "", by_name: bool
) -> Matched:
    """
    The target's place for each of `source`; two of the source never share one.

    Args:
        source: parents first.
        by_name: names alone count, below the place `below`: "" the top, None one that is still to be made.
    """
    ids = {place.id for place in target}
    known = {place.known_as: place.id for place in target if place.known_as}
    by_names = _by_names(target)
    own = {place.id for place in source}
    found: Matched = {}
    if not by_name:
        for place in source:
            there = place.id if place.id in ids else known.get(place.known_as)
            if there is not None:
                found[place.id] = there
    taken = set(found.values())
    for place in source:
        if place.id in found:
            continue
        holder = found[place.parent] if place.parent in own else below
        names = [] if holder is None else by_names[holder, place.name.casefold()]
        found[place.id] = next((one for one in names if one not in taken), None)
        taken.add(found[place.id])
    return found


def find_path(places: Sequence[Place], names: Sequence[str]) -> str | None:
    """The place at a path of names from the top, "" for no names; None if it is not there."""
    by_names = _by_names(places)
    found: str | None = ""
    for name in names:
        if found is None:
            return None
        found = next(iter(by_names[found, name.casefold()]), None)
    return found


def _by_names(places: Sequence[Place]) -> dict[tuple[str, str], list[str]]:
    """Ids by parent ("" for the top) and name."""
    ids = {place.id for place in places}
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for place in places:
        parent = place.parent if place.parent in ids else ""
        found[parent, place.name.casefold()].append(place.id)
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


def flat(place: Place, base: Sequence[str]) -> Place:
    """The place below the folder `base`, where places cannot be in places: its name says it."""
    return replace(place, name=" - ".join((*base, place.name)))
