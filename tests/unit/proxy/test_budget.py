"""The budget on a clock of our own."""

import asyncio

import pytest

from proxy.graph.band import resource_units_per_minute
from proxy.graph.budget import (
    DIRECTORY,
    SITES,
    Budget,
    BudgetLimits,
    Meter,
    Scope,
)
from proxy.graph.budget_store import MemoryBudgetStore
from proxy.graph.errors import GraphAnswerLost, GraphError, GraphThrottled, GraphUnavailable
from proxy.graph.faults import classify
from proxy.graph.retry import Persistence


class FakeClock:
    """Time that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def test_a_mailbox_takes_four_calls_at_once() -> None:
    bucket = Budget(FakeClock(), BudgetLimits()).bucket(Scope.mailbox("u"))
    meter, running, peak = Meter(), 0, 0

    async def call() -> None:
        nonlocal running, peak
        async with bucket.admit(1, meter):
            running += 1
            peak = max(peak, running)
            await asyncio.sleep(0)
            running -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(call())
    assert (peak, meter.requests) == (4, 20)


async def test_a_fence_stops_the_whole_bucket_and_no_other() -> None:
    clock = FakeClock()
    budget = Budget(clock, BudgetLimits())
    ann, bob, meter = (
        budget.bucket(Scope.mailbox("ann")),
        budget.bucket(Scope.mailbox("bob")),
        Meter(),
    )
    async with ann.admit(1, meter) as admission:
        admission.pause(30.0)
    began = clock.now
    async with bob.admit(1, meter):
        assert clock.now == began
    async with ann.admit(1, meter):
        assert clock.now >= began + 30.0
    assert meter.throttled == 1
    assert meter.waited_s >= 30.0


async def test_fences_overlap_and_do_not_add_up() -> None:
    clock = FakeClock()
    bucket = Budget(clock, BudgetLimits()).bucket(SITES)
    bucket.fence(10.0)
    bucket.fence(5.0)
    began = clock.now
    async with bucket.admit(1, Meter()):
        assert 10.0 <= clock.now - began <= 10.6


async def test_limits_follow_the_share() -> None:
    clock = FakeClock()
    bucket = Budget(clock, BudgetLimits(share=0.1)).bucket(Scope.mailbox("u"))
    began, meter = clock.now, Meter()
    for _ in range(961):
        async with bucket.admit(1, meter):
            pass
    assert clock.now - began >= 590.0


async def test_the_service_corrects_the_charge() -> None:
    bucket = Budget(FakeClock(), BudgetLimits()).bucket(DIRECTORY)
    meter = Meter()
    async with bucket.admit(1, meter) as admission:
        admission.settle({"x-ms-resource-unit": "3"})
    async with bucket.admit(2, meter) as admission:
        admission.settle({})
    assert meter.resource_units == 5
    mailbox = Budget(FakeClock(), BudgetLimits()).bucket(Scope.mailbox("u"))
    async with mailbox.admit(1, meter) as admission:
        admission.settle({})
    assert meter.resource_units == 5


async def test_nothing_left_means_a_pause_before_being_told_off() -> None:
    clock = FakeClock()
    bucket = Budget(clock, BudgetLimits()).bucket(SITES)
    told = {"RateLimit-Limit": "1250", "RateLimit-Remaining": "0", "RateLimit-Reset": "20"}
    async with bucket.admit(1, Meter()) as admission:
        admission.settle(told)
    began = clock.now
    async with bucket.admit(1, Meter()):
        assert clock.now - began >= 20.0


async def test_a_limit_that_is_never_told_is_not_reached() -> None:
    clock = FakeClock()
    bucket = Budget(clock, BudgetLimits(licenses=1)).bucket(SITES)
    began = clock.now
    for _ in range(3000):
        async with bucket.admit(1, Meter()) as admission:
            admission.settle({})
    assert clock.now - began < 60.0


async def test_two_find_together_that_more_is_allowed() -> None:
    """Neither uses 90 % of the first band alone; together they do, and both hear of the higher one."""
    clock = FakeClock()
    store = MemoryBudgetStore(clock)
    first, second = (Budget(clock, BudgetLimits(), store).bucket(SITES) for _ in range(2))
    began = clock.now
    for _ in range(1500):
        for bucket in (first, second):
            async with bucket.admit(1, Meter()) as admission:
                admission.settle({})
    assert clock.now - began < 60.0
    assert first.shape.limits()[0].limit > 2400
    assert second.shape.limits()[0].limit > 2400


async def test_a_limit_that_was_told_to_one_holds_for_both() -> None:
    """Silence of the service after that says nothing any more."""
    clock = FakeClock()
    store = MemoryBudgetStore(clock)
    first, second = (Budget(clock, BudgetLimits(), store).bucket(SITES) for _ in range(2))
    async with first.admit(1, Meter()) as admission:
        admission.settle({"RateLimit-Limit": "1250"})
    began = clock.now
    for _ in range(700):
        for bucket in (first, second):
            async with bucket.admit(1, Meter()) as admission:
                admission.settle({})
    assert clock.now - began >= 59.0


async def test_a_lost_store_begins_from_what_was_seen_last() -> None:
    """Else a tenant would get its whole window twice."""
    clock = FakeClock()
    store = MemoryBudgetStore(clock)
    bucket = Budget(clock, BudgetLimits(mailbox_requests=100), store).bucket(Scope.mailbox("u"))
    began = clock.now
    for number in range(97):
        if number == 60:
            store._entries.clear()
            bucket.doubt()
        async with bucket.admit(1, Meter()):
            pass
    assert clock.now - began >= 590.0


async def test_waiting_calls_are_let_through_in_order_and_a_cancelled_one_leaves_no_trace() -> None:
    """A caller that gives up while it waits neither holds a place nor pays."""
    clock = FakeClock()
    bucket, order = Budget(clock, BudgetLimits()).bucket(Scope.mailbox("u")), []

    async def call(number: int) -> None:
        async with bucket.admit(1, Meter()):
            order.append(number)
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(call(number)) for number in range(12)]
    await asyncio.sleep(0.005)
    tasks[6].cancel()
    await asyncio.wait(tasks)
    assert order == [n for n in range(12) if n != 6]
    assert bucket.running == 0


def test_bands() -> None:
    assert [resource_units_per_minute(n) for n in (0, 1000, 1001, 9_000, 40_000, 10**6)] == [
        1250,
        1250,
        2500,
        3750,
        5000,
        6250,
    ]


def test_trying_again_ends_by_time_and_not_by_count() -> None:
    error = GraphUnavailable("x", code="graph-connection-cut")
    persistence, now = Persistence("x", 60.0, 0.0), 0.0
    while True:
        try:
            now += persistence.after_error(error, now)
        except GraphUnavailable:
            break
    assert 20.0 < now <= 60.0


def test_throttling_has_more_patience_than_failures() -> None:
    fault = classify(429, {"retry-after": "60"}, b"", now=0.0)
    persistence = Persistence("x", 1.0, 0.0)
    assert persistence.after_fault(fault, 3000.0) == 0.0
    with pytest.raises(GraphThrottled) as caught:
        persistence.after_fault(fault, 3590.0)
    assert caught.value.retry_after_s == 60.0


def test_a_token_is_replaced_once() -> None:
    fault = classify(401, {}, b"", now=0.0)
    persistence = Persistence("x", 60.0, 0.0)
    assert persistence.after_fault(fault, 0.0) == 0.0
    with pytest.raises(Exception, match="refused twice"):
        persistence.after_fault(fault, 0.0)


async def test_the_directory_is_left_alone_when_it_says_that_its_limit_is_passed() -> None:
    clock = FakeClock()
    bucket, meter = Budget(clock, BudgetLimits()).bucket(DIRECTORY), Meter()
    for said, pause_s in (("0.9", 0.0), ("nonsense", 0.0), ("1.5", 5.0)):
        async with bucket.admit(1, meter) as admission:
            admission.settle({"x-ms-throttle-limit-percentage": said})
        began = clock.now
        async with bucket.admit(1, meter):
            assert pause_s <= clock.now - began <= pause_s * 1.1


async def test_what_is_left_of_a_limit_is_heeded_whichever_service_says_so() -> None:
    clock = FakeClock()
    bucket, meter = Budget(clock, BudgetLimits()).bucket(Scope.mailbox("ann")), Meter()
    async with bucket.admit(1, meter) as admission:
        admission.settle({"RateLimit-Remaining": "0", "RateLimit-Reset": "20"})
    began = clock.now
    async with bucket.admit(1, meter):
        assert clock.now - began >= 20.0


def test_a_create_is_sent_again_only_where_the_service_surely_did_nothing() -> None:
    def once() -> Persistence:
        return Persistence("x", 60.0, 0.0, once=True)

    assert once().after_error(GraphUnavailable("x", code="graph-no-connection"), 0.0) > 0
    assert once().after_fault(classify(429, {"retry-after": "1"}, b"", now=0.0), 0.0) == 0.0
    assert once().after_fault(classify(401, {}, b"", now=0.0), 0.0) == 0.0
    for code in ("graph-no-answer", "graph-connection-cut", "graph-bad-answer"):
        with pytest.raises(GraphAnswerLost):
            once().after_error(GraphUnavailable("x", code=code), 0.0)
    for status, headers in (
        (500, {}),
        (502, {}),
        (503, {}),
        (503, {"retry-after": "9"}),
        (504, {}),
    ):
        with pytest.raises(GraphAnswerLost):
            once().after_fault(classify(status, headers, b"", now=0.0), 0.0)
    for status in (400, 403, 404, 409, 412, 413):
        with pytest.raises(GraphError) as caught:
            once().after_fault(classify(status, {}, b"", now=0.0), 0.0)
        assert not isinstance(caught.value, GraphAnswerLost)


async def test_bytes_into_a_mailbox_are_paced_by_its_volume() -> None:
    """150 MB in five minutes; another mailbox has a volume of its own."""
    clock = FakeClock()
    budget, meter = Budget(clock, BudgetLimits()), Meter()
    ann, bob = (budget.bucket(Scope.mailbox(name).uploads()) for name in ("ann", "bob"))
    began = clock.now
    for _ in range(14):
        async with ann.admit(10 * 1024 * 1024, meter):
            pass
    assert clock.now == began
    async with bob.admit(10 * 1024 * 1024, meter):
        assert clock.now == began
    async with ann.admit(10 * 1024 * 1024, meter):
        assert clock.now - began > 250.0
