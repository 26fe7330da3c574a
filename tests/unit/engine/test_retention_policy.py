"""Policy files: what is written is what rules, and what is wrong is named."""

from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.periods import Period
from engine.retention import DROP_SHARE_MAX, SILENCE_MAX, Policy, Rule
from engine.retention_policy import parse_policy

EXAMPLE = Path(__file__).parents[3] / "docs" / "retention.toml"


def test_every_key_is_read() -> None:
    """Into the rule of the same words."""
    policy = parse_policy(
        """
        drop_share_max = 0.25
        silence_max = "90 days"
        [items]
        period = "5 years"
        [[rule]]
        series = "office"
        except_series = ["office-*", "x"]
        window = "1 month"
        last = 3
        hourly = 24
        daily = 14
        weekly = 8
        monthly = 12
        yearly = 7
        last_state = "3 years"
        [[rule]]
        last = 1
        last_state = "for ever"
        """
    )
    counts = (("hourly", 24), ("daily", 14), ("weekly", 8), ("monthly", 12), ("yearly", 7))
    first = Rule(("office",), ("office-*", "x"), Period(1, "months"), 3, counts, Period(3, "years"))
    items = Period(5, "years")
    assert policy == Policy((first, Rule(last=1)), items, 0.25, Period(90, "days"))


def test_the_smallest_policy() -> None:
    """Guard rails are there unasked."""
    policy = parse_policy("[[rule]]\nwindow = '2 weeks'")
    assert policy == Policy((Rule(window=Period(2, "weeks")),))
    assert (policy.drop_share_max, policy.silence_max) == (DROP_SHARE_MAX, SILENCE_MAX)


def test_the_example_of_the_manual_is_a_policy() -> None:
    """docs/retention.toml."""
    assert len(parse_policy(EXAMPLE.read_text()).rules) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rule]\nlast = 1", "line 1"),
        ("", "no rule"),
        ("rule = 1", "no rule"),
        ("rule = [1]", "rule 1 is no table"),
        ("keep = 1\n[[rule]]\nlast = 1", "'keep'"),
        ("[[rule]]\nlast = 1\n[[rule]]\nwekly = 3", "rule 2: there is no key 'wekly'"),
        ("[[rule]]\nseries = 'x'", "rule 1 keeps nothing"),
        ("[[rule]]\nlast_state = '1 year'", "rule 1 keeps nothing"),
        ("[[rule]]\nlast = 0", "rule 1: last"),
        ("[[rule]]\nlast = -1", "rule 1: last"),
        ("[[rule]]\nlast = true", "rule 1: last"),
        ("[[rule]]\ndaily = 1.5", "rule 1: daily"),
        ("[[rule]]\nweekly = 100001", "rule 1: weekly"),
        ("[[rule]]\nwindow = 30", "rule 1: window"),
        ("[[rule]]\nwindow = '0 days'", "rule 1: window"),
        ("[[rule]]\nwindow = '101 years'", "rule 1: window"),
        ("[[rule]]\nwindow = '-3 days'", "rule 1: window"),
        ("[[rule]]\nwindow = '3 fortnights'", "rule 1: window"),
        ("[[rule]]\nlast = 1\nlast_state = 'always'", "rule 1: last_state"),
        ("[[rule]]\nlast = 1\nseries = []", "rule 1: series"),
        ("[[rule]]\nlast = 1\nseries = [1]", "rule 1: series"),
        ("[[rule]]\nlast = 1\nexcept_series = 1", "rule 1: except_series"),
        ("drop_share_max = 0\n[[rule]]\nlast = 1", "drop_share_max"),
        ("drop_share_max = nan\n[[rule]]\nlast = 1", "drop_share_max"),
        ("drop_share_max = 1.1\n[[rule]]\nlast = 1", "drop_share_max"),
        ("drop_share_max = true\n[[rule]]\nlast = 1", "drop_share_max"),
        ("silence_max = 3\n[[rule]]\nlast = 1", "silence_max"),
        ("items = 3\n[[rule]]\nlast = 1", "[items] is no table"),
        ("[items]\n[[rule]]\nlast = 1", "period is missing"),
        ("[items]\nage = '1 year'\n[[rule]]\nlast = 1", "'age'"),
        ("a = " + "[" * 100_000, "not TOML"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    """The line or the key, in one line."""
    with pytest.raises(UsageError) as raised:
        parse_policy(text)
    assert raised.value.code == "policy-invalid"
    assert said in raised.value.message
    assert "\n" not in raised.value.message
