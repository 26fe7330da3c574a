"""
How a command line is read: commands as data, argparse built for the one command that is called.

A command is imported when it runs, never to parse words or to show help. Options may stand
anywhere; `--` ends them; an option takes the next word as its value, whatever that begins with.
"""

import argparse
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

WIDTH_MAX = 100


class WrongWords(Exception):
    """The words are no command line; the text says why."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument or option, as `argparse.ArgumentParser.add_argument` takes it."""

    names: tuple[str, ...]
    settings: Mapping[str, Any]

    @property
    def valued(self) -> bool:
        """Whether it is an option with a value."""
        return self.names[0].startswith("-") and self.settings.get("action") != "store_true"


def parameter(*names: str, **settings: Any) -> Parameter:
    """A parameter; its name without dashes is the keyword of the function."""
    return Parameter(names, settings)


def switch(name: str, help: str) -> Parameter:
    """An option without a value."""
    return parameter(name, action="store_true", help=help)


def within(kind: Callable[[str], float], smallest: float, largest: float) -> Callable[[str], float]:
    """A type of numbers from `smallest` to `largest`, both included."""

    def read(text: str) -> float:
        number = kind(text)
        if not smallest <= number <= largest:
            raise argparse.ArgumentTypeError(f"{text} is not from {smallest} to {largest}")
        return number

    read.__name__ = kind.__name__
    return read


@dataclass(frozen=True, slots=True)
class Command:
    """
    One command.

    Args:
        name: its words.
        place: "module:function"; the function takes the parameters by keyword, returns the exit code.
    """

    name: str
    help: str
    place: str
    parameters: tuple[Parameter, ...]

    def parse(self, words: Sequence[str], program: str) -> dict[str, Any]:
        """
        Keywords for the function.

        Raises:
            WrongWords: they do not fit. SystemExit: help was asked for and shown.
        """
        parser = _Parser(
            prog=f"{program} {self.name}",
            description=self.help,
            allow_abbrev=False,
            formatter_class=_formatter,
        )
        for one in self.parameters:
            parser.add_argument(*one.names, **one.settings)
        valued = {name for one in self.parameters if one.valued for name in one.names}
        return vars(parser.parse_args(_ordered(words, valued)))

    def function(self) -> Callable[..., int]:
        """Import it."""
        module, _, name = self.place.partition(":")
        found: Callable[..., int] = getattr(importlib.import_module(module), name)
        return found


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise WrongWords(message)


def _formatter(prog: str) -> argparse.HelpFormatter:
    import shutil

    columns = shutil.get_terminal_size().columns - 2
    return argparse.HelpFormatter(prog, max_help_position=32, width=min(columns, WIDTH_MAX))


def _ordered(words: Sequence[str], valued: set[str]) -> list[str]:
    """Options with their values first, then the arguments: argparse alone is choosy about mixtures."""
    options: list[str] = []
    arguments: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            arguments += rest
        elif not word.startswith("-") or word == "-":
            arguments.append(word)
        elif word in valued and (value := next(rest, None)) is not None:
            options.append(f"{word}={value}")
        else:
            options.append(word)
    return [*options, "--", *arguments] if arguments else options


def find(commands: Sequence[Command], words: Sequence[str]) -> tuple[Command, Sequence[str]] | None:
    """The command that the words begin with, and the words behind it."""
    for command in commands:
        name = command.name.split()
        if list(words[: len(name)]) == name:
            return command, words[len(name) :]
    return None


def overview(
    commands: Sequence[Command], words: Sequence[str], program: str, description: str
) -> str:
    """
    Help for a group of commands: those whose names begin with `words`.

    Raises:
        WrongWords: there is none.
    """
    group = [c for c in commands if c.name.split()[: len(words)] == list(words)]
    if not group:
        raise WrongWords(f"no such command: {' '.join(words)}")
    width = max(len(c.name) for c in group)
    lines = [f"  {c.name.ljust(width)}  {c.help}" for c in group]
    usage = " ".join(
        ("usage:", program, *words, "COMMAND ... | --help", *([] if words else ["| --version"]))
    )
    return "\n".join((usage, "", *([description, ""] if not words else []), "commands:", *lines))
