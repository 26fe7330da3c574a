"""Totals of a catalog that goes on are those of the rows it then has."""

import random

import pyarrow as pa

from engine.catalog import Row, removed_row, table_of
from repository.catalogs import Catalog


def _part(dice: random.Random, rows: int) -> pa.Table:
    ids = dice.sample(range(40), rows)
    made = []
    for number in ids:
        row_id = b"%d" % number
        if dice.random() < 0.3:
            made.append(removed_row(row_id))
        else:
            kind = dice.choice(("container", "file"))
            made.append(Row(row_id, b"", b"", kind, size=dice.randrange(1000)))
    return table_of(made)


def test_totals_are_carried_over_and_stay_right() -> None:
    """Replaced, removed and new rows, containers too; whether the rows are kept (`with_part`) or only counted."""
    for seed in range(20):
        dice = random.Random(seed)
        catalog = Catalog()
        assert catalog.totals().items == 0
        for _ in range(6):
            table = _part(dice, dice.randrange(1, 30))
            counted = catalog.counted(table).totals()
            catalog = catalog.with_part(table)
            rows = [row for row in catalog.rows() if row.kind != "container"]
            wanted = (len(rows), sum(row.size for row in rows))
            assert (catalog.totals().items, catalog.totals().bytes) == wanted
            assert (counted.items, counted.bytes) == wanted
