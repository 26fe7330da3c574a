"""`strongroom audit verify` and `upgrade --check`: what an installation's database says, whether it runs or not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError
from tools.cli.errors import flat
from tools.cli.output import DONE, FAILED, WARNINGS, complain, facts, print_json, say

if TYPE_CHECKING:
    from server.audit import AuditReport
    from server.database.connector import Connector
    from server.settings import ServerSettings
    from tools.installation.upgrade_check import FormatState, SchemaState


@asynccontextmanager
async def _database(
    data_dir: Path | None, config: Path | None
) -> AsyncIterator[tuple["Connector", "ServerSettings"]]:
    """The database of --data-dir, or the one that the settings of --config name."""
    if (data_dir is None) == (config is None):
        raise UsageError(
            "name the installation: --data-dir DIR of `strongroom up`, or --config FILE of `strongroom server`",
            code="installation-options",
        )
    if data_dir is not None:
        from tools.installation.database import database_of

        async with database_of(data_dir) as opened:
            yield opened
        return
    from server.database.connector import Connector
    from server.settings import read_settings

    assert config is not None
    settings = read_settings(config)
    async with Connector.opened(settings.postgres) as connector:
        yield connector, settings


# -- audit -----------------------------------------------------------------------------------------


def audit_verify(data_dir: Path | None, config: Path | None, noted: str | None, json: bool) -> int:
    """Check the chain of the audit log."""
    expected = None if noted is None else _noted(noted)
    report = flat(_audit_report(data_dir, config, expected))
    number, digest = report.head
    if json:
        print_json(
            {
                "ok": report.ok,
                "records": report.records,
                "head": f"{number}:{digest.hex()}",
                "broken_at": report.broken_at,
                "as_noted": report.as_noted,
            }
        )
    elif report.broken_at is not None:
        complain(
            f"the audit log was changed: record {report.broken_at} is not what was written, or is gone"
        )
    elif not report.as_noted:
        complain(f"the audit log was cut off or written anew: it does not hold the record {noted}")
    else:
        say(f"all {report.records} records fit; note the head and give it as --noted next time:")
        say(f"{number}:{digest.hex()}")
    return DONE if report.ok else FAILED


def _noted(text: str) -> tuple[int, bytes]:
    number, _, digest = text.partition(":")
    try:
        found = int(number), bytes.fromhex(digest)
    except ValueError:
        found = -1, b""
    if found[0] < 0 or len(found[1]) != 32:
        raise UsageError("--noted is what an earlier check printed: NUMBER:HASH", code="noted-form")
    return found


async def _audit_report(
    data_dir: Path | None, config: Path | None, noted: tuple[int, bytes] | None
) -> "AuditReport":
    from server import audit

    async with _database(data_dir, config) as (database, _):
        return await audit.verify(database, noted)


# -- upgrade ---------------------------------------------------------------------------------------


def upgrade(
    check: bool, data_dir: Path | None, config: Path | None, repos: list[str], json: bool
) -> int:
    """What an upgrade of program, format and schema would change."""
    from tools.installation.upgrade_check import format_states

    assert check
    schema: SchemaState | None = None
    proxies: tuple[str, ...] = ()
    addresses = list(repos)
    if data_dir is not None or config is not None:
        schema, proxies, known = flat(_upgrade_report(data_dir, config))
        addresses += known
    elif not repos:
        raise UsageError(
            "name what is looked at: repositories, or --data-dir or --config of an installation",
            code="installation-options",
        )
    formats = format_states(addresses)
    if json:
        _print_upgrade(schema, proxies, formats)
    else:
        _tell_upgrade(schema, proxies, formats)
    if any(f.state == "newer" for f in formats) or (schema is not None and schema.refused):
        return FAILED
    return WARNINGS if any(f.state == "unknown" for f in formats) else DONE


async def _upgrade_report(
    data_dir: Path | None, config: Path | None
) -> tuple["SchemaState", tuple[str, ...], list[str]]:
    from tools.installation import upgrade_check

    async with _database(data_dir, config) as (database, settings):
        schema = await upgrade_check.schema_state(database)
        if schema.present == 0 or schema.refused:  # its tables may be others
            return schema, (), []
        proxies = await upgrade_check.proxies_to_renew(database, settings)
        return schema, proxies, await upgrade_check.known_repositories(database)


def _program() -> str:
    from importlib.metadata import version

    return version("strongroom")


def _print_upgrade(
    schema: "SchemaState | None", proxies: tuple[str, ...], formats: "list[FormatState]"
) -> None:
    from engine.version import FORMAT_VERSION

    print_json(
        {
            "program": _program(),
            "format": FORMAT_VERSION,
            "schema": schema,
            "proxies_to_renew": proxies,
            "repositories": formats,
        }
    )


def _tell_upgrade(
    schema: "SchemaState | None", proxies: tuple[str, ...], formats: "list[FormatState]"
) -> None:
    from engine.version import FORMAT_VERSION

    shown = {"program": _program(), "format it writes": str(FORMAT_VERSION)}
    if schema is not None:
        shown["schema"] = f"{schema.present} of {schema.known}"
        pending = ", ".join(schema.pending) or "nothing"
        shown["a start would apply"] = (
            "refused: a newer program made it" if schema.refused else pending
        )
        shown["proxies that get other rights"] = ", ".join(proxies) or "none"
    facts(shown)
    for found in formats:
        known = "" if found.format is None else f"format {found.format}, "
        line = f"{found.address}: {known}{found.state}"
        if found.detail:
            complain(f"{line}: {found.detail}")
        else:
            say(line)
    say("nothing was changed")
