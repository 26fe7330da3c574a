"""The schema and the audit chain in a real PostgreSQL."""

import pytest

from proxy.contract import Conflict, InternalError, Unavailable, Unsupported, UsageError
from server import audit
from server.database.connector import Connector, queries
from server.database.migrations import migrate, migrations
from tools.installation.postgres_server import PrivatePostgres

pytestmark = pytest.mark.slow


async def _execute(connector: Connector, statement: str) -> None:
    async with connector.transaction() as transaction:
        await transaction.script(statement)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ("UPDATE audit SET actor = 'mallory' WHERE sequence = 600", 600),
        ("UPDATE audit SET details = '{}' WHERE sequence = 2", 2),
        ("DELETE FROM audit WHERE sequence = 700", 700),
        ("DELETE FROM audit WHERE sequence = 1", 1),
        ("UPDATE audit SET hash = previous_hash WHERE sequence = 701", 701),
        ("UPDATE audit SET sequence = -7 WHERE sequence = 5", 1),
    ],
)
async def test_a_change_of_the_audit_log_shows(database: str, change: str, place: int) -> None:
    """Over more than one page of the check."""
    async with Connector.opened(database) as connector:
        async with connector.transaction() as transaction:
            for number in range(702):
                details = {"name": f"job {number}", "é": [1, None]}
                await audit.note(transaction, "ann", "start-job", f"jobs/{number}", details)
        whole = await audit.verify(connector)
        assert (whole.records, whole.head[0], whole.broken_at, whole.ok) == (702, 702, None, True)
        await _execute(connector, change)
        assert (await audit.verify(connector)).broken_at == place


async def test_every_statement_fits_the_schema(database: str) -> None:
    """The server prepares each named query."""
    async with Connector.opened(database) as connector, connector.transaction() as transaction:
        for text, _ in queries().values():
            await transaction._connection.prepare(text)


async def test_the_schema_is_made_once_and_newer_ones_are_refused(database: str) -> None:
    """A second start changes nothing; a database of a newer program is left alone."""
    async with Connector.opened(database) as connector:
        assert await migrate(connector) == len(migrations())
        await connector.run("schema.note", version=9999, name="future")
        with pytest.raises(Unsupported):
            await migrate(connector)


async def test_errors_of_the_database_are_translated(
    database: str, postgres_server: PrivatePostgres
) -> None:
    """By duty, without the values of the statement."""
    async with Connector.opened(database) as connector:
        await connector.run("pools.insert", name="secret-name")
        with pytest.raises(Conflict) as conflict:
            await connector.run("pools.insert", name="secret-name")
        assert "secret-name" not in str(conflict.value)
        with pytest.raises(InternalError) as wrong:
            await connector.run("pools.insert", name=7)
        assert "7" not in str(wrong.value)
        with pytest.raises(InternalError):
            await connector.run("pools.insert")
    for wrong_dsn, duty in (
        (postgres_server.dsn("no_such_database_there"), UsageError),
        (database.replace(postgres_server.password, "wrong"), UsageError),
        ("postgresql://u:p@127.0.0.1:1/x", Unavailable),
    ):
        with pytest.raises(duty):
            await Connector.opened(wrong_dsn).__aenter__()
