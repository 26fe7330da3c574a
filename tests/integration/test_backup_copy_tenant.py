"""Backup copy of a tenant: mail and drives as in the original, and the next backup goes on in the copy."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from repository import create_repository
from repository.copying import copy_points
from repository.copying_check import check_copy
from repository.copying_plan import Selection, plan_copy
from tests.fixtures.emulator import StartEmulator
from tests.fixtures.repositories import CHEAP
from tests.unit.proxy.lab import Lab, add_user, mime

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def lab(emulator: StartEmulator, tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(await emulator(), tmp_path)
    yield made
    made.repository.close()


async def test_a_tenant_is_copied_and_backed_up_on_in_the_copy(lab: Lab, tmp_path: Path) -> None:
    """Both restore points hold what the tenant held; the first backup into the copy reads changes alone."""
    users = [add_user(lab.emulator, name) for name in ("ann", "carl")]
    for user in users:
        for number in range(20):
            lab.tenant.add_message(user, "Inbox" if number % 2 else "Projects/Q4", mime(number))
        lab.tenant.put_file(user, "Documents/Plan.docx", b"plan" * 5000)
        lab.tenant.put_file(user, "Pictures/large.bin", bytes(range(256)) * 40_000)
    expected = []
    await lab.backup()
    expected.append(lab.expected())
    lab.tenant.move_file(users[0], "Pictures", "Photos")
    lab.tenant.delete_file(users[1], "Documents/Plan.docx")
    lab.tenant.add_message(users[1], "Inbox", mime(300))
    await lab.backup()
    expected.append(lab.expected())
    original = lab.repository
    copy = create_repository(
        str(tmp_path / "copy"), "another battery staple", places=lab.places, cost=CHEAP
    )
    report = copy_points(original, copy, plan_copy(original, copy, Selection()))
    assert report.problems == []
    assert check_copy(original, copy, [point.id for point in original.points()]).problems == []
    original.close()
    lab.repository = copy
    assert [lab.state(point) for point in copy.points()] == expected
    lab.ledger.clear()
    lab.tenant.add_message(users[0], "Inbox", mime(301))
    result = await lab.backup()
    assert lab.content_reads() == 1
    assert lab.state(result.point) == lab.expected()
    assert copy.verify("read").problems == []
