"""Goals and the plot say what the figures say."""

import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks import plot
from benchmarks.datasets import Facts
from benchmarks.measure import Figures
from benchmarks.report import goal_rows, print_goals, print_set
from benchmarks.results import Run, SetResult


def figures(wall_s: float, cpu_s: float = 1.0) -> Figures:
    return Figures(wall_s, cpu_s, 150.0, 10.0, 160.0)


@pytest.fixture
def result() -> SetResult:
    """Three rounds of mail: we take 2 s (median), restic 8 s and 0.5 of our processor seconds."""
    ours = [
        Run({"fresh": figures(wall, 4.0)}, {"fresh": 80, "changed": 80 + grown})
        for wall, grown in ((2.0, 5), (9.0, 7), (1.0, 6))
    ]
    restic = [Run({"fresh": figures(8.0, 2.0)}, {"fresh": 100})]
    return SetResult(
        Facts("mail", 10, 4_000_000_000, changed_bytes=3),
        {"zstd1": 1.0, "read": 0.25, "blake3": 0.25},
        {"strongroom": ours, "restic": restic},
    )


def test_medians_and_ratios(result: SetResult) -> None:
    """One slow run does not count; what nobody measured is None."""
    assert result.wall_s("strongroom", "fresh") == 2.0
    assert result.wall_range_s("strongroom", "fresh") == (1.0, 9.0)
    assert result.ratio("fresh", "restic") == result.best_peer("fresh") == 4.0
    assert result.growth("strongroom") == 6
    assert result.of_ceiling("strongroom", "fresh") == 0.75
    assert result.ratio("fresh", "borg") is result.wall_s("restic", "again") is None
    assert result.growth("restic") is None


def test_only_goals_that_can_be_judged_are_and_rightly(
    result: SetResult, capsys: pytest.CaptureFixture[str]
) -> None:
    """Met by the wall, not met by processor seconds, less is better for sizes."""
    rows = {row["goal"]: row for row in goal_rows({"mail": result})}
    speed = rows["mail: fresh, against restic"]
    assert (speed["measured"], speed["met"], speed["aim_met"]) == (4.0, True, False)
    assert (speed["cpu"], speed["cpu_met"]) == (0.5, False)
    assert rows["mail: repository, by restic's"]["met"] is True
    assert rows["mail: fresh, of two threads of zstd level 1"]["measured"] == 50.0
    memory = rows["mail: own memory at its peak, fresh"]
    assert (memory["met"], memory["aim_met"]) == (True, False)
    assert not any("borg" in str(goal) or str(goal).startswith("files") for goal in rows)
    print_goals(list(rows.values()))
    print_set(result)
    assert "met: 4 of 4" in capsys.readouterr().out


def test_the_plot_has_a_bar_for_each_ratio(result: SetResult) -> None:
    """Well-formed, one bar a ratio, with the ratio beside it."""
    drawn = plot.groups({"mail": result})
    assert drawn == [("mail", "fresh", {"restic": 4.0})]
    picture = ElementTree.fromstring(plot.svg([*drawn, ("<b>", "fresh", {"a&b": 0.25})], "title"))
    space = "{http://www.w3.org/2000/svg}"
    titles = [title.text for title in picture.iter(f"{space}title")]
    assert titles == ["mail, fresh: 4.00x restic", "<b>, fresh: 0.25x a&b"]
    assert {"4.0", "0.2"} <= {text.text for text in picture.iter(f"{space}text")}


def test_an_empty_plot_is_refused() -> None:
    """Nothing measured, no picture."""
    with pytest.raises(ValueError, match="nothing to draw"):
        plot.svg([], "title")
