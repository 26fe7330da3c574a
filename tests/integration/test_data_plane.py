"""Backup of an emulated tenant into a real repository: everything is there, and only what changed is read."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fixtures.emulator import StartEmulator
from tests.unit.proxy.lab import Lab, add_user, mime

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def lab(emulator: StartEmulator, tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(await emulator(), tmp_path)
    yield made
    made.repository.close()


def fill(lab: Lab, name: str) -> str:
    user = add_user(lab.emulator, name)
    tenant = lab.tenant
    for number in range(30):
        tenant.add_message(user, "Inbox" if number % 2 else "Projects/2026/Q4", mime(number))
    tenant.add_message(user, "Conversation History", mime(90))
    tenant.add_mail_folder(user, "Empty/Emptier")
    tenant.put_file(user, "Documents/Plan.docx", b"plan" * 5000)
    tenant.put_file(user, "Documents/empty.txt", b"")
    tenant.put_file(user, "Pictures/large.bin", bytes(range(256)) * 40_000)
    tenant.add_drive_folder(user, "Nothing here")
    return user


async def test_full_backup_holds_every_byte_and_an_unchanged_tenant_is_not_read_again(
    lab: Lab,
) -> None:
    fill(lab, "ann")
    fill(lab, "carl")
    add_user(lab.emulator, "nobody", mail=False, files=False)
    first = await lab.backup()
    assert not first.failed
    assert lab.state(first.point) == lab.expected()
    outcomes = {(o.name, o.cause) for task in first.tasks for o in task.outcomes}
    assert outcomes == {(f"nobody@{lab.tenant.domain}", "service-not-provisioned")}
    assert not first.warned
    read = lab.content_reads()
    assert read == 2 * 31 + 2 * 3

    lab.ledger.clear()
    second = await lab.backup()
    assert lab.content_reads() == 0
    assert sum(task.counters.items_stored for task in second.tasks) == 0
    assert lab.state(second.point) == lab.expected()
    lab.assert_no_breach()


async def test_incremental_reads_what_changed_and_removes_what_is_gone(lab: Lab) -> None:
    user = fill(lab, "ann")
    await lab.backup()
    tenant, mailbox = lab.tenant, lab.tenant.mailbox(user)
    messages = list(mailbox.messages())
    tenant.add_message(user, "Inbox", mime(200))
    tenant.move_message(user, messages[0].key, "Archive")
    tenant.delete_message(user, messages[1].key)
    tenant.delete_mail_folder(user, "Empty")
    tenant.rename_mail_folder(user, "Projects", "Old projects")
    tenant.put_file(user, "Documents/Plan.docx", b"another plan")
    tenant.move_file(user, "Pictures", "Photos")
    tenant.move_file(user, "Documents/empty.txt", "Nothing here/full.txt")
    lab.ledger.clear()
    result = await lab.backup()
    assert lab.state(result.point) == lab.expected()
    assert lab.content_reads() <= 3  # the new message, the moved one, the new plan
    lab.ledger.clear()
    tenant.delete_file(user, "Photos")
    result = await lab.backup()
    assert lab.state(result.point) == lab.expected()
    assert lab.content_reads() == 0
    lab.assert_no_breach()


async def test_read_state_changes_the_row_only(lab: Lab) -> None:
    user = add_user(lab.emulator, "ann", files=False)
    message = lab.tenant.add_message(user, "Inbox", mime(1))
    await lab.backup(user)
    lab.tenant.mark_read(user, message.key, is_read=True)
    result = await lab.backup(user)
    assert result.point is not None
    entry = lab.repository.entries.get(result.point.entries[0].entry)
    row = lab.repository.catalog(entry).get(message.key.encode())
    assert row is not None
    assert b'"isRead":true' in row.meta
    assert lab.state(result.point) == lab.expected(user)


async def test_dead_tokens_cost_pages_but_lose_no_deletion(lab: Lab) -> None:
    user = fill(lab, "ann")
    await lab.backup()
    lab.tenant.delete_message(user, next(iter(lab.tenant.mailbox(user).messages())).key)
    lab.tenant.delete_mail_folder(user, "Projects")
    lab.tenant.delete_file(user, "Documents/Plan.docx")
    lab.tenant.add_message(user, "Inbox", mime(300))
    lab.tenant.kill_delta_tokens()
    lab.ledger.clear()
    result = await lab.backup()
    assert lab.state(result.point) == lab.expected()
    assert lab.content_reads() == 1
    lab.assert_no_breach()


async def test_a_drive_or_mailbox_that_goes_takes_its_rows_along(lab: Lab) -> None:
    user = fill(lab, "ann")
    await lab.backup()
    account = lab.tenant.user(user)
    account.drive = None
    result = await lab.backup(workloads=["drives"])
    state = lab.state(result.point)[user]
    assert (state["drive"], state["folders"]) == ({}, set())


async def test_the_repository_can_be_read_by_another_process(lab: Lab) -> None:
    fill(lab, "ann")
    await lab.backup()
    point = lab.reopened().point("latest")
    assert lab.state(point) == lab.expected()
    assert lab.repository.verify("read").ok


async def test_users_asked_for_by_name(lab: Lab) -> None:
    ann = fill(lab, "ann")
    fill(lab, "carl")
    result = await lab.backup(ann, "stranger@example.com")
    assert lab.state(result.point) == lab.expected(ann)
    assert [outcome.item for outcome in result.missing] == ["stranger@example.com"]
    assert result.warned
