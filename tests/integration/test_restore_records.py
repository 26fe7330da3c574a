"""Calendars, contacts and tasks restored into the emulated tenant: the same again, and nobody hears of it."""

import pytest

from proxy.contract import Selection
from proxy.restore.session import RestoreResult
from tests.fixtures.record_truth import differences, record_truth, wipe_records
from tests.fixtures.records import WORKLOADS, backup, encoded, fill, lab, weekly
from tests.unit.proxy.lab import Lab, add_user

pytestmark = pytest.mark.slow
__all__ = ["lab"]

PORTABLE = Selection(mail_policy="portable")
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
    """From their members: series with exceptions, photos, steps, links, attachments; the outbox stays empty."""
    user, _ = fill(lab)
    before = record_truth(lab.tenant, user, EXCEPTIONS)
    point = (await lab.backup(user, workloads=WORKLOADS, selection=PORTABLE)).point
    wipe_records(lab.tenant, user)
    lab.ledger.clear()
    result = await lab.restore(point)
    found = differences(before, record_truth(lab.tenant, user, EXCEPTIONS))
    assert not found
    assert sums(result) == {"create": 4 + 4 + 2}
    assert not lab.tenant.outbox
    again = await lab.restore(point)
    assert sums(again) == {"skip": 10}
    lab.assert_no_breach()


@pytest.mark.parametrize("commit", [True, False])
async def test_every_write_loses_its_answer_once(lab: Lab, commit: bool) -> None:
    """Nothing is missing, nothing is there twice, nobody is written to."""
    user, _ = fill(lab)
    before = record_truth(lab.tenant, user, EXCEPTIONS)
    point = (await backup(lab, user)).point
    wipe_records(lab.tenant, user)
    lab.org["item_patience_s"] = "3"  # enough for a busy machine
    rule = {"when": {"kind": "write", "every": 4}, "do": {"then": "drop", "commit": commit}}
    lab.emulator.controls.script([rule])
    assert sums(await lab.restore(point)) == {"create": 10}
    assert lab.emulator.services.script.fired()[0] >= 4
    assert not differences(before, record_truth(lab.tenant, user, EXCEPTIONS))
    assert not lab.tenant.outbox
    lab.assert_no_breach()


async def test_a_meeting_is_not_replaced_where_that_would_send_cancellations(lab: Lab) -> None:
    """Without an export stream the item is left as it is and named; others are replaced."""
    user, ids = fill(lab)
    point = (await lab.backup(user, workloads=WORKLOADS, selection=PORTABLE)).point
    controls = lab.emulator.controls
    controls.change_record(user, "calendar", ids["once"], {"showAs": "free"})
    controls.change_record(user, "calendar", ids["series"], {"showAs": "free"})
    controls.change_record(user, "contacts", ids["contact 1"], {"jobTitle": "Boss"})
    controls.outbox(clear=True)
    result = await lab.restore(point, collision="replace")
    assert sums(result) == {"unchanged": 7, "refuse": 1, "replace": 2}
    outcomes = [(o.name, o.cause) for entry in result.entries for o in entry.outcomes]
    assert outcomes == [("Once", "would-send-mail")]
    assert not lab.tenant.outbox
    events = record_truth(lab.tenant, user, {})["calendar"]["Calendar"]
    shown = {one["properties"]["subject"]: one["properties"]["showAs"] for one in events}
    assert shown == {"Once": "free", "Weekly": "busy", "All day": "busy"}
    lab.assert_no_breach()


def meeting(lab: Lab, user: str) -> str:
    """A weekly meeting with people, exceptions and a file."""
    controls = lab.emulator.controls
    people = [{"emailAddress": {"address": "bob@example.com", "name": "Bob"}, "type": "required"}]
    series = controls.add_record(
        user, "calendar", "Calendar", weekly("Jour fixe") | {"attendees": people}
    )["id"]
    controls.change_instance(user, series, "2026-03-16", {"subject": "Moved"})
    controls.cancel_instance(user, series, "2026-03-23")
    controls.attach(user, "calendar", series, "plan.txt", encoded(b"plan"))
    return str(series)


@pytest.mark.parametrize("lost", [None, True, False])
async def test_by_import_meetings_are_replaced_where_they_are(lab: Lab, lost: bool | None) -> None:
    """They keep their ids and nobody hears of it, also when answers get lost or somebody changes them meanwhile."""
    user, ids = fill(lab)
    series = meeting(lab, user)
    whole = {"tasks": EXCEPTIONS["tasks"]}
    before = record_truth(lab.tenant, user, whole)
    point = (await backup(lab, user)).point
    controls = lab.emulator.controls
    changed = {"once": "calendar", "series": "calendar", "contact 1": "contacts"}
    for name, workload in changed.items():
        controls.change_record(user, workload, ids[name], {"categories": ["Changed"]})
    people = [{"emailAddress": {"address": "carl@example.com", "name": "Carl"}, "type": "required"}]
    controls.change_record(user, "calendar", series, {"attendees": people})
    controls.change_instance(user, series, "2026-03-16", {"subject": "Moved again"})
    lab.ledger.clear()
    change = {
        "call": "change_record",
        "user": user,
        "workload": "calendar",
        "record": ids["once"],
        "properties": {"showAs": "free"},
    }
    rules = [{"when": {"kind": "import", "once": True}, "do": {"control": [change]}}]
    if lost is not None:
        rules = [{"when": {"kind": "import", "every": 2}, "do": {"then": "drop", "commit": lost}}]
    controls.script(rules)
    asked = await lab.restore(point, collision="replace", dry_run=True)
    planned = [entry.plan for entry in asked.entries if entry.plan is not None]
    assert sum(plan.counts["replace"] for plan in planned) == 4
    result = await lab.restore(point, collision="replace")
    assert sums(result) == {"unchanged": 7, "replace": 4}
    assert not differences(before, record_truth(lab.tenant, user, whole))
    events = lab.tenant.records(user, "calendar")
    assert {ids["once"], ids["series"], series} <= {one.key for one in events.records()}
    assert not lab.tenant.outbox
    assert not lab.ledger.requests("/users/{user}/events/{event}", 204)  # nothing was deleted
    lab.assert_no_breach()


async def test_a_meeting_whose_import_is_refused_is_left_as_it_is(lab: Lab) -> None:
    """A contact is made anew and the old one deleted; the meeting is named, for deleting it would tell people."""
    user, ids = fill(lab)
    point = (await backup(lab, user)).point
    controls = lab.emulator.controls
    controls.change_record(user, "calendar", ids["once"], {"showAs": "free"})
    controls.change_record(user, "contacts", ids["contact 1"], {"jobTitle": "Boss"})
    refuse = {"status": 400, "code": "ErrorCorruptData"}
    controls.script([{"when": {"kind": "import"}, "do": refuse}])
    result = await lab.restore(point, collision="replace")
    assert sums(result) == {"unchanged": 8, "replace": 1, "refuse": 1}
    outcomes = [(o.name, o.cause) for entry in result.entries for o in entry.outcomes]
    assert outcomes == [("Once", "would-send-mail")]
    contacts = {one.key for one in lab.tenant.records(user, "contacts").records()}
    assert ids["contact 1"] not in contacts
    assert len(contacts) == 4
    assert not lab.tenant.outbox
    lab.assert_no_breach()


async def test_a_meeting_that_came_in_by_a_lost_answer_is_not_touched_again(lab: Lab) -> None:
    """Its exceptions and files came with it: writing them once more would send updates to its people."""
    user = add_user(lab.emulator, "ann", files=False)
    meeting(lab, user)
    before = record_truth(lab.tenant, user, {})
    point = (await backup(lab, user)).point
    wipe_records(lab.tenant, user)
    drop = {"then": "drop", "commit": True}
    lab.emulator.controls.script([{"when": {"kind": "import"}, "do": drop}])
    assert sums(await lab.restore(point)) == {"create": 1}
    assert not differences(before, record_truth(lab.tenant, user, {}))
    assert not lab.tenant.outbox
    lab.assert_no_breach()


async def test_by_import_meetings_have_their_attendees_and_nobody_hears_of_it(lab: Lab) -> None:
    """With the export stream nothing of calendars and contacts is excepted."""
    user, _ = fill(lab)
    whole = {"tasks": EXCEPTIONS["tasks"]}
    before = record_truth(lab.tenant, user, whole)
    point = (await backup(lab, user)).point
    wipe_records(lab.tenant, user)
    assert sums(await lab.restore(point)) == {"create": 10}
    assert not differences(before, record_truth(lab.tenant, user, whole))
    assert not lab.tenant.outbox
    lab.assert_no_breach()


async def test_attendees_stand_in_the_text_and_times_in_their_zone(lab: Lab) -> None:
    user, _ = fill(lab)
    point = (await lab.backup(user, workloads=WORKLOADS, selection=PORTABLE)).point
    wipe_records(lab.tenant, user)
    await lab.restore(point)
    events = record_truth(lab.tenant, user, {})["calendar"]["Calendar"]
    once = next(one["properties"] for one in events if one["properties"]["subject"] == "Once")
    assert once["attendees"] == []
    assert "Required: Bob &lt;bob@example.com&gt; (none)" in once["body"]["content"]
    assert once["start"]["timeZone"] == "W. Europe Standard Time"


async def test_to_another_user_below_a_folder(lab: Lab) -> None:
    """Calendars and lists cannot be in others: their names say where they came from."""
    user, _ = fill(lab)
    bob = add_user(lab.emulator, "bob", files=False)
    bare = record_truth(lab.tenant, bob, {})
    point = (await backup(lab, user)).point
    assert sums(await lab.restore(point, f"{bob}/Back")) == {"create": 10}
    after = record_truth(lab.tenant, bob, {})
    new = {w: {n for n in after[w] if n not in bare[w]} for w in after}
    assert new == {
        "calendar": {"Back - Calendar", "Back - Team"},
        "contacts": {"Back", "Back/Contacts", "Back/Contacts/Friends", "Back/Contacts/Friends/Old"},
        "tasks": {"Back - Tasks", "Back - Garden"},
    }
    lab.assert_no_breach()


@pytest.mark.parametrize("commit", [None, True, False])
async def test_files_of_any_size_come_back_to_their_task(lab: Lab, commit: bool | None) -> None:
    """Over 3 MB by an upload session; a piece whose answer is lost begins anew, and no file is there twice."""
    user = add_user(lab.emulator, "ann", files=False)
    controls = lab.emulator.controls
    task = controls.add_record(user, "tasks", "Tasks", {"title": "Dig"})["id"]
    for name, size in (("small", 9), ("posted", 3_000_000), ("large", 3_000_001)):
        controls.attach(user, "tasks", task, name, encoded(name.encode()[:1] * size))
    pieces = bytes(range(256)) * 36_000  # three fragments, each of its own bytes
    controls.attach(user, "tasks", task, "pieces", encoded(pieces), {"contentType": "image/png"})
    before = record_truth(lab.tenant, user, EXCEPTIONS)
    point = (await backup(lab, user)).point
    wipe_records(lab.tenant, user)
    if commit is not None:
        path = "/users/*/todo/lists/*/tasks/*/attachmentSessions/*/content"
        rule = {"when": {"path": path, "nth": [1, 4]}, "do": {"then": "drop", "commit": commit}}
        controls.script([rule])
    assert sums(await lab.restore(point)) == {"create": 1}
    assert not differences(before, record_truth(lab.tenant, user, EXCEPTIONS))
    lab.assert_no_breach()


async def test_a_file_that_to_do_does_not_take_is_named(lab: Lab) -> None:
    """The task and its other files are there."""
    user = add_user(lab.emulator, "ann", files=False)
    controls = lab.emulator.controls
    task = controls.add_record(user, "tasks", "Tasks", {"title": "Dig"})["id"]
    controls.attach(user, "tasks", task, "huge", encoded(bytes((25 << 20) + 1)))
    controls.attach(user, "tasks", task, "small", encoded(b"small"))
    point = (await backup(lab, user)).point
    wipe_records(lab.tenant, user)
    result = await lab.restore(point)
    assert [(o.name, o.cause) for e in result.entries for o in e.outcomes] == [
        ("Dig", "attachment-too-large")
    ]
    (found,) = record_truth(lab.tenant, user, EXCEPTIONS)["tasks"]["Tasks"]
    assert [one["name"] for one in found["attachments"]] == ["small"]
    lab.assert_no_breach()
