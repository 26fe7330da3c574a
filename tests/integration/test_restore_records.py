"""Calendars, contacts and tasks restored into the emulated tenant: the same again, and nobody hears of it."""

import pytest

from proxy.restore.session import RestoreResult
from tests.fixtures.record_truth import differences, record_truth, wipe_records
from tests.fixtures.records import backup, fill, lab
from tests.unit.proxy.lab import Lab

pytestmark = pytest.mark.slow
__all__ = ["lab"]

# What items made from their members cannot have again (docs/fidelity.md).
EXCEPTIONS = {
    "calendar": frozenset({"attendees", "body", "organizer", "responseStatus", "iCalUId", "uid"}),
    "tasks": frozenset({"completedDateTime"}),
}


def sums(result: RestoreResult) -> dict[str, int]:
    total: dict[str, int] = {}
    for entry in result.entries:
        assert not entry.error_code, (entry.error_code, entry.error)
        for action, count in entry.done.items():
            total[action] = total.get(action, 0) + count
    return total


async def test_backup_wipe_restore_gives_the_same_state(lab: Lab) -> None:
    """Series with exceptions and cancellations, photos, steps, links, attachments; the outbox stays empty."""
    user, _ = fill(lab)
    before = record_truth(lab.tenant, user, EXCEPTIONS)
    point = (await backup(lab, user)).point
    wipe_records(lab.tenant, user)
    lab.ledger.clear()
    result = await lab.restore(point)
    print([(o.name, o.cause, o.detail) for e in result.entries for o in e.outcomes])
    found = differences(before, record_truth(lab.tenant, user, EXCEPTIONS))
    print("\n".join(found))
    assert not found
    assert sums(result) == {"create": 4 + 4 + 2}
    assert not lab.tenant.outbox
    again = await lab.restore(point)
    assert sums(again) == {"skip": 10}
    lab.assert_no_breach()
