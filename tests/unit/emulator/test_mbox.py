"""Splitting of mbox files."""

from pathlib import Path

import pytest

from tools.emulator import mbox

ONE = b"Subject: 1\n\nx\n"
TWO = b"Subject: 2\n\n>From you\nFrom here on\n"


def pieces(data: bytes) -> list[bytes]:
    return [data[offset : offset + size] for offset, size in mbox.split(data)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"From a\n" + ONE, [ONE]),
        (b"From a\n" + ONE + b"\nFrom b\n" + TWO, [ONE, TWO]),
        (b"From a\n" + ONE + b"\nFrom b\n" + TWO + b"\n", [ONE, TWO]),
        (b"no mbox at all", [b"no mbox at all"]),
        (b"From a\nFrom b\n", [b"From b\n"]),
        (b"From a\n\nFrom b\nx\n", [b"", b"x\n"]),
    ],
)
def test_split(data: bytes, expected: list[bytes]) -> None:
    assert pieces(data) == expected


def test_carriage_returns() -> None:
    one, two = ONE.replace(b"\n", b"\r\n"), TWO.replace(b"\n", b"\r\n")
    assert pieces(b"From a\r\n" + one + b"\r\nFrom b\r\n" + two) == [one, two]


def test_split_file(tmp_path: Path) -> None:
    path = tmp_path / "x.mbox"
    path.write_bytes(b"")
    assert mbox.split_file(path) == []
    path.write_bytes(b"From a\n" + ONE + b"\nFrom b\n" + TWO)
    assert mbox.split_file(path) == [(7, len(ONE)), (15 + len(ONE), len(TWO))]
