"""Every real calendar and contact of the shared data through the emulated tenant into a restore point."""

from pathlib import Path

import pytest

from tests.fixtures.emulator import StartEmulator
from tests.fixtures.records import WORKLOADS, assert_kept
from tests.unit.proxy.lab import Lab

pytestmark = pytest.mark.slow


async def test_real_calendars_and_contacts_are_kept_member_for_member(
    emulator: StartEmulator, shared_agenda: Path, tmp_path: Path
) -> None:
    """Odd rules, zones, times and texts included; an unchanged mailbox is not read again."""
    lab = Lab(await emulator(content=shared_agenda), tmp_path)
    first = await lab.backup(workloads=WORKLOADS)
    assert not first.warned
    stored = {task.workload: task.counters.items_stored for task in first.tasks}
    assert stored["calendar"] > 1000
    assert stored["contacts"] > 50
    assert_kept(lab, first)
    second = await lab.backup(workloads=WORKLOADS)
    assert sum(task.counters.items_stored for task in second.tasks) == 0
    lab.repository.close()
