"""The tree keeps the house style: sizes, heads, names, imports."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("cext", "engine", "repository", "proxy", "server", "tools")
BESIDE = ("tests", "benchmarks")  # not installed
INSTALLED = {".venv", "node_modules"}
MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
MODULE_LINES_MEDIAN_MAX = 180
NAMES_WITHOUT_MEANING = {"utils", "util", "helpers", "helper", "common", "misc", "base"}


def modules() -> list[Path]:
    """Those of the product, of the tests and of the benchmarks; what was installed beside them is others'."""
    files = (f for folder in (*PACKAGES, *BESIDE) for f in sorted((ROOT / folder).rglob("*.py")))
    return [file for file in files if INSTALLED.isdisjoint(file.relative_to(ROOT).parts)]


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def test_modules_are_short() -> None:
    """No module is longer than 600 lines, and half of each folder's are below 180."""
    lengths = {name_of(file): len(file.read_text().splitlines()) for file in modules()}
    assert {n: length for n, length in lengths.items() if length > MODULE_LINES_MAX} == {}
    for package in (*PACKAGES, *BESIDE):
        own = sorted(length for n, length in lengths.items() if n.startswith(f"{package}/"))
        assert own[len(own) // 2] < MODULE_LINES_MEDIAN_MAX, package


def test_functions_are_short() -> None:
    """No function is longer than 70 lines."""
    long = []
    for file in modules():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long.append(f"{name_of(file)}:{node.lineno} {node.name}: {lines} lines")
    assert long == []


def test_modules_have_names_with_a_meaning() -> None:
    """No utils, helpers, common."""
    assert [name_of(f) for f in modules() if f.stem in NAMES_WITHOUT_MEANING] == []


def test_modules_say_what_they_are() -> None:
    """Every package head and every module begins with a docstring; heads of test folders are empty."""
    silent = [
        name_of(file)
        for file in modules()
        if ast.get_docstring(ast.parse(text := file.read_text())) is None
        and (text or not file.is_relative_to(ROOT / "tests"))
    ]
    assert silent == []


def test_tools_imports_nothing() -> None:
    """The head of tools holds no import, so that the emulator shares nothing by way of it."""
    tree = ast.parse((ROOT / "tools/__init__.py").read_text())
    assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree))


def test_import_names_are_ours_alone() -> None:
    """Nothing else that is installed claims the six top-level names, and none shadows the standard library."""
    owners = metadata.packages_distributions()
    for package in PACKAGES:
        assert package not in sys.stdlib_module_names
        assert set(owners.get(package, ["strongroom"])) == {"strongroom"}, package
        found = subprocess.run(
            [sys.executable, "-c", f"import {package}; print({package}.__file__)"],
            cwd="/", capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        assert found == str(ROOT / package / "__init__.py")


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-dev.txt"])
def test_constraints_name_no_host(name: str) -> None:
    """Pins hold names, versions and hashes; where they come from is the installer's business."""
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    pins = re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)
    assert len(pins) > 10
    assert text.count("--hash=sha256:") >= len(pins)


def test_dependencies_are_pinned() -> None:
    """Every dependency of pyproject.toml has a pin."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "constraints.txt").read_text()
    pins = re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)
    pinned = {name.lower().replace("_", "-") for name in pins}
    wanted = {re.split(r"[<>=\[; ]", text)[0].lower() for text in project["dependencies"]}
    assert wanted - pinned == set()
