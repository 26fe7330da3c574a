"""
How a named query runs: pool, transactions, parameters by name, foreign errors translated.

Queries live in `queries.sql` (one name, one comment each) and are written with `:name` parameters.
Nothing outside this package sees asyncpg.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from importlib import resources
from typing import Any, Protocol

import asyncpg
import msgspec

from proxy.contract import BackupError, Conflict, InternalError, Unavailable, UsageError

CONNECTIONS_MAX = 20
CONNECT_WAIT_S = 5.0
STATEMENT_S = 60.0

Row = Mapping[str, Any]

_UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)


@cache
def queries() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every named query: text with $n, and the parameter names in that order."""
    text = resources.files("server.database").joinpath("queries.sql").read_text(encoding="utf-8")
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for block in re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]:
        name, _, rest = block.partition("\n")
        body = re.sub(r"--.*", "", rest).strip().rstrip(";")
        names = tuple(dict.fromkeys(re.findall(r"(?<!:):([a-z_]+)", body)))
        for number, parameter in enumerate(names, 1):
            body = re.sub(rf"(?<!:):{parameter}\b", f"${number}", body)
        if name.strip() in found:
            raise InternalError(f"Two queries are named {name.strip()}.")
        found[name.strip()] = (body, names)
    return found


def translate(error: Exception) -> BackupError:
    """A foreign error in the words of the error tree. Holds no values: they may be secrets."""
    if isinstance(error, asyncpg.UniqueViolationError):
        return Conflict(
            "There is one already.", code="already-exists", constraint=error.constraint_name or ""
        )
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return Conflict(
            "Something else still refers to it, or what it refers to is gone.",
            code="in-use",
            constraint=error.constraint_name or "",
        )
    if isinstance(error, _UNREACHABLE) and not isinstance(error, asyncpg.exceptions.DataError):
        return Unavailable(
            "The database cannot be reached now.", code="database-unavailable", retry_after_s=2
        )
    if isinstance(
        error, asyncpg.InvalidAuthorizationSpecificationError | asyncpg.InvalidCatalogNameError
    ):
        return UsageError(
            "PostgreSQL refuses the user, the password or the database of the address.",
            code="database-settings",
        )
    return InternalError(f"The database refused a statement ({type(error).__name__}).")


class Database(Protocol):
    """Runs named queries: the pool, or one transaction."""

    async def rows(self, query: str, **values: Any) -> list[Row]:
        """All rows."""

    async def row(self, query: str, **values: Any) -> Row | None:
        """The first row, if any."""

    async def value(self, query: str, **values: Any) -> Any:
        """The first column of the first row, None without rows."""

    async def run(self, query: str, **values: Any) -> int:
        """Rows touched."""

    async def run_many(self, query: str, values: list[dict[str, Any]]) -> None:
        """The query once for each set of values."""


def _arguments(query: str, values: dict[str, Any]) -> tuple[str, list[Any]]:
    text, names = queries()[query]
    if set(names) != set(values):
        raise InternalError(f"Query {query} takes {names}, not {tuple(values)}.")
    return text, [values[name] for name in names]


class Transaction:
    """Named queries on one connection; what they do is kept together or not at all."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def rows(self, query: str, **values: Any) -> list[Row]:
        text, arguments = _arguments(query, values)
        found: list[Row] = await self._connection.fetch(text, *arguments)
        return found

    async def row(self, query: str, **values: Any) -> Row | None:
        text, arguments = _arguments(query, values)
        found: Row | None = await self._connection.fetchrow(text, *arguments)
        return found

    async def value(self, query: str, **values: Any) -> Any:
        text, arguments = _arguments(query, values)
        return await self._connection.fetchval(text, *arguments)

    async def run(self, query: str, **values: Any) -> int:
        text, arguments = _arguments(query, values)
        status: str = await self._connection.execute(text, *arguments)
        last = status.rpartition(" ")[2]
        return int(last) if last.isdigit() else 0

    async def run_many(self, query: str, values: list[dict[str, Any]]) -> None:
        if not values:
            return
        text = _arguments(query, values[0])[0]
        await self._connection.executemany(text, [_arguments(query, v)[1] for v in values])

    async def script(self, text: str) -> None:
        """Several statements of a schema file."""
        await self._connection.execute(text)


class Connector:
    """A pool of connections that replaces the ones it loses."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def opened(cls, dsn: str) -> AsyncIterator["Connector"]:
        """
        A pool for as long as the block runs.

        Raises:
            Unavailable: the server cannot be reached now.
        """
        pool = asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=CONNECTIONS_MAX,
            timeout=CONNECT_WAIT_S,
            command_timeout=STATEMENT_S,
            init=_prepare,
        )
        try:
            await pool
        except (*_UNREACHABLE, asyncpg.PostgresError) as error:
            raise translate(error) from error
        try:
            yield cls(pool)
        finally:
            pool.terminate()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Everything in the block or nothing."""
        try:
            async with (
                self._pool.acquire(timeout=CONNECT_WAIT_S) as connection,
                connection.transaction(),
            ):
                yield Transaction(connection)
        except (*_UNREACHABLE, asyncpg.PostgresError) as error:
            raise translate(error) from error

    async def rows(self, query: str, **values: Any) -> list[Row]:
        async with self.transaction() as transaction:
            return await transaction.rows(query, **values)

    async def row(self, query: str, **values: Any) -> Row | None:
        async with self.transaction() as transaction:
            return await transaction.row(query, **values)

    async def value(self, query: str, **values: Any) -> Any:
        async with self.transaction() as transaction:
            return await transaction.value(query, **values)

    async def run(self, query: str, **values: Any) -> int:
        async with self.transaction() as transaction:
            return await transaction.run(query, **values)

    async def run_many(self, query: str, values: list[dict[str, Any]]) -> None:
        async with self.transaction() as transaction:
            await transaction.run_many(query, values)


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda value: msgspec.json.encode(value).decode(),
        decoder=msgspec.json.decode,
        schema="pg_catalog",
    )
