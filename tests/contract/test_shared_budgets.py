"""
Two clients of one request budget, over both stores: in memory, and on a real NATS with a proxy's own rights.

Real clocks, one for each client; those over NATS disagree by hours. Nothing is expected within a time that a loaded machine
may need for something else: what must come is waited for, and what must not come is looked for a while longer.
"""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from proxy.bus import ProxyBus
from proxy.contract import JoinDocument, Unavailable
from proxy.graph.allowance import LEASE_S
from proxy.graph.budget import SITES, Bucket, Budget, BudgetLimits, Meter, Scope
from proxy.graph.budget_store import BudgetStore, MemoryBudgetStore
from proxy.shared_budgets import SharedBudgets
from server.bus.connection import Bus
from server.joining import permissions
from server.sealing import new_sealing_key
from tests.fixtures.servers import RunningProcess, running_nats
from tools.installation.nats_server import PrivateNats

pytestmark = pytest.mark.slow

LIMIT = 300
USABLE = int(LIMIT * 0.96)
LIMITS = BudgetLimits(site_units_per_minute=LIMIT)
LEASED = int(USABLE * LEASE_S / 60)
PATIENCE_S = 30.0  # half of a window, so that nothing used in it comes back
PAUSE_S = 3.0
STILL_S = 0.7  # longer than a bucket waits before it looks again
ANN = Scope.mailbox("ann")


class OwnClock:
    """A machine's clock: its own idea of the time, and steady."""

    def __init__(self, offset_s: float) -> None:
        self._offset_s = offset_s

    def monotonic(self) -> float:
        return time.monotonic() + self._offset_s

    def time(self) -> float:
        return time.time() + self._offset_s

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Place:
    """Where budgets are shared. `client` is one more that shares; budgets are closed at the end."""

    def __init__(self) -> None:
        self.stack = contextlib.AsyncExitStack()
        self.clients = 0

    async def store(self, clock: OwnClock) -> BudgetStore:
        raise NotImplementedError

    async def set_away(self, away: bool) -> None:
        raise NotImplementedError

    async def client(self, limits: BudgetLimits = LIMITS) -> Budget:
        self.clients += 1
        clock = OwnClock(0.0 if isinstance(self, InMemory) else 10_000.0 * self.clients)
        budget = Budget(clock, limits, await self.store(clock), "tenant")
        self.stack.push_async_callback(budget.close)
        return budget


class InMemory(Place):
    """One process."""

    def __init__(self) -> None:
        super().__init__()
        self._store = MemoryBudgetStore()

    async def store(self, clock: OwnClock) -> BudgetStore:
        return self._store

    async def set_away(self, away: bool) -> None:
        self._store.away = away


class OnNats(Place):
    """A private NATS, an account for each client."""

    def __init__(self, server: PrivateNats, process: RunningProcess) -> None:
        super().__init__()
        self._server, self._process = server, process
        self.stores: list[SharedBudgets] = []

    async def start(self) -> None:
        async with Bus.opened(self._server.server_url) as bus:
            await bus.ensure(["default"])

    async def store(self, clock: OwnClock) -> BudgetStore:
        document = account(self._server, f"proxy{self.clients}")
        assert self._process.process is not None
        self._process.process.send_signal(signal.SIGHUP)
        bus = await self.stack.enter_async_context(ProxyBus.opened(document))
        self.stores.append(SharedBudgets(bus, clock))
        return self.stores[-1]

    async def set_away(self, away: bool) -> None:
        if away:
            self._process.kill()
        else:
            await self._server.wait_ready(self._process.start())


def account(server: PrivateNats, proxy: str) -> JoinDocument:
    """A proxy's account with a proxy's rights, as the server would make it."""
    rights = permissions(proxy, "default")
    user = {"user": proxy, "password": "word", "permissions": rights}
    (server.users_dir / f"{proxy}.json").write_text(json.dumps(user))
    server.refresh_users()
    key, _ = new_sealing_key()
    return JoinDocument(proxy, "default", server.url, proxy, "word", "", "", "", key)


@pytest_asyncio.fixture(params=["memory", "nats"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Both kinds."""
    if request.param == "memory":
        memory = InMemory()
        async with memory.stack:
            yield memory
        return
    with running_nats(tmp_path) as (server, process):
        on_nats = OnNats(server, process)
        await on_nats.start()
        async with on_nats.stack:
            yield on_nats


async def become(true: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Wait until something is true; whoever needs it sees by itself if it did not become so."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def callers(
    *buckets: Bucket, at_once: int = 8, call_s: float = 0.0
) -> AsyncIterator[list[list[float]]]:
    """Admissions, by our clock, to each bucket that so many callers get who never rest."""
    admitted: list[list[float]] = [[] for _ in buckets]

    async def call(bucket: Bucket, got: list[float]) -> None:
        while True:
            async with bucket.admit(1, Meter()):
                got.append(time.monotonic())
                await asyncio.sleep(call_s)

    tasks = [
        asyncio.create_task(call(bucket, got))
        for bucket, got in zip(buckets, admitted, strict=True)
        for _ in range(at_once)
    ]
    try:
        yield admitted
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def busy(*buckets: Bucket, enough: int = 0, still_s: float = STILL_S) -> list[int]:
    """Admissions to each bucket, until there are `enough` together and a while longer."""
    async with callers(*buckets) as admitted:
        await become(lambda: sum(map(len, admitted)) >= enough)
        await asyncio.sleep(still_s)
        return [len(got) for got in admitted]


async def test_two_that_race_never_use_more_than_there_is(place: Place) -> None:
    """Together they get all of the window and not a unit more, and each at least the lease that it holds as they begin."""
    both = [(await place.client()).bucket(SITES) for _ in range(2)]
    for bucket in both:
        async with bucket.admit(1, Meter()):
            pass
    got = await busy(*both, enough=USABLE - 2 - 2)
    assert USABLE - 2 <= sum(got) + 2 <= USABLE
    assert min(got) >= LEASED - 1


async def test_a_killed_holder_has_used_its_lease(place: Place) -> None:
    """Its successor gets the window less the whole lease, also after the lease has run out."""
    killed, successor = await place.client(), await place.client()
    async with killed.bucket(SITES).admit(1, Meter()):
        bucket = killed.bucket(SITES)
    bucket.leave()  # as if killed: it says nothing more
    [got] = await busy(successor.bucket(SITES), enough=USABLE - LEASED - 2, still_s=LEASE_S + 1.0)
    assert USABLE - LEASED - 2 <= got <= USABLE - LEASED


async def test_what_is_given_back_can_be_used(place: Place) -> None:
    """One that ends in order leaves everything but what it used."""
    first, second = await place.client(), await place.client()
    async with first.bucket(SITES).admit(3, Meter()):
        pass
    await first.close()
    [got] = await busy(second.bucket(SITES), enough=USABLE - 5)
    assert USABLE - 5 <= got <= USABLE - 3


async def test_an_idle_lease_is_given_back(place: Place) -> None:
    """Without anybody ending."""
    first, second = await place.client(), await place.client()
    async with first.bucket(SITES).admit(3, Meter()):
        pass
    [got] = await busy(second.bucket(SITES), enough=USABLE - 5)
    assert USABLE - 5 <= got <= USABLE - 3


async def test_a_fence_stops_everybody_at_once(place: Place) -> None:
    """Nothing leaves anywhere from when the answer is heard of until its time is over, and then again."""
    first, second = (await place.client()).bucket(SITES), (await place.client()).bucket(SITES)
    async with callers(second, at_once=1, call_s=0.03) as [admitted]:
        await become(lambda: bool(admitted))
        async with first.admit(1, Meter()) as admission:
            paused = time.monotonic()
            admission.pause(PAUSE_S)
        await become(lambda: second.fenced_until > float("-inf"))
        heard = time.monotonic()
        await become(lambda: admitted[-1] > paused + PAUSE_S)
        late = [at - paused for at in admitted if at > heard]
    assert admitted[0] < paused
    assert heard < paused + PAUSE_S
    assert late
    assert min(late) >= PAUSE_S


async def test_who_comes_later_keeps_the_fence_too(place: Place) -> None:
    """Also when whoever was told is gone, and for a mailbox."""
    first = await place.client()
    async with first.bucket(ANN).admit(1, Meter()) as admission:
        admission.pause(1.5)
        paused = time.monotonic()
    await first.close()
    await asyncio.sleep(0.5)
    later = await place.client()
    async with later.bucket(ANN).admit(1, Meter()):
        assert time.monotonic() - paused >= 1.5


async def test_nothing_left_is_a_fence_for_everybody(place: Place) -> None:
    """`RateLimit-Remaining: 0` told to one holds for the other."""
    first, second = (await place.client()).bucket(SITES), (await place.client()).bucket(SITES)
    reset = f"{PAUSE_S:.0f}"
    told = {"RateLimit-Limit": "1250", "RateLimit-Remaining": "0", "RateLimit-Reset": reset}
    async with second.admit(1, Meter()):
        pass
    async with first.admit(1, Meter()) as admission:
        paused = time.monotonic()
        admission.settle(told)
    await become(lambda: second.fenced_until > float("-inf"))
    async with second.admit(1, Meter()):
        assert time.monotonic() - paused >= PAUSE_S
    assert second.shape.limits()[0].limit == 1250 * 0.96


async def test_a_mailbox_takes_four_calls_from_everybody_together(place: Place) -> None:
    """Two jobs that read one mailbox take turns; neither is forgotten."""
    running = peak = 0
    got = [0, 0]

    async def job(number: int, bucket: Bucket) -> None:
        async def call() -> None:
            nonlocal running, peak
            async with bucket.admit(1, Meter()):
                running += 1
                peak = max(peak, running)
                await asyncio.sleep(0.05)
                got[number] += 1
                running -= 1

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(call())

    clients = [await place.client(), await place.client()]
    jobs = [asyncio.create_task(job(n, each.bucket(ANN))) for n, each in enumerate(clients)]
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*jobs)
    assert (peak, got) == (4, [20, 20])


async def test_a_mailbox_is_held_while_a_call_runs(place: Place) -> None:
    """A call that takes longer than a lease keeps others out until it has ended."""
    first, second = await place.client(), await place.client()
    began, ended = asyncio.Event(), asyncio.Event()

    async def long_call() -> None:
        async with first.bucket(ANN).admit(1, Meter()):
            began.set()
            await asyncio.sleep(LEASE_S + 2.0)
            ended.set()

    running = asyncio.create_task(long_call())
    await began.wait()
    async with second.bucket(ANN).admit(1, Meter()):
        assert ended.is_set()
    await running


async def test_a_mailbox_begins_where_its_killed_reader_stopped(place: Place) -> None:
    """The window of ten minutes is the mailbox's, whoever reads it."""
    limits = BudgetLimits(mailbox_requests=100)
    killed, successor = await place.client(limits), await place.client(limits)
    for _ in range(90):
        async with killed.bucket(ANN).admit(1, Meter()):
            pass
    killed.bucket(ANN).leave()
    [got] = await busy(successor.bucket(ANN), still_s=LEASE_S + 1.0)
    assert got <= 96 - 90


async def test_while_the_store_is_away_only_leases_are_used(place: Place) -> None:
    """Then it waits, and goes on when the store is back, with what was used before still counted."""
    client = await place.client()
    bucket = client.bucket(SITES)
    async with bucket.admit(1, Meter()):
        pass
    await place.set_away(True)
    [first] = await busy(bucket, enough=LEASED - 2)
    assert LEASED - 2 <= first <= LEASED
    await place.set_away(False)
    # A write whose answer was lost is paid for: a lease more may be missing.
    least = USABLE - 2 * LEASED - 2
    [second] = await busy(bucket, enough=least - 1 - first)
    assert least <= 1 + first + second <= USABLE


async def test_the_first_to_write_wins(place: Place) -> None:
    """The primitive below all this: compare-and-swap, revisions that grow, each change told to all."""
    first, second = await place.store(OwnClock(0.0)), await place.store(OwnClock(0.0))
    seen: list[tuple[str, bytes, int]] = []

    def note(key: str, value: bytes, revision: int) -> None:
        seen.append((key, value, revision))

    await first.watch("t", note)
    assert await first.read("t.sites") is None
    one = await first.write("t.sites", b"1", 0)
    assert one is not None
    assert await second.write("t.sites", b"2", 0) is None
    await second.write("other.sites", b"x", 0)  # whoever heard of it would hear of it first
    two = await second.write("t.sites", b"2", one)
    assert two is not None
    assert two > one
    assert await first.read("t.sites") == (b"2", two)
    await become(lambda: len(seen) >= 2)
    assert seen == [("t.sites", b"1", one), ("t.sites", b"2", two)]
    await first.unwatch("t", note)
    await second.write("t.sites", b"3", two)
    await asyncio.sleep(0.1)
    assert len(seen) == 2
    await place.set_away(True)
    with pytest.raises(Unavailable):
        await _read_for_ever(first, "t.sites")
    await place.set_away(False)


async def _read_for_ever(store: BudgetStore, key: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:  # a bus that has just died is found out a moment later
            await store.read(key)
            await asyncio.sleep(0.01)


async def test_clients_agree_on_the_time_of_the_bus(tmp_path: Path) -> None:
    """Whatever their own clocks say: what one holds possible and what the other does overlap, as exactly as a round trip."""
    trips: list[float] = []
    with running_nats(tmp_path) as (server, process):
        on_nats = OnNats(server, process)
        await on_nats.start()
        async with on_nats.stack:
            for offset in (-1e6, 0.0, 1e6):
                on_nats.clients += 1
                store = await on_nats.store(OwnClock(offset))
                began = time.monotonic()
                await store.watch("t", lambda key, value, revision: None)
                trips.append(time.monotonic() - began)
            began = time.monotonic()
            moments = [store.now() for store in on_nats.stores]
            passed = time.monotonic() - began
    drift = 0.001 * (PATIENCE_S + sum(trips))
    assert max(m.early for m in moments) <= min(m.late for m in moments) + passed
    assert all(m.late - m.early < trip + drift for m, trip in zip(moments, trips, strict=True))
