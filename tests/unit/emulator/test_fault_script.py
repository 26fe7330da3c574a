"""Which calls the rules of a fault script fire for."""

from typing import Any

import pytest

from tools.emulator.fault_script import Event, FaultScript


def event(method: str = "GET", path: str = "/users/u/messages/m/$value", **more: Any) -> Event:
    return Event(method, path.strip("/").split("/"), **{"kinds": frozenset({"read"})} | more)


def fires(when: dict[str, Any], calls: int = 10) -> list[int]:
    """Numbers, from 1, of the calls that a rule fires for."""
    script = FaultScript()
    script.load([{"when": when, "do": {"status": 503}}])
    return [n for n in range(1, calls + 1) if script.take(event(owner=frozenset({"u12"})))]


@pytest.mark.parametrize(
    ("when", "wanted"),
    [
        ({}, list(range(1, 11))),
        ({"nth": 3}, [3]),
        ({"nth": [3, 7]}, [3, 7]),
        ({"every": 4}, [4, 8]),
        ({"once": True, "skip": 2}, [3]),
        ({"times": 2}, [1, 2]),
        ({"path": "/users/*/messages/*/$value", "once": True}, [1]),
        ({"path": "/users/**", "nth": 2}, [2]),
        ({"path": "/users/*"}, []),
        ({"method": "POST"}, []),
        ({"kind": "write"}, []),
        ({"mailbox": "U12", "nth": 1}, [1]),
        ({"mailbox": "another"}, []),
        ({"p": 0.0}, []),
    ],
)
def test_when(when: dict[str, Any], wanted: list[int]) -> None:
    assert fires(when) == wanted


def test_draws_are_the_same_for_the_same_seed() -> None:
    first = fires({"p": 0.3, "seed": 9}, 200)
    assert first == fires({"p": 0.3, "seed": 9}, 200)
    assert first != fires({"p": 0.3, "seed": 10}, 200)
    assert 30 < len(first) < 90


def test_the_first_rule_that_fires_wins() -> None:
    script = FaultScript()
    script.load(
        [
            {"when": {"nth": 2}, "do": {"status": 500}},
            {"when": {"method": "GET"}, "do": {"status": 503}},
        ]
    )
    found = [script.take(event()) for _ in range(3)]
    assert [do.status if do else None for do in found] == [503, 500, 503]
    assert script.fired() == [1, 2]


@pytest.mark.parametrize(
    "rule", [{"when": {}}, {"when": {"n": 1}, "do": {}}, {"when": {}, "do": 3}]
)
def test_a_wrong_rule_is_refused(rule: Any) -> None:
    with pytest.raises(ValueError):
        FaultScript().load([rule])
