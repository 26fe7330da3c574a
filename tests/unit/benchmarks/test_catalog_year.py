"""The simulated year keeps every row, and shows what a merge of the base costs."""

from dataclasses import replace

import pytest

from benchmarks.catalog_year import Year, rows_of_items, simulated
from engine.catalog import row_at


def test_a_message_keeps_its_id_and_content_over_revisions() -> None:
    """A change brings a new version and a new JSON part; id, name and the MIME part stay."""
    before, after = (row_at(rows_of_items([7], revision, [0]), 0) for revision in (0, 3))
    assert (before.id, before.name, before.parts[1]) == (after.id, after.name, after.parts[1])
    assert before.version != after.version
    assert before.parts[0] != after.parts[0]


@pytest.mark.slow
def test_the_level_of_the_base_decides_whether_a_week_writes_it_again() -> None:
    """Among the daily parts it goes into their first merge, above them it is left alone; the same rows are live."""
    year = Year(items=2_000, days=9, new_share=0.01, changed_share=0.01, removed_share=0.005)
    among, live = simulated(year)
    above, same = simulated(replace(year, first_level=3))
    assert (among["base_rewritten_on_days"], above["base_rewritten_on_days"]) == ([7], [])
    order = [("id", "ascending")]
    assert live.sort_by(order).equals(same.sort_by(order))
