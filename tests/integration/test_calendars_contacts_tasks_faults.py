"""Calendars, contacts and tasks where the service fails: each item keeps what can be had, and is named otherwise."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from engine.catalog import Row
from proxy.contract import Event
from proxy.keeper import KeeperLimits
from proxy.pipeline.context import StoppedEarly
from proxy.pipeline.standalone import SessionResult
from tests.fixtures.emulator import StartEmulator
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
from tests.unit.proxy.lab import Lab, add_user
from tools.emulator.options import BACKUP_ROLES

pytestmark = pytest.mark.slow
__all__ = ["lab"]

EVENTS = "/users/*/calendars/*/events"


def rows(lab: Lab, result: SessionResult, workload: str) -> dict[bytes, Row]:
    assert result.point is not None
    entry = next(e for e in result.point.entries if e.workload == workload)
    return {r.id: r for r in lab.repository.catalog(lab.repository.entries.get(entry.entry)).rows()}


async def test_a_damaged_item_costs_no_other(lab: Lab) -> None:
    """Events and contacts that the service cannot give are skipped by name (graph-lessons 85, 86)."""
    user, ids = fill(lab)
    controls = lab.emulator.controls
    await backup(lab, user)
    for item, code in (
        (ids["once"], "ErrorCorruptData"),
        (ids["series"], "ErrorInvalidRecipients"),
    ):
        controls.change_record(user, "calendar", item, {"subject": "Changed"})
        controls.fail_item(item, 500, code)
    result = await backup(lab, user)
    assert causes(result) == {("calendar", ids[k], "item-corrupt") for k in ("once", "series")}
    names = {row.name for row in rows(lab, result, "calendar").values() if row.kind == "event"}
    assert names == {b"Once", b"Weekly", b"All day", "Team \U0001f30d".encode()}  # as they were
    controls.clear_faults()
    assert_kept(lab, await backup(lab))


async def test_a_series_that_fails_for_ever_is_kept_without_exceptions(lab: Lab) -> None:
    """503 for its exceptions leaves the rule, says so in every session, and is read again (graph-lessons 103)."""
    user = add_user(lab.emulator, "ann", files=False)
    controls = lab.emulator.controls
    series = controls.add_record(user, "calendar", "Calendar", weekly())["id"]
    controls.change_instance(user, series, "2026-03-16", {"subject": "Moved"})
    controls.script(
        [{"when": {"path": "/users/*/events/*"}, "do": {"status": 503, "body": "empty"}}]
    )
    for _ in range(2):
        result = await backup(lab, user)
        assert causes(result) == {("calendar", series, "graph-unavailable")}
        row = rows(lab, result, "calendar")[series.encode()]
        assert (row.name, row.version) == (b"Weekly", "")
        controls.script([{"when": {"path": "/users/*/events/*", "skip": 1}, "do": {"status": 503}}])
    controls.clear_faults()
    assert_kept(lab, await backup(lab))


async def test_attachments_that_cannot_be_opened_do_not_cost_the_event(lab: Lab) -> None:
    """One is damaged (graph-lessons 84), one fails for now: the others and the event are there."""
    user, ids = fill(lab)
    controls = lab.emulator.controls
    hung = lab.tenant.mailbox(user).calendars.record(ids["once"]).attachments
    plan = next(key for key, one in hung.items() if one.name == "plan.txt")
    controls.attach(user, "calendar", ids["once"], "later.txt", encoded(b"later"))
    later = next(key for key, one in hung.items() if one.name == "later.txt")
    controls.fail_item(plan, 500, "ErrorCannotOpenFileAttachment")
    controls.fail_item(later, 503, "serviceNotAvailable")
    result = await backup(lab, user)
    told = {
        ("calendar", ids["once"], cause) for cause in ("attachment-unreadable", "graph-unavailable")
    }
    assert causes(result) == told
    row = rows(lab, result, "calendar")[ids["once"].encode()]
    listed = json.loads(
        next(lab.repository.read_all(p) for p in row.parts if p.role == "attachments")
    )
    assert [one["content"] for one in listed] == [None] * 4
    controls.clear_faults()
    assert_kept(lab, await backup(lab))


async def test_attachments_that_the_service_does_not_count(lab: Lab) -> None:
    """Pictures inside the text (graph-lessons 81) and files of an exception alone (102) are kept."""
    user = add_user(lab.emulator, "ann", files=False)
    controls = lab.emulator.controls
    series = controls.add_record(user, "calendar", "Calendar", weekly())["id"]
    controls.change_instance(user, series, "2026-03-16", {"subject": "Moved"})
    records = lab.tenant.mailbox(user).calendars
    exceptions = f"{series.rstrip('=')}FRAAg20260316AAAQ=="
    controls.attach(user, "calendar", exceptions, "agenda.txt", encoded(b"agenda"))
    body = {"contentType": "html", "content": '<img src="cid:picture@1">'}
    once = controls.add_record(user, "calendar", "Calendar", single("Once", body=body))["id"]
    controls.attach(user, "calendar", once, "a.png", encoded(b"picture"), {"isInline": True})
    assert not records.record(series).attachments
    assert_kept(lab, await backup(lab))


async def test_calendars_of_one_name_and_of_others(lab: Lab) -> None:
    """Two calendars of one name stay two (graph-lessons 99); somebody else's is not read (100)."""
    user, _ = fill(lab)
    controls = lab.emulator.controls
    for _ in range(2):
        made = controls.add_container(user, "calendar", "Calendar")["id"]
        controls.add_record(user, "calendar", made, single("Twin"))
    result = await backup(lab, user)
    held = rows(lab, result, "calendar").values()
    names = sorted(row.name for row in held if row.kind == "container")
    assert names == [b"Calendar", b"Calendar", b"Calendar", b"Team"]
    assert b"Not ours" not in {row.name for row in held}
    assert_kept(lab, await backup(lab))


async def test_the_default_contact_folder_is_found_whatever_it_is_called(lab: Lab) -> None:
    """No listing has it, its name is in the user's language; it is kept by its well-known id (graph-lessons 111)."""
    user, ids = fill(lab)
    lab.emulator.controls.change_container(user, "contacts", "Contacts", "Kontakte")
    result = await backup(lab, user)
    held = rows(lab, result, "contacts")
    folder = held[held[ids["contact 0"].encode()].container]
    assert (folder.name, json.loads(folder.meta)["wellKnownName"]) == (
        b"Kontakte",
        "contacts",
    )
    old = held[held[ids["contact 3"].encode()].container]
    assert held[held[old.container].container] == folder
    assert_kept(lab, await backup(lab))


async def test_a_missing_permission_fails_its_workload_alone(lab: Lab) -> None:
    """The others are kept; the error names the permission; with it the next run is complete."""
    user, _ = fill(lab)
    lab.emulator.controls.set_roles([role for role in BACKUP_ROLES if not role.startswith("Cal")])
    result = await backup(lab, user)
    failed = {task.workload: task.error for task in result.tasks if task.error_code}
    assert list(failed) == ["calendar"]
    assert "Calendars.Read." in failed["calendar"]
    assert result.point is not None
    assert {entry.workload for entry in result.point.entries} == {"contacts", "tasks"}
    lab.emulator.controls.set_roles(list(BACKUP_ROLES))
    assert_kept(lab, await backup(lab))


async def test_a_permission_removed_half_way_keeps_what_was_read(lab: Lab) -> None:
    """The task fails once its items are refused one after the other; what the older point had stays."""
    user = add_user(lab.emulator, "ann", files=False)
    controls = lab.emulator.controls
    items = [
        controls.add_record(user, "calendar", "Calendar", single(f"No {n}"))["id"]
        for n in range(40)
    ]
    before = await backup(lab, user)
    for item in items:
        controls.change_record(user, "calendar", item, {"subject": "Changed"})
    denied = {
        "when": {"path": "/users/*/events/*", "skip": 3},
        "do": {"status": 403, "code": "ErrorAccessDenied"},
    }
    controls.script([denied])
    result = await backup(lab, user)
    assert [t.error_code for t in result.tasks if t.workload == "calendar"] == ["graph-denied"]
    assert rows(lab, result, "calendar") == rows(lab, before, "calendar")
    controls.clear_faults()
    assert_kept(lab, await backup(lab))


async def test_what_is_deleted_while_it_is_read_is_no_failure(lab: Lab) -> None:
    """A calendar between the two listings (graph-lessons 50), an event before it is read (51)."""
    user, ids = fill(lab)
    await backup(lab, user)
    controls = lab.emulator.controls
    controls.change_record(user, "calendar", ids["once"], {"subject": "Changed"})
    gone = {"call": "delete_record", "user": user, "workload": "calendar", "record": ids["once"]}
    team = {"call": "delete_container", "user": user, "workload": "calendar", "container": "Team"}
    controls.script(
        [
            {"when": {"path": "/users/*/events/*", "once": True}, "do": {"control": [gone]}},
            {"when": {"path": EVENTS, "once": True}, "do": {"control": [team]}},
        ]
    )
    result = await backup(lab, user)
    assert not result.warned, causes(result)
    controls.clear_faults()
    assert_kept(lab, await backup(lab))


async def test_what_pages_show_twice_is_read_once(lab: Lab) -> None:
    """Duplicates on a page (graph-lessons 36) are one item."""
    user, _ = fill(lab)
    rule = {"when": {"path": EVENTS}, "do": {"page": "duplicate_items"}}
    lab.emulator.controls.script([rule])
    result = await backup(lab, user)
    assert [t.counters.items_stored for t in result.tasks] == [4, 4, 3]
    assert_kept(lab, await backup(lab))


@pytest.mark.parametrize(
    "fault", [{"status": 503, "body": "empty"}, {"status": 400}, {"status": 410}]
)
async def test_a_first_listing_that_breaks_off_is_made_smaller(
    lab: Lab, fault: dict[str, Any]
) -> None:
    """Pages that fail (graph-lessons 34) and links that died cost requests, never items."""
    user = add_user(lab.emulator, "ann", files=False)
    for number in range(120):
        lab.emulator.controls.add_record(user, "calendar", "Calendar", single(f"No {number}"))
    # The second page of the first listing, then the large listing of ids.
    lab.emulator.controls.script([{"when": {"path": EVENTS, "nth": [2, 3]}, "do": fault}])
    result = await backup(lab, user)
    assert not result.warned
    assert_kept(lab, await backup(lab))


async def test_a_stopped_first_listing_goes_on_where_it_was(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next delivery neither begins again nor reads what is left item by item."""
    monkeypatch.setattr("proxy.workloads.item_listing.FULL_PAGE_ITEMS", 10)
    monkeypatch.setattr("proxy.pipeline.reporter.EVERY_S", 0.01)
    user = add_user(lab.emulator, "ann", files=False)
    for number in range(120):
        lab.emulator.controls.add_record(user, "calendar", "Calendar", single(f"No {number}"))
    first = lab.task("backup", user, workload="calendar")

    async def stop_after_commit(event: Event) -> None:
        if event.kind == "committed":
            first.stopping.set()

    first.on_event = stop_after_commit
    plane = lab.plane(KeeperLimits(commit_s=0.0, gather_s=0.0, idle_s=0.1))
    lab.emulator.controls.set_latency(0.02)
    with pytest.raises(StoppedEarly):
        await plane.run_task(first.task, first)
    await plane.close()
    listings = lab.ledger.requests("/users/{user}/calendars/{calendar}/events")
    assert 0 < listings < 12
    other = lab.plane()
    second = lab.task("backup", user, workload="calendar")
    await other.run_task(second.task, second)
    await other.close()
    assert second.of("finished")[-1].result == "success"
    assert lab.ledger.requests("/users/{user}/calendars/{calendar}/events") <= 12 + 1
    assert lab.ledger.requests("/users/{user}/events/{event}") == 0
    lab.emulator.controls.set_latency(0.0)
    lab.repository.refresh()
    assert_kept(lab, await backup(lab))


async def test_half_an_hour_without_microsoft_365_is_waited_out(
    emulator: StartEmulator, tmp_path: Path
) -> None:
    """At 55 per cent everything, sign-in too, is away for 30 minutes of its clock: the job ends whole, reading nothing anew."""
    emu = await emulator(rate=1800.0, token_life=36_000_000)
    lab = Lab(emu, tmp_path, page_patience_s="60", item_patience_s="60")
    first, second = fill(lab, "ann")[0], fill(lab, "bob")[0]
    await backup(lab, first)
    whole = lab.ledger.requests()
    away = asyncio.Event()

    def go() -> None:
        emu.controls.outage(on=True, entra=True)
        away.set()

    lab.ledger.clear()
    came = lab.after_request(whole * 55 // 100, go)
    job = asyncio.create_task(lab.backup(second, workloads=WORKLOADS))
    await away.wait()
    until = emu.clock.now() + 1800
    while emu.clock.now() < until:
        await asyncio.sleep(0.05)
    assert came()
    assert not job.done()
    emu.controls.outage(on=False)
    result = await job
    assert not result.warned, causes(result)
    assert lab.ledger.requests(status=200) <= whole + 2
    assert_kept(lab, await backup(lab))
    lab.repository.close()


async def test_denied_mailboxes_cost_no_other_and_are_read_by_the_next_run(lab: Lab) -> None:
    """Three of eight: points exist for the others, and their items are not read again."""
    users = [fill(lab, f"user{number}")[0] for number in range(8)]
    refuse = {"status": 403, "code": "ErrorAccessDenied"}
    keys = [lab.tenant.user(user).key for user in users[:3]]
    rules = [{"when": {"path": f"/users/{key}/calendarGroups"}, "do": refuse} for key in keys]
    lab.emulator.controls.script(rules)
    result = await backup(lab, *users)
    failed = [t.object.name for t in result.tasks if t.error_code]
    assert sorted(failed) == users[:3]
    assert {t.error_code for t in result.tasks if t.error_code} == {"graph-denied"}
    assert result.point is not None
    assert len(result.point.entries) == 8 * 3 - 3
    lab.emulator.controls.clear_faults()
    result = await backup(lab, *users)
    assert [t.counters.items_stored for t in result.tasks if t.workload == "calendar"] == [
        *[4] * 3,
        *[0] * 5,
    ]
    assert_kept(lab, await backup(lab))
