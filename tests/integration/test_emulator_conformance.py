"""Every kind of answer of the emulator against the OpenAPI subset of Graph."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.emulator import GraphClient, StartEmulator
from tests.graph.check_response import Checker
from tools.emulator import Emulator

SUBSET = Path(__file__).resolve().parents[1] / "graph" / "graph-openapi-subset.yaml"
MakeClient = Callable[[Emulator], GraphClient]


@functools.cache
def checker() -> Any:
    return Checker(str(SUBSET))


# what a link is made of; the service takes and gives it, the metadata of v1.0 does not know it
_OF_LINKS = {"sourceUrl", "providerType", "permission", "isFolder", "thumbnailUrl", "previewUrl"}


def _described(body: Any) -> Any:
    """`body` without the members of links."""
    if isinstance(body, list):
        return [_described(each) for each in body]
    if not isinstance(body, dict):
        return body
    is_link = body.get("@odata.type") == "#microsoft.graph.referenceAttachment"
    return {k: _described(v) for k, v in body.items() if not (is_link and k in _OF_LINKS)}


class Conforming:
    """A client that holds every answer against the subset."""

    def __init__(self, client: GraphClient) -> None:
        self.client = client
        self.checked = 0

    async def get(self, target: str, status: int = 200, **headers: str) -> Any:
        """GET `target`, expect `status`, and check the answer; returns the body."""
        got, body, answer = await self.client.get(target, **headers)
        assert got == status, (target, got, body)
        path = self.client.url(target).partition("/v1.0")[2]
        is_json = "json" in answer.get("Content-Type", "")
        problems = checker().check("GET", path, got, _described(body) if is_json else b"")
        assert not problems, (target, problems)
        for name in ("request-id", "client-request-id", "x-ms-ags-diagnostic", "Date"):
            assert name in answer, (target, name)
        self.checked += 1
        return body

    async def walk(self, target: str, **headers: str) -> list[Any]:
        """All pages of a listing or round."""
        entries: list[Any] = []
        while target:
            body = await self.get(target, **headers)
            entries += body["value"]
            target = body.get("@odata.nextLink", "")
        return entries


@pytest.mark.slow
async def test_every_endpoint_of_the_demo_tenant(
    emulator: StartEmulator, graph_client: MakeClient
) -> None:
    emu = await emulator(recipe="demo")
    client = Conforming(graph_client(emu))
    await client.get("/organization")
    await client.get("/sites/root")
    users = await client.walk("/users?$top=15&$count=true")
    await client.walk("/users/delta")
    user = users[0]["id"]
    everything = "id,displayName,accountEnabled,department,userType,mail,proxyAddresses"
    await client.get(f"/users/{users[1]['userPrincipalName']}?$select={everything}")
    await _mail(client, f"/users/{user}")
    await _drive(client, f"/users/{user}")
    assert client.checked > 60


async def _mail(client: Conforming, user: str) -> None:
    folders = await client.walk(f"{user}/mailFolders?includeHiddenFolders=true")
    assert any("@odata.type" in folder for folder in folders)
    await client.walk(f"{user}/mailFolders/delta?includeHiddenFolders=true")
    await client.get(f"{user}/mailFolders/inbox")
    await client.walk(f"{user}/mailFolders/inbox/childFolders")
    attachments = 0
    for folder in folders:
        base = f"{user}/mailFolders/{folder['id']}/messages"
        await client.walk(f"{base}?$top=30")
        mails = await client.walk(f"{base}/delta", Prefer="odata.maxpagesize=25")
        for mail in mails[:3]:
            one = f"{user}/messages/{mail['id']}"
            await client.get(f"{one}?$expand=attachments")
            await client.get(f"{one}?$select=subject,internetMessageHeaders,uniqueBody")
            await client.get(f"{one}/$value")
            for attachment in await client.walk(f"{one}/attachments"):
                attachments += 1
                await client.get(f"{one}/attachments/{attachment['id']}")
                await client.get(f"{one}/attachments/{attachment['id']}/$value")
    assert attachments
    await client.get(f"{user}/messages/nothing", 404)
    await client.get(f"{user}/mailFolders/nothing/messages", 404)
    await client.get(f"{user}/mailFolders/inbox/messages/delta?$deltatoken=altered", 400)
    await client.get("/users/nobody@example.com", 404)


async def _drive(client: Conforming, user: str) -> None:
    drive = await client.get(f"{user}/drive")
    await client.walk(f"{user}/drives")
    base = f"/drives/{drive['id']}"
    await client.get(base)
    await client.get(f"{base}/root")
    items = await client.walk(f"{base}/root/delta()?$top=10")
    folder = next(i for i in items if "folder" in i and i["folder"]["childCount"] > 2)
    await client.walk(f"{base}/items/{folder['id']}/children?$top=2")
    file = next(i for i in items if "file" in i and i["size"] > 100)
    await client.get(f"{base}/items/{file['id']}")
    await client.get(f"{base}/items/{file['id']}/content", 302)
    await client.get(f"{base}/items/nothing", 404)
    await client.get(f"{base}/root:/Documents/Letters:")
    await client.get("/drives/nothing/root", 404)


@pytest.mark.slow
async def test_malformed_mail_conforms_too(
    emulator: StartEmulator, graph_client: MakeClient, shared_edge_cases: Path
) -> None:
    """Whatever real mail does to the parser, each answer is one that Graph could give."""
    emu = await emulator(content=shared_edge_cases)
    client = Conforming(graph_client(emu))
    seen = 0
    for user in emu.tenant.users:
        for folder in await client.walk(
            f"/users/{user}/mailFolders", Prefer="odata.maxpagesize=90"
        ):
            base = f"/users/{user}/mailFolders/{folder['id']}"
            for child in (folder, *await client.walk(f"{base}/childFolders")):
                path = f"/users/{user}/mailFolders/{child['id']}/messages/delta"
                everything = "?$select=" + ",".join(_ALL)
                mails = await client.walk(path + everything, Prefer="odata.maxpagesize=200")
                seen += len(mails)
                for mail in [m for m in mails if m["hasAttachments"]][:40]:
                    await client.walk(f"/users/{user}/messages/{mail['id']}/attachments")
    assert seen == sum(
        len(list(u.mailbox.messages())) for u in emu.tenant.users.values() if u.mailbox
    )
    assert seen > 2_000
    assert not emu.ledger.requests(status=500)


_ALL = (
    "bccRecipients", "body", "bodyPreview", "categories", "ccRecipients", "changeKey",
    "conversationId", "createdDateTime", "flag", "from", "hasAttachments", "importance",
    "inferenceClassification", "internetMessageHeaders", "internetMessageId",
    "isDeliveryReceiptRequested", "isDraft", "isRead", "isReadReceiptRequested",
    "lastModifiedDateTime", "parentFolderId", "receivedDateTime", "replyTo", "sender",
    "sentDateTime", "subject", "toRecipients", "webLink",
)  # fmt: skip


@pytest.mark.slow
async def test_errors_conform(emulator: StartEmulator, graph_client: MakeClient) -> None:
    emu = await emulator()
    client = Conforming(graph_client(emu))
    user = next(iter(emu.tenant.users))
    mailbox = f"/users/{user}/mailFolders"
    body = await client.get(f"{mailbox}/inbox/messages/delta")
    link = body["@odata.deltaLink"]
    drive = emu.tenant.users[user].drive
    assert drive is not None
    drive_link = (await client.get(f"/drives/{drive.key}/root/delta"))["@odata.deltaLink"]
    emu.controls.kill_delta_tokens()
    dead = await client.get(link, 410)
    assert dead["error"]["code"] == "SyncStateNotFound"
    status, dead, headers = await client.client.get(drive_link)
    assert (status, dead["error"]["code"]) == (410, "resyncChangesApplyDifferences")
    assert (await client.client.get(headers["Location"]))[0] == 200
    emu.controls.deny(user)
    await client.get(mailbox, 403)
    emu.controls.force_throttle(f"mailbox:{user}", 5)
    await client.get(mailbox, 429)
    emu.controls.force_throttle("files", 5)
    await client.get(f"/users/{user}/drive", 429)
    emu.controls.force_throttle("identity", 5)
    await client.get("/users", 429)
    emu.controls.outage()
    await client.get("/users", 503)
    emu.controls.clear_faults()
    client.client.token = "wrong"
    await client.get("/users", 401)
