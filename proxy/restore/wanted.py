"""What of a restore point is restored: the rows at or below a path, with the containers above them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.catalog import Row
from engine.errors import UsageError
from engine.manifest import PointEntry, PointForm
from proxy.contract import Selection
from proxy.restore.workloads import RESTORERS
from proxy.workloads.selection import ItemSelection
from repository import Repository
from repository.browse import Browser, is_tree
from repository.catalogs import CONTAINER

__all__ = ["Wanted", "rows_below", "wanted_of"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What of an entry is restored.

    Attributes:
        containers: with every one above an item, in any order.
        items: by the container they were in.
        folders: all containers of the entry. settings: the row that carries the settings of the mailbox.
    """

    label: str
    containers: Sequence[Row]
    items: dict[bytes, list[Row]]
    folders: Sequence[Row] = ()
    settings: Row | None = None


def wanted_of(
    repository: Repository, point: PointForm, path: str, selection: Selection | None = None
) -> tuple[list[tuple[PointEntry, Wanted]], list[str]]:
    """
    The entries at or below `path` that can be restored, each with its rows; and the names of those that cannot.

    Of the rows those that `selection` covers.

    Raises:
        NotFound: nothing is there. UsageError(restore-unfit): a directory tree.
    """
    if is_tree(point):
        raise UsageError(
            "A directory tree is given back with `strongroom export`.", code="restore-unfit"
        )
    browser = Browser(repository, point)
    found = browser.find(path)
    entries = [found.entry] if found.entry is not None else point.entries
    names = [name for name in path.split("/") if name][:1]
    chosen: list[tuple[PointEntry, Wanted]] = []
    left_out: list[str] = []
    for entry in entries:
        if names and entry.object.name != names[0]:
            continue
        if entry.workload in RESTORERS:
            label = f"{entry.object.id}/{entry.workload}"
            rows = list(browser.catalog(entry).rows())
            covers = ItemSelection(selection or Selection(), entry.workload)
            chosen.append((entry, rows_below(label, rows, found.row, covers)))
        elif found.entry is not None:
            raise UsageError(
                f"{entry.workload} is not restored to Microsoft 365 yet: use `strongroom export`.",
                code="restore-unfit",
            )
        else:
            left_out.append(f"{entry.object.name}/{entry.workload}")
    return chosen, left_out


def rows_below(label: str, rows: Sequence[Row], start: Row | None, covers: ItemSelection) -> Wanted:
    """Everything below `start` (None: all) that is covered, with the containers above."""
    containers = {row.id: row for row in rows if row.kind == CONTAINER}
    covered = covers.covered(containers.values())
    ways = {one: _way(one, containers) for one in containers}
    items: dict[bytes, list[Row]] = defaultdict(list)
    needed: set[bytes] = set()
    for row in rows:
        way = ways[row.id] if row.kind == CONTAINER else [row.id, *ways.get(row.container, ())]
        place = row.id if row.kind == CONTAINER else row.container
        if covers.restricts and (place not in covered or not covers.covers(row)):
            continue
        if start is None or start.id in way:
            needed.update(one for one in way if one in containers)
            if row.kind != CONTAINER:
                items[row.container].append(row)
    above = [containers[one] for one in needed]
    bearer = next((row for row in containers.values() if row.parts), None)
    return Wanted(label, above, dict(items), list(containers.values()), bearer)


def _way(container: bytes, containers: Mapping[bytes, Row]) -> list[bytes]:
    """A container and those above it."""
    way: list[bytes] = []
    while container in containers and container not in way:
        way.append(container)
        container = containers[container].container
    return way
