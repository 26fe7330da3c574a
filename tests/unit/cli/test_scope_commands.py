"""`strongroom repo key scope`, and --dry-run of every change of keys: from making a scope to shredding it."""

import io
from pathlib import Path

import pytest

from tests.fixtures.trees import Answer, CommandLine, one_line, snapshot

pytestmark = pytest.mark.slow  # passphrases cost what they cost people


def done(answer: Answer) -> Answer:
    assert answer.code == 0, answer.err
    return answer


def state_of(command: CommandLine, repo: Path) -> dict[str, str]:
    """Of each restore point, by name, what `points` says of its scope."""
    points = done(command("points", repo, "--json")).document
    return {point["name"]: point["scope_state"] for point in points}


def test_a_scope_from_its_making_to_its_end(
    command: CommandLine, repo: Path, tree: Path, tmp_path: Path
) -> None:
    """
    Import in a scope, export, shred with the question asked or waived; then points say so, a verification finds nothing wrong,
    and the space comes back.
    """
    address = f"file:{tmp_path}/kms/fabrikam"
    scope = "repo", "key", "scope"
    would = done(command(*scope, "add", repo, "Fabrikam", "--service", address, "--dry-run"))
    assert "would make" in would.out
    assert not (tmp_path / "kms").exists()
    made = done(command(*scope, "add", repo, "Fabrikam", "--service", address, "--json")).document
    assert (made["name"], made["state"], made["left"]) == ("Fabrikam", "open", [])
    done(command("import", tree, repo, "--name", "theirs", "--scope", "Fabrikam"))
    done(command("import", tree, repo, "--name", "ours"))
    refused = command("import", tree, repo, "--name", "theirs")
    assert (refused.code, "scope-mixed" in refused.err) == (2, True)
    (theirs,) = (
        point["id"]
        for point in done(command("points", repo, "--json")).document
        if point["name"] == "theirs"
    )
    done(command("export", repo, theirs, tmp_path / "out"))
    assert snapshot(tmp_path / "out") == snapshot(tree)

    before = sorted((repo / "keys").iterdir())
    dry = done(command(*scope, "destroy", repo, "Fabrikam", "--dry-run"))
    assert f"restore point {theirs}" in dry.out
    assert "1 restore points" in dry.out
    unasked = command(*scope, "destroy", repo, "Fabrikam", "--json")
    assert (unasked.code, "confirmation-missing" in unasked.err) == (2, True)
    assert sorted((repo / "keys").iterdir()) == before
    assert state_of(command, repo) == {"theirs": "", "ours": ""}

    gone = done(command(*scope, "destroy", repo, "Fabrikam", "--yes", "--json")).document
    assert gone["contents"]["points"] == [theirs]
    assert gone["state"] == "shredded"
    assert state_of(command, repo) == {"theirs": "shredded", "ours": ""}
    closed = command("export", repo, theirs, tmp_path / "again")
    assert (closed.code, one_line(closed), "scope-shredded" in closed.err) == (1, True, True)
    verified = done(command("repo", "verify", repo, "--read-data", "--json")).document
    assert [(one["name"], one["state"]) for one in verified["closed"]] == [("Fabrikam", "shredded")]
    assert "shredded: scope Fabrikam" in done(command("repo", "verify", repo)).out
    listed = done(command(*scope, "list", repo, "--json")).document["scopes"]
    assert [(one["name"], one["state"]) for one in listed] == [("Fabrikam", "shredded")]
    size = sum(p.stat().st_size for p in (repo / "pack").rglob("*") if p.is_file())
    done(command("forget", repo, theirs))
    done(command("repo", "collect", repo, "--wait", "0"))
    assert sum(p.stat().st_size for p in (repo / "pack").rglob("*") if p.is_file()) < size
    done(command("export", repo, "ours:latest", tmp_path / "ours"))
    assert snapshot(tmp_path / "ours") == snapshot(tree)


def test_the_name_must_be_typed(
    command: CommandLine, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who types another name has changed nothing."""
    address = f"file:{tmp_path}/kms/fabrikam"
    done(command("repo", "key", "scope", "add", repo, "Fabrikam", "--service", address))
    before = snapshot(repo), snapshot(tmp_path / "kms")
    destroy = "repo", "key", "scope", "destroy", repo, "Fabrikam"
    monkeypatch.setattr("sys.stdin", Terminal("fabrikam\n"))
    wrong = command(*destroy)
    assert (wrong.code, "confirmation-wrong" in wrong.err) == (2, True)
    assert (snapshot(repo), snapshot(tmp_path / "kms")) == before
    monkeypatch.setattr("sys.stdin", Terminal("Fabrikam\n"))
    done(command(*destroy))
    again = command(*destroy, "--yes")
    assert (again.code, "scope-not-found" in again.err) == (1, True)


class Terminal(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        return True


def test_another_machine_is_told_where_the_key_is(
    command: CommandLine, repo: Path, tree: Path, tmp_path: Path
) -> None:
    """Closed until then, which is said in one line."""
    address = f"file:{tmp_path}/kms/fabrikam"
    done(command("repo", "key", "scope", "add", repo, "Fabrikam", "--service", address))
    done(command("import", tree, repo, "--scope", "Fabrikam"))
    command.cache_dir, command.state_dir = tmp_path / "cache2", tmp_path / "state2"
    assert state_of(command, repo) == {"tree": "closed"}
    closed = command("export", repo, "latest", tmp_path / "out")
    assert (closed.code, one_line(closed), "scope-closed" in closed.err) == (1, True, True)
    attach = "repo", "key", "scope", "attach", repo, "--service", address
    done(command(*attach, "--dry-run"))
    assert state_of(command, repo) == {"tree": "closed"}
    done(command(*attach))
    done(command("export", repo, "latest", tmp_path / "out2"))
    assert snapshot(tmp_path / "out2") == snapshot(tree)
    there = "repo", "key", "scope", "destroy", repo, "Fabrikam", "--yes", "--service"
    wrong = command(*there, f"file:{tmp_path}/kms/other")
    assert (wrong.code, "scope-service-other" in wrong.err) == (2, True)
    done(command(*there, address))
    assert state_of(command, repo) == {"tree": "shredded"}


def test_a_dry_run_changes_no_key(command: CommandLine, repo: Path, tmp_path: Path) -> None:
    """Every `repo key` command that changes something says what it would do, and refuses what it would refuse."""
    new = tmp_path / "new"
    new.write_text("another passphrase\n")
    service = f"file:{tmp_path}/kms/key"
    done(command.plain("repo", "key", "generate", tmp_path / "own"))
    recipient = "--recipient", tmp_path / "own.pub"
    before = snapshot(repo), sorted(tmp_path.iterdir())
    for words in (
        ("add", repo, "--new-passphrase-file", new),
        ("add", repo, *recipient),
        ("sheet", repo, "--out", tmp_path / "sheet.txt"),
        ("sheet", repo),
        ("rotate", repo),
        ("scope", "add", repo, "Fabrikam", "--service", service),
    ):
        for more in ((), ("--json",)):
            answer = done(command("repo", "key", *words, "--dry-run", *more))
            assert "would" in answer.out or answer.document["dry_run"] is True
            assert not more or answer.document.get("key") is None
    for target in (("--kms", service), (tmp_path / "other",)):
        for more in ((), ("--json",)):
            answer = done(command.plain("repo", "key", "generate", *target, "--dry-run", *more))
            assert "would" in answer.out or answer.document["dry_run"] is True
    assert (snapshot(repo), sorted(tmp_path.iterdir())) == before
    done(command("repo", "key", "add", repo, *recipient))
    again = command("repo", "key", "add", repo, *recipient, "--dry-run")
    assert (again.code, "key-exists" in again.err) == (1, True)
    there = command.plain("repo", "key", "generate", tmp_path / "own", "--dry-run")
    assert (there.code, "already-exists" in there.err) == (1, True)
