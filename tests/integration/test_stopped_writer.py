"""Writers that stand still, have a wrong clock, or store the same at once, while another process collects."""

import json
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.fixtures.signalled import DEADLINE_S, start_signalled, wait_stopped
from tests.fixtures.trees import CommandLine, snapshot

SEED = 20261124
FILE_BYTES = 8_000_000


def make_tree(root: Path, count: int, seed: int, size: int = FILE_BYTES) -> None:
    rng = random.Random(seed)
    root.mkdir()
    for number in range(count):
        (root / f"f{number}").write_bytes(rng.randbytes(size))


@pytest.mark.slow
@pytest.mark.parametrize("days", [0, 40])
def test_a_writer_stopped_in_a_pack_while_another_collects(
    tmp_path: Path, repo: Path, command: CommandLine, days: int
) -> None:
    """It is told that its turn was revoked, and succeeds when run again; what was committed restores, whatever its clock."""
    make_tree(tmp_path / "old", 2, SEED)
    make_tree(tmp_path / "new", 12, SEED + 1)
    assert command("import", tmp_path / "old", repo).code == 0
    writer = start_signalled(command, signal.SIGSTOP, "import", tmp_path / "new", repo, days=days)
    try:
        wait_stopped(writer)
        collected = command("repo", "collect", repo, "--wait", "1", "--json")
        assert collected.code == 0, collected.err
        assert collected.document["turns_revoked"] == 1
    finally:
        writer.send_signal(signal.SIGCONT)
    _, err = writer.communicate(timeout=DEADLINE_S)
    assert writer.returncode == 1
    assert err.count(b"\n") == 1
    assert b"revoked" in err
    again = start_signalled(command, 0, "import", tmp_path / "new", repo, days=days)
    assert again.communicate(timeout=DEADLINE_S)[1] == b""
    assert again.returncode == 0
    assert command("repo", "collect", repo, "--wait", "1").code == 0
    assert command("repo", "verify", repo, "--read-data").code == 0
    for name in ("old", "new"):
        assert command("export", repo, f"{name}:latest", tmp_path / f"{name}-out").code == 0
        assert snapshot(tmp_path / f"{name}-out") == snapshot(tmp_path / name)


@pytest.mark.slow
def test_a_writer_that_goes_on_in_time_ends_well(
    tmp_path: Path, repo: Path, command: CommandLine
) -> None:
    """A collection waits for a stopped writer as long as it is told to, and takes nothing of what the writer stored."""
    make_tree(tmp_path / "new", 6, SEED + 2)
    writer = start_signalled(command, signal.SIGSTOP, "import", tmp_path / "new", repo, days=40)
    wait_stopped(writer)
    collector = command.start("repo", "collect", repo, "--wait", "60", "--json")
    deadline = time.monotonic() + DEADLINE_S
    while not (repo / "gc" / "0000000001").exists():  # condemned; next it looks who is writing
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    writer.send_signal(signal.SIGCONT)
    assert writer.communicate(timeout=DEADLINE_S)[1] == b""
    assert writer.returncode == 0
    out, _ = collector.communicate(timeout=DEADLINE_S)
    assert collector.returncode == 0
    assert json.loads(out)["turns_revoked"] == 0
    assert command("repo", "verify", repo, "--read-data").code == 0
    assert command("export", repo, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "new")


def same_at_once(tmp_path: Path, command: CommandLine, megabytes: int) -> None:
    """Two processes import the same bytes at once; a collection leaves one copy."""
    repo = tmp_path / "plain"
    assert command("repo", "init", repo, "--padding", "none", "--parity", "off").code == 0
    for name in ("one", "two"):
        make_tree(tmp_path / name, megabytes, SEED, 1_000_000)
    writers = [command.start("import", tmp_path / name, repo) for name in ("one", "two")]
    for writer in writers:
        assert writer.communicate(timeout=1200)[1] == b""
        assert writer.returncode == 0
    before = pack_bytes(repo)
    assert command("repo", "collect", repo, "--wait", "1").code == 0
    copy = megabytes * 1_000_000
    print(f"{before / copy:.3f} copies before, {pack_bytes(repo) / copy:.3f} after")
    assert pack_bytes(repo) <= 1.05 * copy
    assert command("repo", "verify", repo, "--read-data").code == 0
    for name in ("one", "two"):
        assert command("export", repo, f"{name}:latest", tmp_path / f"{name}-out").code == 0
        assert snapshot(tmp_path / f"{name}-out") == snapshot(tmp_path / name)
        shutil.rmtree(tmp_path / f"{name}-out")


def pack_bytes(repo: Path) -> int:
    return sum(path.stat().st_size for path in (repo / "pack").rglob("*") if path.is_file())


@pytest.mark.slow
def test_the_same_stored_twice_at_once_becomes_one_copy(
    tmp_path: Path, command: CommandLine
) -> None:
    """At most 1.05 of one copy, 20 MB."""
    same_at_once(tmp_path, command, 20)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_gigabytes_of_the_same_at_once_become_one_copy(
    tmp_path: Path, command: CommandLine
) -> None:
    """At most 1.05 of one copy, 2 GB from two processes."""
    same_at_once(tmp_path, command, 2000)
