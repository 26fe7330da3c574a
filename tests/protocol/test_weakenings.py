"""Each rule is needed: with one rule weakened a promise breaks, in a case where it holds as built."""

import pytest

from tests.protocol.cases import CASES
from tests.protocol.rules import Rules

# rule that is weakened: case, steps of the shortest way to a broken promise, what breaks
WEAKENED: dict[str, tuple[str, int, str]] = {
    "reads_before_begin": ("1 writer, 1 collector", 13, "needs c, which no named run has"),
    "drains_not": ("1 writer, 1 collector", 13, "something named is dead"),
    "lists_turns_first": ("1 writer, 1 collector", 13, "something named is dead"),
    "marks_once": ("1 writer, 1 collector", 13, "something named is dead"),
    "commits_without_swap": ("1 writer, 1 collector", 14, "something named is dead"),
    "follows_commit_blindly": ("1 writer, 1 collector", 11, "entry manifest-W1[c] vanished"),
    "copies_without_session": (
        "1 collector that copies, 1 that does not",
        17,
        "something named is dead",
    ),
    "deletes_before_verdict": (
        "2 collectors that keep different places",
        14,
        "needs c, which no named run has",
    ),
    "condemns_without_number": (
        "1 writer, 2 collectors, nothing there",
        17,
        "something named is dead",
    ),
    "carries_result": ("2 collectors", 12, "named and not stored: run-00"),
    "deletes_generations": ("2 collectors", 12, "named and not stored: run-00"),
    "lists_index": (
        "2 writers, 1 collector twice, one late request",
        23,
        "needs c, which no named run has",
    ),
    "forgets_dead": ("1 writer, 1 collector twice", 14, "needs c, which no named run has"),
    "caches_without_purging": (
        "two turns chained, 1 collector twice",
        22,
        "needs c, which no named run has",
    ),
    "reuses_refused_packs": (
        "1 writer, 1 collector, nothing there",
        20,
        "a named run finds c in pack-W1c, which is dead or gone",
    ),
    "reuses_stored_packs": (
        "1 writer, 1 collector twice, two late requests",
        26,
        "a named run finds c in pack-W1c, which is dead or gone",
    ),
    "keeps_references": (
        "references that wait for the next turn",
        19,
        "needs c, which no named run has",
    ),
    "confirms_last_turn_only": (
        "references that wait while restore points are sealed",
        23,
        "needs c, which no named run has",
    ),
    "names_late_packs": (
        "packs that wait for the next turn",
        19,
        "a named run finds c in pack-W1c, which is dead or gone",
    ),
    "keeps_entries": (
        "an entry is referred to and forgotten",
        18,
        "needs c, which no named run has",
    ),
    "forgets_at_once": (
        "an entry not yet seen is referred to and forgotten",
        27,
        "needs c, which no named run has",
    ),
    "drops_at_once": (
        "an entry not yet seen is referred to and overtaken",
        23,
        "needs c, which no named run has",
    ),
    "begins_behind": (
        "a cell that is behind what was folded of it",
        5,
        "entry manifest-W2[c] vanished",
    ),
    "drops_commits": ("two turns", 6, "entry manifest-W1[c] vanished"),
    "folds_without_watermark": ("a point is committed and forgotten", 12, "forget-F-W1 is lost"),
    "reads_forgets_late": ("a point is committed and forgotten", 11, "forget-F-W1 is lost"),
    "deletes_unknown": (
        "2 collectors, one late request",
        10,
        "named and not stored: merged-K3[d>D]",
    ),
    "merges_condemned": (
        "two places of a chunk, runs merged",
        30,
        "needs c, which no named run has",
    ),
    "skips_own": (
        "a writer with the cell that was copied with",
        19,
        "needs c, which no named run has",
    ),
    "reads_generation_first": ("a reader, two turns", 16, "R misses manifest-W1[c]"),
    "hides_dropped": (
        "a point names an entry that goes by lineage",
        10,
        "R does not find an entry that a restore point names",
    ),
    "names_old_listing": (
        "a repair of runs",
        14,
        "a named run finds c in P, which is dead or gone",
    ),
    "stale_hold": ("a hold of another point", 10, "forget-F-a is lost"),
}
LONG = {"merges_condemned", "lists_index", "reuses_stored_packs"}
SLOW = {"condemns_without_number", "forgets_at_once", "drops_at_once"}


def _params() -> list[object]:
    marks = {rule: [pytest.mark.long] for rule in LONG} | {
        rule: [pytest.mark.slow] for rule in SLOW
    }
    return [pytest.param(rule, marks=marks.get(rule, [])) for rule in WEAKENED]


@pytest.mark.parametrize("rule", _params())
def test_a_weakened_rule_breaks_a_promise(rule: str) -> None:
    """The shortest counterexample has as many steps as it had, and breaks what it is said to break."""
    name, steps, what = WEAKENED[rule]
    _, case = CASES[name]
    found = case.explore(Rules(**{rule: True}))
    assert found.trace is not None, "nothing breaks: is the rule needed?"
    print("\n".join(found.trace))
    assert what in found.trace[-1]
    assert len(found.trace) - 1 == steps


def test_every_rule_is_weakened_once() -> None:
    """No rule of the model is left untried."""
    assert set(WEAKENED) == set(Rules.__dataclass_fields__)
