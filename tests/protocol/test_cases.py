"""The protocol as built: every state of every case keeps every promise."""

import pytest

from tests.protocol.cases import CASES

SLOW_STATES, LONG_STATES = 7_000, 100_000


def _params() -> list[object]:
    made: list[object] = []
    for name, (states, _) in CASES.items():
        marks = []
        if states > SLOW_STATES:
            marks.append(pytest.mark.slow if states < LONG_STATES else pytest.mark.long)
        made.append(pytest.param(name, marks=marks))
    return made


@pytest.mark.parametrize("name", _params())
def test_every_promise_is_kept_in_every_state(name: str) -> None:
    """The whole case is explored: nothing committed is lost, no forget, no hold; and space does come back."""
    states, case = CASES[name]
    found = case.explore()
    assert found.trace is None, "\n".join(found.trace or ())
    assert "space reclaimed" in found.goals
    assert found.states == states, "the case is another one than it was: enter its size"
