"""`strongroom audit verify` and `upgrade --check`: on a database by its settings, and on an installation that runs or not."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server import audit
from server.database.connector import Connector
from server.database.migrations import migrations
from server.settings import ServerSettings
from tests.fixtures.installation import running_installation
from tests.fixtures.trees import CommandLine, one_line
from tools.installation.database import database_of
from tools.installation.postgres_server import PrivatePostgres

pytestmark = pytest.mark.slow

Execute = Callable[[str], None]


@pytest.fixture
def config(database: str, tmp_path: Path) -> Path:
    """Settings of a server on a database of its own."""
    return settings_file(tmp_path, database)


def settings_file(folder: Path, dsn: str) -> Path:
    path = folder / "server.json"
    path.write_bytes(msgspec.json.encode(ServerSettings(dsn, "nats://nowhere", str(folder))))
    return path


@pytest.fixture
def execute(database: str) -> Execute:
    """Change the database behind the server's back."""

    async def run(statement: str) -> None:
        async with Connector.opened(database) as connector, connector.transaction() as transaction:
            await transaction.script(statement)

    return lambda statement: asyncio.run(run(statement))


async def note(dsn: str, count: int) -> None:
    async with Connector.opened(dsn) as connector, connector.transaction() as transaction:
        for number in range(count):
            await audit.note(transaction, "ann", "start-job", f"jobs/{number}")


def test_a_log_that_was_changed_or_cut_off_is_told(
    config: Path, database: str, execute: Execute, command: CommandLine
) -> None:
    """Records added later are fine; the end that was noted must stay; the first record that does not fit is named."""
    words = ("audit", "verify", "--config", config)
    empty = command.plain(*words, "--json")
    assert (empty.code, empty.document["records"]) == (0, 0)
    asyncio.run(note(database, 7))
    whole = command.plain(*words, "--json", "--noted", empty.document["head"])
    assert (whole.code, whole.document["ok"], whole.document["records"]) == (0, True, 7)
    head = whole.document["head"]
    assert head in command.plain(*words).out
    asyncio.run(note(database, 2))
    assert command.plain(*words, "--noted", head).code == 0
    execute("DELETE FROM audit WHERE sequence > 6")
    assert command.plain(*words).code == 0  # what is left fits; only who noted the end can tell
    cut = command.plain(*words, "--noted", head)
    assert (cut.code, one_line(cut), "cut off" in cut.err) == (1, True, True)
    execute("UPDATE audit SET actor = 'mallory' WHERE sequence = 4")
    changed = command.plain(*words)
    assert (changed.code, one_line(changed)) == (1, True)
    assert "record 4 " in changed.err
    assert command.plain(*words, "--json").document["broken_at"] == 4


@pytest.mark.parametrize(
    "words",
    [
        ("audit", "verify"),
        ("audit", "verify", "--config", "none.json"),
        ("audit", "verify", "--data-dir", "none"),
        ("audit", "verify", "--config", "none.json", "--data-dir", "none"),
        ("audit", "verify", "--config", "none.json", "--noted", "7:abc"),
        ("upgrade", "--check"),
        ("upgrade",),
    ],
)
def test_wrong_calls_are_one_line(words: tuple[str, ...], command: CommandLine) -> None:
    """Exit code 2; a folder that is named by mistake is not made."""
    answer = command.plain(*words)
    assert (answer.code, one_line(answer)) == (2, True), answer
    assert not Path("none").exists()


def test_pending_schema_files_are_named_and_not_applied(
    config: Path, execute: Execute, command: CommandLine, postgres_server: PrivatePostgres
) -> None:
    """A database as it should be, of an older program, of a newer one, and one that was never used."""
    words = ("upgrade", "--check", "--config", config)
    newest = migrations()[-1]
    current = command.plain(*words, "--json")
    assert (current.code, current.document["schema"]["pending"]) == (0, [])
    execute(f"DELETE FROM schema_version WHERE version = {newest.version}")
    for _ in range(2):
        older = command.plain(*words, "--json")
        assert older.code == 0
        assert older.document["schema"]["pending"] == [f"{newest.version:04}_{newest.name}"]
    assert newest.name in command.plain(*words).out
    execute("INSERT INTO schema_version (version, name) VALUES (9999, 'future')")
    newer = command.plain(*words)
    assert (newer.code, "refused: a newer program made it" in newer.out) == (1, True)
    unused = settings_file(config.parent, postgres_server.dsn("postgres"))
    for _ in range(2):
        answer = command.plain("upgrade", "--check", "--config", unused, "--json")
        assert (answer.code, answer.document["schema"]["present"]) == (0, 0)
        assert len(answer.document["schema"]["pending"]) == newest.version


def test_formats_of_repositories(repo: Path, tmp_path: Path, command: CommandLine) -> None:
    """This program's, a newer program's, and what is no repository; without a passphrase."""
    current = command.plain("upgrade", "--check", repo, "--json")
    assert current.code == 0
    assert [(r["format"], r["state"]) for r in current.document["repositories"]] == [(1, "current")]
    missing = command.plain("upgrade", "--check", repo, tmp_path / "none")
    assert (missing.code, one_line(missing), "unknown" in missing.err) == (3, True, True)
    settings = json.loads((repo / "config").read_bytes())
    (repo / "config").write_text(json.dumps({**settings, "format": 99}))
    newer = command.plain("upgrade", "--check", repo)
    assert (newer.code, one_line(newer), "newer" in newer.err) == (1, True, True)


def test_an_installation_that_runs_or_not(tmp_path: Path, command: CommandLine) -> None:
    """Both commands answer the same either way; rights of an earlier program are named, and a start renews them."""
    with running_installation(tmp_path) as own:
        own.made_job(["good"])  # its repository is nowhere
        check = ("upgrade", "--check", "--data-dir", own.data_dir, "--json")
        verify = ("audit", "verify", "--data-dir", own.data_dir, "--json")
        upgrade, chain = command.plain(*check), command.plain(*verify)
        assert (upgrade.code, upgrade.document["proxies_to_renew"]) == (3, [])
        assert [r["state"] for r in upgrade.document["repositories"]] == ["unknown"]
        assert (chain.code, chain.document["ok"]) == (0, True)
        assert chain.document["records"] > 3
        own.stop()

        accounts = sorted((own.data_dir / "nats" / "users").glob("*.json"))
        rights = [json.loads(account.read_bytes()) for account in accounts]
        older = {**rights[0], "permissions": {"publish": {"allow": []}}}
        accounts[0].write_text(json.dumps(older))
        expected = {**upgrade.document, "proxies_to_renew": [accounts[0].stem]}
        assert command.plain(*check).document == expected
        assert command.plain(*verify).document == chain.document
        assert json.loads(accounts[0].read_bytes()) == older

        own.start()
        assert [json.loads(account.read_bytes()) for account in accounts] == rights
        assert own.sign_in().status == 200
        assert own.ended(own.started(["good"]))["state"] == "success"
        asyncio.run(change(own.data_dir, "UPDATE audit SET target = '' WHERE sequence = 2"))
        assert command.plain(*verify).document["broken_at"] == 2


async def change(data_dir: Path, statement: str) -> None:
    connector: Any
    async with database_of(data_dir) as (connector, _), connector.transaction() as transaction:
        await transaction.script(statement)
