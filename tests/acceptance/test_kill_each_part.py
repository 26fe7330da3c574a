"""kill -9 of each part of an installation in the middle of a session: it ends, and nothing reported is missing."""

import asyncio
import os
import random
import signal
from typing import Any

import pytest

from tests.fixtures.tenant_oracle import differences
from tests.fixtures.whole_system import StartSystem, WholeSystem

pytestmark = pytest.mark.slow

SEED = 20261123
USERS = 12
AGAIN_S = 60.0


PARTS = ("proxy-1", "server", "nats", "postgres")


async def survive(system: WholeSystem, kills: list[tuple[float, str]], name: str = "") -> None:
    """
    One session of a new job in which parts are killed: each (seconds after the last one, part).

    Then: the session succeeded, the repository verifies, every commit that was ever reported is there, and the restore
    point is the tenant's state byte for byte.
    """
    users = sorted(user["upn"] for user in await system.tenant.call("users"))[:USERS]
    await system.configure(users, name)
    waiting = list(kills)
    killed: list[tuple[str, int]] = []

    async def kill(state: dict[str, Any]) -> None:
        await system.note_committed(state["id"])
        if waiting and state["totals"]["tasks_leased"]:
            delay_s, part = waiting.pop(0)
            await asyncio.sleep(delay_s)
            pid = system.state().pids.get(part)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                killed.append((part, pid))

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
    async with asyncio.timeout(AGAIN_S):  # every part is started again
        while any(system.state().pids.get(part, pid) == pid for part, pid in killed):
            await asyncio.sleep(0.05)


async def test_sessions_survive_the_kill_of_each_part(whole_system: StartSystem) -> None:
    """One after the other, kill -9 at a random moment: each session succeeds, its repository verifies, no commit is lost."""
    system = await whole_system(throttling="off", latency=0.01)
    for part in PARTS:
        moment = random.Random(f"{SEED} {part}").uniform(0.2, 2.5)
        print(f"kill {part} {moment:.2f} s after the first task was leased")
        await survive(system, [(moment, part)], part)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(8))
async def test_session_survives_many_kills(seed: int, whole_system: StartSystem) -> None:
    """Four kills of random parts at random moments of one session change nothing about its end."""
    dice = random.Random(f"{SEED} many {seed}")
    kills = [(dice.uniform(0.1, 3.0), dice.choice((*PARTS, "proxy-2"))) for _ in range(4)]
    print(f"seed {seed}: {kills}")
    await survive(await whole_system(throttling="off", latency=0.01), kills)
