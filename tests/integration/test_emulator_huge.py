"""The mailbox of a million messages that are made when asked for, and changes over them."""

import tracemalloc
from collections.abc import Callable

import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator
from tests.integration.test_emulator_conformance import Conforming
from tools.emulator import Emulator
from tools.emulator.clock import Clock
from tools.emulator.recipes import huge

MakeClient = Callable[[Emulator], GraphClient]
USER = "/users/archive@huge.onmicrosoft.com"
UPN = "archive@huge.onmicrosoft.com"
IMMUTABLE = 'IdType="ImmutableId"'
PAGES = f"{IMMUTABLE}, odata.maxpagesize=400"


@pytest.mark.slow
async def test_changes_lie_over_what_is_made(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Read, mark, move, delete and add: counts, listings, delta and ids are those of any mailbox."""
    emu = await emulator(recipe="huge:1000")
    client = Conforming(graph_client(emu))
    inbox = f"{USER}/mailFolders/inbox"
    first = await client.get(f"{inbox}/messages/delta", Prefer=PAGES)
    assert len(first["value"]) == 400
    counts = await client.get(inbox)
    assert (counts["totalItemCount"], counts["unreadItemCount"]) == (400, 8)
    keys = [message["id"] for message in first["value"]]
    assert sum(not message["isRead"] for message in first["value"]) == 8
    movable = (await client.get(f"{USER}/messages/{keys[3]}"))["id"]
    assert movable != keys[3]
    assert b"Message-ID" in (await client.client.ok(f"{USER}/messages/{movable}/$value"))

    emu.controls.delete_message(UPN, keys[0])
    emu.controls.move_message(UPN, keys[3], "Archive")
    emu.controls.mark_read(UPN, keys[2], is_read=False)
    added = emu.controls.add_message(UPN, "Inbox", "U3ViamVjdDogbmV3DQoNCng=")["id"]
    later = await client.get(first["@odata.deltaLink"], Prefer=IMMUTABLE)
    told = {m["id"]: "@removed" in m for m in later["value"]}
    assert told == {keys[0]: True, keys[3]: True, keys[2]: False, added: False}
    await client.get(f"{USER}/messages/{keys[0]}", 404)
    await client.get(f"{USER}/messages/{movable}", 404)
    moved = await client.get(f"{USER}/messages/{keys[3]}", Prefer=IMMUTABLE)
    assert moved["subject"] == first["value"][3]["subject"]
    counts = await client.get(inbox)
    assert (counts["totalItemCount"], counts["unreadItemCount"]) == (399, 9)
    state = emu.controls.oracle(UPN)[UPN]["mail"]
    assert len(state["Inbox"]) == 399
    assert sum(len(found) for found in state.values()) == 1000
    for listing in (f"{inbox}/messages", f"{USER}/messages"):
        listed = await client.client.pages(f"{listing}?$select=id", Prefer=PAGES)
        wanted = (
            state["Inbox"] if "inbox" in listing else {k for found in state.values() for k in found}
        )
        assert [m["id"] for m in listed[0]].count(added) == 1
        assert {m["id"] for m in listed[0]} == set(wanted)
    again = await client.walk(f"{inbox}/messages/delta", Prefer=PAGES)
    assert {m["id"] for m in again} == set(state["Inbox"])
    assert not emu.ledger.breaches


def test_equal_seeds_give_equal_messages() -> None:
    """Ids and bytes are functions of the seed."""

    def look(seed: int) -> list[tuple[str, str]]:
        mailbox = huge.build(seed, Clock(), 500).mailbox(UPN)
        return [(m.key, m.mime.sha256) for m in list(mailbox.messages())[::50]]

    assert look(1) == look(1)
    assert not set(look(1)) & set(look(2))


@pytest.mark.slow
async def test_a_million_messages_cost_nothing_until_asked_for(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    """Starting takes a few MB; the delta of any place in the mailbox answers at once."""
    tracemalloc.start()
    emu = await emulator(recipe="huge")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
    client = graph_client(emu)
    folders, _ = await client.pages(f"{USER}/mailFolders/delta")
    assert sum(folder["totalItemCount"] for folder in folders) == huge.MESSAGES
    page = await client.ok(f"{USER}/mailFolders/archive/messages/delta?$select=id", Prefer=PAGES)
    assert len(page["value"]) == 400
    newest = await client.ok(f"{USER}/mailFolders/archive/messages?$select=subject&$top=5")
    assert len(newest["value"]) == 5
    one = await client.ok(f"{USER}/messages/{page['value'][7]['id']}")
    assert 800 < len(await client.ok(f"{USER}/messages/{one['id']}/$value")) < 1600
