"""`strongroom repo copy`: trees come out of the copy as they went into the original, whatever happened on the way."""

import itertools
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.fixtures.object_servers import ObjectServer
from tests.fixtures.trees import CommandLine, make_odd_tree, one_line, snapshot

pytestmark = pytest.mark.slow
OTHER = "another battery staple"
ATTEMPTS_MAX = 30


@pytest.fixture
def copy(tmp_path: Path, command: CommandLine) -> Path:
    """An empty repository with a passphrase of its own."""
    (tmp_path / "cli" / "other").write_text(OTHER)
    path = tmp_path / "copy"
    assert command.plain("repo", "init", path, *secret(command)).code == 0
    return path


def secret(command: CommandLine) -> list[str]:
    """Options that open the copy alone."""
    return ["--passphrase-file", str(command.passphrase_file.with_name("other")),
            "--cache-dir", str(command.cache_dir), "--state-dir", str(command.state_dir)]  # fmt: skip


def to(command: CommandLine) -> list[str]:
    """The option that opens the copy beside the original."""
    return ["--to-passphrase-file", str(command.passphrase_file.with_name("other"))]


def files_of(repo: Path) -> dict[str, bytes]:
    return {str(p.relative_to(repo)): p.read_bytes() for p in repo.rglob("*") if p.is_file()}


def test_trees_come_out_as_they_went_in(
    tmp_path: Path, repo: Path, copy: Path, command: CommandLine
) -> None:
    """Odd names, hard links, holes, times, over three restore points; a second run changes no byte of the copy."""
    root = tmp_path / "tree"
    make_odd_tree(root)
    wanted = []
    for number in range(3):
        wanted.append(snapshot(root))
        assert command("import", root, repo, "--name", "t").code == 0
        (root / f"new-{number}").write_bytes(os.urandom(100_000))
        (root / "plain").write_bytes(b"changed %d" % number)
        os.rename(root / f"time-{number}", root / f"renamed-{number}")
        (root / f"mode-{('400', '777', '4755')[number]}").unlink()
    planned = command("repo", "copy", repo, copy, "--dry-run", "--json", *to(command)).document
    assert len(planned["points"]) == 3
    before = files_of(copy)
    assert command("repo", "copy", repo, copy, "--dry-run", *to(command)).code == 0
    assert files_of(copy) == before
    done = command("repo", "copy", repo, copy, "--json", "--verify", *to(command))
    assert (done.code, done.err) == (0, "")
    assert done.document["points"] == planned["points"]
    assert done.document["verified"]["problems"] == []
    points = command("points", repo, "--json").document
    assert command.plain("points", copy, "--json", *secret(command)).document == points
    for number, point in enumerate(points):
        out = tmp_path / f"out{number}"
        assert command.plain("export", copy, point["id"], out, *secret(command)).code == 0
        assert snapshot(out) == wanted[number]
    before = files_of(copy)
    again = command("repo", "copy", repo, copy, "--json", *to(command)).document
    assert (again["points"], again["present"], again["bytes_stored"]) == ([], 3, 0)
    assert files_of(copy) == before
    assert command.plain("repo", "verify", copy, "--read-data", *secret(command)).code == 0


def test_a_copy_is_imported_on_when_the_original_is_lost(
    tmp_path: Path, repo: Path, copy: Path, command: CommandLine
) -> None:
    """The next import into the copy reads nothing that it has."""
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(20):
        (root / f"f{number}").write_bytes(os.urandom(30_000))
    assert command("import", root, repo).code == 0
    assert command("repo", "copy", repo, copy, *to(command)).code == 0
    shutil.rmtree(repo)
    (root / "one-more").write_bytes(b"1")
    answer = command.plain("import", root, copy, "--json", *secret(command)).document
    assert (answer["files_read"], answer["unchanged"]) == (1, 20)


def add_point(
    root: Path, number: int, rng: random.Random, repo: Path, command: CommandLine
) -> None:
    for name in range(4):
        (root / f"f{name}").write_bytes(rng.randbytes(3_000_000))
    (root / f"g{number}").write_bytes(rng.randbytes(50_000))
    assert command("import", root, repo, "--name", "t").code == 0


def test_kill_at_random_moments(
    tmp_path: Path, repo: Path, copy: Path, command: CommandLine
) -> None:
    """kill -9 in the middle of copies; what is there is right, and the last run makes it whole."""
    rng = random.Random(20261124)
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(6):
        add_point(root, number, rng, repo, command)
    killed = 0
    for attempt in range(ATTEMPTS_MAX):
        if attempt >= 5 and killed >= 2:
            break
        if attempt >= 5:
            add_point(root, attempt, rng, repo, command)  # it may have ended before it was killed
        before = len(list(copy.rglob("*")))
        process = command.start("repo", "copy", repo, copy, *to(command))
        while process.poll() is None and len(list(copy.rglob("*"))) == before:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate()
        answer = command.plain("repo", "verify", copy, "--read-data", *secret(command))
        assert answer.code == 0, answer
    assert killed >= 2
    assert command("repo", "copy", repo, copy, "--verify", *to(command)).code == 0
    points = command("points", repo, "--json").document
    assert command.plain("points", copy, "--json", *secret(command)).document == points
    assert command.plain("export", copy, "latest", tmp_path / "out", *secret(command)).code == 0
    assert snapshot(tmp_path / "out") == snapshot(root)
    assert sum(1 for _ in (copy / "sess").iterdir()) == 1


def test_wrong_calls(tmp_path: Path, repo: Path, copy: Path, command: CommandLine) -> None:
    """The same repository, no repository, no passphrase, a wrong one: one line that says what to do, nothing changed."""
    root = tmp_path / "tree"
    root.mkdir()
    assert command("import", root, repo).code == 0
    before = files_of(copy)
    same = command("repo", "copy", repo, repo, "--to-passphrase-file", command.passphrase_file)
    assert (same.code, one_line(same)) == (2, True)
    assert "copy-same-repository" in same.err
    none = command("repo", "copy", repo, tmp_path / "none", *to(command))
    assert (none.code, one_line(none)) == (1, True)
    assert "strongroom repo init" in none.err
    silent = command("repo", "copy", repo, copy)
    assert (silent.code, one_line(silent)) == (2, True)
    assert f"of {copy}: give --to-passphrase-file" in silent.err
    wrong = command("repo", "copy", repo, copy, "--to-passphrase-file", command.passphrase_file)
    assert (wrong.code, one_line(wrong)) == (1, True)
    unknown = command("repo", "copy", repo, copy, "--point", "ffff", *to(command))
    assert (unknown.code, one_line(unknown)) == (1, True)
    assert files_of(copy) == before


def test_passphrases_from_the_environment(
    repo: Path, copy: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STRONGROOM_TO_PASSPHRASE opens the copy; the other variables are of the original alone."""
    monkeypatch.setenv("STRONGROOM_TO_PASSPHRASE", OTHER)
    assert command("repo", "copy", repo, copy).code == 0


@pytest.mark.parametrize("kind", ["seaweed", "azurite"])
def test_object_storage_and_back(
    tmp_path: Path,
    repo: Path,
    command: CommandLine,
    kind: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a disk to s3:// or az://, and from there to another disk: the third repository gives back the tree."""
    server: ObjectServer = request.getfixturevalue(kind)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "tree"
    make_odd_tree(root)
    assert command("import", root, repo).code == 0
    (root / "plain").write_bytes(b"new")
    assert command("import", root, repo).code == 0
    steps = [repo, server.address(), tmp_path / "third"]
    for source, target in itertools.pairwise(steps):
        assert command("repo", "init", target).code == 0
        options = ["--verify", "--to-passphrase-file", command.passphrase_file]
        answer = command("repo", "copy", source, target, *options)
        assert (answer.code, answer.err) == (0, "")
    points = command("points", repo, "--json").document
    assert command("points", tmp_path / "third", "--json").document == points
    assert command("export", tmp_path / "third", "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(root)
