"""How many items a new item period takes away, told before anything goes: what has expired never comes back."""

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from engine.retention import ExpiringItems
from repository.catalogs import CONTAINER, expired

if TYPE_CHECKING:
    from repository.repository import Repository

_COLUMNS = ("id", "kind", "created_ns", "modified_ns", "removed")


def expiring_items(repository: "Repository", from_ns: int) -> ExpiringItems:
    """
    Items of the newest complete state of every object that expire with `from_ns`, and how many there are.

    Args:
        from_ns: since 1970. What the repository's present bound takes already is no item any more.
    """
    going = there = 0
    before_ns = repository.state.generation.items_from_ns
    for entry in repository.entries.newest():
        for table in repository.catalog(entry, _COLUMNS).live():
            items = table.filter(pc.not_equal(table.column("kind"), CONTAINER))
            if before_ns is not None:
                items = items.filter(pc.invert(expired(items, before_ns)))
            there += items.num_rows
            going += _count(expired(items, from_ns))
    return ExpiringItems(going, there)


def _count(chosen: pa.ChunkedArray) -> int:
    return int(pc.sum(chosen).as_py() or 0)
