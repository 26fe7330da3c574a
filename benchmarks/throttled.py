"""
A mailbox under the limits of the real service: share of them that is used, and how often somebody is told to wait.

    python -m benchmarks.throttled --messages 26000 --record benchmarks/results/DATE-throttled.json

Backup and restore run whole, against the emulator with throttling `real`. Both are on the emulator's clock, which jumps where
the product waits for a window, so the figures do not depend on the machine; they are in virtual seconds.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.conditions import conditions
from benchmarks.exchange import COST, PASSPHRASE, USER
from engine.manifest import PointForm
from proxy.contract import Selection
from proxy.graph.clock import Clock
from proxy.graph.settings import OrganizationSettings, parse_organization
from proxy.pipeline.standalone import backup_organization
from proxy.restore.destination import parse_destination
from proxy.restore.session import RestoreAsked, restore_point
from repository import Places, Repository, create_repository
from tools.cli.output import table
from tools.emulator import Emulator, EmulatorOptions
from tools.emulator.throttle import PROFILES
from tools.emulator.usage import Usage
from tools.emulator.waiting import WaitingClock

REAL = PROFILES["real"]
Figures = dict[str, float | int]


async def _timed(emulator: Emulator, run: Callable[[Clock], Awaitable[int]]) -> Figures:
    """One session on a full bucket; `run` gives the items that it moved."""
    emulator.clock.advance(2 * REAL.mailbox_window)
    usage = Usage()
    usage.watch(emulator)

    async def advance(seconds: float) -> None:
        emulator.clock.advance(seconds)

    began = emulator.clock.now()
    items = await run(WaitingClock(advance))
    calls = sum(map(len, usage.passed.values()))
    share = usage.share(REAL.mailbox_requests or 0, REAL.mailbox_window)
    return {
        "items": items,
        "requests": calls,
        "requests / item": round(calls / items, 3),
        "virtual seconds": round(emulator.clock.now() - began),
        "share of the limit": round(share, 4),
        "refused": usage.refused,
        "rules broken": len(emulator.ledger.breaches),
    }


async def _backup(
    settings: OrganizationSettings, repository: Repository, clock: Clock, points: list[PointForm]
) -> int:
    portable = Selection(mail_policy="portable")
    result = await backup_organization(
        settings, repository, selection=portable, workloads=["mail"], clock=clock
    )
    assert result.point is not None
    points.append(result.point)
    return result.tasks[0].counters.items_stored


async def _restore(
    settings: OrganizationSettings,
    repository: Repository,
    clock: Clock,
    point: PointForm,
    state_dir: Path,
) -> int:
    asked = RestoreAsked(parse_destination(f"{USER}/Back"), f"{USER}/mail/Inbox", "copy")
    result = await restore_point(
        settings, repository, point, asked, state_dir=state_dir, clock=clock
    )
    assert not result.warned
    return sum(sum(entry.done.values()) for entry in result.entries)


async def measured(folder: Path, messages: int) -> dict[str, Figures]:
    """A first backup of so many messages, and a restore from parts of the inbox among them."""
    options = EmulatorOptions(
        data_dir=folder / "emulator", recipe=f"huge:{messages}", throttling="real"
    )
    points: list[PointForm] = []
    places = Places(folder / "cache", folder / "state")
    async with Emulator(options) as emulator:
        backup, restore = (parse_organization(org) for org in (emulator.org, emulator.restore_org))
        with create_repository(
            str(folder / "repository"), PASSPHRASE, places=places, cost=COST
        ) as repository:
            return {
                "backup, portable": await _timed(
                    emulator, lambda clock: _backup(backup, repository, clock, points)
                ),
                "restore from parts": await _timed(
                    emulator,
                    lambda clock: _restore(restore, repository, clock, points[0], places.state_dir),
                ),
            }


def main() -> int:
    """Measure, print, and with --record keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=26_000)
    parser.add_argument("--record", type=Path)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measured(Path(folder), words.messages))
    head = list(figures["backup, portable"])
    rows = [[step, *(str(found[h]) for h in head)] for step, found in figures.items()]
    table(["step", *head], rows, right=range(1, len(head) + 1))
    if words.record:
        result = {**conditions("throttled"), "sessions": figures}
        words.record.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
