"""Entry point of `strongroom`: finds the command, and is the border where errors become one line and an exit code."""

import os
import sys

from engine.errors import BackupError, UsageError
from tools.cli.commands import COMMANDS
from tools.cli.output import (
    DONE,
    FAILED,
    USAGE,
    complain,
    print_json,
    say,
    size_text,
    table_lines,
)
from tools.cli.syntax import WrongWords, find, overview

INTERRUPTED = 130
PROGRAM = "strongroom"
TRACE = "STRONGROOM_TRACE"
DESCRIPTION = "Microsoft 365 backup into a deduplicating, compressed, encrypted repository."


def _version() -> str:
    from importlib.metadata import version

    return f"{PROGRAM} {version('strongroom')}"


def _called(words: list[str]) -> int:
    if words == ["--version"]:
        say(_version())
        return DONE
    if (found := find(COMMANDS, words)) is not None:
        command, rest = found
        try:
            keywords = command.parse(rest, PROGRAM)
        except SystemExit:  # help was asked for
            return DONE
        return command.function()(**keywords)
    group = [word for word in words if word not in ("--help", "-h")]
    text = overview(COMMANDS, group, PROGRAM, DESCRIPTION)
    if group == words:
        complain(text)
        return USAGE
    say(text)
    return DONE


def run(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code. Errors of the tree become one line; ours keep their traceback."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return _called(words)
    except WrongWords as error:
        complain(f"strongroom: {error} (try --help)")
        return USAGE
    except BackupError as error:
        if "--json" in words:
            print_json({"error": {"code": error.code, "message": error.message}})
        complain(f"strongroom: {error.message} ({error.code})")
        return USAGE if isinstance(error, UsageError) else FAILED
    except EOFError:  # no answer to a prompt
        return FAILED
    except KeyboardInterrupt:
        complain("strongroom: stopped; what was committed is kept")
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has gone; nothing more can be said
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    finally:
        if os.environ.get(TRACE):
            _show_traces()


def _show_traces() -> None:
    """What each store was asked, on standard error."""
    from repository.blobstore.traced import TRACES

    for where, trace in TRACES.items():
        head = [where, "calls", "failed", "sent", "received", "seconds", "longest"]
        rows = [
            [kind, str(count.calls), str(count.failed), size_text(count.bytes_sent),
             size_text(count.bytes_received), f"{count.seconds:.3f}", f"{count.longest_s:.3f}"]
            for kind, count in sorted(trace.counts.items())
        ]  # fmt: skip
        for line in table_lines(head, rows, range(1, len(head))):
            complain(line)


def main() -> None:
    """Console script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
