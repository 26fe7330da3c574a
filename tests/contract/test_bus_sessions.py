"""Sessions through a real JetStream and a real PostgreSQL, with workers in this process."""

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy import worker as worker_module
from proxy.contract import (
    Counters,
    EntryRef,
    Event,
    ItemOutcome,
    ObjectRef,
    Task,
    Unavailable,
)
from proxy.pipeline.context import StoppedEarly, TaskContext
from server.bus import connection, outbox
from server.bus.events import store_batch
from server.database.connector import Row
from server.orchestration import EVENTS_LOCK
from tests.fixtures.control_plane import Plane, control_plane
from tools.installation.nats_server import PrivateNats

pytestmark = pytest.mark.slow


class Script:
    """Work whose behaviour a test sets by object name."""

    def __init__(self) -> None:
        self.seen: list[Task] = []
        self.deliveries: list[int] = []  # of the tasks with an object
        self.points: list[Task] = []
        self.broken: set[str] = set()
        self.release = asyncio.Event()
        self.release.set()

    async def __call__(self, task: Task, context: TaskContext) -> None:
        self.seen.append(task)
        if task.kind == "discover":
            found = [ObjectRef("user", f"id-{name}", name) for name in task.users]
            for one in found:
                await context.emit("discovered", objects=[one])
            await context.emit("finished", result="success")
        elif task.kind == "seal-point":
            self.points.append(task)
        elif task.object is not None:
            self.deliveries.append(context.delivery)
            await self._backup(task, task.object.name, context)

    async def _backup(self, task: Task, name: str, context: TaskContext) -> None:
        while not self.release.is_set():
            if context.stopping.is_set():
                raise StoppedEarly
            await asyncio.sleep(0.01)
        if name in self.broken:
            raise Unavailable("Not there.", code="mailbox-unavailable")
        entry = EntryRef(f"manifest-{task.id}", 3)
        counters = Counters(items_stored=5, items_skipped=int(name == "partial"))
        await context.emit("committed", entry=entry, complete=True, counters=counters)
        if name == "partial":
            outcomes = [ItemOutcome("m1", "Minutes\0", "skipped", "item-too-large")]
            await context.emit("outcome", outcomes=outcomes)
        await context.emit("finished", result="success", entry=entry, counters=counters)


async def test_a_session_runs_to_its_restore_point(
    database: str, nats_server: PrivateNats, tmp_path: Path
) -> None:
    """Discover, a task for each object and workload, the seal; everything is in the database."""
    script = Script()
    async with control_plane(database, nats_server.server_url, tmp_path) as plane:
        job = await plane.make_job(["ann", "bob"], ("mail", "drives"))
        async with plane.worker(script):
            session = await plane.start(job)
            row = await plane.ended(session)
        tasks = await plane.tasks(session)
        assert row["state"] == "success"
        assert [task["kind"] for task in tasks] == ["discover", *["backup"] * 4, "seal-point"]
        assert {task["deliveries"] for task in tasks} == {1}
        assert script.points[0].point == row["point"]
        assert re.fullmatch(r"[0-9a-f]{16}", row["point"])
        written = {(entry.manifest, entry.index) for entry in script.points[0].entries}
        assert written == {(f"manifest-{t['id']}", 3) for t in tasks if t["kind"] == "backup"}
        totals = await plane.services.database.rows("sessions.totals", sessions=[session])
        assert (totals[0]["items_stored"], totals[0]["tasks_ended"]) == (20, 6)
        # The bus holds nothing any more.
        stream = await plane.services.bus.stream.stream_info("WORK")
        assert stream.state.messages == 0


async def test_one_bad_object_costs_the_others_nothing(
    database: str, nats_server: PrivateNats, tmp_path: Path
) -> None:
    """A warning; in the next point the object is there as it was last saved completely."""
    script = Script()
    async with control_plane(database, nats_server.server_url, tmp_path) as plane:
        job = await plane.make_job(["ann", "partial"])
        async with plane.worker(script):
            first = await plane.start(job)
            assert (await plane.ended(first))["state"] == "warning"
            outcomes = await plane.services.database.rows(
                "outcomes.page", session=first, after="", count=10
            )
            assert [(o["item"], o["name"]) for o in outcomes] == [("m1", "Minutes\ufffd")]
            script.broken = {"ann"}
            second = await plane.start(job)
            row = await plane.ended(second)
            script.broken = {"ann", "partial"}
            third = await plane.ended(await plane.start(job))
        assert row["state"] == "warning"
        assert script.points[1].result == "warning"
        earlier = {t["object_name"]: t["id"] for t in await plane.tasks(first)}
        now = {t["object_name"]: t for t in await plane.tasks(second)}
        assert now["ann"]["error_code"] == "mailbox-unavailable"
        assert {entry.manifest for entry in script.points[1].entries} == {
            f"manifest-{earlier['ann']}",
            f"manifest-{now['partial']['id']}",
        }
        # Nothing new was saved: no point that looks like a backup.
        assert (third["state"], third["error_code"]) == ("failed", "mailbox-unavailable")
        assert len(script.points) == 2


async def test_an_event_stored_twice_is_stored_once(
    database: str, nats_server: PrivateNats, tmp_path: Path
) -> None:
    """The same event again changes neither rows nor counts; an older report changes no totals."""
    async with control_plane(database, nats_server.server_url, tmp_path) as plane:
        session = await plane.start(await plane.make_job(["ann"]))
        task = (await plane.tasks(session))[0]["id"]

        def event(number: int, kind: str, at: str, **members: Any) -> Event:
            return Event(f"e{number}", session, task, "p", kind, at, **members)  # type: ignore[arg-type]

        batch = [
            event(1, "leased", "2026-01-01T00:00:01Z"),
            event(2, "discovered", "2026-01-01T00:00:02Z", objects=[ObjectRef("user", "1", "a")]),
            event(3, "progress", "2026-01-01T00:00:04Z", counters=Counters(requests=9)),
            event(4, "progress", "2026-01-01T00:00:03Z", counters=Counters(requests=5)),
        ]
        for _ in range(3):
            await store_batch(plane.services.database, batch)
        rows = await plane.tasks(session)
        assert [row["kind"] for row in rows] == ["discover", "backup"]
        assert (rows[0]["deliveries"], rows[0]["counters"]["requests"]) == (1, 9)
        stored = await plane.services.database.rows(
            "events.after", after=0, session=session, count=100
        )
        ids = [row["body"]["id"] for row in stored]
        assert [made for made in ids if made.startswith("e")] == ["e1", "e2", "e3", "e4"]
        assert len(ids) == len(set(ids))


async def test_events_of_nobody_are_left_out(
    database: str, nats_server: PrivateNats, tmp_path: Path
) -> None:
    """Nonsense and events of unknown tasks are acknowledged and hold up nothing."""
    script = Script()
    async with control_plane(database, nats_server.server_url, tmp_path) as plane:
        stranger = Event("x", "no session", "no task", "p", "finished", "now", result="success")
        await plane.services.bus.stream.publish("events.a.b", b"nonsense")
        await plane.services.bus.stream.publish("events.a.b", msgspec.json.encode(stranger))
        async with plane.worker(script):
            session = await plane.start(await plane.make_job(["ann"]))
            assert (await plane.ended(session))["state"] == "success"
        assert await plane.services.bus.events_behind() == 0


async def test_a_lost_message_is_published_again(
    database: str, nats_server: PrivateNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream is emptied behind the server's back: the task is found missing and sent anew."""
    monkeypatch.setattr(outbox, "MISSING_GRACE_S", 0.3)
    monkeypatch.setattr(outbox, "RECONCILE_S", 0.2)
    script = Script()
    async with control_plane(database, nats_server.server_url, tmp_path) as plane:
        session = await plane.start(await plane.make_job(["ann"]))
        async with asyncio.timeout(60):
            while not (await plane.tasks(session))[0]["publications"]:
                await asyncio.sleep(0.01)
        await plane.services.bus.stream.purge_stream("WORK")
        async with plane.worker(script):
            row = await plane.ended(session)
        assert row["state"] == "success"
        assert (await plane.tasks(session))[0]["publications"] == 2


async def test_a_wiped_bus_becomes_whole(
    database: str, nats_server: PrivateNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams and consumers deleted: they are made again and the work is published again."""
    monkeypatch.setattr(outbox, "MISSING_GRACE_S", 0.3)
    monkeypatch.setattr(outbox, "RECONCILE_S", 0.2)
    script = Script()
    async with control_plane(database, nats_server.server_url, tmp_path) as plane:
        session = await plane.start(await plane.make_job(["ann"]))
        for stream in ("WORK", "EVENTS", "KV_PROXIES", "KV_CHECKPOINTS"):
            await plane.services.bus.stream.delete_stream(stream)
        async with plane.worker(script):
            assert (await plane.ended(session))["state"] == "success"


async def test_a_lost_worker_is_replaced(
    database: str, nats_server: PrivateNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that vanishes in the middle: another one gets the task and the session ends."""
    monkeypatch.setattr(connection, "LEASE_S", 1.0)
    script = Script()
    script.release.clear()
    async with control_plane(database, nats_server.server_url, tmp_path) as plane:
        session = await plane.start(await plane.make_job(["ann"]))
        async with plane.worker(script):
            await _until_leased(plane, session)
        script.release.set()
        async with plane.worker(script):
            assert (await plane.ended(session))["state"] == "success"
        assert len(script.deliveries) >= 2  # on a slow machine the second lease may run out too
        assert script.deliveries[0] < script.deliveries[1]


async def test_a_task_that_kills_every_worker_is_given_up(
    database: str, nats_server: PrivateNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five deliveries without a checkpoint, then a dead letter; the session tells it."""
    monkeypatch.setattr(connection, "LEASE_S", 0.2)
    script = Script()
    script.release.clear()
    async with control_plane(database, nats_server.server_url, tmp_path) as plane:
        session = await plane.start(await plane.make_job(["ann"]))
        row = await _until_given_up(plane, session, script)
        backup = (await plane.tasks(session))[1]
        assert (row["state"], row["error_code"]) == ("failed", "too-many-deliveries")
        # On a slow machine a lease may end before its worker is killed: such a delivery counts too.
        assert script.deliveries[0] == 1
        assert script.deliveries[-1] <= 5
        assert int(re.findall(r"\d+", backup["error"])[0]) > 5


async def test_a_draining_worker_hands_its_task_back(
    database: str, nats_server: PrivateNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and without its deliveries being held against the task."""
    monkeypatch.setattr(worker_module, "HAND_BACK_S", 0.01)
    script = Script()
    script.release.clear()
    async with control_plane(database, nats_server.server_url, tmp_path) as plane:
        session = await plane.start(await plane.make_job(["ann"]))
        for delivery in range(1, 8):
            async with plane.worker(script) as worker:
                await _until_leased(plane, session, delivery)
                worker.draining.set()
                async with asyncio.timeout(60):
                    while worker._leases:
                        await asyncio.sleep(0.01)
        script.release.set()
        async with plane.worker(script):
            assert (await plane.ended(session))["state"] == "success"


async def test_a_stopped_session_ends(
    database: str, nats_server: PrivateNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work that runs stops early, work that waits is taken off the bus, no point is written."""
    monkeypatch.setattr(outbox, "RECONCILE_S", 0.2)
    script = Script()
    script.release.clear()
    async with control_plane(database, nats_server.server_url, tmp_path) as plane:
        session = await plane.start(await plane.make_job([f"u{n}" for n in range(7)]))
        async with plane.worker(script):
            await _until_leased(plane, session)
            async with plane.services.database.transaction() as transaction:
                await transaction.run("lock.take", key=EVENTS_LOCK)
                await transaction.run("sessions.ask_stop", id=session)
            row = await plane.ended(session)
        states = {task["state"] for task in await plane.tasks(session)}
        assert (row["state"], script.points) == ("stopped", [])
        assert states <= {"success", "stopped"}
        stream = await plane.services.bus.stream.stream_info("WORK")
        assert stream.state.messages == 0


async def _until_given_up(plane: Plane, session: str, script: Script) -> Row:
    """A new worker each time the task has killed one; the session once it has ended."""

    async def one_life() -> Row | None:
        begun = len(script.deliveries)
        async with plane.worker(script):
            while len(script.deliveries) == begun:
                row = await plane.services.database.row("sessions.get", id=session)
                if row is not None and row["ended_at"] is not None:
                    return row
                await asyncio.sleep(0.02)
        return None

    async with asyncio.timeout(60):
        while True:
            if (row := await one_life()) is not None:
                return row


async def _until_leased(plane: Plane, session: str, delivery: int = 1) -> None:
    async with asyncio.timeout(60):
        while True:
            tasks = await plane.tasks(session)
            if any(t["kind"] == "backup" and t["deliveries"] >= delivery for t in tasks):
                return
            await asyncio.sleep(0.02)
