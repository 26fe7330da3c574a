"""What people and programs see is printable, whatever names hold."""

import json

import pytest

from engine.errors import NotFound
from tools.cli import output


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (10**19, "10000.0 PB")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    """Powers of 1000, the largest unit without end."""
    assert output.size_text(size) == text


def test_times_for_people() -> None:
    """UTC to the minute, before 1970 and at the end of 64 bits too."""
    assert output.time_text(0) == "1970-01-01 00:00"
    assert output.time_text(-1) == "1969-12-31 23:59"
    assert output.time_text(2**63 - 1).startswith("2262-04-11")
    assert output.time_text(-(2**63)).startswith("1677-09-21")


def test_tables_hold_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """Escapes, line ends and bytes that are no text cannot disturb a terminal or a script."""
    output.table(["name", "size"], [["a\x1b[31m\nb\udcff", "1"], ["", "22"]], right=(1,))
    output.say("x\udcff")
    output.facts({"k": "v\r"})
    shown = capsys.readouterr().out
    assert shown.splitlines() == [
        "name       size",
        "a\ufffd[31m\ufffdb\ufffd     1",
        "             22",
        "x?",
        "k  v\ufffd",
    ]


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """Also when an error names a file whose name is no text."""
    output.print_json({"error": NotFound("no \udcff", code="x-y").message})
    assert json.loads(capsys.readouterr().out) == {"error": "no ?"}


def test_a_bar_without_a_terminal_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """Logs hold no progress."""
    with output.progress_bar("x") as bar:
        bar.update(1, 2, "note")
    assert capsys.readouterr() == ("", "")
