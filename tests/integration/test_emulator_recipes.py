"""The recipes tiny, mid and nasty: what they promise, and that their answers conform."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator
from tests.integration.test_emulator_conformance import Conforming
from tools.emulator import Emulator
from tools.emulator.oracle import oracle
from tools.emulator.recipes.nasty import NastyTenant

MakeClient = Callable[[Emulator], GraphClient]
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}
YEAR = "startDateTime=2026-01-01T00:00:00Z&endDateTime=2026-12-31T00:00:00Z"
pytestmark = pytest.mark.slow


def states(found: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [item["state"] for each in found[kind].values() for item in each["items"].values()]


async def walk_mailbox(client: Conforming, user: str) -> int:
    """Read everything once; how many things there were."""
    count = 0
    for folder in await client.walk(f"{user}/mailFolders/delta?includeHiddenFolders=true"):
        messages = f"{user}/mailFolders/{folder['id']}/messages"
        for message in await client.walk(f"{messages}/delta?$select=subject", **IMMUTABLE):
            await client.get(f"{user}/messages/{message['id']}?$expand=attachments")
            count += 1
    for calendar in await client.walk(f"{user}/calendars"):
        for event in await client.walk(f"{user}/calendars/{calendar['id']}/events", **IMMUTABLE):
            await client.walk(f"{user}/events/{event['id']}/attachments")
            count += 1
    for folder in [{"id": "contacts"}, *await client.walk(f"{user}/contactFolders/delta")]:
        count += len(await client.walk(f"{user}/contactFolders/{folder['id']}/contacts/delta"))
    for given in await client.walk(f"{user}/todo/lists/delta"):
        for task in await client.walk(f"{user}/todo/lists/{given['id']}/tasks/delta"):
            await client.walk(f"{user}/todo/lists/{given['id']}/tasks/{task['id']}/attachments")
            count += 1
    return count


async def test_tiny_has_everything_once(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Each kind of item with each of its features is there, and reads as Graph would give it."""
    emu = await emulator(recipe="tiny")
    client = Conforming(graph_client(emu))
    assert await walk_mailbox(client, "/users/ada@tiny.onmicrosoft.com") > 20
    await client.walk(f"/users/ada@tiny.onmicrosoft.com/calendarView?{YEAR}")
    found = oracle(emu.tenant)["ada@tiny.onmicrosoft.com"]
    events, contacts, tasks = (states(found, kind) for kind in ("calendars", "contacts", "tasks"))
    assert any(e["exceptions"] and e["cancelled"] for e in events)
    assert any(x["attachments"] for e in events for x in e["exceptions"].values())
    assert any(e["properties"]["isAllDay"] for e in events)
    assert any(not e["properties"]["isOrganizer"] for e in events)
    assert any(e["properties"]["isCancelled"] for e in events)
    assert {a["kind"] for e in events for a in e["attachments"]} == {"file", "reference"}
    assert sum(c["photo"] is not None for c in contacts) == 1
    assert any(t["checklist"] and t["links"] and t["attachments"] for t in tasks)
    assert not emu.ledger.breaches


async def test_mid_has_a_hundred_thousand_items(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """200 users of 500 items each; any of them reads."""
    emu = await emulator(recipe="mid")
    client = Conforming(graph_client(emu))
    users = await client.walk("/users?$top=999")
    total = 0
    for user in emu.tenant.users.values():
        assert user.mailbox is not None
        total += sum(len(folder.messages) for folder in user.mailbox.folders.values())
        for store in (user.mailbox.calendars, user.mailbox.contacts, user.mailbox.tasks):
            total += sum(1 for _ in store.records())
    assert (len(users), total) == (200, 100_000)
    inbox = f"/users/{users[77]['id']}/mailFolders/inbox"
    read = await client.walk(f"{inbox}/messages/delta", Prefer="odata.maxpagesize=100")
    assert len(read) == 240


async def test_nasty_fails_where_it_says(emulator: StartEmulator, graph_client: MakeClient) -> None:
    """Each marked item gives its error, all others read; users without, denied and full mailboxes too."""
    emu = await emulator(recipe="nasty")
    tenant = emu.tenant
    assert isinstance(tenant, NastyTenant)
    client = Conforming(graph_client(emu))
    marks, base = tenant.marks, "/users/ada@nasty.onmicrosoft.com"
    values = {
        "mime conversion fails": 500, "corrupt message": 500, "invalid recipients": 400,
        "gone when read": 404, "server error for ever": 500,
    }  # fmt: skip
    for mark, status in values.items():
        await client.get(f"{base}/messages/{marks[mark]}")
        await client.get(f"{base}/messages/{marks[mark]}/$value", status)
    for status in (404, 200):
        got, body, _ = await client.client.get(f"{base}/messages/{marks['empty 404, once']}/$value")
        assert (got, body == b"") == (status, status == 404)
    for status in (500, 200):
        await client.get(f"{base}/messages/{marks['attachments fail at once']}/attachments", status)
    many = f"{base}/messages/{marks['many attachments']}/attachments"
    assert len(await client.walk(many)) == 60
    folder = f"{base}/mailFolders/{marks['folder without change tracking']}/messages"
    await client.get(f"{folder}/delta", 400)
    assert len(await client.walk(folder)) == 1
    await client.get(f"{base}/mailFolders/{marks['folder that cannot be listed']}/messages", 500)
    await client.get(f"{base}/calendars/{marks['calendar of somebody else']}/events", 404)
    await client.get(f"{base}/events/{marks['corrupt event']}", 500)
    for call in (
        f"events/{marks['too many instances']}/instances?{YEAR}",
        f"calendarView/delta?{YEAR}",
    ):
        got, body, _ = await client.client.get(f"{base}/{call}")
        assert (got, body) == (503, b"")
    late = f"{base}/events/{marks['late at night']}/instances?{YEAR}"
    day = [e for e in await client.walk(late) if e["type"] == "exception"]
    assert len({e["originalStart"] for e in day}) == 2
    await client.get(f"{base}/contacts/{marks['picture that fails']}")
    await client.get(f"{base}/contacts/{marks['picture that fails']}/photo/$value", 500)
    await client.get("/users/gone@nasty.onmicrosoft.com/mailFolders", 404)
    await client.get("/users/denied@nasty.onmicrosoft.com/contactFolders", 403)
    await client.get("/users/full@nasty.onmicrosoft.com/mailFolders/inbox/messages/delta", 403)
    await client.walk("/users/full@nasty.onmicrosoft.com/mailFolders/inbox/messages")
    for one in await client.walk(f"{base}/messages?$select=subject"):
        await client.get(f"{base}/messages/{one['id']}")
    assert not emu.ledger.breaches
