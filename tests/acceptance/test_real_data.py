"""Real mail and documents, the malformed ones included: tenant, backup, export, every byte compared."""

import asyncio
import hashlib
import json
import re
from pathlib import Path

import pytest

from engine.keys import KdfCost
from repository import Places, create_repository
from tests.fixtures.tenant_oracle import differences
from tools.cli.main import run
from tools.demo.compare import compare_drive, compare_mailbox
from tools.demo.tenant import emulated_tenant

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PASSPHRASE = "real data passphrase"


def undone(folder: Path, expected: set[str]) -> list[str]:
    """
    Hashes of the messages in mbox files, one `>` taken off again.

    A message whose last line did not end got a line end; it is taken off if the message is then one that is expected.
    """
    found = []
    for file in folder.rglob("*.mbox"):
        for quoted in re.split(rb"(?m)^From .*\n", file.read_bytes())[1:]:
            message = re.sub(rb"(?m)^>(>*From )", rb"\1", quoted)[:-1]
            digest = hashlib.sha256(message).hexdigest()
            if digest not in expected:
                digest = hashlib.sha256(message[:-1]).hexdigest()
            found.append(digest)
    return sorted(found)


async def test_real_mail_and_documents_come_back(
    shared_content: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every message and document of the real data is exported with the bytes the tenant holds."""
    monkeypatch.setenv("STRONGROOM_PASSPHRASE", PASSPHRASE)
    places = Places(tmp_path / "cache", tmp_path / "state")
    url = str(tmp_path / "repository")
    create_repository(url, PASSPHRASE, places=places, cost=KdfCost(64, 1, 1)).close()
    local = ["--cache-dir", str(places.cache_dir), "--state-dir", str(places.state_dir)]
    async with emulated_tenant(
        tmp_path / "tenant", throttling="off", content=shared_content
    ) as tenant:
        org = str(tmp_path / "tenant" / "org.toml")
        backup = ["backup", url, "--org", org, "--json", *local]
        assert await asyncio.to_thread(run, backup) == 0, capsys.readouterr().out[-2000:]
        document = json.loads(capsys.readouterr().out)
        oracle = await tenant.call("oracle")
        ledger = await tenant.call("ledger")
    assert ledger["breaches"] == []
    messages = sum(len(f) for state in oracle.values() for f in state["mail"].values())
    files = sum(len(state["drive"]) for state in oracle.values())
    assert messages > 19_000, "the whole corpus is served"
    assert files > 650, "documents and their versions are served"
    exported = tmp_path / "export"
    assert (
        await asyncio.to_thread(run, ["export", url, document["point"], str(exported), *local]) == 0
    )
    for upn, state in oracle.items():
        mailbox = compare_mailbox(exported / upn / "mail", state["mail"])
        assert mailbox.differences == ()
        assert mailbox.files == sum(len(folder) for folder in state["mail"].values())
        if state["drive"]:
            assert (
                compare_drive(exported / upn / "drives" / "OneDrive", state["drive"]).differences
                == ()
            )
    boxes = tmp_path / "mbox"
    mbox = ["export", url, document["point"], str(boxes), "--format", "mbox", *local]
    assert await asyncio.to_thread(run, mbox) == 0
    for upn, state in oracle.items():
        expected = sorted(digest for folder in state["mail"].values() for digest in folder.values())
        assert undone(boxes / upn, set(expected)) == expected
    from repository import open_repository

    with open_repository(url, PASSPHRASE, places) as repository:
        assert repository.verify("read").ok
        assert differences(repository, repository.point("latest"), oracle) == []
