"""Calls of a store side by side, where each of them costs a round trip."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from repository.ambient import cores
from repository.blobstore.protocol import BlobStore

WAITING_THREADS_MAX = 8

A = TypeVar("A")
R = TypeVar("R")


def ahead(
    store: BlobStore, act: Callable[[A], R], items: Iterable[A]
) -> Iterator[tuple[A, Callable[[], R]]]:
    """
    Each item, in order, with what gives the result of `act` for it, or raises what it raised.

    With a store behind a network some items that follow are under way already; with one on this machine `act` runs when its
    result is asked for.
    """
    at_once = store.calls_at_once()
    if at_once == 1:
        for item in items:
            yield item, partial(act, item)
        return
    threads = ThreadPoolExecutor(at_once, "ahead")
    try:
        under_way = deque[tuple[A, Callable[[], R]]]()
        for item in items:
            under_way.append((item, threads.submit(act, item).result))
            if len(under_way) > at_once:
                yield under_way.popleft()
        yield from under_way
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def workers(store: BlobStore) -> int:
    """Threads that pay off where each reads and computes: one that waits for a network leaves its core to another."""
    return max(cores(), min(store.calls_at_once(), WAITING_THREADS_MAX))
