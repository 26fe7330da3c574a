"""
What changed between two restore points, for every object and workload.

Catalogs are compared as tables: of parts that both entries have, only the rows that newer parts touch are kept, and rows
become Python objects only when they are listed. An item has changed if its content, its place or its details differ; `version`
does not count, it only says that an item was looked at again. A container that moved is one change, its items are none.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from engine.catalog import SCHEMA, catalog_tables
from engine.errors import NotFound
from engine.manifest import CatalogPart, PointEntry, PointForm, part_from
from repository.browse import MESSAGE, Browser, is_tree, marked_segment, plain_segment
from repository.catalogs import CONTAINER, expired
from repository.repository import Repository

ChangeKind = Literal["added", "removed", "changed"]
ASPECTS = ("content", "place", "details")
_COLUMNS = tuple(name for name in SCHEMA.names if name != "version")
_LISTED_AT_ONCE = 65536
_ROWS = pa.schema(
    [
        ("change", pa.string()),
        ("id", pa.binary()),
        ("kind", pa.string()),
        ("old_container", pa.binary()),
        ("old_name", pa.binary()),
        ("container", pa.binary()),
        ("name", pa.binary()),
        ("size_before", pa.int64()),
        ("size_after", pa.int64()),
        *((aspect, pa.bool_()) for aspect in ASPECTS),
    ]
)


@dataclass(frozen=True, slots=True)
class Change:
    """
    One row that differs.

    Attributes:
        path: as of `browse`; of what was removed, in the older restore point. old_path: where it was, if that changed.
        size_before, size_after: plain bytes; 0 where it is not. aspects: which of `ASPECTS` differ.
    """

    change: ChangeKind
    path: str
    old_path: str
    kind: str
    id: bytes
    size_before: int
    size_after: int
    aspects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sums:
    """Rows that differ in one way: items without containers, their plain bytes before and after, containers."""

    items: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    containers: int = 0


class EntryDifference:
    """The rows of one object and workload that differ."""

    def __init__(self, object_name: str, workload: str, rows: pa.Table, paths: "_Paths") -> None:
        self.object = object_name
        self.workload = workload
        self._rows = rows
        self._paths = paths

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def within(self, path: str) -> "EntryDifference":
        """Only what is or was at or below a path of this object and workload."""
        below = path + "/"
        inside = [
            any(p == path or p.startswith(below) for p in both)
            for both in self._paths.of(self._rows)
        ]
        rows = self._rows.filter(pa.array(inside, pa.bool_()))
        return EntryDifference(self.object, self.workload, rows, self._paths)

    def sums(self, change: ChangeKind) -> Sums:
        """How much differs in one way."""
        rows = self._rows.filter(pc.equal(self._rows.column("change"), change))
        items = rows.filter(pc.not_equal(rows.column("kind"), CONTAINER))
        before, after = (pc.sum(items.column(f"size_{at}")).as_py() for at in ("before", "after"))
        return Sums(items.num_rows, before or 0, after or 0, rows.num_rows - items.num_rows)

    def changes(self) -> Iterator[Change]:
        """All of them, by path."""
        paths = self._paths.of(self._rows)
        order = sorted(range(len(paths)), key=paths.__getitem__)
        for start in range(0, len(order), _LISTED_AT_ONCE):
            numbers = order[start : start + _LISTED_AT_ONCE]
            some = self._rows.take(pa.array(numbers, pa.int64()))
            names = ("change", "kind", "id", "size_before", "size_after", *ASPECTS)
            columns = [some.column(name).to_pylist() for name in names]
            for number, change, kind, row_id, before, after, *differ in zip(
                numbers, *columns, strict=True
            ):
                path, old_path = paths[number]
                aspects = tuple(a for a, d in zip(ASPECTS, differ, strict=True) if d)
                if change != "changed" or path == old_path:
                    old_path = ""
                yield Change(change, path, old_path, kind, row_id, before, after, aspects)


class _Paths:
    """Paths of rows, in the notation of `browse`; a name is marked if it is not alone among these rows."""

    def __init__(self, base: str | None, older: pa.Table, newer: pa.Table, rows: pa.Table) -> None:
        """`base`: what paths begin with; None: a tree, whose ids are the paths."""
        self._base = base
        self._older = _Names(base or "", older, rows, "old_container", "old_name")
        self._newer = _Names(base or "", newer, rows, "container", "name")

    def of(self, rows: pa.Table) -> list[tuple[str, str]]:
        """Path and old path of each row; both are the same where the row is in one restore point alone."""
        ids = rows.column("id").to_pylist()
        if self._base is None:
            paths = [os.fsdecode(row_id) for row_id in ids]
            return list(zip(paths, paths, strict=True))
        names = ("kind", "container", "name", "old_container", "old_name")
        columns = [rows.column(name).to_pylist() for name in names]
        found = []
        for row_id, kind, container, name, old_container, old_name in zip(
            ids, *columns, strict=True
        ):
            new = old = ""
            if container is not None:
                new = self._newer.path(row_id, kind, container, name)
            if old_container is not None:
                old = self._older.path(row_id, kind, old_container, old_name)
            found.append((new or old, old or new))
        return found


class _Names:
    """Containers of one restore point, and how often a name stands in each."""

    def __init__(
        self, base: str, table: pa.Table, rows: pa.Table, container: str, name: str
    ) -> None:
        held = table.filter(pc.equal(table.column("kind"), CONTAINER))
        columns = [held.column(c).to_pylist() for c in ("id", "container", "name")]
        self._containers = {i: (c, n) for i, c, n in zip(*columns, strict=True)}
        self._known: dict[bytes, str] = {b"": base}
        items = rows.filter(pc.not_equal(rows.column("kind"), CONTAINER))
        places = zip(
            items.column(container).to_pylist(), items.column(name).to_pylist(), strict=True
        )
        self._count = Counter(self._containers.values())
        self._count.update(place for place in places if place[0] is not None)

    def path(self, row_id: bytes, kind: str, container: bytes, name: bytes) -> str:
        segment = plain_segment(row_id, name)
        if kind == MESSAGE or self._count[(container, name)] > 1:
            segment = marked_segment(segment, row_id)
        return self._prefix(container) + segment

    def _prefix(self, container: bytes) -> str:
        """Path of a container with a slash behind; what is in none stands at the top."""
        missing = []
        while container not in self._known:
            above = self._containers.get(container)
            if above is None or container in missing:
                self._known[container] = self._known[b""]
                break
            missing.append(container)
            container = above[0]
        for inner in reversed(missing):
            above, name = self._containers[inner]
            self._known[inner] = self.path(inner, CONTAINER, above, name) + "/"
        return self._known[missing[0] if missing else container]


def differences(
    repository: Repository, older: PointForm, newer: PointForm, path: str = ""
) -> Iterator[EntryDifference]:
    """
    For every object and workload of either restore point what differs, also where nothing does.

    Args:
        path: as of `browse`; only what is or was there. NotFound if neither restore point has it.
    """
    segments = [s for s in path.split("/") if s]
    found = _within(repository, older, newer, segments)
    if not segments:
        yield from found
        return
    inside = list(found)  # whether the path is there is known at the end
    if not any(len(difference) for difference in inside):
        _require(repository, older, newer, path)
    yield from inside


def _within(
    repository: Repository, older: PointForm, newer: PointForm, segments: Sequence[str]
) -> Iterator[EntryDifference]:
    trees = is_tree(older) and is_tree(newer)
    for before, after in _pairs(older, newer):
        entry = after or before
        assert entry is not None
        names = (entry.object.name, entry.workload)
        if not trees and any(a != b for a, b in zip(segments, names, strict=False)):
            continue
        difference = _compare(repository, before, after, tree=trees)
        if len(segments) > (0 if trees else 2):
            difference = difference.within("/".join(segments))
        yield difference


def _require(repository: Repository, older: PointForm, newer: PointForm, path: str) -> None:
    """NotFound if neither restore point has the path."""
    try:
        Browser(repository, newer).find(path)
    except NotFound:
        Browser(repository, older).find(path)


def _pairs(
    older: PointForm, newer: PointForm
) -> Iterator[tuple[PointEntry | None, PointEntry | None]]:
    """The entries of the same object and workload; two trees are the same, whatever their names."""
    if is_tree(older) and is_tree(newer):
        yield older.entries[0], newer.entries[0]
        return
    sides = [
        {(e.object.kind, e.object.id, e.workload): e for e in point.entries}
        for point in (older, newer)
    ]
    for key in sorted(
        {**sides[0], **sides[1]}, key=lambda k: ((sides[1].get(k) or sides[0][k]).object.name, k)
    ):
        yield sides[0].get(key), sides[1].get(key)


def _compare(
    repository: Repository, before: PointEntry | None, after: PointEntry | None, *, tree: bool
) -> EntryDifference:
    entry = after or before
    assert entry is not None
    name, workload = entry.object.name, entry.workload
    left, right = _touched(repository, _parts(repository, before), _parts(repository, after))
    rows = _differing(left, right)
    base = None if tree else f"{name}/{workload}/"
    return EntryDifference(name, workload, rows, _Paths(base, left, right, rows))


def _parts(repository: Repository, entry: PointEntry | None) -> tuple[CatalogPart, ...]:
    return () if entry is None else repository.named_entry(entry.entry).form.catalog


def _touched(
    repository: Repository, before: Sequence[CatalogPart], after: Sequence[CatalogPart]
) -> tuple[pa.Table, pa.Table]:
    """Live rows of two catalogs without those that parts of both say alike; all containers are in it."""
    shared = 0
    for one, other in zip(before, after, strict=False):
        if one.part != other.part:
            break
        shared += 1
    tails = [[_load(repository, part) for part in side[shared:]] for side in (before, after)]
    ids = [table.column("id") for tail in tails for table in tail]
    base = []
    if any(len(column) for column in ids):
        touched = _joined(ids)
        for part in before[:shared]:
            kept = [_wanted(table, touched) for table in _pieces(repository, part)]
            base.append(pa.concat_tables(kept))
    from_ns = repository.state.generation.items_from_ns
    left, right = (_live([*base, *tail], from_ns) for tail in tails)
    return left, right


def _wanted(table: pa.Table, touched: pa.ChunkedArray) -> pa.Table:
    is_touched = pc.is_in(table.column("id"), value_set=touched)
    return table.filter(pc.or_(is_touched, pc.equal(table.column("kind"), CONTAINER)))


def _load(repository: Repository, part: CatalogPart) -> pa.Table:
    return pa.concat_tables(list(_pieces(repository, part)))


def _pieces(repository: Repository, part: CatalogPart) -> Iterator[pa.Table]:
    return catalog_tables(repository.read_all(part_from(part.part)), _COLUMNS)


def _joined(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.binary())


def _live(parts: Sequence[pa.Table], from_ns: int | None) -> pa.Table:
    """The newest row of every id, without removed and expired ones; parts oldest first."""
    kept: list[pa.Table] = []
    seen: list[pa.ChunkedArray] = []
    for table in reversed(parts):
        ids = table.column("id")
        if seen:
            table = table.filter(pc.invert(pc.is_in(ids, value_set=_joined(seen))))
        seen.append(ids)
        kept.append(table)
    if not kept:
        return SCHEMA.empty_table().select(_COLUMNS)
    live = pa.concat_tables(kept)
    if pc.any(live.column("removed")).as_py():
        live = live.filter(pc.invert(live.column("removed")))
    return live if from_ns is None else live.filter(pc.invert(expired(live, from_ns)))


def _differing(left: pa.Table, right: pa.Table) -> pa.Table:
    """The rows that differ, as `_ROWS` has them."""
    place = pc.index_in(right.column("id"), value_set=left.column("id"))
    both = pc.is_valid(place)
    aspects = _aspects(left, right, place.drop_null(), both)
    differ = pc.or_(pc.or_(*aspects[:2]), aspects[2])
    gone = pc.invert(pc.is_in(left.column("id"), value_set=right.column("id")))
    changed = _rows(
        "changed",
        left.take(place.drop_null().filter(differ)),
        right.take(pc.indices_nonzero(both).filter(differ)),
    )
    for name, mask in zip(ASPECTS, aspects, strict=True):
        changed[name] = mask.filter(differ)
    added = _rows("added", None, right.filter(pc.invert(both)))
    removed = _rows("removed", left.filter(gone), None)
    return pa.concat_tables([pa.table(part, schema=_ROWS) for part in (added, removed, changed)])


def _aspects(
    left: pa.Table, right: pa.Table, place: pa.ChunkedArray, both: pa.ChunkedArray
) -> list[pa.ChunkedArray]:
    """
    Masks in the order of `ASPECTS`, for the rows of `right` in `both` against those of `left` at `place`.

    One column at a time, or two mailboxes would be copied. Times of containers do not count: they tell of what is in them.
    """

    def differ(name: str) -> pa.ChunkedArray:
        return pc.not_equal(left.column(name).take(place), right.column(name).filter(both))

    times = pc.and_(
        pc.or_(differ("created_ns"), differ("modified_ns")),
        pc.not_equal(right.column("kind").filter(both), CONTAINER),
    )
    return [
        pc.or_(differ("parts"), differ("size")),
        pc.or_(differ("container"), differ("name")),
        pc.or_(pc.or_(differ("meta"), differ("kind")), times),
    ]


def _rows(
    change: ChangeKind, before: pa.Table | None, after: pa.Table | None
) -> dict[str, pa.ChunkedArray | pa.Array]:
    """Columns of `_ROWS`, without aspects."""
    table = after if after is not None else before
    assert table is not None
    count = table.num_rows
    zero = pa.repeat(0, count)

    def of(side: pa.Table | None, name: str) -> pa.ChunkedArray | pa.Array:
        return pa.nulls(count, pa.binary()) if side is None else side.column(name)

    return {
        "change": pa.repeat(change, count),
        "id": table.column("id"),
        "kind": table.column("kind"),
        "old_container": of(before, "container"),
        "old_name": of(before, "name"),
        "container": of(after, "container"),
        "name": of(after, "name"),
        "size_before": zero if before is None else before.column("size"),
        "size_after": zero if after is None else after.column("size"),
        **{aspect: pa.nulls(count, pa.bool_()) for aspect in ASPECTS},
    }
