"""What is covered: users by name, group and filter; folders and dates of their data, in backups, restores and exports."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from engine.manifest import PointForm
from proxy.contract import Selection
from proxy.graph.service import GraphService
from proxy.pipeline.export import export_point
from proxy.workloads.users import discover_users
from tests.fixtures.emulator import StartEmulator
from tests.fixtures.records import WORKLOADS, at, single, weekly
from tests.unit.proxy.lab import Lab, add_user, mime

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def lab(emulator: StartEmulator, tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(await emulator(), tmp_path)
    yield made
    made.repository.close()


def deliver(lab: Lab, user: str, folder: str, number: int, received: str) -> str:
    message = lab.tenant.add_message(user, folder, mime(number))
    message.received = datetime.fromisoformat(received).replace(tzinfo=UTC).timestamp()
    return message.key


async def test_users_by_name_group_and_filter_are_found_once_and_some_are_left_out(
    lab: Lab,
) -> None:
    ann, ben, cleo, dora = (
        add_user(lab.emulator, n, files=False) for n in ("ann", "ben", "cleo", "dora")
    )
    lab.emulator.controls.add_group("Inner", [cleo])
    lab.emulator.controls.add_group("Outer circle", [ben, "Inner"])
    lab.tenant.user(dora).profile["department"] = "Legal"
    asked = [
        ([], Selection(groups=["Outer circle"]), {ben, cleo}),
        ([], Selection(groups=[f"inner@{lab.tenant.domain}"]), {cleo}),
        ([ann, cleo], Selection(groups=["Inner"]), {ann, cleo}),
        ([], Selection(filter="department eq 'Legal'"), {dora}),
        ([ann], Selection(filter="department eq 'Legal'", without_users=[ann.upper()]), {dora}),
    ]
    async with GraphService(lab.settings, "test") as service:
        for users, selection, wanted in asked:
            found, missing = await discover_users(service.client(), users, selection)
            assert ({user.name for user in found}, missing) == (wanted, [])
            assert len(found) == len(wanted)
        everybody, _ = await discover_users(service.client(), [], Selection(without_users=[ann]))
        assert ann not in {user.name for user in everybody}
        assert {ben, cleo, dora} <= {user.name for user in everybody}
        found, missing = await discover_users(service.client(), [], Selection(groups=["Nobody's"]))
        assert (found, [one.name for one in missing]) == ([], ["Nobody's"])
    lab.assert_no_breach()


@pytest.mark.parametrize("purpose", ["shared", "room", "equipment"])
async def test_mailboxes_that_nobody_signs_in_to_are_backed_up_like_others(
    lab: Lab, purpose: str
) -> None:
    """Their accounts are disabled and have no drive, which is nobody's failure; what they are is kept."""
    user = add_user(lab.emulator, purpose, files=False)
    lab.tenant.user(user).profile["accountEnabled"] = False
    lab.tenant.mailbox(user).settings.settings["userPurpose"] = purpose
    kept = deliver(lab, user, "Inbox", 1, "2026-11-02")
    booked = lab.emulator.controls.add_record(user, "calendar", "Calendar", single("Booked"))["id"]
    everybody = await lab.backup(workloads=["mail", "calendar", "drives"])
    assert everybody.point
    assert not everybody.warned
    result = await lab.backup(user, workloads=["mail", "calendar", "drives"])
    assert lab.mail_ids(result.point) == [kept]
    assert booked.encode() in {row.id for row in lab.rows(result.point, "calendar")}
    inbox = next(row for row in lab.rows(result.point) if b'"wellKnown":"inbox"' in row.meta)
    settings = next(part for part in inbox.parts if part.role == "settings")
    assert f'"userPurpose":"{purpose}"'.encode() in lab.repository.read_all(settings)
    lab.assert_no_breach()


async def test_folders_and_dates_decide_what_is_read_and_what_stays(lab: Lab) -> None:
    user = add_user(lab.emulator, "ann", files=False)
    tenant = lab.tenant
    wanted = deliver(lab, user, "Projects/2026/Q4", 1, "2026-11-02")
    old = deliver(lab, user, "Projects/2026/Q4", 2, "2025-11-02")
    other = deliver(lab, user, "Inbox", 3, "2026-11-02")
    selection = Selection(folders=["projects/20*"], received_from="2026-01-01")

    first = await lab.backup(user, workloads=["mail"], selection=selection)
    assert lab.mail_ids(first.point) == [wanted]
    names = {row.name for row in lab.rows(first.point) if row.kind == "container"}
    assert names == {b"Projects", b"2026", b"Q4"}
    assert lab.content_reads() == 1

    # Out of what is covered and back into it, unlike a deletion, costs one look and nothing else.
    tenant.move_message(user, wanted, "Inbox")
    gone = await lab.backup(user, workloads=["mail"], selection=selection)
    assert lab.mail_ids(gone.point) == []
    tenant.rename_mail_folder(user, "Projects", "Finished")
    tenant.move_message(user, other, "Finished/2026")
    gone = await lab.backup(user, workloads=["mail"], selection=selection)
    assert [row.kind for row in lab.rows(gone.point)] == []
    tenant.rename_mail_folder(user, "Finished", "Projects")
    back = await lab.backup(user, workloads=["mail"], selection=selection)
    assert lab.mail_ids(back.point) == [other]

    # Another selection: everything is looked at again, what is known is not read again.
    lab.ledger.clear()
    wider = await lab.backup(user, workloads=["mail"])
    assert lab.mail_ids(wider.point) == sorted([wanted, old, other])
    assert lab.state(wider.point) == lab.expected(user)
    assert lab.content_reads() == 2
    narrow = await lab.backup(
        user, workloads=["mail"], selection=Selection(received_until="2026-01-01")
    )
    assert lab.mail_ids(narrow.point) == [old]
    lab.assert_no_breach()


async def test_recoverable_items_are_read_when_they_are_wanted(lab: Lab) -> None:
    user = add_user(lab.emulator, "ann", files=False)
    mailbox = lab.tenant.mailbox(user)
    message = lab.tenant.add_message(user, "Inbox", mime(1))
    mailbox.move(message, mailbox.folder("recoverableitemsdeletions"), at=lab.emulator.clock.now())
    plain = await lab.backup(user, workloads=["mail"])
    assert lab.mail_ids(plain.point) == []
    chosen = Selection(recoverable_items=True)
    for _ in range(2):
        whole = await lab.backup(user, workloads=["mail"], selection=chosen)
        assert lab.mail_ids(whole.point) == [message.key]
    again = await lab.backup(user, workloads=["mail"])
    assert lab.mail_ids(again.point) == []
    lab.assert_no_breach()


async def test_well_known_names_are_kept_whatever_folders_are_called(lab: Lab) -> None:
    """Lesson 98: names are translated and can be changed; a restore finds folders by what they are."""
    user = add_user(lab.emulator, "ann", files=False)
    lab.tenant.rename_mail_folder(user, "Inbox", "Posteingang")
    result = await lab.backup(user, workloads=["mail"])
    known = {row.name: row.meta for row in lab.rows(result.point) if b"wellKnown" in row.meta}
    assert b'"wellKnown":"inbox"' in known[b"Posteingang"]
    assert len(known) == 8


def fill_agenda(lab: Lab) -> str:
    """Two calendars, lists and folders with something old and something new in each."""
    user = add_user(lab.emulator, "ann", files=False)
    controls = lab.emulator.controls
    controls.add_container(user, "calendar", "Team")
    controls.add_container(user, "tasks", "Garden")
    controls.add_container(user, "contacts", "Friends")
    for place in ("Calendar", "Team"):
        for year in ("2024", "2026"):
            controls.add_record(user, "calendar", place, single(f"{place} {year}", f"{year}-05-04"))
    controls.add_record(user, "calendar", "Team", weekly("Team series"))
    for place in ("Tasks", "Garden"):
        controls.add_record(user, "tasks", place, {"title": f"{place} whenever"})
        for year in ("2024", "2026"):
            task = {"title": f"{place} {year}", "dueDateTime": at(f"{year}-05-04", 0)}
            controls.add_record(user, "tasks", place, task)
    for place in ("Contacts", "Friends"):
        controls.add_record(user, "contacts", place, {"givenName": place})
    return user


def names(lab: Lab, point: PointForm | None, kind: str = "") -> set[str]:
    """Of all items of calendars, contacts and tasks; of containers with that kind."""
    rows = [row for workload in WORKLOADS for row in lab.rows(point, workload)]
    return {r.name.decode() for r in rows if (r.kind == "container") is (kind == "container")}


CHOSEN = Selection(
    folders=["calendar:team", "contacts:@contacts/Friends"],
    without_folders=["tasks:@defaultList"],
    dated_from="2026-01-01",
)
COVERED = {"Team 2026", "Team series", "Garden whenever", "Garden 2026", "Friends"}


async def test_calendars_contacts_and_tasks_by_folder_and_date(lab: Lab) -> None:
    """Another selection takes and leaves what differs; what is known is not read again; nothing is asked for twice."""
    user = fill_agenda(lab)
    whole = await lab.backup(user, workloads=WORKLOADS)
    everything = names(lab, whole.point)
    lab.ledger.clear()
    narrow = await lab.backup(user, workloads=WORKLOADS, selection=CHOSEN)
    assert names(lab, narrow.point) == COVERED
    assert names(lab, narrow.point, "container") == {
        "Team",
        "Contacts",
        "Friends",
        "Garden",
        "Flagged Emails",
    }
    assert not lab.ledger.requests("/users/{user}/events/{event}")
    again = await lab.backup(user, workloads=WORKLOADS, selection=CHOSEN)
    assert names(lab, again.point) == COVERED
    assert sum(task.counters.items_stored for task in again.tasks) == 0
    wide = await lab.backup(user, workloads=WORKLOADS)
    assert names(lab, wide.point) == everything
    lab.assert_no_breach()


async def test_what_leaves_the_covered_folders_or_dates_leaves_the_backup(lab: Lab) -> None:
    """It is in the service still; back in, it is back."""
    user = fill_agenda(lab)
    controls = lab.emulator.controls
    event = controls.add_record(user, "calendar", "Team", single("Mover", "2026-06-01"))["id"]
    first = await lab.backup(user, workloads=WORKLOADS, selection=CHOSEN)
    assert "Mover" in names(lab, first.point)
    controls.change_record(user, "calendar", event, single("Mover", "2025-06-01"))
    assert "Mover" not in names(
        lab, (await lab.backup(user, workloads=WORKLOADS, selection=CHOSEN)).point
    )
    controls.change_record(user, "calendar", event, single("Mover", "2026-06-01"))
    assert "Mover" in names(
        lab, (await lab.backup(user, workloads=WORKLOADS, selection=CHOSEN)).point
    )
    controls.move_record(user, "calendar", event, "Calendar")
    assert "Mover" not in names(
        lab, (await lab.backup(user, workloads=WORKLOADS, selection=CHOSEN)).point
    )
    lab.assert_no_breach()


async def test_the_same_words_restore_and_export_the_same(lab: Lab, tmp_path: Path) -> None:
    """A restore point of everything gives what the selection covers, and no more; mail by its dates."""
    user = fill_agenda(lab)
    new = deliver(lab, user, "Projects/2026", 1, "2026-11-02")
    deliver(lab, user, "Projects/2026", 2, "2025-11-02")
    deliver(lab, user, "Inbox", 3, "2026-11-02")
    point = (await lab.backup(user, workloads=["mail", *WORKLOADS])).point
    assert point is not None
    chosen = msgspec.structs.replace(
        CHOSEN, folders=[*CHOSEN.folders, "Projects/20*"], received_from="2026-01-01"
    )
    bob = add_user(lab.emulator, "bob", files=False)
    result = await lab.restore(point, bob, selection=chosen)
    assert {entry.label.rpartition("/")[2]: dict(entry.done) for entry in result.entries} == {
        "mail": {"create": 1}, "calendar": {"create": 2}, "contacts": {"create": 1}, "tasks": {"create": 2},
    }  # fmt: skip
    there = await lab.backup(bob, workloads=["mail", *WORKLOADS])
    assert names(lab, there.point) == COVERED
    (message,) = lab.tenant.mailbox(bob).messages()
    assert message.folder.path == "Projects/2026"
    assert b"Subject: Letter 1" in message.mime.read()

    export_point(lab.repository, point, tmp_path / "out", selection=chosen)
    files = {
        path.relative_to(tmp_path / "out" / user)
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    folders = {str(path.parent) for path in files}
    assert folders == {
        "mail/Projects/2026",
        "calendar/Team",
        "contacts/Contacts/Friends",
        "tasks/Garden",
    }
    assert len(files) == 6
    export_point(lab.repository, point, tmp_path / "csv", format="csv", selection=chosen)
    lines = {
        p.stem: len(p.read_text("utf-8-sig").splitlines()) - 1
        for p in (tmp_path / "csv").rglob("*.csv")
    }
    assert lines == {"mail": 1, "calendar": 2, "contacts": 1, "tasks": 2}
    path = f"{user}/mail/Inbox"
    export_point(lab.repository, point, tmp_path / "none", path, selection=chosen)
    assert not [one for one in (tmp_path / "none").rglob("*") if one.is_file()]
    assert new
    lab.assert_no_breach()
