"""A difference is what two listings of the restore points would show, whatever parts the catalogs are made of."""

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog import Row, removed_row, table_of
from engine.errors import NotFound
from engine.manifest import ObjectKey, PointForm
from engine.parts import Part
from repository import PointDraft, Repository, new_point_id
from repository.catalogs import Catalog
from repository.difference import (
    _COLUMNS,
    EntryDifference,
    _differing,
    _live,
    differences,
)
from repository.entries import Entry
from repository.session import WriteSession
from tests.fixtures.repositories import head, object_key

ANN = object_key("ann@example.com")


def folder(row_id: str, name: str, container: str = "") -> Row:
    return Row(row_id.encode(), container.encode(), name.encode(), "container")


def message(row_id: str, subject: str, container: str, size: int = 10, **members: object) -> Row:
    made = Row(row_id.encode(), container.encode(), subject.encode(), "message", size=size)
    return replace(made, **members)  # type: ignore[arg-type]


def stored(
    repository: Repository, session: WriteSession, rows: list[Row], key: ObjectKey = ANN
) -> Entry:
    """Commit rows over what the object has."""
    slice_ = session.open_slice(key, "mail", "s", previous=head(repository, key, "mail"))
    slice_.advance(rows, b"mark")
    slice_.finish()
    commit = session.commit()
    assert commit is not None
    return repository.entries.get(commit.entries[slice_])


def point_of(repository: Repository, *entries: Entry) -> PointForm:
    draft = PointDraft(new_point_id(), "p", "s", "success", tuple(e.ref for e in entries))
    return repository.seal_point(draft)


def compared(
    repository: Repository, older: PointForm, newer: PointForm, path: str = ""
) -> list[EntryDifference]:
    return list(differences(repository, older, newer, path))


def lines(difference: EntryDifference) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [(c.change, c.path, c.old_path, c.aspects) for c in difference.changes()]


BEFORE = [
    folder("in", "Inbox"),
    folder("sub", "a/b", "in"),
    message("1", "stays", "in"),
    message("2", "goes", "in", size=20),
    message("3", "moves", "in"),
    message("4", "read", "sub"),
    message("5", "content", "sub", size=5),
]
AFTER = [
    folder("sub", "renamed", "in"),
    folder("new", "New"),
    removed_row(b"2"),
    message("1", "stays", "in", version="looked at again"),
    message("3", "moves", "sub"),
    message("4", "read", "sub", meta=b'{"isRead":true}'),
    message("5", "content", "sub", size=7, parts=(Part("mime", 7, b"x" * 32 + b"\7\0\0\0"),)),
    message("6", "comes", "new", size=60),
]


def test_what_was_added_removed_and_changed(repository: Repository) -> None:
    """With paths as `browse` has them, aspects, counts and bytes."""
    with repository.write_session() as session:
        older = stored(repository, session, BEFORE)
        newer = stored(repository, session, AFTER)
    sides = point_of(repository, older), point_of(repository, newer)
    (found,) = compared(repository, *sides)
    base = "ann@example.com/mail"
    marks = {c.id: "~" + c.path.rpartition("~")[2] for c in found.changes() if c.kind == "message"}
    assert lines(found) == [
        ("removed", f"{base}/Inbox/goes{marks[b'2']}", "", ()),
        ("changed", f"{base}/Inbox/renamed", f"{base}/Inbox/a%2Fb", ("place",)),
        *sorted(
            [
                (
                    "changed",
                    f"{base}/Inbox/renamed/content{marks[b'5']}",
                    f"{base}/Inbox/a%2Fb/content{marks[b'5']}",
                    ("content",),
                ),
                (
                    "changed",
                    f"{base}/Inbox/renamed/moves{marks[b'3']}",
                    f"{base}/Inbox/moves{marks[b'3']}",
                    ("place",),
                ),
                (
                    "changed",
                    f"{base}/Inbox/renamed/read{marks[b'4']}",
                    f"{base}/Inbox/a%2Fb/read{marks[b'4']}",
                    ("details",),
                ),
            ]
        ),
        ("added", f"{base}/New", "", ()),
        ("added", f"{base}/New/comes{marks[b'6']}", "", ()),
    ]
    added, removed, changed = (found.sums(c) for c in ("added", "removed", "changed"))
    assert (added.items, added.containers, added.bytes_after) == (1, 1, 60)
    assert (removed.items, removed.containers, removed.bytes_before) == (1, 0, 20)
    assert (changed.items, changed.containers) == (3, 1)
    assert (changed.bytes_before, changed.bytes_after) == (25, 27)
    (back,) = compared(repository, *reversed(sides))
    assert [back.sums("removed").bytes_before, back.sums("added").bytes_after] == [60, 20]
    assert [len(d) for d in compared(repository, sides[0], sides[0])] == [0]


def test_a_path_narrows_it(repository: Repository) -> None:
    """Also to what left it; a path that neither restore point has is refused, one without change is not."""
    with repository.write_session() as session:
        older = stored(repository, session, BEFORE)
        newer = stored(repository, session, AFTER)
    sides = point_of(repository, older), point_of(repository, newer)

    def ids(path: str) -> list[bytes]:
        return [c.id for d in compared(repository, *sides, path) for c in d.changes()]

    base = "ann@example.com/mail"
    assert ids(f"{base}/New") == [b"new", b"6"]
    assert set(ids(f"/{base}/Inbox/a%2Fb/")) == {b"sub", b"4", b"5"}
    assert set(ids(f"{base}/Inbox/renamed")) == {b"sub", b"3", b"4", b"5"}
    assert len(ids(base)) == len(ids("ann@example.com")) == len(ids("")) == 7
    for missing in ("bob@example.com", f"{base}/Ne", "ann@example.com/drives"):
        with pytest.raises(NotFound):
            compared(repository, *sides, missing)
    assert [len(d) for d in compared(repository, sides[0], sides[0], f"{base}/Inbox")] == [0]


def test_objects_that_only_one_restore_point_has(repository: Repository) -> None:
    """All their rows were added, or removed."""
    bob = object_key("bob@example.com")
    with repository.write_session() as session:
        ann = stored(repository, session, BEFORE)
        other = stored(repository, session, [folder("in", "Inbox"), message("1", "x", "in")], bob)
    first, second = compared(repository, point_of(repository, ann), point_of(repository, other))
    assert (first.object, first.sums("removed").items, len(first)) == ("ann@example.com", 5, 7)
    assert (second.object, second.sums("added").items, len(second)) == ("bob@example.com", 1, 2)


def test_equal_names_are_told_apart(repository: Repository) -> None:
    """Two folders of one name, and containers that contain each other, cost nobody a path."""
    odd = [folder("x", "loop", "y"), folder("y", "loop", "x"), message("m", "in loop", "x")]
    with repository.write_session() as session:
        older = stored(repository, session, [folder("a", "same")])
        newer = stored(repository, session, [folder("b", "same"), *odd])
    (found,) = compared(repository, point_of(repository, older), point_of(repository, newer))
    changes = list(found.changes())
    assert [c.id for c in changes if c.path.startswith("ann@example.com/mail/same~")] == [b"b"]
    assert len({c.path for c in changes}) == len(changes) == 4


def test_the_paths_are_those_of_browse(repository: Repository) -> None:
    """What a path of a difference names, browse finds."""
    from repository.browse import Browser

    with repository.write_session() as session:
        older = stored(repository, session, [folder("in", "Inbox")])
        newer = stored(repository, session, AFTER)
    sides = point_of(repository, older), point_of(repository, newer)
    (found,) = compared(repository, *sides)
    browser = Browser(repository, sides[1])
    for change in found.changes():
        row = browser.find(change.path).row
        assert row is not None
        assert row.id == change.id


ROWS = st.builds(
    Row,
    id=st.sampled_from([b"1", b"2", b"3", b"4"]),
    container=st.sampled_from([b"", b"f"]),
    name=st.sampled_from([b"n", b"m"]),
    kind=st.sampled_from(["file", "container"]),
    size=st.integers(0, 3),
    modified_ns=st.integers(0, 1),
    version=st.sampled_from(["", "v"]),
    removed=st.booleans(),
)
PARTS = st.lists(st.lists(ROWS, max_size=4, unique_by=lambda row: row.id).map(table_of), max_size=4)


def alike(one: Row, other: Row) -> bool:
    is_folder = one.kind == "container" == other.kind
    blank = {"version": "", **({"modified_ns": 0} if is_folder else {})}
    return replace(one, **blank) == replace(other, **blank)  # type: ignore[arg-type]


@given(PARTS, PARTS)
def test_tables_are_compared_as_rows_would_be(
    before: list[pa.Table], after: list[pa.Table]
) -> None:
    """Against catalogs that were read row by row."""
    old = {row.id: row for row in Catalog(tuple(before)).rows()}
    new = {row.id: row for row in Catalog(tuple(after)).rows()}
    sides = (_live([table.select(_COLUMNS) for table in side], None) for side in (before, after))
    found: dict[str, set[bytes]] = {"added": set(), "removed": set(), "changed": set()}
    rows = _differing(*sides)
    for change, row_id in zip(*(rows.column(n).to_pylist() for n in ("change", "id")), strict=True):
        found[change].add(row_id)
    assert found["added"] == new.keys() - old.keys()
    assert found["removed"] == old.keys() - new.keys()
    both = old.keys() & new.keys()
    assert found["changed"] == {i for i in both if not alike(old[i], new[i])}


@pytest.mark.slow
def test_many_small_parts_between(repository: Repository) -> None:
    """Whatever was merged between the two points, the difference is that of all rows."""
    with repository.write_session() as session:
        entries = []
        for step in range(20):
            rows = [folder("in", "Inbox")] if step == 0 else [removed_row(b"%d" % (step - 1))]
            rows += [message(str(step), f"s{step}", "in"), message("x", "x", "in", size=step)]
            entries.append(stored(repository, session, rows))
    points = [point_of(repository, entry) for entry in entries]
    for first in (0, 3, 7, 18):
        for second in (1, 6, 15, 19):
            (found,) = compared(repository, points[first], points[second])
            changes = {c.id: c.change for c in found.changes()}
            assert changes == {b"x": "changed", b"%d" % first: "removed", b"%d" % second: "added"}
