"""Calls side by side: results in order, errors at their item, bounded; on this machine one by one."""

import threading
from collections.abc import Callable

import pytest

from engine.errors import NotFound
from repository.blobstore.ahead import ahead
from repository.blobstore.memory import MemoryStore


class FarStore(MemoryStore):
    """Held in memory, used as if it were behind a network."""

    def calls_at_once(self) -> int:
        return 4


def numbers(store: MemoryStore) -> list[str]:
    for number in range(20):
        store.put_new(f"x/{number}", b"%d" % number)
    return [f"x/{number}" for number in range(20)]


@pytest.mark.parametrize("make", [MemoryStore, FarStore])
def test_results_come_in_order_and_errors_at_their_item(make: Callable[[], MemoryStore]) -> None:
    """One that fails leaves the others as they are."""
    store = make()
    names = numbers(store)
    store.delete("x/7")
    found: list[bytes] = []
    for name, take in ahead(store, store.get, names):
        try:
            found.append(take())
        except NotFound:
            found.append(b"absent")
            assert name == "x/7"
    assert found == [b"absent" if n == 7 else b"%d" % n for n in range(20)]


def test_a_far_store_is_asked_side_by_side() -> None:
    """Four calls wait for each other, so four run at once."""
    meet = threading.Barrier(4, timeout=60)
    results = [take() for _, take in ahead(FarStore(), lambda _: meet.wait(), range(8))]
    assert sorted(results) == sorted([0, 1, 2, 3] * 2)


def test_a_near_store_is_asked_when_the_result_is() -> None:
    """Nothing runs ahead, so faults and traces keep their order; what is not taken is not done."""
    asked: list[int] = []
    for number, take in ahead(MemoryStore(), asked.append, range(5)):
        if number % 2:
            take()
    assert asked == [1, 3]
