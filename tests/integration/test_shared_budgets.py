"""Two proxies of one tenant against the emulator's throttle, over a real NATS: the ledger of broken rules stays empty."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.bus import ProxyBus
from proxy.graph.budget import SITES, BudgetLimits, Scope
from proxy.graph.budget_store import BudgetStore
from proxy.graph.client import Call
from proxy.graph.errors import GraphError
from proxy.graph.service import GraphService
from proxy.graph.settings import parse_organization
from proxy.shared_budgets import SharedBudgets
from server.bus.connection import Bus
from tests.contract.test_shared_budgets import account
from tests.fixtures.emulator import StartEmulator
from tests.fixtures.servers import running_nats
from tests.unit.proxy.lab import add_user
from tools.emulator import Emulator

pytestmark = pytest.mark.slow

RATE = 10.0  # a minute of the service takes 6 s, and so do its pauses
GRACE_S = 1.5  # what was on the wire when the answer came; a loaded machine needs a second
WORK_S, PATIENCE_S = 13.0, 50.0
# More than the service allows, so that only its pauses hold us.
GREEDY = BudgetLimits(site_units_per_minute=6_000, mailbox_requests=1_000_000)


@asynccontextmanager
async def proxies(folder: Path) -> AsyncIterator[list[SharedBudgets]]:
    """Two connections with a proxy's rights each."""
    async with contextlib.AsyncExitStack() as stack:
        server, process = stack.enter_context(running_nats(folder))
        async with Bus.opened(server.server_url) as bus:
            await bus.ensure(["default"])
        documents = [account(server, name) for name in ("one", "two")]
        assert process.process is not None
        process.process.send_signal(signal.SIGHUP)
        buses = [await stack.enter_async_context(ProxyBus.opened(each)) for each in documents]
        yield [SharedBudgets(each) for each in buses]


async def _read(
    emulator: Emulator,
    budgets: BudgetStore | None,
    calls: list[Call],
    limits: BudgetLimits,
    least: int,
) -> None:
    """
    Call again and again, four at a time; the pauses are kept or not, the ledger says it.

    For WORK_S, and on a slow machine until `least` answers came, at most PATIENCE_S.
    """
    settings = parse_organization({**emulator.org, "page_patience_s": "60"})
    async with GraphService(settings, "0", limits=limits, budgets=budgets) as service:

        async def caller(call: Call) -> None:
            client = service.client()
            while True:
                with contextlib.suppress(GraphError):
                    await client.get_json(call)

        callers = [asyncio.create_task(caller(call)) for call in calls * 4]
        await asyncio.sleep(WORK_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S - WORK_S):
                while emulator.ledger.requests(status=200) < least:
                    await asyncio.sleep(0.05)
        for each in callers:
            each.cancel()
        await asyncio.gather(*callers, return_exceptions=True)


def _calls(emulator: Emulator) -> list[Call]:
    upn = add_user(emulator, "ann")
    key = emulator.tenant.user(upn).key
    drive = Call(f"/users/{key}/drive", SITES, "Read a drive")
    folders = Call(f"/users/{key}/mailFolders", Scope.mailbox(key), "List folders")
    return [drive, folders]


def _throttled(ledger: Any) -> int:
    return sum(tally.requests for (_, status), tally in ledger.tallies.items() if status == 429)


async def test_two_proxies_keep_each_others_pauses(emulator: StartEmulator, tmp_path: Path) -> None:
    """Both ask for much more than they get; whoever is told to wait, both wait."""
    emu = await emulator(throttling="tiny", rate=RATE, latency=0.01, grace=GRACE_S)
    calls = _calls(emu)
    async with proxies(tmp_path) as stores:
        await asyncio.gather(*(_read(emu, store, calls, GREEDY, 31) for store in stores))
    assert _throttled(emu.ledger) > 2
    assert emu.ledger.requests(status=200) > 30
    assert not emu.ledger.breaches, emu.ledger.breaches[:5]
    assert max(emu.ledger.peaks.values()) <= 4


async def test_within_the_budget_hardly_anybody_is_told_to_wait(
    emulator: StartEmulator, tmp_path: Path
) -> None:
    """
    Two proxies that know the limits use them up together; at most one burst of four arrives in a window it was not leased for.

    Each with a count of its own: 19 times.
    """
    emu = await emulator(throttling="tiny", latency=0.005)
    calls = _calls(emu)
    limits = BudgetLimits(site_units_per_minute=12, mailbox_requests=100)
    async with proxies(tmp_path) as stores:
        await asyncio.gather(*(_read(emu, store, calls, limits, 96 + 9) for store in stores))
    assert _throttled(emu.ledger) <= 4
    assert emu.ledger.requests(status=200) >= 96 + 9
    assert not emu.ledger.breaches, emu.ledger.breaches[:5]
