"""Limits keep an average over all sizes and threads; a trace counts what was asked; addresses and the environment set them."""

import random
import threading
from pathlib import Path

import pytest

from engine.errors import NotFound, UsageError
from repository.blobstore.addresses import create_store, open_store
from repository.blobstore.around import around
from repository.blobstore.limited import (
    Limit,
    Limits,
    limits_of_environment,
    split_limits,
)
from repository.blobstore.memory import MemoryStore
from repository.blobstore.traced import TRACES, Trace
from tests.fixtures.trees import CommandLine

RATE = 1_000_000


class Hours:
    """A clock that waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def hours() -> Hours:
    return Hours()


def test_bandwidth_is_an_average_in_both_directions(hours: Hours) -> None:
    """Of any sizes and ways to read and write: n bytes take n / rate seconds, less those of the last call."""
    store = around(MemoryStore(), Limit(Limits(bandwidth=RATE), hours.clock, hours.wait))
    dice, moved, largest = random.Random(1), 0, 0
    for number in range(200):
        size = dice.choice((0, 10, 1000, 300_000))
        with store.spool() as spool:
            spool.write(bytes(size // 2))
            spool.write(bytes(size - size // 2))
            spool.put(f"spooled/{number}")
        store.put_new(f"put/{number}", bytes(size))
        assert len(store.get(f"put/{number}")) == size
        assert len(store.get_range(f"put/{number}", 0, size)) == size
        moved, largest = moved + 4 * size, max(largest, size)
        assert hours.now >= (moved - largest) / RATE - 1e-6
    assert hours.now <= moved / RATE + 1e-6


def test_requests_are_counted_and_filling_a_spool_is_none(hours: Hours) -> None:
    """Ten a second: a hundred calls take ten seconds, pieces of a spool nothing."""
    store = around(MemoryStore(), Limit(Limits(requests=10), hours.clock, hours.wait))
    for number in range(20):
        store.put_new(f"a/{number}", b"x")
        store.replace(f"b/{number}", b"x", None)
        store.size(f"a/{number}")
        list(store.list("a/"))
        store.delete(f"a/{number}")
    assert hours.now == pytest.approx(9.9)
    with store.spool() as spool:
        for _ in range(1000):
            spool.write(b"x")
        assert hours.now == pytest.approx(9.9)
        spool.put("c")
    assert hours.now == pytest.approx(10)


def test_nothing_is_saved_up(hours: Hours) -> None:
    """An hour without a call does not buy an hour at full speed."""
    store = around(MemoryStore(), Limit(Limits(RATE, 10), hours.clock, hours.wait))
    hours.now = 3600.0
    for number in range(50):
        store.put_new(str(number), bytes(RATE // 10))
    assert hours.now == pytest.approx(3600 + 4.9)


def test_threads_share_a_limit() -> None:
    """Eight threads are together no faster than one: each is told to wait behind all before it."""
    waits: list[float] = []
    store = around(MemoryStore(), Limit(Limits(requests=10), lambda: 0.0, waits.append))
    threads = [
        threading.Thread(target=store.put_new, args=(str(number), b"")) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == pytest.approx([n / 10 for n in range(1, 8)])


def test_limits_are_of_the_address_or_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address has its own, shared by all that open it; those of the environment are shared by all stores."""
    waits: list[float] = []
    monkeypatch.setattr("repository.ambient.monotonic_s", lambda: 0.0)
    limit = Limit.__init__
    monkeypatch.setattr(
        Limit, "__init__", lambda self, limits: limit(self, limits, lambda: 0.0, waits.append)
    )
    one, two = (f"file://{tmp_path}/{name}?bandwidth=1k" for name in ("one", "two"))
    create_store(one).put_new("config", bytes(1000))
    create_store(two).put_new("config", bytes(1000))
    assert waits == []
    open_store(one).put_new("a", bytes(1000))
    assert waits == [1.0]
    monkeypatch.setenv("STRONGROOM_BANDWIDTH", "2k")
    plain = [open_store(str(tmp_path / name)) for name in ("one", "two")]
    plain[0].put_new("b", bytes(1000))
    plain[1].put_new("b", bytes(1000))
    assert waits == [1.0, 0.5]


def test_how_limits_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options of an address go and the others stay; units of 1000; nothing, zero and words are refused."""
    both = split_limits("s3://b/p?endpoint=https://h:9&bandwidth=2.5M&region=eu&requests=20")
    assert both == ("s3://b/p?endpoint=https://h:9&region=eu", Limits(2_500_000, 20))
    assert split_limits("az://c?bandwidth=500k") == ("az://c", Limits(500_000))
    for same in ("/a?bandwidth=1M", "file:///a?b", "s3://b/p?region=x", "s3://b"):
        assert split_limits(same) == (same, Limits())
    for bad in ("", "0", "-1", "999", "fast", "1T", "1e9", "1M&bandwidth=x"):
        with pytest.raises(UsageError) as caught:
            split_limits(f"s3://b?bandwidth={bad}")
        assert caught.value.code == "bad-limit"
    monkeypatch.setenv("STRONGROOM_REQUESTS", "0.5")
    assert limits_of_environment() == Limits(None, 0.5)
    monkeypatch.setenv("STRONGROOM_BANDWIDTH", "much")
    with pytest.raises(UsageError):
        limits_of_environment()


def test_a_trace_counts_calls_bytes_and_seconds(hours: Hours) -> None:
    """By kind; errors are counted as such and pass."""

    class Slow(MemoryStore):
        def get(self, name: str) -> bytes:
            hours.now += 2
            return super().get(name)

    trace = Trace(hours.clock)
    store = around(Slow(), trace)
    store.put_new("a", b"12345")
    assert store.get("a") == b"12345"
    with pytest.raises(NotFound):
        store.get("absent")
    with store.spool() as spool:
        spool.write(b"123")
        spool.put("b")
    found = {
        kind: (c.calls, c.failed, c.bytes_sent, c.bytes_received, c.seconds, c.longest_s)
        for kind, c in trace.counts.items()
    }
    assert found == {
        "put": (2, 0, 5, 0, 0.0, 0.0),
        "get": (2, 1, 0, 5, 4.0, 2.0),
        "fill": (1, 0, 3, 0, 0.0, 0.0),
    }


@pytest.mark.slow
def test_a_command_shows_what_it_asked(
    repo: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STRONGROOM_TRACE=1: a table on standard error, after an error too; without it nothing."""
    assert command("repo", "info", repo).err == ""
    monkeypatch.setenv("STRONGROOM_TRACE", "1")
    TRACES.clear()
    answer = command("repo", "info", repo, "--json")
    assert answer.document["points"] == 0
    head, *rows = answer.err.splitlines()
    assert head.split() == [str(repo), "calls", "failed", "sent", "received", "seconds", "longest"]
    assert {"get", "list"} <= {row.split()[0] for row in rows}
    wrong = command("browse", repo, "latest")
    assert wrong.code == 1
    assert str(repo) in wrong.err
