"""Disks that are full or read-only: one clear line, nothing lost, and with space the command passes."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from repository.blobstore.local import LocalStore
from repository.repository import initialize
from tests.fixtures.repositories import CHEAP, PASSPHRASE
from tests.fixtures.trees import CommandLine, one_line, snapshot, stored


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True
    )
    if done.returncode:
        pytest.skip("mounting is not permitted")
    yield folder
    for _ in range(20):
        if subprocess.run(["umount", folder], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free."""
    path = folder / "fill"
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):  # noqa: PT012
        while True:
            file.write(bytes(4096))
    return path


@pytest.mark.slow
def test_a_full_repository_disk(
    small_disk: Path, tree: Path, tmp_path: Path, command: CommandLine
) -> None:
    """One clear line, exit 1; the repository verifies, earlier points are there, and with space the import passes."""
    repo = small_disk / "repo"
    assert command("repo", "init", repo).code == 0
    assert command("import", tree, repo).code == 0
    big = tmp_path / "big"
    big.mkdir()
    (big / "file").write_bytes(os.urandom(20_000_000))
    first_of_a_writer = tmp_path / "fresh-state"
    for attempt in range(3):
        if attempt == 1:
            filler = fill(small_disk)
        if attempt == 2:
            command.state_dir = first_of_a_writer
        answer = command("import", big, repo)
        assert answer.code == 1, answer
        assert one_line(answer), answer
        assert "disk of the repository is full" in answer.err
        assert "free some space" in answer.err
        assert command("repo", "verify", repo, "--read-data").code == 0
        assert [p["name"] for p in command("points", repo, "--json").document] == ["tree"]
    filler.unlink()
    (tree / "more").write_bytes(b"more")
    assert command("import", tree, repo).code == 0
    assert command("export", repo, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(tree)


@pytest.mark.slow
def test_init_on_a_full_disk(small_disk: Path, command: CommandLine) -> None:
    """One clear line, exit 1, and no repository."""
    fill(small_disk)
    answer = command("repo", "init", small_disk / "repo")
    assert (answer.code, one_line(answer)) == (1, True), answer
    assert "full" in answer.err
    assert not (small_disk / "repo" / "config").exists()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["cache_dir", "state_dir"])
def test_full_local_folders(
    small_disk: Path, tree: Path, repo: Path, command: CommandLine, what: str
) -> None:
    """A full disk of caches or state is one clear line that names the option; never a traceback or a signal."""
    assert command("import", tree, repo).code == 0
    filler = fill(small_disk)
    option = "--" + what.replace("_", "-")
    codes = set()
    for free in (0, 4096, 65_536, 90_112, 1_000_000):
        setattr(command, what, small_disk / f"places-{free}")
        with filler.open("r+b") as file:
            file.truncate(max(0, filler.stat().st_size - free))
        process = command.start("points", repo)
        out, err = process.communicate()
        codes.add(process.returncode)
        if process.returncode:
            assert process.returncode == 1, (free, err)
            assert err.count(b"\n") == 1, (free, err)
            assert option.encode() in err
        else:
            assert b"tree" in out
        filler.unlink()
        shutil.rmtree(small_disk / f"places-{free}", ignore_errors=True)
        filler = fill(small_disk)
    assert codes == {0, 1}


@pytest.mark.slow
def test_a_full_destination_disk(
    small_disk: Path, tmp_path: Path, repo: Path, command: CommandLine
) -> None:
    """One clear line that names the destination, exit 1; the repository is as it was."""
    big = tmp_path / "big"
    big.mkdir()
    (big / "file").write_bytes(os.urandom(20_000_000))
    assert command("import", big, repo).code == 0
    before = stored(repo)
    answer = command("export", repo, "latest", small_disk / "out")
    assert (answer.code, one_line(answer)) == (1, True)
    assert f"the disk of {small_disk / 'out'} is full" in answer.err
    assert stored(repo) == before


@pytest.fixture
def filled(small_disk: Path, tree: Path, tmp_path: Path, command: CommandLine) -> Path:
    """A repository on a small disk, not full yet; its largest point is forgotten and not collected."""
    repo = small_disk / "repo"
    cheaply_made(repo)
    shrinking = tmp_path / "shrinking"
    shrinking.mkdir()
    for content in (os.urandom(3_000_000), b"small"):
        (shrinking / "file").write_bytes(content)
        assert command("import", shrinking, repo).code == 0
    assert command("import", tree, repo).code == 0
    older = command("points", repo, "--json").document
    first = min(older, key=lambda point: point["created_at"])
    assert command("forget", repo, first["id"], "--force").code == 0
    return repo


def cheaply_made(repo: Path) -> None:
    """A repository whose passphrase costs little to try."""
    initialize(LocalStore.create(repo), PASSPHRASE, CHEAP, parity="off")


def assert_refused(command: CommandLine, code: str, *words: str | Path) -> None:
    """One clear line with this code, exit 1."""
    answer = command(*words)
    assert (answer.code, one_line(answer)) == (1, True), answer
    assert f"({code})" in answer.err, answer


def give_back(filler: Path, size: int) -> None:
    """Free so many bytes."""
    os.truncate(filler, filler.stat().st_size - size)


@pytest.mark.slow
def test_a_collection_on_a_full_disk(
    filled: Path, small_disk: Path, tree: Path, tmp_path: Path, command: CommandLine
) -> None:
    """It ends, loses nothing, and with a little space takes away what was forgotten."""
    filler = fill(small_disk)
    assert_refused(command, "store-full", "repo", "collect", filled)
    assert command("repo", "verify", filled, "--read-data").code == 0
    give_back(filler, 400_000)
    before = bytes_of(filled)
    assert command("repo", "collect", filled).code == 0
    assert bytes_of(filled) < before - 2_500_000
    assert command("repo", "verify", filled, "--read-data").code == 0
    assert command("export", filled, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(tree)


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_copy_onto_a_full_disk(
    small_disk: Path, repo: Path, tree: Path, tmp_path: Path, command: CommandLine
) -> None:
    """One clear line; the target verifies and claims no restore point; with space the same command ends."""
    (tree / "large").write_bytes(os.urandom(5_000_000))
    assert command("import", tree, repo).code == 0
    target = small_disk / "target"
    cheaply_made(target)
    words = ("repo", "copy", repo, target, "--to-passphrase-file", command.passphrase_file)
    filler = fill(small_disk)
    for free in (0, 1_000_000):
        give_back(filler, free)
        assert_refused(command, "store-full", *words)
        assert command("repo", "verify", target, "--read-data").code == 0
        assert command("points", target, "--json").document == []
    filler.unlink()
    assert command(*words).code == 0
    assert command("export", target, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(tree)


# -- read-only, and without rights -------------------------------------------------------------------


def changes(tree: Path, repo: Path) -> tuple[tuple[str | Path, ...], ...]:
    """Commands that write."""
    return (
        ("import", tree, repo),
        ("repo", "collect", repo),
        ("forget", repo, "--keep-last", "1", "--force"),
        ("repo", "key", "rotate", repo),
    )


def assert_read(command: CommandLine, repo: Path, tree: Path, out: Path) -> None:
    """Commands that only read work."""
    for words in (
        ("points", repo),
        ("repo", "info", repo),
        ("repo", "verify", repo, "--read-data"),
    ):
        assert command(*words).code == 0, words
    assert command("export", repo, "latest", out).code == 0
    assert snapshot(out) == snapshot(tree)


@pytest.mark.slow
def test_a_read_only_mount(
    filled: Path, small_disk: Path, tree: Path, tmp_path: Path, command: CommandLine
) -> None:
    """Reading works, what writes says one clear line and changes nothing; mounted for writing again all of it works."""
    assert command("import", tree, filled).code == 0  # a point that can be forgotten
    before = stored(filled)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for words in changes(tree, filled):
        assert_refused(command, "store-denied", *words)
    assert_read(command, filled, tree, tmp_path / "out")
    assert stored(filled) == before
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    for words in changes(tree, filled):
        assert command(*words).code == 0, words


@pytest.mark.slow
def test_a_repository_without_rights(nobody: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An ordinary user with folders that may only be read: as read-only; that may not be read: one clear line for all."""
    command = CommandLine(nobody, capsys)
    tree, repo = nobody / "tree", nobody / "repo"
    tree.mkdir()
    (tree / "f").write_bytes(os.urandom(100_000))
    cheaply_made(repo)
    for _ in range(2):
        assert command("import", tree, repo).code == 0
    before = stored(repo)
    folders = [repo, *(path for path in repo.rglob("*") if path.is_dir())]
    allow(folders, 0o500)
    (repo / "cas.lock").chmod(0o400)
    for words in changes(tree, repo):
        assert_refused(command, "store-denied", *words)
    assert_read(command, repo, tree, nobody / "out")
    assert stored(repo) == before
    allow(reversed(folders), 0)
    for words in (*changes(tree, repo), ("points", repo), ("repo", "verify", repo)):
        assert_refused(command, "store-denied", *words)
    allow(folders, 0o700)
    (repo / "cas.lock").chmod(0o600)
    for words in changes(tree, repo):
        assert command(*words).code == 0, words


def allow(folders: Iterable[Path], mode: int) -> None:
    for folder in folders:
        folder.chmod(mode)
