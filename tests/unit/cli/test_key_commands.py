"""`strongroom repo key`: every kind of key from making it to opening with it, and what is said when it cannot be."""

import html
import re
import stat
from pathlib import Path

import pytest

from tests.fixtures.trees import Answer, CommandLine, one_line

pytestmark = pytest.mark.slow  # new passphrases cost what they cost people


def opening(command: CommandLine, *words: str | Path) -> list[str | Path]:
    """Options to open with something else than the usual passphrase."""
    return [*words, "--cache-dir", command.cache_dir, "--state-dir", command.state_dir]


def opens(command: CommandLine, repo: Path, *words: str | Path) -> bool:
    answer = command.plain("points", repo, "--json", *opening(command, *words))
    return answer.code == 0


def listed(command: CommandLine, repo: Path) -> dict[str, str]:
    """Kinds of keys by id."""
    return {
        key["id"]: key["kind"]
        for key in command("repo", "key", "list", repo, "--json").document["keys"]
    }


def done(answer: Answer) -> Answer:
    assert answer.code == 0, answer.err
    return answer


def new_file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text + "\n")
    return path


def test_a_passphrase_is_changed(command: CommandLine, repo: Path, tmp_path: Path) -> None:
    """Add the new one, open with it, remove the old one: then the old one is wrong."""
    new = new_file(tmp_path, "new", "another passphrase")
    (old,) = listed(command, repo)
    made = done(
        command("repo", "key", "add", repo, "--new-passphrase-file", new, "--json")
    ).document
    assert listed(command, repo) == {old: "passphrase", made["key"]: "passphrase"}
    twice = command("repo", "key", "add", repo, "--new-passphrase-file", new)
    assert (twice.code, "key-exists" in twice.err) == (1, True)
    refused = command("repo", "key", "remove", repo, old)
    assert (refused.code, one_line(refused)) == (2, True)
    assert "key-in-use" in refused.err
    with_new = opening(command, "--passphrase-file", new)
    before = sorted((repo / "keys").iterdir())
    said = done(command.plain("repo", "key", "remove", repo, old[:4], "--dry-run", *with_new)).out
    assert sorted((repo / "keys").iterdir()) == before
    assert "would open" in said
    said = done(command.plain("repo", "key", "remove", repo, old[:4], *with_new)).out
    assert "can still read what is stored" in said
    assert "rotate" in said
    assert opens(command, repo, "--passphrase-file", new)
    wrong = command("points", repo)
    assert (wrong.code, one_line(wrong)) == (1, True)
    assert "passphrase-wrong" in wrong.err
    last = command.plain("repo", "key", "remove", repo, made["key"], *with_new)
    assert (last.code, "key-last" in last.err) == (2, True)


@pytest.mark.parametrize("protected", [False, True])
def test_a_recipient(command: CommandLine, repo: Path, tmp_path: Path, protected: bool) -> None:
    """Its public key is all that the repository's owner gets; the private one opens, with its own passphrase if it has one."""
    private, secret = tmp_path / "ann.key", new_file(tmp_path, "secret", "secret of ann's file")
    more = ("--passphrase-file", secret) if protected else ()
    done(command.plain("repo", "key", "generate", private, *more))
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    again = command.plain("repo", "key", "generate", private)
    assert (again.code, "already-exists" in again.err) == (1, True)
    wrong = command("repo", "key", "add", repo, "--recipient", private)
    assert (wrong.code, "recipient-unreadable" in wrong.err) == (2, True)
    done(command("repo", "key", "add", repo, "--recipient", f"{private}.pub", "--label", "Ann"))
    assert "recipient" in listed(command, repo).values()
    assert "Ann" in done(command("repo", "key", "list", repo)).out
    assert opens(command, repo, "--key-file", private, *more)
    assert opens(command, repo, *more, "--key-file", private)
    if protected:
        denied = command.plain(
            "points", repo, "--key-file", private, "--passphrase-file", command.passphrase_file
        )
        assert (denied.code, "key-file-passphrase" in denied.err) == (1, True)
    private.chmod(0o644)
    denied = command.plain("points", repo, "--key-file", private, *more)
    assert (denied.code, "key-file-open" in denied.err) == (1, True)
    missing = command.plain("points", repo, "--key-file", tmp_path / "none")
    assert (missing.code, "file-not-found" in missing.err) == (1, True)


def test_a_key_service(command: CommandLine, repo: Path, tmp_path: Path) -> None:
    """Made, added, opened with; without its folder the message says what to do."""
    address = f"file:{tmp_path}/service/vault"
    absent = command("repo", "key", "add", repo, "--new-kms", address)
    assert (absent.code, "repo key generate" in absent.err) == (1, True)
    for version in (1, 2):
        made = command.plain("repo", "key", "generate", "--kms", address, "--json").document
        assert made["version"] == version
    done(command("repo", "key", "add", repo, "--new-kms", address))
    assert opens(command, repo, "--kms", address)
    (tmp_path / "service").rename(tmp_path / "away")
    gone = command.plain("points", repo, "--kms", address)
    assert (gone.code, one_line(gone)) == (1, True)
    assert "attach the folder" in gone.err
    assert opens(command, repo, "--kms", f"file:{tmp_path}/away/vault")


@pytest.mark.parametrize("form", ["sheet.html", "sheet.txt", ""])
def test_a_recovery_sheet(command: CommandLine, repo: Path, tmp_path: Path, form: str) -> None:
    """What is printed, typed again in small letters, opens the repository; a wrong letter names its line."""
    out = ("--out", tmp_path / form) if form else ()
    said = done(command("repo", "key", "sheet", repo, *out))
    page = (tmp_path / form).read_text() if form else said.out
    (key,) = (key for key, kind in listed(command, repo).items() if kind == "recovery")
    for fact in (key, str(repo), command("repo", "info", repo, "--json").document["repository"]):
        assert fact in html.unescape(page)
    lines = re.findall(r"^\W*(?:<div[^>]*>)?([1-6]\)  (?:[0-9A-Z]{4} ?){2,3})", page, re.MULTILINE)
    assert len(lines) == 6
    typed = new_file(tmp_path, "typed", "\n".join(lines).lower())
    assert opens(command, repo, "--passphrase-file", typed)
    wrong = lines[3][:-1] + ("2" if lines[3][-1] != "2" else "3")
    typed.write_text("\n".join([*lines[:3], wrong, *lines[4:]]))
    refused = command.plain("points", repo, *opening(command, "--passphrase-file", typed))
    assert (refused.code, one_line(refused)) == (2, True)
    assert "line 4 of the recovery secret" in refused.err
    if form:
        assert stat.S_IMODE((tmp_path / form).stat().st_mode) == 0o600
        assert page.count("http") == 0
        again = command("repo", "key", "sheet", repo, *out)
        assert (again.code, "already-exists" in again.err) == (1, True)
        assert len(listed(command, repo)) == 2


def test_rotation(command: CommandLine, repo: Path, tmp_path: Path) -> None:
    """Says the epoch and who opens it; a dry run changes nothing; --identity says what it would cost."""
    before = sorted((repo / "keys").iterdir())
    assert "epoch 2" in done(command("repo", "key", "rotate", repo, "--dry-run")).out
    assert sorted((repo / "keys").iterdir()) == before
    said = done(command("repo", "key", "rotate", repo)).out
    assert "epoch 2" in said
    assert "passphrase" in said
    assert command("repo", "info", repo, "--json").document["key_epoch"] == 2
    refused = command("repo", "key", "rotate", repo, "--identity")
    assert (refused.code, "identity-fixed" in refused.err) == (1, True)
    assert "full copy" in refused.err
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "file").write_bytes(b"after the rotation")
    done(command("import", folder, repo))
    done(command("export", repo, "latest", tmp_path / "out"))
    assert (tmp_path / "out" / "file").read_bytes() == b"after the rotation"


def test_what_fits_no_command(command: CommandLine, repo: Path, tmp_path: Path) -> None:
    """Two openings, two new keys, a passphrase that is too short, a key that is not there."""
    both = command.plain("points", repo, "--key-file", "a", "--kms", "file:b/c")
    assert (both.code, "give one of" in both.err) == (2, True)
    both = command("repo", "key", "add", repo, "--recipient", "a", "--new-kms", "file:b/c")
    assert (both.code, one_line(both)) == (2, True)
    short = new_file(tmp_path, "short", "short")
    for words in (
        ("add", repo, "--new-passphrase-file", short),
        ("generate", tmp_path / "k", "--passphrase-file", short),
    ):
        answer = (
            command.plain("repo", "key", *words)
            if words[0] == "generate"
            else command("repo", "key", *words)
        )
        assert (answer.code, "passphrase-short" in answer.err) == (2, True)
    absent = command("repo", "key", "remove", repo, "ffff")
    assert (absent.code, "key-not-found" in absent.err) == (1, True)
    nothing = command.plain("repo", "key", "generate")
    assert nothing.code == 2
    made = command.plain("repo", "init", tmp_path / "other", "--kms", "file:a/b")
    assert (made.code, "repo key add" in made.err) == (2, True)
    assert not (tmp_path / "other").exists()
