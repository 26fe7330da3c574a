"""Tenants made of a folder, also of the real mail and documents."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator
from tools.emulator import Emulator

MakeClient = Callable[[Emulator], GraphClient]


async def test_layout(emulator: StartEmulator, graph_client: MakeClient, tmp_path: Path) -> None:
    root = tmp_path / "content"
    mail = root / "Ann Example" / "mail"
    (mail / "inbox").mkdir(parents=True)
    (mail / "Projects" / "a:b").mkdir(parents=True)
    (mail / "top.eml").write_bytes(b"Subject: top\n\n1\n")
    (mail / "inbox" / "one.eml").write_bytes(b"Subject: one\r\n\r\n\x00\xff")
    (mail / "Projects" / "a:b" / "two.eml").write_bytes(b"")
    (mail / "Projects" / "note.txt").write_bytes(b"no mail")
    (mail / "Old.mbox").write_bytes(b"From a\nSubject: 1\n\nx\n\nFrom b\nSubject: 2\n\n>From c\n")
    files = root / "Ann Example" / "files"
    (files / "sub").mkdir(parents=True)
    (files / "sub" / "a?.txt").write_bytes(b"hello")
    (files / "empty").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(files) + b"/odd\xff.bin")).write_bytes(b"odd")
    os.utime(files / "empty", (1_600_000_000, 1_600_000_000))
    (files / "link").symlink_to("/etc")
    (root / "nobody").mkdir()

    emu = await emulator(content=root)
    upn = "ann-example@content.onmicrosoft.com"
    state = emu.controls.oracle(upn)[upn]
    assert {path: len(found) for path, found in state["mail"].items() if found} == {
        "Inbox": 2,
        "Projects/a%3Ab": 1,
        "Old": 2,
    }
    assert {p: (f["size"], f["mtime"][:4]) for p, f in state["drive"].items()}.keys() == {
        "sub/a%3F.txt",
        "empty",
        "odd%FF.bin",
    }
    assert state["drive"]["empty"]["mtime"] == "2020-09-13T12:26:40Z"

    client = graph_client(emu)
    mails = (await client.ok(f"/users/{upn}/messages?$select=subject"))["value"]
    assert len(mails) == 5
    bodies = set()
    for one in mails:
        bodies.add(await client.ok(f"/users/{upn}/messages/{one['id']}/$value"))
    assert b"Subject: one\r\n\r\n\x00\xff" in bodies
    assert b"Subject: 2\n\n>From c\n" in bodies
    assert (await client.get("/users/nobody@content.onmicrosoft.com/drive"))[0] == 404
    status, body, _ = await client.get("/users/nobody@content.onmicrosoft.com/mailFolders")
    assert (status, body["error"]["code"]) == (404, "MailboxNotEnabledForRESTAPI")


@pytest.mark.slow
async def test_real_content_is_served_byte_for_byte(
    emulator: StartEmulator, graph_client: MakeClient, shared_content: Path
) -> None:
    emu = await emulator(content=shared_content)
    client = graph_client(emu)
    users = {u["displayName"]: u["id"] for u in (await client.ok("/users"))["value"]}
    folders, _ = await client.pages(f"/users/{users['linux-cifs']}/mailFolders/delta")
    big = max(folders, key=lambda f: f["totalItemCount"])
    assert big["totalItemCount"] >= 4_900
    base = f"/users/{users['linux-cifs']}/mailFolders/{big['id']}/messages/delta"
    mails, _ = await client.pages(f"{base}?$select=id,changeKey", Prefer="odata.maxpagesize=1000")
    assert len(mails) == big["totalItemCount"]
    source = shared_content / "linux-cifs" / "mail"
    wanted = {
        hashlib.sha256(path.read_bytes()).digest() for path in sorted(source.rglob("*.eml"))[:200]
    }
    for mail in mails[:200]:
        raw = await client.ok(f"/users/{users['linux-cifs']}/messages/{mail['id']}/$value")
        assert hashlib.sha256(raw).digest() in wanted
    items, _ = await client.pages(f"/users/{users['documents']}/drive/root/delta?$top=1000")
    assert sum("file" in item for item in items) > 600
    assert not emu.ledger.breaches
