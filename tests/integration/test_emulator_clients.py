"""Clients that know nothing of an emulator walk a mailbox of it, under the real host names."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.emulator import StartEmulator
from tools.emulator import Emulator
from tools.emulator.event_json import EventView, EventWriter
from tools.emulator.mailbox import Mailbox

CLIENTS = Path(__file__).parents[1] / "clients"
PYTHON = CLIENTS / ".venv/bin/python"
_PATIENCE_S = 180
USER = "ada@tiny.onmicrosoft.com"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="tests/install_clients.sh has not been run (make test-deps)"
    ),
]


async def _walk(emu: Emulator, script: str) -> dict[str, Any]:
    """What a client found; it is led to the emulator by proxy and certificate alone."""
    environment = {
        "PATH": os.environ["PATH"],
        "HTTPS_PROXY": emu.proxy_url,
        "SSL_CERT_FILE": str(emu.ca_file),
        "REQUESTS_CA_BUNDLE": str(emu.ca_file),
        "GRAPH_SECRET": emu.org["client_secret"],
        "PYTHONDONTWRITEBYTECODE": "",
    }
    process = await asyncio.create_subprocess_exec(
        PYTHON, CLIENTS / script, emu.org["tenant_id"], emu.org["client_id"], USER,
        env=environment, cwd=emu.options.data_dir,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_PATIENCE_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()[-4000:]
    found: dict[str, Any] = json.loads(out)
    return found


def _mailbox(emu: Emulator) -> Mailbox:
    return emu.tenant.mailbox(USER)


def _tamed(emu: Emulator) -> bool:
    """No rule broken but that of the User-Agent, which these clients do not know."""
    return {breach.kind for breach in emu.ledger.breaches} <= {"user-agent"}


async def test_msgraph_sdk(emulator: StartEmulator) -> None:
    """Every message, event, contact and task with what hangs on it; no member that the SDK does not know."""
    emu = await emulator(recipe="tiny")
    found = await _walk(emu, "walk_msgraph.py")
    box = _mailbox(emu)
    shown = {m.key for m in box.messages() if not m.folder.hidden}
    assert found["messages"].keys() == shown
    assert sorted(count for _, count in found["messages"].values())[-1] == 4
    writer = EventWriter(box.calendars, EventView(immutable=True))
    assert found["events"] == {
        event.key: [
            writer.event(event)["subject"],
            len(event.attachments),
            event.properties["recurrence"] and event.properties["recurrence"]["pattern"]["type"],
        ]
        for event in box.calendars.records()
    }
    assert found["contacts"] == {
        contact.key: contact.properties["displayName"] for contact in box.contacts.records()
    }
    assert found["tasks"] == {
        task.key: [task.properties["title"], task.properties["status"], len(task.checklist)]
        for task in box.tasks.records()
    }
    links = "ReferenceAttachment."  # their members are not in the metadata that the SDK is made of
    assert [name for name in found["unknown"] if not name.startswith(links)] == []
    assert _tamed(emu)


async def test_o365(emulator: StartEmulator) -> None:
    """The same with O365, which takes next links as they come."""
    emu = await emulator(recipe="tiny")
    found = await _walk(emu, "walk_o365.py")
    box = _mailbox(emu)
    shown = {m.movable for m in box.messages() if not m.folder.hidden}
    assert found["messages"].keys() == shown
    assert found["events"] == {e.movable: e.properties["subject"] for e in box.calendars.records()}
    assert found["contacts"].keys() == {c.movable for c in box.contacts.records()}
    assert found["tasks"] == {t.key: t.properties["title"] for t in box.tasks.records()}
    assert _tamed(emu)
