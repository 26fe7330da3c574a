"""kill -9 of each part of an installation in the middle of a session: it ends, and nothing reported is missing."""

import asyncio
import os
import random
import signal
from typing import Any

import pytest

from tests.fixtures.tenant_oracle import differences
from tests.fixtures.whole_system import StartSystem

pytestmark = pytest.mark.slow

SEED = 20261123
USERS = 12


@pytest.mark.parametrize("part", ["proxy-1", "server", "nats", "postgres"])
async def test_session_survives_kill_of(part: str, whole_system: StartSystem) -> None:
    """After kill -9 at a random moment the session succeeds, the repository verifies, commits are all there."""
    system = await whole_system(throttling="off", latency=0.01)
    users = sorted(user["upn"] for user in await system.tenant.call("users"))[:USERS]
    await system.configure(users)
    moment = random.Random(f"{SEED} {part}").uniform(0.2, 2.5)
    print(f"kill {part} {moment:.2f} s after the first task was leased")
    killed: list[int] = []

    async def kill(state: dict[str, Any]) -> None:
        await system.note_committed(state["id"])
        if not killed and state["totals"]["tasks_leased"]:
            await asyncio.sleep(moment)
            killed.append(system.state().pids[part])
            os.kill(killed[0], signal.SIGKILL)

    state = await system.run(kill)
    await system.note_committed(state["id"])
    assert killed, "the session ended before the kill: the tenant is too small for this test"
    assert state["state"] == "success", state
    everybody = await system.tenant.call("oracle")
    oracle = {upn: everybody[upn] for upn in users}
    with system.open() as repository:
        report = repository.verify("read")
        assert report.ok, report.problems
        for manifest, index in system.committed:
            assert manifest in repository.entries.manifests, "a reported commit is missing"
            assert index < len(repository.entries.manifests[manifest].entries)
        point = repository.point("latest")
        assert point.id == state["point"]
        assert differences(repository, point, oracle) == []
    assert system.state().pids[part] != killed[0], "the part was started again"
