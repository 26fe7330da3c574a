"""Where the passphrase and the local folders come from."""

from pathlib import Path

import pytest

from engine.errors import BackupError, UsageError
from tools.cli import arguments


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRONGROOM_PASSPHRASE", raising=False)
    monkeypatch.delenv("STRONGROOM_PASSPHRASE_FILE", raising=False)


def test_option_before_variable_before_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--passphrase-file wins over STRONGROOM_PASSPHRASE_FILE, that over STRONGROOM_PASSPHRASE; one line end goes."""
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_bytes(b" first one \r\n")
    second.write_bytes("zw\u00f6lf".encode())
    monkeypatch.setenv("STRONGROOM_PASSPHRASE", "third")
    assert arguments.passphrase(None) == "third"
    monkeypatch.setenv("STRONGROOM_PASSPHRASE_FILE", str(second))
    assert arguments.passphrase(None) == "zw\u00f6lf"
    assert arguments.passphrase(first) == " first one "


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "file-not-found"), (b"\xff\xfe", "file-unreadable"), (b"x" * 5000, "passphrase-long")],
)
def test_files_that_are_no_passphrase(tmp_path: Path, content: bytes | None, code: str) -> None:
    """A missing, binary or huge file is said, and no byte of it is shown."""
    file = tmp_path / "p"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BackupError) as caught:
        arguments.passphrase(file)
    assert caught.value.code == code
    with pytest.raises(UsageError):
        arguments.passphrase(tmp_path)


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, no variable, no terminal: UsageError that names the option."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(UsageError) as caught:
        arguments.passphrase(None)
    assert "--passphrase-file" in caught.value.message


def test_the_second_time_must_be_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a new passphrase is asked for twice."""
    answers = iter(["one", "two", "one", "one"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    with pytest.raises(UsageError):
        arguments.passphrase(None, twice=True)
    assert arguments.passphrase(None, twice=True) == "one"


def test_places_are_absolute_or_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given folders become absolute; the others follow XDG."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    places = arguments.places(None, None)
    assert places.cache_dir == tmp_path / "c" / "strongroom"
    assert places.state_dir == tmp_path / "s" / "strongroom"
    monkeypatch.chdir(tmp_path)
    assert arguments.places(Path("x"), None).cache_dir == tmp_path / "x"
