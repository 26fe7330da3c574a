"""The reporter beside a task ends with it, whatever happens to a cancellation below."""

import asyncio
import contextlib

import pytest

from proxy.pipeline import reporter


async def test_it_ends_although_a_cancellation_gets_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """`asyncio.wait_for` of Python 3.11 can swallow a cancellation: the block ends all the same."""
    monkeypatch.setattr(reporter, "EVERY_S", 0.01)
    telling = asyncio.Event()
    told = 0

    async def tell() -> None:
        nonlocal told
        told += 1
        telling.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)

    async with asyncio.timeout(5), reporter.reporting(tell):
        await telling.wait()
    assert told >= 2, "once beside the block and once after it"


async def test_an_error_of_the_block_is_told_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """No group of errors comes out, and what happened up to it is told."""
    monkeypatch.setattr(reporter, "EVERY_S", 0.01)
    told = 0

    async def tell() -> None:
        nonlocal told
        told += 1

    with pytest.raises(ValueError, match="the block"):
        async with reporter.reporting(tell):
            raise ValueError("the block")
    assert told == 1
