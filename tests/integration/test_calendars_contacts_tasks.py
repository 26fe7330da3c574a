"""Calendars, contacts and tasks of an emulated tenant are kept as they are, and only what changed is read."""

import pytest

from proxy.contract import Selection
from proxy.pipeline.standalone import SessionResult
from tests.fixtures.records import (
    WORKLOADS,
    assert_kept,
    backup,
    causes,
    encoded,
    fill,
    lab,
    single,
    weekly,
)
from tests.fixtures.records_oracle import kept_records
from tests.unit.proxy.lab import Lab, add_user, mime
from tools.emulator.export_stream import unseal
from tools.emulator.options import BACKUP_ROLES

pytestmark = pytest.mark.slow
__all__ = ["lab"]


def stored(result: SessionResult) -> int:
    return sum(task.counters.items_stored for task in result.tasks)


async def test_everything_is_kept_and_an_unchanged_mailbox_is_not_read_again(lab: Lab) -> None:
    """The catalog equals the tenant's state, member for member; a second run reads listings alone."""
    user, _ = fill(lab)
    nobody = add_user(lab.emulator, "nobody", mail=False, files=False)
    first = await backup(lab, user, nobody)
    assert not first.warned
    assert {cause for _, _, cause in causes(first)} == {"service-not-provisioned"}
    assert_kept(lab, await backup(lab))
    second = await backup(lab, user)
    assert stored(second) == 0
    requests = {task.workload: task.counters.requests for task in second.tasks}
    # exports, groups, their calendars, the events of two; folders and what is in them, contacts; lists, tasks
    assert requests == {"calendar": 1 + 1 + 2 + 2, "contacts": 1 + 2 + 3 + 3, "tasks": 1 + 1 + 3}


async def test_only_what_changed_is_read(lab: Lab) -> None:
    """Changes of every kind arrive with the next run, for the requests of the changed items alone."""
    user, ids = fill(lab)
    await backup(lab)
    controls = lab.emulator.controls
    unchanged = await backup(lab, user)
    controls.change_record(user, "calendar", ids["once"], {"subject": "Twice"})
    controls.change_instance(user, ids["series"], "2026-03-09", {"subject": "Again"})
    controls.cancel_instance(user, ids["series"], "2026-04-06")
    controls.add_record(user, "calendar", "Team", weekly("Another"))
    controls.set_photo(user, ids["contact 0"], None)
    controls.set_photo(user, ids["contact 1"], encoded(b"another picture"))
    controls.add_record(user, "contacts", "Friends", {"givenName": "New"})
    controls.add_check(user, ids["task"], "gloves")
    result = await backup(lab, user)
    requests = [task.counters.requests for task in result.tasks]
    before = [task.counters.requests for task in unchanged.tasks]
    # an event, its attachments (listing, file, link, item with its content); two series; exports
    assert requests[0] - before[0] == (1 + 1 + 1 + 1 + 2) + 2 + 2 + 2
    assert requests[1] - before[1] == 3 * 2 + 2  # a contact and its photo, there or not; exports
    assert requests[2] - before[2] == 1 + 2 + 1  # a task, its attachment, its export
    assert stored(result) == 7
    assert_kept(lab, await backup(lab))


async def test_what_moves_keeps_its_content_and_what_is_gone_is_removed(lab: Lab) -> None:
    """A move is a new row; items and containers that were deleted leave the restore point."""
    user, ids = fill(lab)
    await backup(lab)
    controls = lab.emulator.controls
    controls.move_record(user, "calendar", ids["once"], "Team")
    controls.move_record(user, "contacts", ids["contact 0"], "Old")
    controls.delete_record(user, "calendar", ids["series"])
    controls.delete_record(user, "tasks", ids["task"])
    controls.change_container(user, "calendar", "Team", "Crew", {"color": "lightBlue"})
    controls.change_container(user, "contacts", "Contacts", "Kontakte")
    assert stored(await backup(lab, user)) == 0  # nothing is read for a move
    assert_kept(lab, await backup(lab))
    controls.delete_container(user, "calendar", "Crew")
    controls.delete_container(user, "contacts", "Friends")  # with the folder in it
    controls.delete_container(user, "tasks", "Garden")
    result = await backup(lab, user)
    assert sum(task.counters.items_removed for task in result.tasks) == 2 + 3 + 1
    assert_kept(lab, await backup(lab))


# One listing of each of two calendars, in the first round: before, between and after them.
@pytest.mark.parametrize("moment", [1, 2, 3])
@pytest.mark.parametrize("target", ["Calendar", "Team"])
async def test_an_item_that_moves_while_calendars_are_listed_stays(
    lab: Lab, moment: int, target: str
) -> None:
    """Whenever it moves in either direction, it is in the restore point, and the next run has its place."""
    user = add_user(lab.emulator, "ann", files=False)
    controls = lab.emulator.controls
    controls.add_container(user, "calendar", "Team")
    origin = "Team" if target == "Calendar" else "Calendar"
    event = controls.add_record(user, "calendar", origin, single("Nomad"))["id"]
    await backup(lab, user)
    place = {"when": {"path": "/users/*/calendars/*/events", "nth": moment}}
    move = {"call": "move_record", "user": user, "workload": "calendar", "record": event}
    controls.script([place | {"do": {"control": [move | {"container": target}]}}])
    result = await backup(lab, user)
    controls.clear_faults()
    assert not result.warned
    kept = kept_records(lab.repository, result.point)[user]["calendar"][1]
    assert list(kept) == [event]
    assert_kept(lab, await backup(lab))


def streams(lab: Lab, result: SessionResult) -> dict[str, dict[bytes, bytes]]:
    """By workload: export streams by item."""
    assert result.point is not None
    found: dict[str, dict[bytes, bytes]] = {}
    for entry in result.point.entries:
        catalog = lab.repository.catalog(lab.repository.entries.get(entry.entry))
        parts = [(row.id, part) for row in catalog.rows() for part in row.parts]
        found[entry.workload] = {
            row: lab.repository.read_all(part) for row, part in parts if part.role == "fts"
        }
    return found


async def test_the_policy_full_adds_export_streams(lab: Lab) -> None:
    """Also to what an earlier job stored without; each is the item's; the portable policy reads none."""
    user, ids = fill(lab)
    portable = Selection(mail_policy="portable")
    result = await lab.backup(user, workloads=WORKLOADS, selection=portable)
    assert not any(streams(lab, result).values())
    upgraded = streams(lab, await backup(lab, user))
    # all but tasks that stand for flagged mails, which are no items
    assert {workload: len(found) for workload, found in upgraded.items()} == {
        "calendar": 4,
        "contacts": 4,
        "tasks": 2,
    }
    mailbox = lab.tenant.mailbox(user)
    for workload, store in (("calendar", mailbox.calendars), ("tasks", mailbox.tasks)):
        for key, stream in upgraded[workload].items():
            state = unseal(stream)[1]
            assert state["properties"] == store.record(key.decode()).properties
    again = await backup(lab, user)
    assert stored(again) == 0
    assert streams(lab, again) == upgraded
    assert_kept(lab, await backup(lab))
    lab.emulator.controls.change_record(user, "calendar", ids["once"], {"subject": "Changed"})
    lab.emulator.controls.set_roles([r for r in BACKUP_ROLES if "Export" not in r])
    result = await backup(lab, user)
    lab.tenant.add_message(user, "Inbox", mime(1))
    letters = await lab.backup(user, workloads=["mail"])
    assert {cause for _, _, cause in causes(letters)} == {"export-not-offered"}
    assert [task.counters.items_stored for task in letters.tasks] == [1]
    told = {(workload, cause) for workload, _, cause in causes(result)}
    assert told == {("calendar", "export-not-offered")}  # nothing else was asked for
    assert_kept(lab, await backup(lab))
    lab.emulator.controls.set_roles(list(BACKUP_ROLES))
    assert len(streams(lab, await backup(lab, user))["calendar"]) == 4
