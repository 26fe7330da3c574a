"""
Backups and restores under the service's own buckets, on its clock: nobody is told to wait, and little is left unused.

The product's clock jumps with the emulator's where it would wait, so what is said of shares holds on any machine.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from proxy.contract import Selection, Workload
from proxy.graph.budget import BudgetLimits
from proxy.pipeline.standalone import SessionResult
from proxy.restore.session import RestoreResult
from tests.fixtures.emulator import StartEmulator
from tests.fixtures.mail_truth import differing, mail_truth, wipe_mail
from tests.fixtures.record_truth import differences, record_truth, wipe_records
from tests.fixtures.records import fill as fill_records
from tests.unit.proxy.lab import Lab, add_user, mime
from tools.emulator import Emulator
from tools.emulator.throttle import PROFILES
from tools.emulator.usage import Usage
from tools.emulator.waiting import WaitingClock

pytestmark = pytest.mark.slow

SERVICE = PROFILES["tiny"]  # the real limits by a hundred
LIMITS = BudgetLimits(mailbox_requests=100, upload_bytes=1_500_000, directory_units=35)
MESSAGES = 330
SHARE_MIN = 0.94
PORTABLE, FULL = Selection(mail_policy="portable"), Selection(mail_policy="full")
# What a message made from its parts cannot have again (docs/fidelity.md, "Mail without import").
PORTABLE_EXCEPTIONS = frozenset({"createdDateTime", "headers", "mime", "bodyPreview"})


class Throttled(Lab):
    """A tenant whose buckets are on, and a client whose clock jumps with its."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        super().__init__(emulator, folder, item_patience_s="60", page_patience_s="60")
        self.usage = Usage()
        self.usage.watch(emulator)

    def clock(self) -> WaitingClock:
        """For one session."""

        async def advance(seconds: float) -> None:
            self.emulator.clock.advance(seconds)

        return WaitingClock(advance)

    def afresh(self) -> None:
        """As if nothing had been asked so far: buckets are full."""
        self.emulator.clock.advance(2 * SERVICE.mailbox_window)
        self.usage.passed.clear()

    async def read(
        self, *users: str, selection: Selection, workloads: list[Workload]
    ) -> SessionResult:
        self.afresh()
        return await self.backup(
            *users, workloads=workloads, selection=selection, limits=LIMITS, clock=self.clock()
        )

    async def write(self, result: SessionResult) -> RestoreResult:
        self.afresh()
        return await self.restore(result.point, limits=LIMITS, clock=self.clock())

    def share(self) -> float:
        """What the session used of the mailboxes' windows."""
        return self.usage.share(SERVICE.mailbox_requests or 0, SERVICE.mailbox_window)

    def assert_kept(self) -> None:
        """The service's rules were kept and nobody had to be told to wait: the limits are known, so nothing is probed."""
        self.assert_no_breach()
        assert self.usage.refused == 0


@pytest_asyncio.fixture
async def lab(emulator: StartEmulator, tmp_path: Path) -> AsyncIterator[Throttled]:
    made = Throttled(await emulator(throttling="tiny"), tmp_path)
    yield made
    made.repository.close()


def fill(lab: Lab, name: str, messages: int) -> str:
    user = add_user(lab.emulator, name, files=False)
    for number in range(messages):
        lab.tenant.add_message(user, "Inbox" if number % 2 else "Projects", mime(number))
    return user


async def test_one_mailbox_there_and_back(lab: Throttled) -> None:
    """Portable: a request a message to read, more to write. The state is right, 94 % of the windows are used."""
    user = fill(lab, "ann", MESSAGES)
    before = mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS)
    result = await lab.read(user, selection=PORTABLE, workloads=["mail"])
    assert lab.state(result.point) == lab.expected(user)
    assert lab.share() >= SHARE_MIN
    wipe_mail(lab.tenant, user)
    restored = await lab.write(result)
    assert not restored.warned
    assert not differing(before, mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS))
    assert lab.share() >= SHARE_MIN
    lab.assert_kept()


async def test_several_mailboxes_and_all_workloads_there_and_back(lab: Throttled) -> None:
    """With export and import, bytes sent into mailboxes are counted too; all workloads of a mailbox pay from one bucket."""
    users = [fill(lab, name, MESSAGES // 3) for name in ("ann", "bob", "carl")]
    users.append(fill_records(lab, "dora")[0])
    whole = {"tasks": frozenset({"completedDateTime"})}
    before = {user: mail_truth(lab.tenant, user) for user in users}
    records = {user: record_truth(lab.tenant, user, whole) for user in users}
    result = await lab.read(
        *users, selection=FULL, workloads=["mail", "calendar", "contacts", "tasks"]
    )
    assert not result.warned
    for user in users:
        wipe_mail(lab.tenant, user)
        wipe_records(lab.tenant, user)
    restored = await lab.write(result)
    assert not restored.warned
    for user in users:
        assert not differing(before[user], mail_truth(lab.tenant, user))
        assert not differences(records[user], record_truth(lab.tenant, user, whole))
    assert len(lab.usage.passed) == len(users)
    assert max(lab.ledger.peaks.values()) <= 4
    lab.assert_kept()


async def test_who_does_not_know_the_limits_learns_them_from_few_refusals(lab: Throttled) -> None:
    """A product that believes in ten times the window is told off once a window, and never calls while it is."""
    user = fill(lab, "ann", MESSAGES)
    lab.afresh()
    wrong = BudgetLimits(mailbox_requests=1_000, directory_units=35)
    result = await lab.backup(
        user, workloads=["mail"], selection=PORTABLE, limits=wrong, clock=lab.clock()
    )
    assert lab.state(result.point) == lab.expected(user)
    windows = len(lab.usage.passed[lab.tenant.user(user).key]) // 100
    assert windows >= 3
    assert 0 < lab.usage.refused <= 4 * (windows + 1)  # four calls at once
    assert result.tasks[0].counters.throttled == lab.usage.refused
    lab.assert_no_breach()
