"""A restore in whose middle Microsoft 365 goes away or a right is taken: it says so, and the next one goes on."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.manifest import PointForm
from proxy.contract import Selection, Workload
from proxy.restore.session import RestoreResult
from tests.fixtures.emulator import StartEmulator
from tests.fixtures.mail_truth import differing, mail_truth, wipe_mail
from tests.fixtures.record_truth import differences, record_truth, wipe_records
from tests.fixtures.records import fill, single
from tests.unit.proxy.lab import Lab, mime
from tools.emulator.options import RESTORE_ROLES

pytestmark = pytest.mark.slow

# What items made from their parts cannot have again (docs/fidelity.md).
MAIL = frozenset({"createdDateTime", "headers", "mime", "bodyPreview"})
RECORDS = {
    "calendar": frozenset({"attendees", "body", "organizer", "responseStatus", "iCalUId", "uid"}),
    "tasks": frozenset({"completedDateTime"}),
}
MORE = 12  # of each kind beside what `fill` makes
ITEMS = MORE + 4 + MORE + 4 + MORE + 2 + MORE  # mail, calendar, contacts, tasks
RATE = 1800.0  # half an hour is a second


class Tenant:
    """A user with mail and records, what was there before all of it was wiped, and its restore point."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.user, _ = fill(lab)
        controls = lab.emulator.controls
        for number in range(MORE):
            lab.tenant.add_message(self.user, "Inbox" if number % 2 else "Projects", mime(number))
            controls.add_record(self.user, "calendar", "Calendar", single(f"No {number}"))
            controls.add_record(self.user, "contacts", "Contacts", {"givenName": f"Ada {number}"})
            controls.add_record(self.user, "tasks", "Tasks", {"title": f"Do {number}"})
        self._before = self._truth()
        self._point: PointForm | None = None

    def _truth(self) -> tuple[Any, Any]:
        tenant = self.lab.tenant
        return (
            mail_truth(tenant, self.user, without=MAIL),
            record_truth(tenant, self.user, RECORDS),
        )

    async def back_up_and_wipe(self, policy: str) -> None:
        """With the calendar's mail policy: `full` restores by import, `portable` from parts."""
        selection = Selection(mail_policy="full" if policy == "full" else "portable")
        workloads: list[Workload] = ["mail", "calendar", "contacts", "tasks"]
        result = await self.lab.backup(self.user, workloads=workloads, selection=selection)
        assert not result.warned
        self._point = result.point
        wipe_mail(self.lab.tenant, self.user)
        wipe_records(self.lab.tenant, self.user)
        self.lab.ledger.clear()

    async def restore(self) -> RestoreResult:
        """Everything to where it was, with `copy`: what an earlier run made would be there twice if it were not known."""
        return await self.lab.restore(self._point, collision="copy")

    def assert_whole(self) -> None:
        """Everything is there once, nobody heard of it, no rule was broken."""
        mail, records = self._truth()
        assert not differing(self._before[0], mail)
        assert not differences(self._before[1], records)
        assert not self.lab.tenant.outbox
        self.lab.assert_no_breach()


def written(result: RestoreResult) -> int:
    return sum(
        count for e in result.entries for action, count in e.done.items() if action != "failed"
    )


async def middle(tenant: Tenant) -> int:
    """The number of requests at 55 per cent of a restore: a whole one is made, and wiped."""
    await tenant.restore()
    number = tenant.lab.ledger.requests() * 55 // 100
    wipe_mail(tenant.lab.tenant, tenant.user)
    wipe_records(tenant.lab.tenant, tenant.user)
    tenant.lab.ledger.clear()
    return number


async def ended_in_the_middle(tenant: Tenant, action: Callable[[], object]) -> RestoreResult:
    """A restore in whose middle something happens: it ends by itself, with less than everything, and says so."""
    came = tenant.lab.after_request(await middle(tenant), action)
    result = await tenant.restore()
    assert came()
    assert result.wants_another
    assert 0 < written(result) < ITEMS
    return result


@pytest.mark.parametrize("policy", ["full", "portable"])
async def test_half_an_hour_without_microsoft_365_is_waited_out(
    emulator: StartEmulator, tmp_path: Path, policy: str
) -> None:
    """At 55 per cent everything, sign-in too, is away for 30 minutes of its clock: the restore ends whole."""
    emu = await emulator(rate=RATE, token_life=36_000_000)
    lab = Lab(emu, tmp_path, page_patience_s="60", item_patience_s="9")
    tenant = Tenant(lab)
    await tenant.back_up_and_wipe(policy)
    away = asyncio.Event()

    def go() -> None:
        emu.controls.outage(on=True, entra=True)
        away.set()

    came = lab.after_request(await middle(tenant), go)
    restore = asyncio.create_task(tenant.restore())
    await away.wait()
    until = emu.clock.now() + 1800
    while emu.clock.now() < until:
        await asyncio.sleep(0.05)
    assert came()
    assert not restore.done()
    emu.controls.outage(on=False)
    result = await restore
    assert not result.warned, [(e.label, e.error_code, e.outcomes) for e in result.entries]
    assert written(result) == ITEMS
    tenant.assert_whole()
    lab.repository.close()


@pytest.mark.parametrize("policy", ["full", "portable"])
async def test_an_outage_longer_than_its_patience_ends_it_and_the_next_goes_on(
    emulator: StartEmulator, tmp_path: Path, policy: str
) -> None:
    """What was written is known to the next run, and what was under way is looked for: nothing is there twice."""
    lab = Lab(await emulator(), tmp_path, page_patience_s="0.5", item_patience_s="0.2")
    tenant = Tenant(lab)
    await tenant.back_up_and_wipe(policy)
    controls = lab.emulator.controls
    first = await ended_in_the_middle(tenant, lambda: controls.outage(on=True, entra=True))
    controls.outage(on=False)
    lab.org |= {"page_patience_s": "5", "item_patience_s": "1"}
    second = await tenant.restore()
    assert second.resumed
    assert not second.warned
    assert written(second) <= ITEMS - written(first) + 4  # entries side by side
    tenant.assert_whole()
    lab.repository.close()


@pytest.mark.parametrize("policy", ["full", "portable"])
async def test_a_right_removed_half_way_ends_it_and_with_the_right_the_next_goes_on(
    emulator: StartEmulator, tmp_path: Path, policy: str
) -> None:
    lab = Lab(await emulator(), tmp_path)
    tenant = Tenant(lab)
    await tenant.back_up_and_wipe(policy)
    controls = lab.emulator.controls
    left = ("User.Read.All", "Mail.Read", "MailboxFolder.Read.All")

    def take_away() -> None:
        controls.set_roles([role for role in RESTORE_ROLES if role in left], app="restore")
        controls.revoke_tokens()

    first = await ended_in_the_middle(tenant, take_away)
    causes = {outcome.cause for entry in first.entries for outcome in entry.outcomes}
    assert causes | {entry.error_code for entry in first.entries} <= {"", "graph-denied"}
    controls.set_roles(list(RESTORE_ROLES), app="restore")
    controls.revoke_tokens()
    second = await tenant.restore()
    assert second.resumed
    assert not second.warned
    tenant.assert_whole()
    lab.repository.close()
