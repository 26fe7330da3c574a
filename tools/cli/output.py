"""What people and programs see: tables and progress for the first, one JSON document for the others."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

DONE, FAILED, USAGE, WARNINGS = 0, 1, 2, 3
REFRESH_PER_S = 8
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def say(text: str = "") -> None:
    """A line on standard output."""
    sys.stdout.write(text.encode("utf-8", "replace").decode() + "\n")


def complain(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(text + "\n")


def print_json(document: object) -> None:
    """The one JSON document of --json; names that are not UTF-8 were replaced before."""
    encoded = msgspec.json.format(msgspec.json.encode(document), indent=2)
    sys.stdout.write(encoded.decode() + "\n")


def size_text(size: float) -> str:
    """Bytes for people, powers of 1000."""
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


def time_text(nanoseconds: int) -> str:
    """A time in nanoseconds since 1970 for people, UTC."""
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%d %H:%M")


def plain_text(text: str) -> str:
    """Text without control and surrogate characters, fit for a terminal."""
    cleaned = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return cleaned.encode("utf-8", "replace").decode()


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """A plain table on standard output; columns in `right` are aligned to the right."""
    for line in table_lines(head, rows, right):
        say(line)


def table_lines(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> Iterator[str]:
    """The lines of `table`."""
    cells = [list(head), *[[plain_text(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        line = [
            cell.rjust(widths[i]) if i in right else cell.ljust(widths[i])
            for i, cell in enumerate(row)
        ]
        yield "  ".join(line).rstrip()


def facts(pairs: Mapping[str, str]) -> None:
    """Names and values, one a line."""
    width = max(len(name) for name in pairs)
    for name, value in pairs.items():
        say(f"{name.ljust(width)}  {plain_text(value)}")


@dataclass(frozen=True, slots=True)
class Bar:
    """A progress bar; `update` may be called as often as one likes."""

    _progress: object
    _task: object

    @property
    def shown(self) -> bool:
        """Whether anybody sees it."""
        return self._progress is not None

    def update(self, done: int, total: int, note: str = "") -> None:
        """Show `done` of `total` (bytes or items), with a note behind."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total or None, note=note)  # type: ignore[attr-defined]


@contextmanager
def progress_bar(title: str, *, quiet: bool = False) -> Iterator[Bar]:
    """A bar on standard error when that is a terminal; nothing otherwise."""
    if quiet or not sys.stderr.isatty():
        yield Bar(None, None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=Console(stderr=True), refresh_per_second=REFRESH_PER_S
    ) as shown:
        yield Bar(shown, shown.add_task(title, total=None, note=""))
