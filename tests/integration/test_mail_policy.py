"""Policy full and portable: export streams beside MIME and JSON, and each way as the fallback of the other."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine.catalog import Row
from proxy.contract import Selection
from proxy.pipeline.standalone import SessionResult
from tests.fixtures.emulator import StartEmulator
from tests.unit.proxy.lab import Lab, add_user, mime
from tools.emulator import mailbox_routes
from tools.emulator.errors import GraphError
from tools.emulator.export_stream import seal
from tools.emulator.mailbox_items import MailboxItems
from tools.emulator.message import Message
from tools.emulator.options import BACKUP_ROLES

pytestmark = pytest.mark.slow
PORTABLE = Selection(mail_policy="portable")
EXPORT = "POST /admin/exchange/mailboxes/{mailbox}/exportItems"


@pytest_asyncio.fixture
async def lab(emulator: StartEmulator, tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(await emulator(), tmp_path)
    yield made
    made.repository.close()


def fill(lab: Lab, messages: int = 45) -> tuple[str, list[Message]]:
    user = add_user(lab.emulator, "ann", files=False)
    made = [lab.tenant.add_message(user, "Inbox", mime(n)) for n in range(messages)]
    return user, made


async def backup(lab: Lab, user: str, selection: Selection | None = None) -> SessionResult:
    return await lab.backup(user, workloads=["mail"], selection=selection)


def messages(lab: Lab, result: SessionResult) -> dict[str, Row]:
    return {r.id.decode(): r for r in lab.rows(result.point) if r.kind == "message"}


def roles(row: Row) -> list[str]:
    return [part.role for part in row.parts]


def causes(result: SessionResult) -> list[tuple[str, str]]:
    return [(one.item, one.cause) for task in result.tasks for one in task.outcomes]


async def test_full_keeps_the_whole_item_beside_mime_and_json(lab: Lab) -> None:
    """20 items a request; the stream is byte for byte what the service gave."""
    user, made = fill(lab)
    result = await backup(lab, user)
    assert not result.warned
    rows = messages(lab, result)
    for message in made:
        row = rows[message.key]
        assert roles(row) == ["json", "mime", "fts"]
        stream = next(part for part in row.parts if part.role == "fts")
        assert lab.repository.read_all(stream) == seal(message.item_class, message.state())
    assert lab.ledger.requests(EXPORT) == 3
    assert lab.state(result.point) == lab.expected(user)

    lab.ledger.clear()
    lab.tenant.mark_read(user, made[0].key, is_read=False)
    again = await backup(lab, user)
    assert roles(messages(lab, again)[made[0].key]) == ["json", "mime", "fts"]
    assert lab.ledger.requests(EXPORT) <= 1
    lab.assert_no_breach()


async def test_portable_asks_for_no_stream_and_full_adds_them_without_reading_mail_again(
    lab: Lab,
) -> None:
    user, made = fill(lab)
    rows = messages(lab, await backup(lab, user, PORTABLE))
    assert {tuple(roles(row)) for row in rows.values()} == {("json", "mime")}
    assert lab.ledger.requests(EXPORT) == 0
    lab.ledger.clear()
    rows = messages(lab, await backup(lab, user))
    assert {tuple(roles(row)) for row in rows.values()} == {("json", "mime", "fts")}
    assert lab.content_reads() == 0
    lab.ledger.clear()
    rows = messages(lab, await backup(lab, user, PORTABLE))
    assert {tuple(roles(row)) for row in rows.values()} == {
        ("json", "mime", "fts")
    }  # what is there stays
    assert len(rows) == len(made)


async def test_an_item_that_is_not_exported_has_its_mime_and_is_not_asked_for_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors come item by item within a 200."""
    user, made = fill(lab)
    bad = made[7].key
    real = MailboxItems.state

    def state(self: MailboxItems, item: Any) -> dict[str, Any]:
        if item.key == bad:
            raise GraphError(500, "ErrorCorruptData", "Cannot export.")
        return real(self, item)

    monkeypatch.setattr(MailboxItems, "state", state)
    result = await backup(lab, user)
    assert causes(result) == [(bad, "stored-without-stream")]
    rows = messages(lab, result)
    assert roles(rows.pop(bad)) == ["json", "mime"]
    assert {tuple(roles(row)) for row in rows.values()} == {("json", "mime", "fts")}
    lab.ledger.clear()
    again = await backup(lab, user)
    assert (causes(again), lab.ledger.requests(EXPORT), lab.content_reads()) == ([], 0, 0)


async def test_a_message_that_cannot_be_read_is_kept_as_its_stream(lab: Lab) -> None:
    """Lesson 86, and better: a message that the service finds corrupt may still be exported."""
    user, made = fill(lab, 5)
    path = f"/users/*/messages/{made[2].key}"
    answer = {"status": 500, "code": "ErrorCorruptData"}
    rules = [
        {"when": {"path": f"{path}/$value"}, "do": answer},
        {"when": {"path": path}, "do": answer},
    ]
    lab.emulator.controls.script(rules)
    result = await backup(lab, user)
    assert causes(result) == [(made[2].key, "stored-as-stream")]
    rows = messages(lab, result)
    assert roles(rows[made[2].key]) == ["json", "fts"]
    assert rows[made[2].key].name == b"Letter 2"

    lab.emulator.faults.fail_item(made[3].key, 500, "ErrorCorruptData", None)
    lab.tenant.mark_read(user, made[3].key, is_read=True)
    lab.tenant.mailbox(user).touch(made[3], at=lab.emulator.clock.now())
    result = await backup(lab, user)
    assert (made[3].key, "item-corrupt") in causes(result)
    assert roles(messages(lab, result)[made[3].key]) == [
        "json",
        "mime",
        "fts",
    ]  # the older one stays


async def test_a_mailbox_that_gives_no_exports_is_kept_portable_and_says_so(lab: Lab) -> None:
    user, made = fill(lab, 5)
    allowed = [role for role in BACKUP_ROLES if not role.startswith("MailboxItem")]
    lab.emulator.controls.set_roles([r for r in allowed if not r.startswith("MailboxFolder")])
    for rule in ("/users/*/settings/exchange",):
        lab.emulator.controls.script(
            [{"when": {"path": rule}, "do": {"status": 403, "code": "ErrorAccessDenied"}}]
        )
    result = await backup(lab, user)
    assert [cause for _, cause in causes(result)] == ["export-not-offered"]
    assert len(messages(lab, result)) == len(made)
    assert lab.state(result.point) == lab.expected(user)


async def test_items_are_found_by_change_key_where_their_ids_differ_from_messages(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id map: a message's own id first, then the folder's items by change key; one request a folder page."""
    user, made = fill(lab)
    real = MailboxItems.item

    def item(self: MailboxItems, key: str) -> Any:
        return real(self, key.removeprefix("box-") if key.startswith("box-") else "nobody")

    monkeypatch.setattr(MailboxItems, "item", item)
    monkeypatch.setattr(mailbox_routes, "_shown_id", lambda call, one: f"box-{one.key}")
    result = await backup(lab, user)
    assert {tuple(roles(r)) for r in messages(lab, result).values()} == {("json", "mime", "fts")}
    assert lab.ledger.requests("/admin/exchange/mailboxes/{mailbox}/folders/{folder}/items") == 1
    for message in made:
        row = messages(lab, result)[message.key]
        stream = next(part for part in row.parts if part.role == "fts")
        assert lab.repository.read_all(stream) == seal(message.item_class, message.state())
    lab.assert_no_breach()
