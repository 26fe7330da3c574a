"""The page that says which test shows which claim names only tests that exist."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
PAGE = ROOT / "docs/testing.md"
# `unit/x/`, `unit/x/test_y.py`, `unit/x/test_y_*.py`, `test_y.py`, also with `::test_z`
FILE = re.compile(
    r"`((?:tests/)?(?:[a-z_]+/)*(?:test_[a-z0-9_*]+\.py|(?<=/)))(?:::(test_[a-z0-9_]+))?`"
)
FUNCTION = re.compile(r"^ *(?:async )?def (test_[a-z0-9_]+)", re.MULTILINE)
NAME = re.compile(r"`(test_[a-z0-9_]+)`")


def rows(text: str) -> list[str]:
    """The lines of all tables."""
    return [line for line in text.splitlines() if line.startswith("|")]


@cache
def modules() -> tuple[Path, ...]:
    """All test modules; what was installed below `tests` is others'."""
    packages = [folder for folder in TESTS.iterdir() if (folder / "__init__.py").exists()]
    return tuple(sorted(file for folder in packages for file in folder.rglob("test_*.py")))


@cache
def names_in(file: Path) -> frozenset[str]:
    """The test functions of a module."""
    return frozenset(FUNCTION.findall(file.read_text()))


def found(path: str) -> list[Path]:
    """What a path of the page may mean: one below `tests` or of the tree, or a bare name anywhere below `tests`."""
    for folder in (TESTS, ROOT):
        if whole := sorted(folder.glob(path)):
            return whole
    return [] if "/" in path else [file for file in modules() if file.name == path]


def faults(text: str) -> list[str]:
    """Every test that the tables of a page name and that is not there."""
    missing = []
    everything = frozenset[str]().union(*(names_in(file) for file in modules()))
    for row in rows(text):
        for path, name in FILE.findall(row):
            files = found(path)
            if not files:
                missing.append(f"{path}: no such test file ({row[:60]})")
            elif name and not any(name in names_in(file) for file in files if file.is_file()):
                missing.append(f"{path}::{name}: no such test ({row[:60]})")
        missing += [
            f"{n}: no such test ({row[:60]})" for n in NAME.findall(row) if n not in everything
        ]
    return missing


def test_every_test_that_the_page_names_exists() -> None:
    """Files, folders and functions in its tables; a test that is renamed takes its row along."""
    assert faults(PAGE.read_text()) == []


def test_tests_that_do_not_exist_are_found() -> None:
    """Of each form that the tables use."""
    here = "meta/test_testing_page.py"
    text = (
        "| claim | `integration/test_none.py`, `meta/`, `meta/test_*.py` |\n"
        "| claim | `meta/test_none_*.py` | `test_none_either.py` | `test_nobody` | `nowhere/` |\n"
        f"| claim | `{here}::test_nobody`, `{here}::test_tests_that_do_not_exist_are_found` |\n"
        "No table: `test_no_row.py`.\n"
    )
    named = [fault.partition(": ")[0] for fault in faults(text)]
    assert named == [
        "integration/test_none.py",
        "meta/test_none_*.py",
        "test_none_either.py",
        "nowhere/",
        "test_nobody",
        f"{here}::test_nobody",
    ]
