"""Catalog tables by columns: what rows say one by one."""

import dataclasses
import random
from collections.abc import Sequence

import pyarrow.compute as pc
import pytest

from engine import catalog
from engine.catalog import (
    GROUP_ROWS,
    Row,
    decode_catalog_part,
    encode_catalog_part,
    encode_merged_part,
    newest_places,
    rows_of,
    table_of,
)
from engine.parts import Part


def some_rows(rng: random.Random, count: int, ids: int) -> list[Row]:
    """Rows of different ids among so many; as in a catalog part no id stands twice."""
    return [
        Row(
            b"id-%d" % number,
            b"folder",
            b"name-%d" % number,
            rng.choice(("file", "container")),
            size=rng.randrange(1 << 40),
            modified_ns=rng.randrange(-(1 << 60), 1 << 60),
            meta=rng.choice((b"{}", b'{"mode":420}')),
            parts=(Part("content", 1, bytes(32) + (1).to_bytes(4, "little")),)
            if rng.random() < 0.5
            else (),
            removed=rng.random() < 0.2,
        )
        for number in rng.sample(range(ids), count)
    ]


@pytest.mark.parametrize("counts", [(), (0,), (5,), (5, 0, 5), (40, 40, 40, 3), (5000, 300, 4800)])
def test_newest_places_are_those_of_a_dictionary(counts: Sequence[int]) -> None:
    """The last place of every id, in rising order, removed rows too; of pieces as of one piece."""
    rng = random.Random(len(counts))
    parts = [some_rows(rng, count, 5000 if count > 100 else 50) for count in counts]
    tables = [table_of(rows) for rows in parts] or [table_of(())]
    joined = [row for rows in parts for row in rows]
    expected = sorted({row.id: place for place, row in enumerate(joined)}.values())
    assert newest_places(tables).to_pylist() == expected
    halves = [
        half for t in tables for half in (t.slice(0, t.num_rows // 2), t.slice(t.num_rows // 2))
    ]
    assert newest_places(halves).to_pylist() == expected


def test_rows_of_some_columns() -> None:
    """What is there is as in the whole row, also encoded as a dictionary; what is not there is empty."""
    rows = some_rows(random.Random(9), 5000, 5000)
    columns = ["id", "size", "modified_ns", "meta", "parts"]
    table = table_of(rows).select(columns)
    metas = pc.dictionary_encode(table.column("meta"))
    compact = table.set_column(columns.index("meta"), "meta", metas)
    bare = [Row(r.id, b"", b"", "", r.size, 0, r.modified_ns, "", r.meta, r.parts) for r in rows]
    assert list(rows_of(table)) == list(rows_of(compact)) == bare
    assert list(rows_of(table_of(rows))) == rows


@pytest.mark.parametrize("oldest", [True, False])
@pytest.mark.parametrize("counts", [(0,), (5, 0, 5), (40, 40, 40, 3), (500, 30, 480)])
def test_a_merged_part_has_the_newest_rows_in_their_order(
    counts: Sequence[int], oldest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By creation, then id, over any number of groups; removed rows go where nothing is older; the bytes of one encoding."""
    rng = random.Random(len(counts))
    parts = [
        [
            dataclasses.replace(row, created_ns=rng.randrange(9))
            for row in some_rows(rng, count, 600)
        ]
        for count in counts
    ]
    newest = {row.id: row for rows in parts for row in rows}
    expected = [row for row in newest.values() if not (oldest and row.removed)]
    expected.sort(key=lambda row: (row.created_ns, row.id))
    for group_rows in (GROUP_ROWS, 7):
        monkeypatch.setattr(catalog, "GROUP_ROWS", group_rows)
        encoded, count = encode_merged_part([table_of(rows) for rows in parts], oldest=oldest)
        assert count == len(expected)
        assert list(rows_of(decode_catalog_part(encoded))) == expected
        assert encoded == encode_catalog_part(table_of(expected[::-1]))
