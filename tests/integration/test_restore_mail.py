"""Mail restored into the emulated tenant: everything where it was, nothing twice, nothing sent."""

import asyncio
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proxy.contract import Selection
from proxy.restore.session import RestoreResult
from tests.fixtures.emulator import StartEmulator
from tests.fixtures.mail_truth import differing, mail_truth, wipe_mail
from tests.unit.proxy.lab import Lab, add_user, mime

pytestmark = pytest.mark.slow

# What a message made from its parts cannot have again (docs/fidelity.md, "Mail without import").
PORTABLE_EXCEPTIONS = frozenset({"createdDateTime", "headers", "mime", "bodyPreview"})
LARGE = 4_500_000
PORTABLE = Selection(mail_policy="portable")
FULL = Selection(mail_policy="full")


@pytest_asyncio.fixture
async def lab(emulator: StartEmulator, tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(await emulator(), tmp_path)
    yield made
    made.repository.close()


def rich(number: int, *, large: int = 0) -> bytes:
    """A message with HTML, a picture inside, files (one of `large` bytes) and a message in it."""
    inner = EmailMessage()
    inner["Subject"], inner["From"], inner["To"] = "Inner", "carl@example.com", "d@example.com"
    inner.set_content("inside\n")
    made = EmailMessage()
    made["From"], made["To"], made["Cc"] = (
        "Ann <ann@example.com>",
        "b@example.com",
        "Carl <c@example.com>",
    )
    made["Subject"], made["Message-ID"] = f"Über {number}", f"<rich{number}@example.com>"
    made["Date"] = f"Tue, 03 Nov 2026 11:00:{number:02} +0000"
    made["Importance"] = "high"
    made.set_content("plain\n")
    made.add_alternative('<p>rich <img src="cid:c1"></p>\n', subtype="html")
    made.add_attachment(
        b"img" * 50,
        maintype="image",
        subtype="png",
        filename="i.png",
        cid="<c1>",
        disposition="inline",
    )
    made.add_attachment(
        bytes(range(256)) * 9, maintype="application", subtype="pdf", filename="a.pdf"
    )
    if large:
        made.add_attachment(b"z" * large, maintype="application", subtype="zip", filename="big.zip")
        made.add_attachment(b"y" * 100, maintype="application", subtype="zip", filename="small.zip")
    made.add_attachment(inner)
    return made.as_bytes()


def fill(lab: Lab, name: str) -> str:
    user = add_user(lab.emulator, name, files=False)
    tenant = lab.tenant
    for number in range(12):
        tenant.add_message(user, "Inbox" if number % 2 else "Projects/2026/Q4", mime(number))
    for number in range(3):
        message = tenant.add_message(user, "Inbox/Rich", rich(number))
        message.categories, message.flag = ("Red", "Blue"), {"flagStatus": "flagged"}
        message.classification = "other"
        tenant.mark_read(user, message.key, is_read=number == 1)
    tenant.add_message(user, "Sent Items", rich(10, large=4_500_000))
    draft = tenant.add_message(user, "Drafts", mime(50))
    draft.is_draft = True
    tenant.add_mail_folder(user, "Empty/Emptier")
    return user


def sums(result: RestoreResult) -> dict[str, int]:
    total: dict[str, int] = {}
    for entry in result.entries:
        assert not entry.error_code, (entry.error_code, entry.error)
        for action, count in entry.done.items():
            total[action] = total.get(action, 0) + count
    return total


async def test_backup_wipe_restore_gives_the_same_state(lab: Lab) -> None:
    """Without import: every property but the declared exceptions, drafts as drafts, attachments of any size."""
    user = fill(lab, "ann")
    before = mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS)
    point = (await lab.backup(user, workloads=["mail"], selection=PORTABLE)).point
    wipe_mail(lab.tenant, user)
    result = await lab.restore(point)
    assert sums(result) == {"create": 17}
    assert not differing(before, mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS))
    again = await lab.restore(point)
    assert sums(again) == {"skip": 17}
    assert not differing(before, mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS))
    lab.assert_no_breach()


async def test_a_dry_run_plans_and_writes_nothing(lab: Lab) -> None:
    user = fill(lab, "ann")
    point = (await lab.backup(user, workloads=["mail"], selection=PORTABLE)).point
    for message in list(lab.tenant.mailbox(user).messages())[:5]:
        lab.tenant.delete_message(user, message.key)
    before = mail_truth(lab.tenant, user)
    result = await lab.restore(point, dry_run=True)
    plan = result.entries[0].plan
    assert plan is not None
    assert (plan.counts["create"], plan.counts["unchanged"]) == (5, 12)
    assert result.cost.requests >= 5
    assert mail_truth(lab.tenant, user) == before
    assert not list((lab.places.state_dir / "restores").iterdir())
    lab.assert_no_breach()


@pytest.mark.parametrize(
    ("collision", "done", "messages"),
    [
        ("skip", {"unchanged": 16, "skip": 1}, 17),
        ("copy", {"copy": 17}, 34),
        ("replace", {"unchanged": 16, "replace": 1}, 17),
    ],
)
async def test_collisions(lab: Lab, collision: Any, done: dict[str, int], messages: int) -> None:
    """What is there already is left, doubled or replaced; replaced ones are in the deleted items."""
    user = fill(lab, "ann")
    before = mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS)
    point = (await lab.backup(user, workloads=["mail"], selection=PORTABLE)).point
    changed = next(m for m in lab.tenant.mailbox(user).messages() if m.folder.name == "Inbox")
    changed.categories = ("Changed",)
    lab.tenant.mailbox(user).touch(changed, at=lab.tenant.clock.now())
    result = await lab.restore(point, collision=collision)
    assert sums(result) == done
    after = mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS)
    deleted = after.pop("Deleted Items")
    before.pop("Deleted Items")
    assert sum(len(found) for found in after.values()) == messages
    assert (after == before) is (collision == "replace")
    assert [m["categories"] for m in deleted] == ([["Changed"]] if collision == "replace" else [])
    lab.assert_no_breach()


async def test_to_another_user_below_a_folder_and_by_path(lab: Lab) -> None:
    """Names alone count there; a part of the tree brings the folders above it."""
    ann, bob = fill(lab, "ann"), add_user(lab.emulator, "bob", files=False)
    before = mail_truth(lab.tenant, ann, without=PORTABLE_EXCEPTIONS)
    bare = mail_truth(lab.tenant, bob)
    point = (await lab.backup(ann, workloads=["mail"], selection=PORTABLE)).point
    part = await lab.restore(point, f"{bob}/Back/from Ann", path=f"{ann}/mail/Projects")
    assert sums(part) == {"create": 6}
    found = mail_truth(lab.tenant, bob, without=PORTABLE_EXCEPTIONS)
    new = {path: messages for path, messages in found.items() if path not in bare}
    assert set(new) == {
        "Back", "Back/from Ann", "Back/from Ann/Projects", "Back/from Ann/Projects/2026",
        "Back/from Ann/Projects/2026/Q4",
    }  # fmt: skip
    assert new["Back/from Ann/Projects/2026/Q4"] == before["Projects/2026/Q4"]
    whole = await lab.restore(point, bob)
    assert sums(whole) == {"create": 17}
    after = mail_truth(lab.tenant, bob, without=PORTABLE_EXCEPTIONS)
    assert {path: after[path] for path in before} == before
    lab.assert_no_breach()


@pytest.mark.parametrize("commit", [True, False])
async def test_every_write_loses_its_answer_once(lab: Lab, commit: bool) -> None:
    """Done or not, each write whose answer is lost is looked for: nothing is missing and nothing is there twice."""
    user = fill(lab, "ann")
    before = mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS)
    point = (await lab.backup(user, workloads=["mail"], selection=PORTABLE)).point
    wipe_mail(lab.tenant, user)
    rule = {"when": {"kind": "write", "every": 5}, "do": {"then": "drop", "commit": commit}}
    lab.emulator.controls.script([rule])
    result = await lab.restore(point)
    assert sums(result) == {"create": 17}
    assert lab.emulator.services.script.fired()[0] >= 4
    assert not differing(before, mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS))
    lab.assert_no_breach()


async def test_killed_after_every_write_it_goes_on_and_makes_nothing_twice(lab: Lab) -> None:
    """Each run is ended as soon as a write of it was done and its answer lost; the journal knows what may be there."""
    user = add_user(lab.emulator, "ann", files=False)
    for number in range(4):
        lab.tenant.add_message(user, "Inbox" if number % 2 else "Projects/2026", mime(number))
    lab.tenant.add_message(user, "Inbox", mime(1, "Other."))  # the same to look at
    lab.tenant.add_message(user, "Inbox", rich(7, large=LARGE))
    before = mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS)
    point = (await lab.backup(user, workloads=["mail"], selection=PORTABLE)).point
    wipe_mail(lab.tenant, user)
    script = lab.emulator.services.script
    for run in range(40):
        rule = {
            "when": {"kind": "write", "nth": 1 + run % 4},
            "do": {"then": "drop", "commit": True},
        }
        lab.emulator.controls.script([rule])
        restore = asyncio.create_task(lab.restore(point, collision="copy"))
        while not restore.done() and not script.fired()[0]:
            await asyncio.sleep(0)
        restore.cancel()
        ended = await asyncio.gather(restore, return_exceptions=True)
        if isinstance(ended[0], RestoreResult):
            assert run >= 3
            assert ended[0].resumed
            break
    assert not differing(before, mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS))
    lab.assert_no_breach()


async def test_by_import_everything_is_the_same_byte_for_byte(lab: Lab) -> None:
    """With the export stream nothing is excepted; state that changed after the export is set again."""
    user = fill(lab, "ann")
    await lab.backup(user, workloads=["mail"], selection=FULL)
    tenant = lab.tenant
    flagged = next(m for m in tenant.mailbox(user).messages() if m.folder.name == "Rich")
    tenant.mark_read(user, flagged.key, is_read=not flagged.is_read)
    point = (await lab.backup(user, workloads=["mail"], selection=FULL)).point
    before = mail_truth(tenant, user)
    wipe_mail(tenant, user)
    lab.ledger.clear()
    result = await lab.restore(point)
    assert sums(result) == {"create": 17}
    assert not differing(before, mail_truth(tenant, user))
    assert lab.ledger.requests("POST (import)") == 17
    lab.assert_no_breach()


@pytest.mark.parametrize("commit", [True, False])
async def test_imports_whose_answers_are_lost_are_looked_for(lab: Lab, commit: bool) -> None:
    user = fill(lab, "ann")
    before = mail_truth(lab.tenant, user)
    point = (await lab.backup(user, workloads=["mail"], selection=FULL)).point
    wipe_mail(lab.tenant, user)
    rule = {"when": {"kind": "import", "every": 3}, "do": {"then": "drop", "commit": commit}}
    lab.emulator.controls.script([rule])
    result = await lab.restore(point)
    assert sums(result) == {"create": 17}
    assert lab.emulator.services.script.fired()[0] >= 5
    assert not differing(before, mail_truth(lab.tenant, user))
    lab.assert_no_breach()


@pytest.mark.parametrize("commit", [None, True, False])
async def test_by_import_messages_are_replaced_where_they_are(
    lab: Lab, commit: bool | None
) -> None:
    """They keep their ids, nothing is deleted; one whose import is refused is made anew and the old one deleted."""
    user = fill(lab, "ann")
    point = (await lab.backup(user, workloads=["mail"], selection=FULL)).point
    before = mail_truth(lab.tenant, user)
    mailbox = lab.tenant.mailbox(user)
    for message in list(mailbox.messages()):
        message.categories = ("Changed",)
        mailbox.touch(message, at=lab.tenant.clock.now())
    ids = {message.key for message in mailbox.messages()}
    if commit is not None:
        rule = {"when": {"kind": "import", "every": 3}, "do": {"then": "drop", "commit": commit}}
        lab.emulator.controls.script([rule])
    assert sums(await lab.restore(point, collision="replace")) == {"replace": 17}
    assert not differing(before, mail_truth(lab.tenant, user))
    assert {message.key for message in mailbox.messages()} == ids
    lab.assert_no_breach()


async def test_what_the_import_refuses_is_made_from_its_parts(lab: Lab) -> None:
    """Without the right to import, or where an item is refused, the other way is taken."""
    user = fill(lab, "ann")
    before = mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS)
    point = (await lab.backup(user, workloads=["mail"], selection=FULL)).point
    wipe_mail(lab.tenant, user)
    refuse = {"status": 413, "code": "ErrorMessageSizeExceeded"}
    lab.emulator.controls.script([{"when": {"kind": "import", "every": 2}, "do": refuse}])
    result = await lab.restore(point)
    assert sums(result) == {"create": 17}
    assert not differing(before, mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS))
    lab.assert_no_breach()


async def test_folders_of_another_language_are_found_by_what_they_are(lab: Lab) -> None:
    """Well-known folders are told by their fixed names, whatever people see (lesson 98)."""
    ann, bob = fill(lab, "ann"), add_user(lab.emulator, "bob", files=False)
    for name, other in (
        ("Inbox", "Posteingang"),
        ("Sent Items", "Gesendet"),
        ("Drafts", "Skizzen"),
    ):
        lab.tenant.rename_mail_folder(bob, name, other)
    point = (await lab.backup(ann, workloads=["mail"], selection=FULL)).point
    assert sums(await lab.restore(point, bob)) == {"create": 17}
    before, after = mail_truth(lab.tenant, ann), mail_truth(lab.tenant, bob)
    assert "Inbox" not in after
    assert after["Posteingang"] == before["Inbox"]
    assert after["Posteingang/Rich"] == before["Inbox/Rich"]
    assert after["Gesendet"] == before["Sent Items"]
    lab.assert_no_breach()


async def test_two_mailboxes_into_one_keep_what_both_have(lab: Lab) -> None:
    """The same message in two mailboxes is two messages, also where answers are lost."""
    ann, carl = (
        add_user(lab.emulator, "ann", files=False),
        add_user(lab.emulator, "carl", files=False),
    )
    bob = add_user(lab.emulator, "bob", files=False)
    for user in (ann, carl):
        for number in range(3):
            lab.tenant.add_message(user, "Inbox", mime(number))
    point = (await lab.backup(ann, carl, workloads=["mail"], selection=FULL)).point
    rule = {"when": {"kind": "import", "every": 2}, "do": {"then": "drop", "commit": True}}
    lab.emulator.controls.script([rule])
    assert sums(await lab.restore(point, bob)) == {"create": 6}
    assert len(mail_truth(lab.tenant, bob)["Inbox"]) == 6
    lab.assert_no_breach()


async def test_another_tenant(lab: Lab, emulator: StartEmulator) -> None:
    """With the organization file of another tenant, people of the same name there are the originals."""
    user = fill(lab, "ann")
    before = mail_truth(lab.tenant, user)
    point = (await lab.backup(user, workloads=["mail"], selection=FULL)).point
    other = await emulator(seed=7)
    name = add_user(other, "ann", files=False)
    assert other.tenant.user(name).key != lab.tenant.user(user).key
    home, lab.emulator = lab.emulator, other
    lab.org = {
        **lab.org,
        **{key: other.restore_org[key] for key in lab.org if key in other.restore_org},
    }
    assert sums(await lab.restore(point)) == {"create": 17}
    assert not differing(before, mail_truth(other.tenant, name))
    assert mail_truth(home.tenant, user) == before
    assert not other.ledger.breaches


async def test_folders_made_behind_an_error_and_attachments_not_found_at_once(lab: Lab) -> None:
    """A folder whose create failed and was done is found by name (lesson 97); 404 on a new message passes (lesson 94)."""
    user = fill(lab, "ann")
    before = mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS)
    point = (await lab.backup(user, workloads=["mail"], selection=PORTABLE)).point
    wipe_mail(lab.tenant, user)
    folders = {"method": "POST", "path": "/users/*/mailFolders/*/childFolders", "nth": [1, 3]}
    attachments = {"method": "POST", "path": "/users/*/messages/*/attachments", "nth": 1}
    lab.emulator.controls.script(
        [
            {"when": folders, "do": {"status": 503, "commit": True}},
            {"when": attachments, "do": {"status": 404, "code": "ErrorItemNotFound"}},
        ]
    )
    assert sums(await lab.restore(point)) == {"create": 17}
    assert lab.emulator.services.script.fired() == [2, 1]
    assert not differing(before, mail_truth(lab.tenant, user, without=PORTABLE_EXCEPTIONS))
    lab.assert_no_breach()


async def test_without_the_right_to_write_nothing_is_tried_for_long(lab: Lab) -> None:
    """The application of the backup cannot restore: the entry fails with what to do, and is not half done."""
    user = fill(lab, "ann")
    point = (await lab.backup(user, workloads=["mail"], selection=PORTABLE)).point
    wipe_mail(lab.tenant, user)
    lab.emulator.restore_org = lab.emulator.org
    result = await lab.restore(point)
    assert result.failed
    assert result.entries[0].error_code == "graph-denied"
    assert not any(mail_truth(lab.tenant, user).values())
