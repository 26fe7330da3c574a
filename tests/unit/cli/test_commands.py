"""The table of commands fits the functions it names, and words are read as people type them."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from tests.fixtures.trees import CommandLine
from tools.cli.commands import COMMANDS
from tools.cli.main import run
from tools.cli.syntax import Command, WrongWords, find

BY_NAME = {command.name: command for command in COMMANDS}
HEAVY = (
    "aiohttp",
    "asyncpg",
    "fastapi",
    "msal",
    "nats",
    "proxy",
    "pydantic",
    "rich",
    "server",
    "uvicorn",
)


def parsed(line: str) -> dict[str, Any]:
    found = find(COMMANDS, line.split(" "))
    assert found is not None
    command, words = found
    return command.parse(words, "strongroom")


def smallest(command: Command) -> list[str]:
    """Words with all that the command demands."""
    words = []
    for one in command.parameters:
        if one.settings.get("required"):
            words += [one.names[0], "1"]
        elif not one.names[0].startswith("-") and "nargs" not in one.settings:
            words.append("x")
    return words


@pytest.mark.parametrize("name", BY_NAME)
def test_options_are_the_parameters_of_the_function(name: str) -> None:
    """The same names; what may be chosen is what the function's type says; the names are told apart."""
    command = BY_NAME[name]
    signature = inspect.signature(command.function(), eval_str=False)
    assert command.parse(smallest(command), "strongroom").keys() == signature.parameters.keys()
    for one in command.parameters:
        dest = one.settings.get("dest", one.names[0].lstrip("-").replace("-", "_"))
        kind = signature.parameters[dest].annotation
        if get_origin(kind) is Literal:
            assert tuple(one.settings["choices"]) == get_args(kind)
    assert find(COMMANDS, [*name.split(), "x"]) == (command, ["x"])


def test_options_may_stand_anywhere() -> None:
    """Before, between and behind arguments; `--` ends them."""
    for line in (
        "browse --json r p a/b",
        "browse r --json p a/b",
        "browse r p --json a/b",
        "browse r p a/b --json",
    ):
        words = parsed(line)
        assert (words["repo"], words["point"], words["path"], words["json"]) == (
            "r",
            "p",
            "a/b",
            True,
        )
    words = parsed("import --json -- -rf --json")
    assert (words["folder"], words["repo"], words["json"]) == (Path("-rf"), "--json", True)
    assert parsed("browse r p")["path"] == ""


def test_values_may_look_like_options() -> None:
    """Folders are named by people: what follows an option is its value."""
    assert parsed("export r p d --path -rf")["path"] == "-rf"
    assert parsed("export r p d --path=--json")["path"] == "--json"
    assert parsed("export r p d --path --json")["json"] is False


def test_repeated_options_are_kept_in_order() -> None:
    """--user and --workload; numbers are numbers."""
    words = parsed("backup r --org o --user b --user a --workload mail --budget-share 0.5")
    assert (words["users"], words["workloads"]) == (["b", "a"], ["mail"])
    assert (words["org"], words["budget_share"]) == (Path("o"), 0.5)
    assert parsed("backup r --org o")["users"] is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("points", "REPO"),
        ("points a b", "b"),
        ("points --nope a", "--nope"),
        ("points --obj a", "--obj"),
        ("points a --cache-dir", "--cache-dir"),
        ("up --data-dir x --proxies 17", "17 is not from 1 to 16"),
        ("up --data-dir x --proxies many", "many"),
        ("backup r --org x --budget-share nan", "nan"),
        ("export r p d --format pst", "pst"),
        ("server", "--config"),
        ("nonsense", "nonsense"),
        ("repo nonsense", "nonsense"),
    ],
)
def test_wrong_words_are_one_line(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, what is wrong, and where help is."""
    assert run(line.split()) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert said in shown.err
    assert "try --help" in shown.err


def test_help_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """All commands, those of a group, all options of a command; without words the same, as an error."""
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {c.name} " in text and c.help in text for c in COMMANDS)
    assert run([]) == 2
    assert capsys.readouterr() == ("", text)
    assert run(["repo", "--help"]) == 0
    group = capsys.readouterr().out
    assert "repo verify" in group
    assert "export" not in group
    for command in COMMANDS:
        assert run([*command.name.split(), "--help"]) == 0
        shown = capsys.readouterr().out
        assert all(one.settings.get("metavar", one.names[0]) in shown for one in command.parameters)
    with pytest.raises(WrongWords):
        BY_NAME["points"].parse([], "strongroom")


@pytest.mark.slow
def test_short_commands_import_little(repo: Path, command: CommandLine) -> None:
    """Neither the control plane nor the data plane nor what draws bars, for a look at a repository."""
    code = (
        "import sys; from tools.cli.main import run; code = run(sys.argv[1:]);"
        f"print(code, sorted({{m.split('.')[0] for m in sys.modules}} & set({HEAVY})))"
    )
    for words in (
        ["--help"],
        ["repo", "info", repo, *command.options()],
        ["points", repo, *command.options()],
    ):
        shown = subprocess.run(
            [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True
        )
        assert shown.stdout.splitlines()[-1] == "0 []", shown.stderr
