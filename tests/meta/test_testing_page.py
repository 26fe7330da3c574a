"""What `docs/testing.md` says is shown, is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
# Lessons of transport and throttling, change feeds, mail, calendars and contacts; the others belong to workloads to come.
NUMBERS = frozenset({*range(1, 56), *range(80, 114)})
LESSONS = ("## Lessons of", "## What cannot be had")
NAMED_FILE = re.compile(r"`((?:[\w]+/)*test_\w+\.py)(?:::(test_\w+))?`")
NAMED_TEST = re.compile(r"`(test_\w+)`")
DEFINED = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)


def _tests() -> dict[str, set[str]]:
    folder = ROOT / "tests"
    return {
        file.relative_to(folder).as_posix(): set(DEFINED.findall(file.read_text(encoding="utf-8")))
        for file in folder.rglob("test_*.py")
    }


def _numbers(cell: str) -> set[int]:
    found: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", cell):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def _rows(page: str) -> list[list[str]]:
    """Cells of the rows of all tables of lessons."""
    lines = page[page.index(LESSONS[0]) : page.index(LESSONS[1])].splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"
    ]


def missing_tests(page: str, tests: dict[str, set[str]]) -> list[str]:
    """Files and functions that the page names and that are not there."""
    names = {name for found in tests.values() for name in found}
    missing = [name for name in NAMED_TEST.findall(page) if name not in names]
    for file, name in NAMED_FILE.findall(page):
        found = [
            known for path, known in tests.items() if path == file or path.endswith("/" + file)
        ]
        if not found or (name and not any(name in known for known in found)):
            missing.append(f"{file}::{name}" if name else file)
    return missing


def unshown(page: str) -> set[int]:
    """Numbers of lessons that no row with a test in it is about."""
    shown: set[int] = set()
    for cells in _rows(page):
        named = NAMED_FILE.search(cells[-1]) or NAMED_TEST.search(cells[-1])
        heading = re.match(r"[\d, -]+", cells[0])
        if heading and (named or cells[-1] in ("the same", "the ledger of every test")):
            shown |= _numbers(heading[0])
    return set(NUMBERS - shown)


def test_every_test_that_the_page_names_exists() -> None:
    """Files below `tests`, functions in the file that is named with them, or anywhere."""
    assert missing_tests(PAGE, _tests()) == []


def test_every_lesson_has_a_row_with_a_test() -> None:
    """A number without a row, or with a row that names no test, fails."""
    assert unshown(PAGE) == set()


def test_what_is_missing_is_found() -> None:
    """The two rules above can fail."""
    page = (
        "## Lessons of x\n| 1-79 | x | `test_gone` |\n| 80 no test | y |\n## What cannot be had\n"
    )
    assert missing_tests(page, {"unit/test_a.py": {"test_b"}}) == ["test_gone"]
    assert missing_tests("`unit/test_a.py::test_c` `test_b`", {"unit/test_a.py": {"test_b"}}) == [
        "unit/test_a.py::test_c"
    ]
    assert unshown(page) == set(range(80, 114))
