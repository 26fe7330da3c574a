"""The emulated Graph through plain HTTP: paging, change tracking, content, faults."""

from collections.abc import Callable

import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator
from tools.emulator import Emulator

MakeClient = Callable[[Emulator], GraphClient]


@pytest.mark.slow
async def test_demo_tenant_round(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator(recipe="demo")
    client = graph_client(emu)
    users, _ = await client.pages("/users?$top=15&$select=id,userPrincipalName")
    assert len(users) == 40
    state = emu.controls.oracle(users[3]["id"])[users[3]["userPrincipalName"]]
    user = users[3]["id"]
    folders, _ = await client.pages(f"/users/{user}/mailFolders/delta")
    seen = {}
    for folder in folders:
        prefer = 'IdType="ImmutableId", odata.maxpagesize=7'
        mails, link = await client.pages(
            f"/users/{user}/mailFolders/{folder['id']}/messages/delta?$select=id,changeKey",
            Prefer=prefer,
        )
        assert link
        seen |= {m["id"]: m for m in mails}
    assert set(seen) == {key for ids in state["mail"].values() for key in ids}
    items, link = await client.pages(f"/users/{user}/drive/root/delta?$top=9")
    assert {i["id"] for i in items if "file" in i} == {f["id"] for f in state["drive"].values()}
    assert "root" in items[0]
