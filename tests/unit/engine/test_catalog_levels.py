"""Levels of catalog parts: a large base is never rewritten for small changes."""

import pytest

from engine.catalog import level_of, parts_to_merge


@pytest.mark.parametrize(
    ("rows", "levels", "expected"),
    [
        (0, [], 0),
        (4096, [], 0),
        (4097, [], 1),
        (8 * 4096, [], 1),
        (1_000_000, [], 3),
        (1_000_000, [4, 1], 1),
        (5, [3, 3], 0),
    ],
)
def test_a_part_begins_at_the_level_of_its_size(
    rows: int, levels: list[int], expected: int
) -> None:
    """By its rows, and never above the part before it, because levels must not rise."""
    assert level_of(rows, levels) == expected


def test_a_year_of_small_parts_leaves_the_base_alone() -> None:
    """365 daily parts on a base of a million rows: merges happen, none takes the base in; levels never rise."""
    levels, rows, merges = [level_of(1_000_000, [])], [1_000_000], 0
    for _ in range(365):
        levels.append(level_of(1800, levels))
        rows.append(1800)
        while count := parts_to_merge(levels):
            levels[-count:], rows[-count:] = [levels[-1] + 1], [sum(rows[-count:])]
            merges += 1
        assert rows[0] == 1_000_000
        assert levels == sorted(levels, reverse=True)
    assert merges > 40
    assert len(levels) < 30
