"""
Walking a restore point by names.

PATH begins `object/workload/` and goes on with container and item names; for a directory tree it is the path in the tree. A
name that another row of the same container has too, and every name of a message, ends in ~ and eight digits of its id's
hash, so that a path names one thing and stays the same.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from blake3 import blake3

from engine.catalog import Row
from engine.errors import NotFound
from engine.manifest import PointEntry, PointForm
from repository.catalogs import CONTAINER, Catalog
from repository.repository import Repository
from repository.tree import ROOT, WORKLOAD

MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Listed:
    """One name below a path. `items` for objects and workloads; size in bytes; times in nanoseconds since 1970."""

    name: str
    path: str
    kind: str
    size: int = 0
    items: int = 0
    modified_ns: int = 0
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a path names: an entry with a row in it, or the levels above (entry None, or row None for the workload)."""

    entry: PointEntry | None
    catalog: Catalog | None
    row: Row | None


def is_tree(point: PointForm) -> bool:
    """Whether a restore point is of a directory tree."""
    return len(point.entries) == 1 and point.entries[0].workload == WORKLOAD


def segments_of(rows: Sequence[Row]) -> dict[str, Row]:
    """Path segments of the rows of one container."""
    names = Counter(plain_segment(row.id, row.name) for row in rows)
    found = {}
    for row in sorted(rows, key=lambda row: (row.kind != CONTAINER, row.name, row.id)):
        segment = plain_segment(row.id, row.name)
        if row.kind == MESSAGE or names[segment] > 1:
            segment = marked_segment(segment, row.id)
        found[segment] = row
    return found


def plain_segment(row_id: bytes, row_name: bytes) -> str:
    """A row's name as a path has it when no other in its container has the same."""
    name = row_name.decode("utf-8", errors="surrogateescape") or "(no name)"
    if row_id.rpartition(b"/")[2] == row_name:
        return name  # of a tree: the path in the tree, as it is
    return name.replace("%", "%25").replace("/", "%2F")


def marked_segment(segment: str, row_id: bytes) -> str:
    """A segment that names this row alone."""
    return f"{segment}~{blake3(row_id).hexdigest()[:8]}"


class Browser:
    """Lists and resolves paths of one restore point; catalogs are loaded once each."""

    def __init__(self, repository: Repository, point: PointForm) -> None:
        self._repository = repository
        self.point = point
        self._catalogs: dict[tuple[str, int], Catalog] = {}
        self._children: dict[tuple[str, int], dict[bytes, list[bytes]]] = {}

    def catalog(self, entry: PointEntry) -> Catalog:
        """Rows of one object and workload of the point."""
        key = (entry.entry.manifest, entry.entry.index)
        if key not in self._catalogs:
            found = self._repository.named_entry(entry.entry)
            self._catalogs[key] = self._repository.catalog(found)
            self._children[key] = dict(self._catalogs[key].children())
        return self._catalogs[key]

    def ids_in(self, entry: PointEntry, container: bytes) -> list[bytes]:
        """Ids of the rows directly in a container."""
        self.catalog(entry)
        return self._children[(entry.entry.manifest, entry.entry.index)].get(container, [])

    def top_ids(self, entry: PointEntry) -> list[bytes]:
        """Ids of the rows at the top: those whose container is no row of the catalog."""
        catalog = self.catalog(entry)
        children = self._children[(entry.entry.manifest, entry.entry.index)]
        return [i for container, ids in children.items() if container not in catalog for i in ids]

    def rows(self, entry: PointEntry, ids: Iterable[bytes]) -> Iterator[Row]:
        """Rows by id, one after the other: a folder may hold more than fits in memory."""
        catalog = self.catalog(entry)
        return (row for row_id in ids if (row := catalog.get(row_id)) is not None)

    def rows_in(self, entry: PointEntry, container: bytes) -> list[Row]:
        """Rows directly in a container."""
        return list(self.rows(entry, self.ids_in(entry, container)))

    def top_containers(self, entry: PointEntry) -> list[Row]:
        """Rows at the top."""
        return list(self.rows(entry, self.top_ids(entry)))

    def find(self, path: str) -> Found:
        """What a path names. NotFound says which part of it is not there."""
        segments = [s for s in path.split("/") if s]
        if is_tree(self.point):
            entry = self.point.entries[0]
            row_id = os.fsencode("/".join(segments)) or ROOT
            row = self.catalog(entry).get(row_id)
            if row is None:
                raise _missing(path)
            return Found(entry, self.catalog(entry), row)
        if len(segments) < 2:
            if segments and all(e.object.name != segments[0] for e in self.point.entries):
                raise _missing(path)
            return Found(None, None, None)
        entry = self._entry(segments[0], segments[1], path)
        rows = segments_of(self.top_containers(entry))
        row = None
        for segment in segments[2:]:
            if segment not in rows:
                raise _missing(path)
            row = rows[segment]
            rows = segments_of(self.rows_in(entry, row.id))
        return Found(entry, self.catalog(entry), row)

    def _entry(self, name: str, workload: str, path: str) -> PointEntry:
        for entry in self.point.entries:
            if entry.object.name == name and entry.workload == workload:
                return entry
        raise _missing(path)

    def list(self, path: str) -> Iterator[Listed]:
        """What is directly below a path, containers first, by name; an item alone is listed itself."""
        found = self.find(path)
        base = "/".join(s for s in path.split("/") if s)
        prefix = f"{base}/" if base else ""
        if found.entry is None:
            yield from self._list_entries(base, prefix)
            return
        if found.row is None:
            rows = self.top_containers(found.entry)
        elif found.row.kind == CONTAINER:
            rows = self.rows_in(found.entry, found.row.id)
        else:
            yield _listed(base.rpartition("/")[2], base, found.row)
            return
        for segment, row in segments_of(rows).items():
            yield _listed(segment, prefix + segment, row)

    def _list_entries(self, name: str, prefix: str) -> Iterator[Listed]:
        if name:
            for entry in self.point.entries:
                if entry.object.name == name:
                    path = prefix + entry.workload
                    yield Listed(entry.workload, path, "workload", entry.bytes, entry.items)
            return
        objects: dict[str, tuple[str, int, int]] = {}
        for entry in self.point.entries:
            kind, size, items = objects.get(entry.object.name, (entry.object.kind, 0, 0))
            objects[entry.object.name] = (kind, size + entry.bytes, items + entry.items)
        for object_name, (kind, size, items) in sorted(objects.items()):
            yield Listed(object_name, object_name, kind, size, items)


def _listed(segment: str, path: str, row: Row) -> Listed:
    return Listed(segment, path, row.kind, row.size, 0, row.modified_ns, row)


def _missing(path: str) -> NotFound:
    return NotFound(
        f"{path!r} is not in this restore point: `strongroom browse` lists what is",
        code="path-not-found",
    )
