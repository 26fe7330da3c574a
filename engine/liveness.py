"""
Which entries stay (docs/format.md, "Collection").

Live is an entry that a restore point names, that no other follows, or that is complete and no complete one follows. So the
newest state of every object stays whatever is forgotten, and what lies between two restore points goes. No clock is asked.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from engine.manifest import EntryRef


@dataclass(frozen=True, slots=True)
class Link:
    """An entry in its lineage; `parents` are those that are still known."""

    entry: EntryRef
    parents: tuple[EntryRef, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class Lineage:
    """
    What follows what.

    Attributes:
        followed: entries that another names as parent. overtaken: entries that a complete one descends from.
    """

    followed: frozenset[EntryRef]
    overtaken: frozenset[EntryRef]


def lineage(links: Iterable[Link]) -> Lineage:
    """Lineage over all known entries, of one object or of many."""
    parents = {link.entry: link for link in links}
    followed = frozenset(parent for link in parents.values() for parent in link.parents)
    overtaken: set[EntryRef] = set()
    for link in parents.values():
        pending = list(link.parents) if link.complete else []
        while pending:
            entry = pending.pop()
            if entry not in overtaken:
                overtaken.add(entry)
                pending += parents[entry].parents if entry in parents else ()
    return Lineage(followed, frozenset(overtaken))


def live_entries(links: Collection[Link], named: Collection[EntryRef]) -> set[EntryRef]:
    """The entries that stay; `named`: those that live restore points name."""
    known = lineage(links)
    return {
        link.entry
        for link in links
        if link.entry in named
        or link.entry not in known.followed
        or (link.complete and link.entry not in known.overtaken)
    }


def live_parents(
    links: Collection[Link], live: Collection[EntryRef]
) -> Mapping[EntryRef, tuple[EntryRef, ...]]:
    """Of every live entry the nearest live ones that it descends from, in order."""
    parents = {link.entry: link.parents for link in links}
    found = {}
    for entry in live:
        nearest: list[EntryRef] = []
        seen: set[EntryRef] = set()
        pending = list(reversed(parents[entry]))
        while pending:
            ancestor = pending.pop()
            if ancestor in seen or ancestor not in parents:
                continue
            seen.add(ancestor)
            if ancestor in live:
                nearest.append(ancestor)
            else:
                pending += reversed(parents[ancestor])
        found[entry] = tuple(nearest)
    return found
