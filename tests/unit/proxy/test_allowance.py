"""The shared state of a bucket, as pure functions of a time that the test brings."""

import random

from proxy.graph.allowance import LEASE_S, WINDOW_SLOTS, Allowance, Moment, Window

MINUTE = [Window(100.0, 60.0)]


def at(seconds: float, unsure: float = 0.0) -> Moment:
    """A time that is known up to `unsure`."""
    return Moment(seconds - unsure, seconds + unsure)


def test_no_minute_ever_sees_more_than_the_limit() -> None:
    """Holders race, use a part of their leases at any moment of them, settle, die: no 60 s hold more than 100."""
    dice, state, now = random.Random(7), Allowance(), 0.0
    open_leases: dict[str, tuple[float, float, float]] = {}
    spent: list[tuple[float, float]] = []
    for number in range(4000):
        now += dice.random() * 0.4
        for holder, (units, until, used) in list(open_leases.items()):
            if now >= until or dice.random() < 0.02:
                del open_leases[holder]  # killed, or run out: nobody says what was used
            elif used < units and dice.random() < 0.8:
                spent.append((now, 1.0))
                open_leases[holder] = (units, until, used + 1.0)
                if dice.random() < 0.3:
                    state.settle(holder, used + 1.0, units, MINUTE, at(now, 0.01))
                    del open_leases[holder]
        state.expire(MINUTE, at(now, 0.01))
        granted = state.grant(f"h{number}", 1.0, MINUTE, at(now, 0.01))
        if granted >= 1.0:
            until = state.leases[f"h{number}"].until
            open_leases[f"h{number}"] = (int(granted), until - 0.02, 0.0)
        assert sum(units for when, units in spent if when > now - 60.0) <= 100
    assert len(spent) > 1000


def test_a_lease_that_runs_out_counts_in_full_from_its_end() -> None:
    """So a killed holder never makes the budget larger."""
    state = Allowance()
    granted = state.grant("dead", 1.0, MINUTE, at(0.0))
    state.expire(MINUTE, at(LEASE_S - 0.1))
    assert "dead" in state.leases
    state.expire(MINUTE, at(LEASE_S))
    assert state.used_units(0, MINUTE[0], at(LEASE_S)) == granted
    state.expire(MINUTE, at(LEASE_S + 59.9))
    assert state.used_units(0, MINUTE[0], at(LEASE_S + 59.9)) == granted
    state.expire(MINUTE, at(LEASE_S + 61.1))
    assert state.used == [{}]


def test_what_was_not_used_is_free_again() -> None:
    """A settled lease leaves only what was used of it, and units beyond it too."""
    state = Allowance()
    granted = state.grant("a", 1.0, MINUTE, at(0.0))
    assert state.settle("a", 2.0, granted, MINUTE, at(1.0))
    assert state.used_units(0, MINUTE[0], at(1.0)) == 2.0
    assert not state.settle("a", granted, granted, MINUTE, at(2.0))
    assert state.settle("a", granted + 3.0, granted, MINUTE, at(2.0))
    assert state.used_units(0, MINUTE[0], at(2.0)) == 5.0


def test_the_delay_is_when_it_fits() -> None:
    """Not before, and not much later."""
    state, now = Allowance(), 0.0
    while granted := state.grant("a", 1.0, MINUTE, at(now)):
        state.settle("a", granted, granted, MINUTE, at(now))
        now += 0.5
    delay = state.delay_s(1.0, MINUTE, at(now))
    assert 60.0 - now <= delay <= 61.0 - now
    state.expire(MINUTE, at(now + delay - 0.1))
    assert state.grant("a", 1.0, MINUTE, at(now + delay - 0.1)) == 0
    state.expire(MINUTE, at(now + delay))
    assert state.grant("a", 1.0, MINUTE, at(now + delay)) >= 1.0


def test_a_call_that_costs_more_than_the_limit_passes_when_all_is_free() -> None:
    """Else it would never pass."""
    small, state = [Window(2.0, 60.0)], Allowance()
    state.expire(small, at(0.0))
    assert state.grant("a", 5.0, small, at(0.0)) == 2.0


def test_two_windows_both_hold() -> None:
    """A minute that has room does not help when the day has none."""
    windows, state = [Window(100.0, 60.0), Window(10.0, 86_400.0)], Allowance()
    state.expire(windows, at(0.0))
    granted = state.grant("a", 10.0, windows, at(0.0))
    state.settle("a", granted, granted, windows, at(0.0))
    state.expire(windows, at(120.0))
    assert state.grant("a", 1.0, windows, at(120.0)) == 0
    assert state.delay_s(1.0, windows, at(120.0)) > 80_000


def test_the_state_survives_its_bytes_and_stays_small() -> None:
    """What an entry holds is what was put in; a full window is below 4 kB; nonsense counts as empty."""
    windows, state = [Window(100_000.0, 60.0), Window(1e8, 86_400.0)], Allowance()
    for step in range(WINDOW_SLOTS * 3):
        now = at(1.7e9 + step * 60.0 / WINDOW_SLOTS)
        state.expire(windows, now)
        granted = state.grant("a" * 16, 1.0, windows, now)
        state.settle("a" * 16, 1.0, granted, windows, now)
    assert WINDOW_SLOTS <= len(state.used[0]) <= WINDOW_SLOTS + 2
    state.fence, state.per_minute, state.told = 1.7e9, 5000, True
    assert Allowance.decode(state.encode()) == state
    assert len(state.encode()) < 4096
    assert Allowance.decode(b"\x00") == Allowance()
