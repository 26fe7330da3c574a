"""An unchanged mailbox costs requests by its folders and not by its messages."""

from pathlib import Path

import pytest

from proxy.graph.budget import BudgetLimits
from tests.fixtures.emulator import StartEmulator
from tests.unit.proxy.lab import Lab


async def _unchanged(emulator: StartEmulator, folder: Path, messages: int) -> None:
    lab = Lab(await emulator(recipe=f"huge:{messages}"), folder)
    unlimited = BudgetLimits(mailbox_requests=10**9)  # a real mailbox takes 10,000 in ten minutes
    first = await lab.backup(workloads=["mail"], limits=unlimited)
    rows = lab.rows(first.point)
    assert sum(row.kind == "message" for row in rows) == messages
    folders = sum(row.kind == "container" for row in rows)
    lab.ledger.clear()
    second = await lab.backup(workloads=["mail"])
    counters = second.tasks[0].counters
    assert counters.requests <= folders + 10
    assert (counters.items_stored, counters.items_total, lab.content_reads()) == (0, messages, 0)
    lab.assert_no_breach()
    lab.repository.close()


@pytest.mark.slow
async def test_an_unchanged_mailbox_of_a_thousand_messages(
    emulator: StartEmulator, tmp_path: Path
) -> None:
    """At most one request a folder plus ten, and no content."""
    await _unchanged(emulator, tmp_path, 1_000)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
async def test_an_unchanged_mailbox_of_a_million_messages(
    emulator: StartEmulator, tmp_path: Path
) -> None:
    """The same for a million: the first backup takes half an hour, the second seconds (benchmarks/results)."""
    await _unchanged(emulator, tmp_path, 1_000_000)
