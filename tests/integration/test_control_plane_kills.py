"""kill -9 of every part at awkward moments; Ctrl-C; a supervisor that vanishes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.control_plane import lines
from tests.fixtures.installation import Installation, running_installation, until
from tests.fixtures.servers import RunningProcess, running_nats, running_postgres
from tools.installation import binaries
from tools.installation.stale import alive

pytestmark = pytest.mark.slow

SEED = 20261123
ALL = ("postgres", "nats", "server", "proxy-1", "proxy-2")


def _reported(installation: Installation) -> Counter[str]:
    """Highest commit number of each task that the bus had taken."""
    highest: Counter[str] = Counter()
    for line in lines(installation.script_dir / "reported"):
        task, number = line.split()
        highest[task] = max(highest[task], int(number))
    return highest


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that the tests below stop and start."""
    with running_installation(tmp_path_factory.mktemp("own")) as made:
        yield made


def test_everything_is_killed_during_one_session(installation: Installation) -> None:
    """Each part dies once at a random moment; the session ends, what was reported is stored."""
    moments = random.Random(SEED)
    print(f"seed {SEED}")
    (installation.script_dir / "go").unlink(missing_ok=True)
    try:
        session = installation.started(["heavy", "good", "partial"])
        until(lambda: sum(_reported(installation).values()) > 5, 60, installation.logs)
        for name in moments.sample(ALL, len(ALL)):
            old = installation.pids()[name]
            os.kill(old, signal.SIGKILL)
            time.sleep(moments.uniform(0.0, 0.7))
            until(lambda n=name, p=old: installation.pids().get(n, p) != p, 60, installation.logs)
            time.sleep(moments.uniform(0.2, 0.8))
        (installation.script_dir / "go").touch()
        row = installation.ended(session, 90)
        assert row["state"] == "warning", installation.logs()
        tasks = {task["id"]: task for task in installation.tasks(session)}
        for task, number in _reported(installation).items():
            assert tasks[task]["state"] in ("success", "warning")
            # A task that began anew counts from one again: an entry is never lost, though.
            assert tasks[task]["entry_manifest"] == f"manifest-{task}"
            assert tasks[task]["deliveries"] > 1 or tasks[task]["entry_index"] == number
        assert {t["state"] for t in tasks.values()} <= {"success", "warning"}
        # And it still works.
        assert installation.ended(installation.started(["good"]))["state"] == "success"
    finally:
        (installation.script_dir / "go").unlink(missing_ok=True)


def test_ctrl_c_stops_every_child(own: Installation) -> None:
    """In order, also with work in hand, nobody by force; the data folder starts again as it was."""
    session = own.started(["slow"])
    until(lambda: lines(own.script_dir / "waiting"), 60, own.logs)
    pids = own.pids()
    assert set(pids) == set(ALL)
    own.stop()
    assert own.process is not None
    assert own.process.returncode == 0
    assert not [name for name, pid in pids.items() if alive(pid)]
    assert "did not stop in time" not in own.logs()  # nobody was stopped by force
    assert len(lines(own.script_dir / "closed")) == 2
    (own.script_dir / "go").touch()
    own.start()
    assert own.sign_in().status == 200
    assert own.ended(session)["state"] == "success"


def test_a_killed_supervisor_leaves_nothing_in_the_way(own: Installation) -> None:
    """Its children end by themselves or are stopped by the next start."""
    session = own.started(["good"])
    own.ended(session)
    pids = own.pids()
    assert own.process is not None
    state = json.loads((own.data_dir / "installation-state.json").read_bytes())
    own.process.kill()
    own.process.wait()
    own.start()
    assert not Path(state["sockets"]).exists()
    assert own.ended(session)["state"] == "success"
    until(lambda: not any(map(alive, pids.values())), 60)


def test_a_second_installation_on_the_same_folder_is_refused(installation: Installation) -> None:
    """The first goes on."""
    words = (sys.executable, "-m", "tools.cli.main", "up")
    words += ("--data-dir", str(installation.data_dir))
    second = subprocess.run(
        [*words, "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 2
    assert "data-dir-in-use" in second.stderr
    assert installation.call("GET", "/api/v1/health").status == 200


def test_existing_servers_are_used(tmp_path: Path) -> None:
    """--postgres and --nats: no private servers, the same sessions."""
    (tmp_path / "servers").mkdir()
    debian = binaries.debian_postgres() or binaries.postgres_binaries()
    with (
        running_postgres(tmp_path / "servers", binaries_dir=debian) as (postgres, process),
        running_nats(tmp_path / "servers") as (nats, _),
        running_installation(tmp_path, (postgres.dsn(), nats.server_url)) as installation,
    ):
        assert set(installation.pids()) == {"server", "proxy-1", "proxy-2"}
        assert not (installation.data_dir / "postgres").exists()
        assert installation.ended(installation.started(["good"]))["state"] == "success"
        _database_away(installation, process)


def _database_away(installation: Installation, process: RunningProcess) -> None:
    """While the database is away the API says so, in the agreed form."""
    process.stop()
    answer = installation.call("GET", "/api/v1/jobs")
    assert (answer.status, answer.problem["code"]) == (503, "database-unavailable")
    assert answer.headers["retry-after"]
    health = installation.call("GET", "/api/v1/health")
    assert (health.status, health.json["database"], health.json["bus"]) == (503, False, True)
    process.start()
    until(lambda: installation.call("GET", "/api/v1/jobs").status == 200, 60, installation.logs)
