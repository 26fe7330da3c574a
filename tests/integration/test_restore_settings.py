"""Settings of mailboxes restored into the emulated tenant: nothing is switched on unasked, nothing made twice."""

import asyncio
import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine.errors import UsageError
from engine.manifest import PointForm
from proxy.restore.session import RestoreResult
from tests.fixtures.emulator import StartEmulator
from tests.unit.proxy.lab import Lab, add_user, mime
from tools.emulator.mailbox_settings import MailboxSettings

pytestmark = pytest.mark.slow

AWAY = {"status": "alwaysEnabled", "internalReplyMessage": "away", "externalReplyMessage": "gone"}


@pytest_asyncio.fixture
async def lab(emulator: StartEmulator, tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(await emulator(), tmp_path)
    yield made
    made.repository.close()


def person(address: str) -> dict[str, Any]:
    return {"emailAddress": {"name": address, "address": address}}


def fill(lab: Lab, name: str = "ann") -> str:
    """A mailbox with something of every kind."""
    user = add_user(lab.emulator, name, files=False)
    for folder in ("Inbox", "Projects/Blue"):
        lab.tenant.add_message(user, folder, mime(1))
    mailbox = lab.tenant.mailbox(user)
    held = mailbox.settings
    into = {"moveToFolder": mailbox.folder_at("Projects/Blue").key, "stopProcessingRules": True}
    blue = {"subjectContains": ["blue"]}
    for sequence, (title, actions) in enumerate(
        [
            ("blue", into),
            ("inside", {"forwardTo": [person(f"bob@{lab.tenant.domain}")]}),
            ("outside", {"markAsRead": True, "redirectTo": [person("x@elsewhere.example")]}),
        ]
    ):
        held.add_rule(
            {"displayName": title, "sequence": sequence, "conditions": blue, "actions": actions}
        )
    held.add_rule(
        {"displayName": "off", "sequence": 9, "isEnabled": False, "actions": {"delete": True}}
    )
    for number, category in enumerate(("Blue", "Red")):
        held.add_category({"displayName": category, "color": f"preset{number}"})
    held.add_override(
        {"classifyAs": "other", "senderEmailAddress": person("n@x.org")["emailAddress"]}
    )
    hours = {"startTime": "07:00:00.0000000", "timeZone": {"name": "W. Europe Standard Time"}}
    held.change(
        {"timeZone": "W. Europe Standard Time", "timeFormat": "H:mm", "workingHours": hours}
    )
    held.change({"automaticRepliesSetting": AWAY})
    return user


def held_by(lab: Lab, user: str) -> MailboxSettings:
    return lab.tenant.mailbox(user).settings


def truth(lab: Lab, user: str) -> dict[str, Any]:
    """Everything, folders of rules by their paths."""
    mailbox = lab.tenant.mailbox(user)
    state = copy.deepcopy(mailbox.settings.state())
    for rule in state["rules"]:
        if folder := rule["actions"].get("moveToFolder"):
            rule["actions"]["moveToFolder"] = mailbox.folders[folder].path
    return state


def wipe(lab: Lab, user: str) -> None:
    """As a new mailbox; its folder is gone."""
    mailbox = lab.tenant.mailbox(user)
    fresh = MailboxSettings(1, f"new {user}")
    mailbox.settings.settings = fresh.settings
    for rows in (mailbox.settings.rules, mailbox.settings.categories, mailbox.settings.overrides):
        rows.clear()
    mailbox.remove_folder(mailbox.folder_at("Projects"), at=lab.tenant.clock.now())


async def backup(lab: Lab, user: str) -> PointForm:
    point = (await lab.backup(user, workloads=["mail"])).point
    assert point is not None
    return point


def told(result: RestoreResult) -> list[tuple[str, str]]:
    return sorted((o.name, o.cause) for entry in result.entries for o in entry.outcomes)


def done(result: RestoreResult) -> dict[str, int]:
    (found,) = [entry for entry in result.entries if entry.label.endswith("/settings")]
    assert not found.error_code, (found.error_code, found.error)
    return found.done


def off(state: dict[str, Any], *names: str) -> dict[str, Any]:
    """The state with these rules disabled, and no automatic replies."""
    for rule in state["rules"]:
        rule["isEnabled"] = rule["isEnabled"] and rule["displayName"] not in names
    return state


@pytest.mark.parametrize("commit", [None, True, False])
async def test_everything_comes_back_and_nothing_is_switched_on(
    lab: Lab, commit: bool | None
) -> None:
    """Also when writes lose their answers: rules move to folders made anew; what sends mail outside is off, and named."""
    user = fill(lab)
    expected = off(truth(lab, user), "outside")
    expected["settings"]["automaticRepliesSetting"]["status"] = "disabled"
    point = await backup(lab, user)
    wipe(lab, user)
    if commit is not None:
        lab.org["item_patience_s"] = "3"  # enough for a busy machine
        drop = {"then": "drop", "commit": commit}
        lab.emulator.controls.script([{"when": {"kind": "write", "every": 3}, "do": drop}])
    lab.ledger.clear()
    result = await lab.restore(point, settings="all,replies")
    assert truth(lab, user) == expected
    assert told(result) == [("outside", "rule-forwards-outside")]
    assert done(result)["create"] == 4 + 2 + 1 + 4  # three settings that differ, and the replies
    lab.emulator.controls.clear_faults()
    again = await lab.restore(point, settings="all,replies")
    assert "create" not in done(again)
    assert truth(lab, user) == expected
    assert not lab.tenant.outbox
    lab.assert_no_breach()


async def test_what_writes_to_others_comes_back_when_that_is_asked_for(lab: Lab) -> None:
    user = fill(lab)
    before = truth(lab, user)
    point = await backup(lab, user)
    wipe(lab, user)
    result = await lab.restore(point, settings="all,forwarding,replies-on")
    assert truth(lab, user) == before
    assert told(result) == []
    lab.assert_no_breach()


async def test_without_their_folder_rules_are_off_and_the_plan_says_so(lab: Lab) -> None:
    """A dry run names them and writes nothing; the items stay away when settings alone are asked for."""
    user = fill(lab)
    point = await backup(lab, user)
    wipe(lab, user)
    bare = truth(lab, user)
    off_and_named = [("blue", "rule-folder-missing"), ("outside", "rule-forwards-outside")]
    plan = await lab.restore(point, settings="rules", items=False, dry_run=True)
    assert told(plan) == off_and_named
    assert truth(lab, user) == bare
    result = await lab.restore(point, settings="rules", items=False)
    assert told(result) == off_and_named
    rules = {rule["displayName"]: rule for rule in truth(lab, user)["rules"]}
    assert [name for name, rule in rules.items() if rule["isEnabled"]] == ["inside"]
    assert rules["blue"]["actions"] == {"stopProcessingRules": True}
    assert rules["blue"]["conditions"] == {"subjectContains": ["blue"]}
    assert truth(lab, user) | {"rules": []} == bare
    assert not [
        f
        for f in lab.tenant.mailbox(user).folders.values()
        if f.name == "Blue" and "Deleted" not in f.path
    ]
    lab.assert_no_breach()


@pytest.mark.parametrize("collision", ["skip", "copy", "replace"])
async def test_what_is_there_is_left_or_changed_where_it_is(lab: Lab, collision: Any) -> None:
    """Nothing is there twice; what the mailbox is set to is set because it was named."""
    user = fill(lab)
    before = truth(lab, user)
    point = await backup(lab, user)
    held = held_by(lab, user)
    rule = next(key for key, one in held.rules.items() if one["displayName"] == "blue")
    held.change_rule(rule, {"conditions": {"subjectContains": ["green"]}})
    category = next(iter(held.categories))
    held.change_category(category, {"color": "preset20"})
    held.change({"timeZone": "UTC"})
    changed = truth(lab, user)
    result = await lab.restore(point, collision=collision, settings="all")
    expected = before if collision == "replace" else changed | {"settings": before["settings"]}
    assert truth(lab, user) == expected
    made = {n: c for n, c in done(result).items() if n in ("create", "copy", "replace", "skip")}
    assert made == {"create": 1, ("replace" if collision == "replace" else "skip"): 2}
    assert {rule, category} <= held.rules.keys() | held.categories.keys()
    lab.assert_no_breach()


async def test_rules_of_one_name_stay_as_many_as_they_were(lab: Lab) -> None:
    """Also where others came between them: the service moves them in its order."""
    user = fill(lab)
    held = held_by(lab, user)
    for sequence, words in ((20, "a"), (21, "b")):
        conditions = {"subjectContains": [words]}
        held.add_rule(
            {
                "displayName": "twin",
                "sequence": sequence,
                "conditions": conditions,
                "actions": {"markAsRead": True},
            }
        )
    before = truth(lab, user)
    point = await backup(lab, user)
    for rule in held.rules.values():
        rule["sequence"] += 1
        rule["conditions"] = {"subjectContains": ["other"]}
        rule["exceptions"] = {"isEncrypted": True}
    again = await lab.restore(point, settings="rules", collision="skip")
    assert "create" not in done(again)
    result = await lab.restore(point, settings="rules,forwarding", collision="replace")
    assert done(result) == {"replace": 6}
    assert truth(lab, user) == before
    lab.assert_no_breach()


async def test_into_another_mailbox_below_a_folder(lab: Lab) -> None:
    """Rules lead to the folders that the restore makes there."""
    user = fill(lab)
    bob = add_user(lab.emulator, "bob", files=False)
    point = await backup(lab, user)
    await lab.restore(point, f"{bob}/From Ann", settings="rules,categories")
    found = truth(lab, bob)
    rules = {rule["displayName"]: rule for rule in found["rules"]}
    assert rules["blue"]["isEnabled"]
    assert rules["blue"]["actions"]["moveToFolder"] == "From Ann/Projects/Blue"
    assert [one["displayName"] for one in found["categories"]] == ["Blue", "Red"]
    assert found["settings"] == MailboxSettings(1, "x").settings
    lab.assert_no_breach()


async def test_a_restore_that_is_ended_goes_on_and_makes_nothing_twice(lab: Lab) -> None:
    """Each run is ended as soon as a write of it was done and its answer lost."""
    user = fill(lab)
    before = truth(lab, user)
    point = await backup(lab, user)
    held = held_by(lab, user)
    for rows in (held.rules, held.categories, held.overrides):
        rows.clear()
    held.settings = MailboxSettings(1, "new").settings
    script = lab.emulator.services.script
    words: dict[str, Any] = {"settings": "all,forwarding,replies-on", "items": False}
    for run in range(30):
        when = {"kind": "write", "nth": 1 + run % 3}
        lab.emulator.controls.script([{"when": when, "do": {"then": "drop", "commit": True}}])
        restore = asyncio.create_task(lab.restore(point, **words))
        while not restore.done() and not script.fired()[0]:
            await asyncio.sleep(0)
        restore.cancel()
        ended = await asyncio.gather(restore, return_exceptions=True)
        if isinstance(ended[0], RestoreResult):
            assert run >= 3
            break
    assert truth(lab, user) == before
    lab.assert_no_breach()


@pytest.mark.parametrize("left", [[], ["MailboxSettings.Read"]])
async def test_without_the_right_the_permission_is_named(lab: Lab, left: list[str]) -> None:
    """Also where reading is allowed; the mail is restored all the same."""
    user = fill(lab)
    point = await backup(lab, user)
    wipe(lab, user)
    roles = [
        role for role in lab.emulator.options.restore_roles if role != "MailboxSettings.ReadWrite"
    ]
    lab.emulator.controls.set_roles([*roles, *left], "restore")
    result = await lab.restore(point, settings="rules")
    mail, settings = sorted(result.entries, key=lambda entry: entry.label)
    assert not mail.error_code
    assert sum(mail.done.values()) == 2
    assert settings.error_code == "graph-denied"
    assert "MailboxSettings.ReadWrite" in settings.error
    lab.assert_no_breach()


async def test_words_that_are_no_part_are_refused(lab: Lab) -> None:
    user = add_user(lab.emulator, "ann", files=False)
    point = await backup(lab, user)
    with pytest.raises(UsageError, match="settings"):
        await lab.restore(point, settings="rules,signature")
    contacts = (await lab.backup(user, workloads=["contacts"])).point
    with pytest.raises(UsageError, match="kept with its mail"):
        await lab.restore(contacts, settings="rules")
