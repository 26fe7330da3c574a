"""Buckets and gates on a virtual clock."""

import pytest

from tools.emulator.clock import Clock
from tools.emulator.errors import GraphError
from tools.emulator.ledger import Ledger
from tools.emulator.throttle import SlidingWindow, Throttle, UnitWindow


class Seconds:
    """A real clock that stands until told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def still_clock(rate: float = 1.0) -> tuple[Clock, Seconds]:
    seconds = Seconds()
    return Clock(rate, start=1e9, source=seconds), seconds


def test_clock_rate_and_freeze() -> None:
    clock, seconds = still_clock(rate=10)
    seconds.now += 3
    assert clock.now() == 1e9 + 30
    assert (clock.sent(100), clock.sent(101), clock.sent(0.1)) == (10, 11, 1)
    clock.freeze()
    seconds.now += 3
    assert clock.now() == 1e9 + 30
    clock.advance(5)
    clock.resume()
    seconds.now += 1
    assert clock.now() == 1e9 + 45


def test_sliding_window() -> None:
    clock, seconds = still_clock()
    window = SlidingWindow(3, 10.0, clock)
    for _ in range(3):
        assert window.admit() == 0
        seconds.now += 1
    assert window.admit() == 7
    seconds.now += 7
    assert window.admit() == 0
    assert window.admit() == 1


def test_unit_window_counts_refused_calls() -> None:
    clock, seconds = still_clock()
    window = UnitWindow(5, 60.0, clock)
    assert window.admit(4) == 0
    assert window.admit(2) == 60
    assert window.used == 6
    seconds.now += 61
    assert window.admit(5) == 0


def refused(throttle: Throttle) -> int:
    """The Retry-After of a refused call on mailbox `m`."""
    with pytest.raises(GraphError) as caught:
        throttle.mailbox("m", 1)
    assert caught.value.status == 429
    return int(caught.value.headers["Retry-After"])


def test_early_callers_are_noted_and_wait_longer() -> None:
    clock, seconds = still_clock()
    ledger = Ledger()
    throttle = Throttle("off", clock, ledger, grace=0.5)
    assert throttle.gate("mailbox:m").shut(10) == 10
    seconds.now += 0.2
    assert refused(throttle) == 10  # may have been on the wire: no breach
    assert not ledger.breaches
    seconds.now += 8.8
    waits = [refused(throttle) for _ in range(4)]
    assert ledger.breach_counts == {"call-in-retry-after": 4}
    assert waits == sorted(waits)
    assert waits[-1] > 4
    seconds.now += waits[-1] + 1
    throttle.mailbox("m", 1)
    assert ledger.breach_counts == {"call-in-retry-after": 4}


def test_waiting_as_told_is_never_a_breach() -> None:
    clock, seconds = still_clock(rate=7.0)
    ledger = Ledger()
    throttle = Throttle("tiny", clock, ledger, grace=0.0)
    for _ in range(500):
        try:
            throttle.mailbox("m", 1)
        except GraphError as error:
            seconds.now += int(error.headers["Retry-After"])
        seconds.now += 0.01
    assert not ledger.breaches


def test_one_mailbox_does_not_throttle_another() -> None:
    clock, _ = still_clock()
    throttle = Throttle("tiny", clock, Ledger(), grace=0.5)
    for _ in range(100):
        throttle.mailbox("a", 1)
    with pytest.raises(GraphError):
        throttle.mailbox("a", 1)
    throttle.mailbox("b", 1)


def test_rate_limit_headers_from_eighty_per_cent() -> None:
    clock, _ = still_clock()
    throttle = Throttle("real", clock, Ledger(), grace=0.5)
    assert throttle.files(999) == {}
    headers = throttle.files(1)
    assert headers["RateLimit-Remaining"] == "250"
    assert int(headers["RateLimit-Reset"]) == 60


def test_concurrency_limit() -> None:
    clock, _ = still_clock()
    throttle = Throttle("real", clock, Ledger(), grace=0.5)
    throttle.mailbox("m", 4)
    with pytest.raises(GraphError, match="MailboxConcurrency"):
        throttle.mailbox("m", 5)
