"""kill -9 at random moments of an import: nothing that was reported is lost, and the next import gives an identical tree."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.fixtures.signalled import start_signalled
from tests.fixtures.trees import CommandLine, one_line, snapshot

SEED = 20261123
ATTEMPTS_MAX = 60


def change(root: Path, rng: random.Random) -> None:
    """Some new, changed and removed files."""
    for _ in range(rng.randint(1, 12)):
        path = root / f"f{rng.randrange(60)}"
        if path.exists() and rng.random() < 0.2:
            path.unlink()
        else:
            path.write_bytes(rng.randbytes(rng.choice((0, 10, 5_000, 400_000, 3_000_000))))


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_kill_at_random_moments(tmp_path: Path, repo: Path, command: CommandLine) -> None:
    """A third of fifteen imports and more are killed; reported points stay, all verifies, the last export is identical."""
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    root = tmp_path / "tree"
    root.mkdir()
    change(root, rng)
    began = time.monotonic()
    process = command.start("import", root, repo)
    process.communicate()
    whole_s = time.monotonic() - began
    assert process.returncode == 0
    reported = {p["id"] for p in command("points", repo, "--json").document}
    killed = 0
    for attempt in range(ATTEMPTS_MAX):
        if attempt >= 15 and killed >= 5:
            break
        change(root, rng)
        process = command.start("import", root, repo, "--json")
        # most of the time goes into starting Python: aim at what comes after it
        time.sleep(whole_s * rng.uniform(0.45, 1.1))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        else:
            whole_s *= 0.8  # the machine was busier at first
        process.communicate()
        found = {p["id"] for p in command("points", repo, "--json").document}
        assert reported <= found
        reported = found
    assert killed >= 5
    verified = command("repo", "verify", repo, "--read-data")
    assert verified.code == 0, verified
    assert command("import", root, repo).code == 0
    assert command("export", repo, "latest", tmp_path / "out").code == 0
    assert snapshot(tmp_path / "out") == snapshot(root)
    assert sum(1 for _ in (repo / "sess").iterdir()) == 1  # the identity of the dead is used again


@pytest.mark.slow
def test_an_interrupt_stops_with_one_line(tmp_path: Path, repo: Path, command: CommandLine) -> None:
    """Ctrl-C: exit 130, one line, and the repository is whole."""
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(3):
        (root / f"f{number}").write_bytes(os.urandom(20_000_000))
    process = start_signalled(command, signal.SIGINT, "import", root, repo)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err.count(b"\n") == 1
    assert b"stopped" in err
    assert command("repo", "verify", repo, "--read-data").code == 0


@pytest.mark.slow
def test_two_imports_at_once(tmp_path: Path, repo: Path, command: CommandLine) -> None:
    """Two processes of one machine import at once, each under its own identity; both trees are there."""
    processes = []
    for number in range(2):
        root = tmp_path / f"tree{number}"
        root.mkdir()
        for name in range(20):
            (root / str(name)).write_bytes(os.urandom(50_000) + b"same" * 9000)
        processes.append(command.start("import", root, repo))
    for process in processes:
        _, err = process.communicate()
        assert (process.returncode, err) == (0, b"")
    for number in range(2):
        assert command("export", repo, f"tree{number}:latest", tmp_path / f"o{number}").code == 0
        assert snapshot(tmp_path / f"o{number}") == snapshot(tmp_path / f"tree{number}")
    assert command("repo", "verify", repo, "--read-data").code == 0
    lost = command("export", repo, "tree2:latest", tmp_path / "o2")
    assert one_line(lost)
