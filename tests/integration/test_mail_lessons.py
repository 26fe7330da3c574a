"""What was learnt of mail in Microsoft 365, one test a lesson; and long outages, lost rights, denied mailboxes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from engine.catalog import Row
from proxy.pipeline.standalone import SessionResult
from tests.fixtures.emulator import StartEmulator
from tests.unit.proxy.lab import Lab, add_user, mime
from tools.emulator.attachment_json import attachment_key
from tools.emulator.blob import BytesBlob
from tools.emulator.mail_json import MessageReading, View
from tools.emulator.message import Message, MessageAttachment
from tools.emulator.message_store import MessageStore
from tools.emulator.options import BACKUP_ROLES
from tools.emulator.recipes.nasty import NastyTenant

pytestmark = pytest.mark.slow
LINK = {"sourceUrl": "https://files.example.com/plan"}
DELTA = "/users/{user}/mailFolders/{folder}/messages/delta"


@pytest_asyncio.fixture
async def lab(emulator: StartEmulator, tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(await emulator(), tmp_path)
    yield made
    made.repository.close()


def fill(lab: Lab, name: str = "ann", messages: int = 8) -> str:
    user = add_user(lab.emulator, name, files=False)
    for number in range(messages):
        lab.tenant.add_message(user, "Inbox" if number % 2 else "Projects", mime(number))
    return user


async def backup(lab: Lab, *users: str) -> SessionResult:
    return await lab.backup(*users, workloads=["mail"])


def script(lab: Lab, *rules: dict[str, Any]) -> None:
    lab.emulator.controls.script(list(rules))


def row_of(lab: Lab, result: SessionResult, message: Message) -> Row:
    return next(row for row in lab.rows(result.point) if row.id == message.key.encode())


def part(lab: Lab, row: Row, role: str) -> bytes:
    return lab.repository.read_all(next(one for one in row.parts if one.role == role))


def causes(result: SessionResult) -> list[str]:
    return [one.cause for task in result.tasks for one in task.outcomes]


async def test_answers_that_are_sometimes_untrue_are_tried_again(lab: Lab) -> None:
    """Lessons 9, 10, 11, 15, 16, 17: each fault once, and nothing is missing."""
    user = fill(lab, messages=12)
    path = "/users/*/messages/*/$value"
    faults: list[dict[str, Any]] = [
        {"status": 503},
        {"status": 504, "body": "html"},
        {"status": 500, "code": "UnknownError"},
        {"status": 400, "code": "invalidRequest"},
        {"status": 404, "body": "empty"},
        {"status": 503, "body": "empty"},
        {"then": "drop"},
    ]
    rules = [
        {"when": {"path": path, "nth": n + 1, "once": True}, "do": f} for n, f in enumerate(faults)
    ]
    lab.org["item_patience_s"] = "10"
    script(lab, *rules)
    result = await backup(lab, user)
    assert causes(result) == []
    assert lab.state(result.point) == lab.expected(user)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "ErrorQuotaExceeded"),
        (501, "NotImplemented"),
        (405, "x"),
        (400, "ErrorInvalidUrlQuery"),
    ],
)
async def test_a_folder_without_a_change_feed_is_listed_in_full(
    lab: Lab, status: int, code: str
) -> None:
    """Lessons 33, 35: no delta for a folder, or none while the mailbox is over its quota."""
    user = fill(lab)
    await backup(lab, user)
    first = next(iter(lab.tenant.mailbox(user).messages()))
    lab.tenant.delete_message(user, first.key)
    lab.tenant.add_message(user, "Inbox", mime(50))
    script(
        lab,
        {
            "when": {"path": "/users/*/mailFolders/*/messages/delta"},
            "do": {"status": status, "code": code},
        },
    )
    lab.ledger.clear()
    for _ in range(2):
        result = await backup(lab, user)
        assert lab.state(result.point) == lab.expected(user)
        assert causes(result) == []
    assert lab.content_reads() == 1
    lab.emulator.controls.clear_faults()
    lab.tenant.add_message(user, "Inbox", mime(51))
    result = await backup(lab, user)  # and back to the feed
    assert lab.state(result.point) == lab.expected(user)
    assert lab.content_reads() == 2


async def test_of_the_bad_mailbox_only_what_cannot_be_read_is_missing(
    emulator: StartEmulator, tmp_path: Path
) -> None:
    """The recipe `nasty`: the folder without change tracking is in the restore point, the one that cannot be listed is told."""
    nasty = Lab(
        await emulator(recipe="nasty"), tmp_path, page_patience_s="0.2", item_patience_s="0.2"
    )
    tenant = nasty.tenant
    assert isinstance(tenant, NastyTenant)
    result = await backup(nasty, "ada@nasty.onmicrosoft.com")
    told = [one for task in result.tasks for one in task.outcomes]
    folders = {
        row.name.decode(): row.id for row in nasty.rows(result.point) if row.kind == "container"
    }
    kept = [
        row.name.decode()
        for row in nasty.rows(result.point)
        if row.container == folders["folder without change tracking"]
    ]
    assert kept == ["folder without change tracking"]
    assert tenant.marks["folder without change tracking"] not in {one.item for one in told}
    assert tenant.marks["folder that cannot be listed"] in {one.item for one in told}
    nasty.repository.close()


async def test_a_folder_that_cannot_be_read_costs_itself_alone(lab: Lab) -> None:
    """Lesson 53."""
    user = fill(lab)
    folder = lab.tenant.mailbox(user).folder_at("Projects").key
    script(
        lab,
        {
            "when": {"path": f"/users/*/mailFolders/{folder}/messages/delta"},
            "do": {"status": 403, "code": "ErrorAccessDenied"},
        },
    )
    result = await backup(lab, user)
    assert [(o.item, o.cause) for t in result.tasks for o in t.outcomes] == [
        (folder, "graph-denied")
    ]
    assert len(lab.mail_ids(result.point)) == 4


async def test_one_prefer_header_with_immutable_ids_and_page_size_and_never_top(lab: Lab) -> None:
    """Lessons 30, 54, 55: both preferences are understood on one call, and no listing is cut by `$top`."""
    user = fill(lab, messages=60)
    result = await backup(lab, user)
    assert lab.ledger.notes.get("top-on-exchange-listing", 0) == 0
    keys = {message.key for message in lab.tenant.mailbox(user).messages()}
    assert (
        set(lab.mail_ids(result.point)) == keys
    )  # immutable ids, not those that change with a move
    folders = sum(row.kind == "container" for row in lab.rows(result.point))
    assert (
        lab.ledger.requests(DELTA) == 2 * folders
    )  # two rounds: 30 a folder fit one page, the default of 10 would not


async def test_pages_with_doubles_and_out_of_order_do_no_harm(lab: Lab) -> None:
    """Lesson 36; and a page link that comes twice (29) or an empty page ends or goes on as it should."""
    user = fill(lab, messages=30)
    for edit in ("duplicate_items", "reorder", "empty_page"):
        script(
            lab,
            {
                "when": {"path": "/users/*/mailFolders/*/messages/delta", "every": 2},
                "do": {"page": edit},
            },
        )
        lab.tenant.add_message(user, "Inbox", mime(100 + len(edit)))
        await backup(lab, user)
    lab.emulator.controls.clear_faults()
    lab.tenant.kill_delta_tokens()
    result = await backup(lab, user)
    assert lab.state(result.point) == lab.expected(user)


async def test_attachments_of_any_kind_are_kept_where_there_is_no_mime(lab: Lab) -> None:
    """Lessons 81-84, 113: listed first, read one by one; small, large, attached item, link, a broken one."""
    user = add_user(lab.emulator, "ann", files=False)
    message = lab.tenant.add_message(user, "Inbox", mime(1))
    large = bytes(range(256)) * 20_000
    store = MessageStore(
        lab.tenant.mailbox(user), lab.tenant.seed, lab.tenant.domain, lab.emulator.clock.now()
    )
    for one in (
        MessageAttachment(0, "file", "small.txt", "text/plain", BytesBlob(b"small")),
        MessageAttachment(0, "file", "large.bin", "application/x", BytesBlob(large)),
        MessageAttachment(0, "item", "A letter", None, BytesBlob(mime(77))),
        MessageAttachment(0, "reference", "Plan", None, BytesBlob(b""), details=LINK),
        MessageAttachment(0, "file", "broken.ole", "application/x", BytesBlob(b"never")),
    ):
        store.attach(message, one)
    script(
        lab,
        {
            "when": {"path": f"/users/*/messages/{message.key}/$value"},
            "do": {"status": 500, "code": "ErrorMimeContentConversionFailed"},
        },
    )
    listed = _attachment_ids(lab, message)
    lab.emulator.faults.fail_item(listed["broken.ole"], 500, "ErrorCannotOpenFileAttachment", None)
    result = await backup(lab, user)
    assert sorted(causes(result)) == ["attachment-unreadable", "stored-without-mime"]
    row = row_of(lab, result, message)
    entries = msgspec.json.decode(part(lab, row, "attachments"))
    held = {e["members"]["name"]: e["content"] and part(lab, row, e["content"]) for e in entries}
    assert held == {
        "small.txt": b"small",
        "large.bin": large,
        "A letter": mime(77),
        "Plan": None,
        "broken.ole": None,
    }
    assert b"Hello. 1" in part(lab, row, "json")


def _attachment_ids(lab: Lab, message: Message) -> dict[str, str]:
    reading = MessageReading(message, View(immutable=True), lab.tenant.seed)
    assert message.attached is not None
    return {one.name: attachment_key(reading, one.number) for one in message.attached}


async def test_settings_rules_and_categories_are_kept_with_the_inbox(lab: Lab) -> None:
    """Lesson 28: read in one round trip, kept as they were; without the right to them the mail is kept all the same."""
    user = fill(lab)
    settings = lab.tenant.mailbox(user).settings
    settings.add_category({"displayName": "Urgent", "color": "preset0"})
    result = await backup(lab, user)
    inbox = next(r for r in lab.rows(result.point) if b'"wellKnown":"inbox"' in r.meta)
    assert {one.role for one in inbox.parts} == {"settings", "rules", "categories", "overrides"}
    assert b"Urgent" in part(lab, inbox, "categories")

    lab.ledger.clear()
    settings.add_category({"displayName": "Later", "color": "preset1"})
    lab.emulator.controls.set_roles(
        [r for r in BACKUP_ROLES if not r.startswith("MailboxSettings")]
    )
    lab.emulator.controls.revoke_tokens()
    result = await backup(lab, user)
    assert causes(result) == ["settings-unreadable"]
    inbox = next(r for r in lab.rows(result.point) if b'"wellKnown":"inbox"' in r.meta)
    assert b"Urgent" in part(lab, inbox, "categories")  # what was kept stays
    assert lab.state(result.point) == lab.expected(user)


async def test_everything_down_for_half_an_hour_in_the_middle_ends_whole(
    emulator: StartEmulator, tmp_path: Path
) -> None:
    """At 55 per cent all of Microsoft is away for 30 minutes of its clock: the job waits and ends complete."""
    emu = await emulator(rate=1800.0, token_life=36_000_000)
    lab = Lab(emu, tmp_path, page_patience_s="30", item_patience_s="30")
    user = fill(lab, messages=60)
    emu.services.latency = 0.002
    job = asyncio.create_task(backup(lab, user))
    while lab.content_reads() < 33:
        await asyncio.sleep(0.001)
    emu.controls.outage(on=True, entra=True)
    until = emu.clock.now() + 1800
    while emu.clock.now() < until:
        await asyncio.sleep(0.05)
    assert not job.done()
    emu.controls.outage(on=False)
    result = await job
    assert causes(result) == []
    assert lab.state(result.point) == lab.expected(user)
    assert lab.content_reads() < 60 + 15
    lab.repository.close()


async def test_three_of_forty_mailboxes_denied_and_a_right_removed_half_way(lab: Lab) -> None:
    """Restore points exist for all that was read; the next session goes on and does not start over."""
    users = [fill(lab, f"user{number:02}", 4) for number in range(40)]
    for user in users[:3]:
        lab.emulator.faults.deny("mail", lab.tenant.user(user).key)
    result = await backup(lab, *users)
    assert sorted(t.object.name for t in result.tasks if t.error_code) == users[:3]
    assert set(lab.state(result.point)) == set(users[3:])
    assert result.warned
    assert not result.failed

    lab.emulator.faults.clear()
    lab.ledger.clear()
    for user in users:
        lab.tenant.add_message(user, "Inbox", mime(90))

    def take_away() -> None:
        lab.emulator.controls.set_roles([r for r in BACKUP_ROLES if r != "Mail.Read"])
        lab.emulator.controls.revoke_tokens()

    came = lab.after_request(250, take_away)
    result = await backup(lab, *users)
    assert came()
    failed = [t for t in result.tasks if t.error_code]
    assert failed
    assert {t.error_code for t in failed} <= {"graph-denied"}
    assert set(users[3:]) <= set(
        lab.state(result.point)
    )  # where reading failed, the newest whole state

    lab.emulator.controls.set_roles(list(BACKUP_ROLES))
    lab.emulator.controls.revoke_tokens()
    result = await backup(lab, *users)
    assert lab.state(result.point) == lab.expected(*users)
    assert lab.content_reads() < 3 * 4 + 40 + 16  # at most what was under way is read twice
    lab.assert_no_breach()
