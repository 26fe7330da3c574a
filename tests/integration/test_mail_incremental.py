"""Mail that changes while it is read, folders that move, dead tokens, two jobs at once: the right state, nothing needless."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from repository import create_repository
from tests.fixtures.emulator import StartEmulator
from tests.unit.proxy.lab import CHEAP, PASSPHRASE, QUICK, Lab, add_user, mime

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def lab(emulator: StartEmulator, tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(await emulator(), tmp_path)
    yield made
    made.repository.close()


def fill(lab: Lab, name: str = "ann", messages: int = 6) -> str:
    user = add_user(lab.emulator, name, files=False)
    for number in range(messages):
        lab.tenant.add_message(user, "Inbox" if number % 2 else "Projects/Deep", mime(number))
    return user


async def _at_every_moment(
    lab: Lab, user: str, change: Callable[[int], None], *, lost: int = 0
) -> None:
    """
    Sessions with `change` after the first request, the second, ... until a session has no such moment.

    Each must hold every message once (but `lost`, which the change takes away), and the session after it the exact state.
    """
    moment = 0
    while True:
        moment += 1
        before = set(lab.mail_ids((await lab.backup(user, workloads=["mail"])).point))
        came = lab.after_request(moment, lambda moment=moment: change(moment))  # type: ignore[misc]
        found = lab.mail_ids((await lab.backup(user, workloads=["mail"])).point)
        assert len(found) == len(set(found))
        assert len(before - set(found)) <= lost, f"lost when it changed after request {moment}"
        if not came():
            break
    assert moment > 10
    result = await lab.backup(user, workloads=["mail"])
    assert lab.state(result.point) == lab.expected(user)
    lab.assert_no_breach()


async def test_a_message_moved_at_any_moment_of_the_rounds_is_neither_lost_nor_doubled(
    lab: Lab,
) -> None:
    """The removal rule: what left one folder counts as removed only after all rounds, and by a look at the id."""
    user = fill(lab)
    wanderer = lab.tenant.add_message(user, "Inbox", mime(99)).key
    places = ("Projects/Deep", "Inbox", "Archive")
    await lab.backup(user, workloads=["mail"])
    lab.ledger.clear()

    def move(moment: int) -> None:
        lab.tenant.move_message(user, wanderer, places[moment % 3])

    await _at_every_moment(lab, user, move)
    assert lab.content_reads() == 0  # a move changes no content


async def test_without_change_tracking_a_message_moved_at_any_moment_is_kept(lab: Lab) -> None:
    """Folders that are listed because they have no feed keep the removal rule (lesson 33)."""
    user = fill(lab, messages=2)
    wanderer = lab.tenant.add_message(user, "Inbox", mime(99)).key
    await lab.backup(user, workloads=["mail"])
    paths = ("/users/*/mailFolders/*/messages/delta", "/users/*/mailFolders/delta")
    no_feed = {"status": 400, "code": "ErrorInvalidUrlQuery"}
    lab.emulator.controls.script([{"when": {"path": path}, "do": no_feed} for path in paths])
    lab.ledger.clear()

    def move(moment: int) -> None:
        lab.tenant.move_message(user, wanderer, ["Archive", "Inbox"][moment % 2])

    await _at_every_moment(lab, user, move)
    assert lab.content_reads() == 0


async def test_a_message_that_goes_and_comes_back_within_the_rounds_stays(lab: Lab) -> None:
    user = fill(lab)
    wanderer = lab.tenant.add_message(user, "Inbox", mime(99)).key

    def there_and_back(moment: int) -> None:
        lab.tenant.move_message(user, wanderer, "Archive")
        back = lab.after_request(1 + moment % 3, lambda: home())

        def home() -> None:
            back()
            lab.tenant.move_message(user, wanderer, "Inbox")

    moment = 0
    for moment in range(1, 16):
        came = lab.after_request(moment, lambda moment=moment: there_and_back(moment))  # type: ignore[misc]
        found = lab.mail_ids((await lab.backup(user, workloads=["mail"])).point)
        came()
        assert found.count(wanderer) == 1, moment
    result = await lab.backup(user, workloads=["mail"])
    assert lab.state(result.point) == lab.expected(user)


async def test_a_message_deleted_or_new_at_any_moment_is_right_one_session_later(lab: Lab) -> None:
    user = fill(lab, messages=4)

    def churn(moment: int) -> None:
        oldest = next(iter(lab.tenant.mailbox(user).messages()))
        lab.tenant.delete_message(user, oldest.key)
        lab.tenant.add_message(user, "Inbox" if moment % 2 else "Archive", mime(1000 + moment))

    await _at_every_moment(lab, user, churn, lost=1)


async def test_folders_moved_renamed_and_deleted_at_any_moment_keep_their_messages(
    lab: Lab,
) -> None:
    """Lessons 41-43, 50: a folder that changes comes alone; what is in it follows by id."""
    user = fill(lab)

    def rename(moment: int) -> None:
        mailbox = lab.tenant.mailbox(user)
        deep = next(f for f in mailbox.folders.values() if f.name.startswith("Deep"))
        lab.tenant.rename_mail_folder(user, deep.path, f"Deep {moment}")
        lab.tenant.add_mail_folder(user, f"Fresh {moment}/Below")
        if moment > 1:
            lab.tenant.delete_mail_folder(user, f"Fresh {moment - 1}")

    await _at_every_moment(lab, user, rename)


async def test_a_folder_made_anew_under_its_old_name_does_not_get_old_messages(lab: Lab) -> None:
    """Lesson 43: the id counts, not the path."""
    user = fill(lab)
    await lab.backup(user, workloads=["mail"])
    lab.tenant.delete_mail_folder(user, "Projects")
    lab.tenant.add_message(user, "Projects/Deep", mime(500))
    result = await lab.backup(user, workloads=["mail"])
    assert lab.state(result.point) == lab.expected(user)


async def test_an_unchanged_mailbox_costs_one_request_a_folder_and_a_few(lab: Lab) -> None:
    user = fill(lab)
    for number in range(12):
        lab.tenant.add_message(user, f"Years/{2000 + number}/Letters", mime(100 + number))
    first = await lab.backup(user, workloads=["mail"])
    folders = sum(row.kind == "container" for row in lab.rows(first.point))
    assert folders > 30
    second = await lab.backup(user, workloads=["mail"])
    counters = second.tasks[0].counters
    assert counters.requests <= folders + 10
    assert (counters.items_stored, counters.bytes_read) == (0, 0)


async def test_a_hidden_folder_is_found_even_if_the_feed_of_folders_does_not_tell(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feed of folders is a hint: every so many sessions all folders are listed whatever it says."""
    monkeypatch.setattr("proxy.workloads.mail_tree.SESSIONS_TRUSTED", 2)
    user = fill(lab)
    await lab.backup(user, workloads=["mail"])
    mailbox = lab.tenant.mailbox(user)
    with monkeypatch.context() as silent:
        silent.setattr(mailbox.folder_log, "record", lambda *_, **__: None)
        mailbox.add_folder(mailbox.root, "Hidden", hidden=True)
    for session in range(3):
        result = await lab.backup(user, workloads=["mail"])
        assert (lab.state(result.point) == lab.expected(user)) is (session == 2)


async def test_dead_links_in_the_middle_of_a_round_cost_pages_and_no_content(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 31: dead delta and next links (410) begin the folder afresh; lesson 32: deletions are not lost."""
    monkeypatch.setattr("proxy.workloads.mail.PAGE_ITEMS", 5)
    user = fill(lab, messages=60)
    await lab.backup(user, workloads=["mail"])
    gone = list(lab.tenant.mailbox(user).messages())[:3]
    for message in gone:
        lab.tenant.delete_message(user, message.key)
    lab.ledger.clear()
    lab.tenant.kill_delta_tokens()
    for moment in (12, 15, 18):
        lab.after_request(moment, lambda: lab.tenant.kill_delta_tokens())
    result = await lab.backup(user, workloads=["mail"])
    assert lab.state(result.point) == lab.expected(user)
    assert lab.content_reads() == 0
    lab.assert_no_breach()


async def test_two_jobs_with_two_repositories_do_not_spoil_each_others_mailbox(
    lab: Lab, tmp_path: Path
) -> None:
    """
    Two jobs at once on one mailbox: together they keep its limits (one budget), and both hold everything.

    The service keeps few states of a folder, so each job kills the other's tokens: pages are read again, no content.
    """
    user = fill(lab, messages=40)
    lab.emulator.services.latency = 0.005
    other = tmp_path / "other"
    create_repository(str(other), PASSPHRASE, places=lab.places, cost=CHEAP).close()
    async with lab.plane(QUICK) as plane:
        for session in range(5):
            tasks = [lab.task("backup", user, workload="mail", session=f"s{session}") for _ in "ab"]
            tasks[1].task = msgspec.structs.replace(tasks[1].task, repository_url=str(other))
            lab.ledger.clear()
            await asyncio.gather(*(plane.run_task(one.task, one) for one in tasks))
            assert lab.content_reads() == (80 if session == 0 else 2)
            for one in tasks:
                finished = one.of("finished")[-1]
                assert finished.result == "success"
                assert finished.counters is not None
                assert finished.counters.items_total == 40 + session
            assert 1 < lab.ledger.peaks[lab.tenant.user(user).key] <= 4
            lab.assert_no_breach()
            lab.tenant.add_message(user, "Inbox", mime(900 + session))


async def test_two_jobs_in_one_repository_store_nothing_twice(lab: Lab) -> None:
    user = fill(lab, messages=20)
    async with lab.plane(QUICK) as plane:
        for _ in range(2):
            tasks = [lab.task("backup", user, workload="mail") for _ in "ab"]
            await asyncio.gather(*(plane.run_task(one.task, one) for one in tasks))
            totals = [one.of("finished")[-1].counters for one in tasks]
            assert [c.items_total for c in totals if c is not None] == [20, 20]
    lab.repository.refresh()
    result = await lab.backup(user, workloads=["mail"])
    assert lab.state(result.point) == lab.expected(user)
    assert result.tasks[0].counters.items_stored == 0
