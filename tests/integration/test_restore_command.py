"""`strongroom restore`: what it says, what it asks, and what a killed one leaves to the next."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.emulator import StartEmulator
from tests.fixtures.mail_truth import differing, mail_truth, wipe_mail
from tests.unit.proxy.lab import PASSPHRASE, Lab, add_user, mime
from tools.cli.main import run
from tools.emulator.serve import organization_toml

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def lab(emulator: StartEmulator, tmp_path: Path, monkeypatch: Any) -> AsyncIterator[Lab]:
    made = Lab(await emulator(), tmp_path)
    (tmp_path / "restore.toml").write_text(
        organization_toml({**made.emulator.restore_org, "item_patience_s": "2"})
    )
    monkeypatch.setenv("STRONGROOM_PASSPHRASE", PASSPHRASE)
    yield made
    made.repository.close()


def words(lab: Lab, *more: str) -> list[str]:
    places = ["--cache-dir", str(lab.places.cache_dir), "--state-dir", str(lab.places.state_dir)]
    org = str(lab.folder / "restore.toml")
    return ["restore", lab.url, "latest", "--org", org, *places, *more]


async def called(lab: Lab, *more: str) -> int:
    return await asyncio.to_thread(run, words(lab, *more))


async def test_plan_question_and_report(lab: Lab, capsys: Any) -> None:
    """A dry run counts and prices; nothing is replaced unasked; --json is one document."""
    user = add_user(lab.emulator, "ann", files=False)
    made = [lab.tenant.add_message(user, "Inbox", mime(number)) for number in range(5)]
    await lab.backup(user, workloads=["mail"])
    lab.tenant.delete_message(user, made[0].key)
    made[1].categories = ("Red",)
    lab.tenant.mailbox(user).touch(made[1], at=lab.tenant.clock.now())
    before = mail_truth(lab.tenant, user)
    replace = ("--to", "original", "--collision", "replace")
    assert await called(lab, *replace, "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["entries"][0]["planned"] == {"create": 1, "replace": 1, "unchanged": 3}
    assert plan["dry_run"] is True
    assert plan["cost"]["requests"] == 2  # by import the old one is written over
    assert await called(lab, *replace) == 2
    assert "1 items would be replaced: give --yes" in capsys.readouterr().err
    assert mail_truth(lab.tenant, user) == before
    assert await called(lab, *replace, "--yes") == 0
    assert f"{user}/mail" in capsys.readouterr().out
    assert [m["categories"] for m in mail_truth(lab.tenant, user)["Inbox"]] == [[]] * 5
    lab.assert_no_breach()


async def test_words_for_settings_folders_and_dates(lab: Lab, capsys: Any) -> None:
    """Settings are an entry of their own in plan and report, with what is made disabled; folders choose items."""
    user = add_user(lab.emulator, "ann", files=False)
    lab.tenant.add_message(user, "Inbox", mime(1))
    lab.tenant.add_message(user, "Projects", mime(2))
    outside = [{"emailAddress": {"address": "x@elsewhere.example"}}]
    rule = {"displayName": "leak", "sequence": 1, "actions": {"forwardTo": outside}}
    held = lab.tenant.mailbox(user).settings
    held.add_rule(rule)
    await lab.backup(user, workloads=["mail"])
    held.rules.clear()
    only = ("--to", "original", "--settings", "rules", "--settings-only")
    assert await called(lab, *only, "--dry-run", "--json") == 3  # with warnings
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert (entry["entry"], entry["planned"]) == (f"{user}/settings", {"create": 1})
    assert [one["cause"] for one in entry["outcomes"]] == ["rule-forwards-outside"]
    assert not held.rules
    assert await called(lab, *only) == 3
    assert "leak: rule-forwards-outside" in capsys.readouterr().err
    assert [one["isEnabled"] for one in held.rules.values()] == [False]
    words = ("--to", "original", "--collision", "copy", "--folder", "Projects", "--json")
    assert await called(lab, *words, "--received-until", "2027-01-01") == 0
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert entry["done"] == {"copy": 1}
    assert await called(lab, "--to", "original", "--settings-only") == 2
    assert "--settings-only needs --settings" in capsys.readouterr().err


async def test_wrong_words_are_told(lab: Lab, capsys: Any) -> None:
    user = add_user(lab.emulator, "ann", files=False)
    lab.tenant.add_message(user, "Inbox", mime(1))
    await lab.backup(user, workloads=["mail"])
    assert await called(lab, "--to", "/Inbox") == 2
    assert "destination-form" in capsys.readouterr().err
    assert await called(lab, "--to", "original", "--path", f"{user}/mail/Nowhere") == 1
    assert "path-not-found" in capsys.readouterr().err
    assert await called(lab, "--to", "nobody@example.com") == 1
    assert "restore-user-missing" in capsys.readouterr().err
    lab.assert_no_breach()


async def test_killed_with_no_chance_to_tidy_up(lab: Lab) -> None:
    """kill -9 in the middle; the same words go on: nothing is missing, nothing twice, no import address is left anywhere."""
    user = add_user(lab.emulator, "ann", files=False)
    for number in range(60):
        lab.tenant.add_message(user, "Inbox" if number % 2 else "Projects/2026", mime(number))
    await lab.backup(user, workloads=["mail"])
    before = mail_truth(lab.tenant, user)
    wipe_mail(lab.tenant, user)
    lab.repository.close()
    outputs = b""
    for turn in range(3):
        lab.ledger.clear()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tools.cli.main", *words(lab, "--to", "original", "--collision", "copy"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        while turn < 2 and process.returncode is None and lab.ledger.requests("POST (import)") < 15:
            await asyncio.sleep(0.01)
        if turn < 2:
            process.send_signal(signal.SIGKILL)
        outputs += (await process.communicate())[0]
    assert process.returncode == 0, outputs
    assert not differing(before, mail_truth(lab.tenant, user))
    assert b"went on where it had stopped" in outputs
    assert b"canary" not in outputs
    for file in lab.places.state_dir.rglob("*"):
        assert not file.is_file() or b"canary" not in file.read_bytes()
    lab.assert_no_breach()


async def test_what_no_restore_writes_is_named(lab: Lab, capsys: Any) -> None:
    """Drives are told as left out (exit code 3), so that nobody takes the restore for everything."""
    user = add_user(lab.emulator, "ann")
    lab.tenant.add_message(user, "Inbox", mime(1))
    await lab.backup(user, workloads=["mail", "drives"])
    assert await called(lab, "--to", "original") == 3
    assert f"left out: {user}/drives" in capsys.readouterr().err
    assert await called(lab, "--to", "original", "--path", f"{user}/mail") == 0
    assert "left out" not in capsys.readouterr().err
    lab.assert_no_breach()
