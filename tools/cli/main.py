"""Entry point of `strongroom`: the commands, and the border where errors become one line and an exit code."""

import os
import sys
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from engine.errors import BackupError, UsageError
from tools.cli import point_commands, repo_commands, role_commands, tenant_commands
from tools.cli.output import FAILED, USAGE, complain, print_json

INTERRUPTED = 130

app = typer.Typer(
    name="strongroom",
    help="Microsoft 365 backup into a deduplicating, compressed, encrypted repository.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(repo_commands.app, name="repo")
app.command()(role_commands.demo)
app.command()(role_commands.up)
app.command()(role_commands.server)
app.command()(role_commands.proxy)
app.command()(role_commands.emulator)
app.command()(point_commands.points)
app.command(name="import")(point_commands.import_)
app.command()(tenant_commands.backup)
app.command()(point_commands.browse)
app.command()(point_commands.export)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"strongroom {version('strongroom')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version")
    ] = False,
) -> None:
    del version


def run(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code. Errors of the tree become one line; ours keep their traceback."""
    wants_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    try:
        result = app(arguments, standalone_mode=False)
    except TyperException as error:
        complain(f"strongroom: {error.format_message()} (try --help)")
        return error.exit_code
    except Abort:
        return FAILED
    except BackupError as error:
        if wants_json:
            print_json({"error": {"code": error.code, "message": error.message}})
        complain(f"strongroom: {error.message} ({error.code})")
        return USAGE if isinstance(error, UsageError) else FAILED
    except BrokenPipeError:
        # whoever read our output has gone; nothing more can be said
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if result == INTERRUPTED:  # typer's answer to KeyboardInterrupt
        complain("strongroom: stopped; what was committed is kept")
    return result if isinstance(result, int) else 0


def main() -> None:
    """Console script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
