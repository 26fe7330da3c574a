"""The rule about skips holds: see tests/fixtures/skips.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.skips import listed_reasons, unlisted

ROOT = Path(__file__).parents[2]


def test_reasons_are_read_from_their_section_alone() -> None:
    """Only bullet lines of the section count."""
    text = "# x\n- `no`: x\n## What cannot be had\ntext\n- `one`: why\n- `two`: why\n## next\n- `no`: y\n"
    assert listed_reasons(text) == {"one", "two"}
    assert listed_reasons("nothing") == set()


def test_unlisted_skips_are_found() -> None:
    """A reason is allowed if it holds a listed text."""
    skips = [("a", "Skipped: one is missing"), ("b", "Skipped: other")]
    assert unlisted(skips, {"one"}) == ["b: Skipped: other"]


@pytest.mark.slow
@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_an_unlisted_skip_fails_a_run_in_ci(tmp_path: Path, ci: str, code: int) -> None:
    """The hook turns a passing run into a failed one, and only with CI=true."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.fixtures.skips"]\n')
    (tmp_path / "test_x.py").write_text(
        'import pytest\n\n@pytest.mark.skip("unheard of")\ndef test_x(): ...\n\ndef test_y(): ...\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stdout
    assert ("test_x.py::test_x: Skipped: unheard of" in done.stdout) == bool(code)
