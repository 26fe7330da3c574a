"""The emulated Graph through plain HTTP: paging, change tracking, content, spellings of a call."""

import hashlib
from collections.abc import Callable

import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator
from tools.emulator import Emulator

MakeClient = Callable[[Emulator], GraphClient]
ALICE = "alice@empty.onmicrosoft.com"
IMMUTABLE = 'IdType="ImmutableId"'


def mime(number: int) -> bytes:
    """A small message, none like another."""
    return (
        f"From: a@example.com\r\nTo: b@example.com\r\nSubject: number {number}\r\n"
        f"Date: Tue, 03 Mar 2026 10:{number % 60:02d}:00 +0000\r\n\r\nbody {number}\r\n"
    ).encode()


@pytest.mark.slow
async def test_demo_tenant_round(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator(recipe="demo")
    client = graph_client(emu)
    users, _ = await client.pages("/users?$top=15&$select=id,userPrincipalName")
    assert len(users) == 40
    user, upn = users[3]["id"], users[3]["userPrincipalName"]
    state = emu.controls.oracle(user)[upn]
    folders, _ = await client.pages(f"/users/{user}/mailFolders/delta")
    seen: dict[str, str] = {}
    for folder in folders:
        mails, link = await client.pages(
            f"/users/{user}/mailFolders/{folder['id']}/messages/delta?$select=id,changeKey",
            Prefer=f"{IMMUTABLE}, odata.maxpagesize=7",
        )
        assert link
        for mail in mails:
            raw = await client.ok(f"/users/{user}/messages/{mail['id']}/$value")
            seen[mail["id"]] = hashlib.sha256(raw).hexdigest()
    assert seen == {key: sha for folder in state["mail"].values() for key, sha in folder.items()}
    items, _ = await client.pages(f"/users/{user}/drive/root/delta?$top=9")
    assert "root" in items[0]
    kinds = ["file" in item for item in items]
    assert kinds == sorted(kinds), "folders come first"
    files = {}
    for item in items:
        if "file" in item:
            status, raw, _ = await client.download(item["@microsoft.graph.downloadUrl"])
            assert status == 200
            files[item["id"]] = hashlib.sha256(raw).hexdigest()
    assert files == {f["id"]: f["sha256"] for f in state["drive"].values()}
    assert not emu.ledger.breaches


async def test_message_delta_follows_changes(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    emu = await emulator()
    client = graph_client(emu)
    added = [emu.tenant.add_message(ALICE, "Inbox", mime(n)) for n in range(5)]
    first = f"/users/{ALICE}/mailFolders/inbox/messages/delta?$select=isRead"
    mails, link = await client.pages(first, Prefer=f"{IMMUTABLE}, odata.maxpagesize=2")
    assert [m["id"] for m in mails] == [m.key for m in added]
    assert set(mails[0]) == {"@odata.etag", "id", "isRead"}
    assert link is not None

    again, same = await client.pages(link, Prefer=IMMUTABLE)
    assert again == []
    emu.tenant.delete_message(ALICE, added[0].key)
    emu.tenant.mark_read(ALICE, added[1].key)
    moved_from = added[2].movable
    emu.tenant.move_message(ALICE, added[2].key, "Archive/2026")
    emu.tenant.add_message(ALICE, "Inbox", mime(9))
    changes, link2 = await client.pages(same or "", Prefer=IMMUTABLE)
    removed = {c["id"] for c in changes if "@removed" in c}
    assert removed == {added[0].key, added[2].key}
    assert {c["id"]: c["isRead"] for c in changes if "@removed" not in c}[added[1].key] is True
    assert len(changes) == 4
    # the same state may be asked again, also in the other kind of id
    changes, _ = await client.pages(same or "")
    assert moved_from in {c["id"] for c in changes if "@removed" in c}
    assert link2 != link
    archive = f"/users/{ALICE}/mailFolders/archive/childFolders"
    child = (await client.ok(archive))["value"][0]
    assert child["totalItemCount"] == 1


async def test_delta_loses_nothing_under_writes(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    emu = await emulator()
    client = graph_client(emu)
    added = [emu.tenant.add_message(ALICE, "Inbox", mime(n)) for n in range(12)]
    target = f"/users/{ALICE}/mailFolders/inbox/messages/delta?$select=id"
    held: set[str] = set()
    number = 0
    while target:
        body = await client.ok(target, Prefer=f"{IMMUTABLE}, odata.maxpagesize=3")
        for entry in body["value"]:
            held.discard(entry["id"]) if "@removed" in entry else held.add(entry["id"])
        if number < 4:  # between pages: one comes, one that was seen goes
            emu.tenant.add_message(ALICE, "Inbox", mime(100 + number))
            emu.tenant.delete_message(ALICE, added[number].key)
        number += 1
        target = body.get("@odata.nextLink", "")
    assert held == set(emu.tenant.mailbox(ALICE).folder("inbox").messages)


async def test_old_generations_die(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator()
    client = graph_client(emu)
    first = f"/users/{ALICE}/mailFolders/inbox/messages/delta?$select=id"
    _, oldest = await client.pages(first)
    link = oldest
    for number in range(2):
        emu.tenant.add_message(ALICE, "Inbox", mime(number))
        _, link = await client.pages(link or "")
    assert (await client.get(oldest or ""))[0] == 200  # and that made a fourth state
    status, body, _ = await client.get(oldest or "")
    assert (status, body["error"]["code"]) == (410, "SyncStateNotFound")
    assert (await client.get(link or ""))[0] == 200


async def test_altered_links_are_refused_and_noted(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    emu = await emulator()
    client = graph_client(emu)
    for number in range(3):
        emu.tenant.add_message(ALICE, "Inbox", mime(number))
    body = await client.ok(f"/users/{ALICE}/mailFolders/inbox/messages?$top=1&$select=subject")
    link = body["@odata.nextLink"]
    assert (await client.get(link.replace("$skiptoken", "%24skiptoken")))[0] == 200
    assert not emu.ledger.breaches
    for altered in (
        link.replace("subject", "body"),
        link[:-1] + ("A" if link[-1] != "A" else "B"),
        link.replace("/inbox/", "/archive/"),
    ):
        assert (await client.get(altered))[0] == 400
    assert emu.ledger.breach_counts == {"link-altered": 3}


async def test_drive_delta_follows_changes(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    emu = await emulator()
    client = graph_client(emu)
    tenant = emu.tenant
    kept = tenant.put_file(ALICE, "a/b/kept.txt", b"one")
    gone = tenant.put_file(ALICE, "a/gone.txt", b"two")
    base = f"/drives/{tenant.drive(ALICE).key}/root/delta"
    items, link = await client.pages(base)
    assert len(items) == 5
    assert all("path" not in item["parentReference"] for item in items)
    latest = (await client.ok(f"{base}?token=latest"))["@odata.deltaLink"]

    tenant.put_file(ALICE, "a/b/kept.txt", b"three")
    tenant.delete_file(ALICE, "a/gone.txt")
    tenant.move_file(ALICE, "a/b", "c")
    for start in (link, latest):
        changes, _ = await client.pages(start or "")
        by_id = {c["id"]: c for c in changes}
        assert by_id[gone.key]["deleted"] == {"state": "deleted"}
        assert by_id[kept.key]["size"] == 5
        assert by_id[kept.key]["parentReference"]["name"] == "c"
        assert any("root" in c for c in changes), "parents of what changed are there"
    item = await client.ok(f"/drives/{tenant.drive(ALICE).key}/root:/c/kept.txt:")
    assert item["parentReference"]["path"].endswith("/root:/c")

    by_path = await client.ok(f"{base}(token='latest')")
    assert by_path["value"] == []
    assert by_path["@odata.deltaLink"].split("?")[0].endswith("/root/delta")

    emu.controls.kill_delta_tokens(ALICE)
    status, body, headers = await client.get(link or "")
    assert (status, body["error"]["code"]) == (410, "resyncChangesApplyDifferences")
    items, _ = await client.pages(headers["Location"])
    assert {i["id"] for i in items} == {i.key for i in tenant.drive(ALICE).items()}


async def test_users_delta_and_its_age(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator()
    client = graph_client(emu)
    users, link = await client.pages("/users/delta?$select=displayName")
    assert len(users) == 2
    gone = emu.tenant.user(ALICE).key
    emu.tenant.remove_user(ALICE)
    changes, _ = await client.pages(link or "")
    assert changes == [{"id": gone, "@removed": {"reason": "changed"}}]
    emu.clock.advance(8 * 86_400)
    await client.sign_in()
    status, _, headers = await client.get(link or "")
    assert status == 410
    assert headers["Location"].endswith("$deltatoken=")


async def test_download_urls(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator(url_life=900)
    client = graph_client(emu)
    content = bytes(range(256)) * 40
    item = emu.tenant.put_file(ALICE, "x.bin", content)
    drive = emu.tenant.drive(ALICE).key
    status, _, headers = await client.get(f"/drives/{drive}/items/{item.key}/content")
    assert status == 302
    url = headers["Location"]
    assert (await client.download(url))[1] == content
    status, part, headers = await client.download(url, Range="bytes=100-199")
    assert (status, part) == (206, content[100:200])
    assert headers["Content-Range"] == f"bytes 100-199/{len(content)}"
    assert (await client.download(url, Range="bytes=999999-"))[0] == 416
    assert (await client.download(url, Range="lines=1-2"))[0] == 200
    assert (await client.download(url[:-2]))[0] == 401
    assert not emu.ledger.breaches
    await client.download(url, Authorization="Bearer something")
    assert emu.ledger.breach_counts == {"authorization-on-preauthenticated-url": 1}
    emu.clock.advance(901)
    assert (await client.download(url))[0] == 401
    fresh = (await client.ok(f"/drives/{drive}/items/{item.key}"))["@microsoft.graph.downloadUrl"]
    emu.controls.expire_urls()
    assert (await client.download(fresh))[0] == 401


@pytest.mark.parametrize(
    "target",
    [
        "/users/{id}/mailFolders/inbox",
        "//users/{id}//mailFolders/inbox",
        "/USERS/{id}/MailFolders/Inbox",
        "/users('{id}')/mailFolders('inbox')",
        "/users/{upn}/mailFolders/inbox",
    ],
)
async def test_spellings_of_one_call(
    emulator: StartEmulator, graph_client: MakeClient, target: str
) -> None:
    emu = await emulator()
    client = graph_client(emu)
    user = emu.tenant.user(ALICE)
    body = await client.ok(target.format(id=user.key, upn=user.upn))
    assert body["displayName"] == "Inbox"
    assert emu.ledger.requests("/users/{user}/mailFolders/{folder}", 200) == 1


async def test_filter_of_users(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator()
    client = graph_client(emu)
    found = await client.ok("/users?$filter=accountEnabled eq true and displayName eq 'bob'")
    assert [u["displayName"] for u in found["value"]] == ["Bob"]
    assert (await client.get("/users?$filter=startswith(mail,'a')"))[0] == 400


async def test_attachments(emulator: StartEmulator, graph_client: MakeClient) -> None:
    raw = (
        b"From: a@example.com\r\nSubject: two parts\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n'
        b"--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
        b'--x\r\nContent-Type: application/pdf; name="a.pdf"\r\n'
        b"Content-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n"
        b"--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext\r\n--x--\r\n"
    )
    emu = await emulator()
    client = graph_client(emu)
    message = emu.tenant.add_message(ALICE, "Inbox", raw)
    base = f"/users/{ALICE}/messages/{message.key}"
    assert await client.ok(f"{base}/$value") == raw
    body = await client.ok(base)
    assert body["hasAttachments"] is True
    assert body["bodyPreview"] == "hello"
    rows = (await client.ok(f"{base}/attachments"))["value"]
    assert [(r["@odata.type"].rpartition(".")[2], r["name"]) for r in rows] == [
        ("fileAttachment", "a.pdf"),
        ("itemAttachment", "inner"),
    ]
    assert rows[0]["contentBytes"] == "QUJD"
    assert await client.ok(f"{base}/attachments/{rows[0]['id']}/$value") == b"ABC"
    assert (await client.get(f"{base}/attachments/none"))[0] == 404
