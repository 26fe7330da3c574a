"""
Mail from an emulated mailbox: how fast, for how many requests, and how much of what the service allows is used.

    python -m benchmarks.exchange --messages 20000 --record benchmarks/results/DATE-exchange.json

The emulator runs in a process of its own with throttling off; each session runs in one as well, so that its processor time is
the product's alone. `budget`: the product's bucket of a mailbox against the emulator's real limits, both on one virtual clock.
`reads`: contents by single requests, four at once, and by `$batch`, with the latency of each answer added.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from benchmarks.conditions import conditions
from engine.keys import KdfCost
from proxy.contract import Selection, Workload
from proxy.graph.budget import Budget, BudgetLimits, Meter, Scope
from proxy.graph.client import Call, segment
from proxy.graph.service import GraphService
from proxy.graph.settings import load_organization
from proxy.pipeline.standalone import backup_organization
from proxy.restore.destination import parse_destination
from proxy.restore.session import RestoreAsked, RestoreResult, restore_point
from proxy.workloads.together import together
from repository import Places, create_repository, open_repository
from tools.cli.output import table
from tools.emulator.clock import Clock
from tools.emulator.ledger import Ledger
from tools.emulator.throttle import Throttle

PASSPHRASE = "benchmark"
COST = KdfCost(memory_kib=64, iterations=1, lanes=1)
START_S = 60.0
UNLIMITED = 10**9  # else the product would keep to 10,000 requests in ten minutes by itself
WINDOWS, WINDOW_S, ANSWER_S = 6, 600.0, 0.05
LATENCIES_S = (0.0, 0.05, 0.15)
READS = 160
USER = "archive@huge.onmicrosoft.com"
RESTORE_ORG = "restore.toml"

Figures = dict[str, float | int]


def session(
    folder: str, name: str, org: str, policy: str, workloads: Sequence[Workload] = ("mail",)
) -> Figures:
    """One session in this process; into a new repository if there is none of that name."""
    path, places = str(Path(folder, name)), Places(Path(folder, "cache"), Path(folder, "state"))
    if not Path(path).exists():
        create_repository(path, PASSPHRASE, places=places, cost=COST).close()
    selection = Selection(mail_policy="full" if policy == "full" else "portable")
    with open_repository(path, PASSPHRASE, places) as repository:
        began, cpu = time.perf_counter(), time.process_time()
        result = asyncio.run(
            backup_organization(
                load_organization(org),
                repository,
                selection=selection,
                workloads=workloads,
                limits=BudgetLimits(mailbox_requests=UNLIMITED),
            )
        )
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    counters = [task.counters for task in result.tasks]
    stored = sum(one.items_stored for one in counters)
    items = stored + sum(one.items_unchanged for one in counters)
    read = {"items": items, "read": stored}
    return read | figures_of(items, seconds, cpu, sum(one.requests for one in counters))


def plan(folder: str, name: str) -> Figures:
    """What a restore of everything into a new folder would do, in this process; nothing is written."""
    asked = RestoreAsked(parse_destination(f"{USER}/Back"), dry_run=True)
    result, seconds, cpu = restored(folder, name, asked)
    plans = [entry.plan for entry in result.entries if entry.plan is not None]
    items = sum(sum(each.counts.values()) for each in plans)
    return {"items": items} | figures_of(items, seconds, cpu, result.requests)


def restored(
    folder: str, name: str, asked: RestoreAsked, limits: BudgetLimits | None = None
) -> tuple[RestoreResult, float, float]:
    """A restore out of the newest point of a repository, its wall and its processor seconds."""
    places = Places(Path(folder, "cache"), Path(folder, "state"))
    with open_repository(str(Path(folder, name)), PASSPHRASE, places) as repository:
        began, cpu = time.perf_counter(), time.process_time()
        result = asyncio.run(
            restore_point(
                load_organization(str(Path(folder, RESTORE_ORG))),
                repository,
                repository.points()[-1],
                asked,
                state_dir=places.state_dir,
                limits=limits,
            )
        )
        return result, time.perf_counter() - began, time.process_time() - cpu


def figures_of(items: int, seconds: float, cpu: float, requests: int) -> Figures:
    """What is told of every session; `cpu`: processor seconds of this process."""
    return {
        "seconds": round(seconds, 2),
        "items a second": round(items / seconds),
        "CPU s / 1,000 items": round(1000 * cpu / max(1, items), 3),
        "requests": requests,
        "requests / item": round(requests / max(1, items), 4),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


class _VirtualTime:
    """Time that moves only when somebody sleeps, for the product and the emulator alike."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def budget() -> Figures:
    """Many requests on one mailbox, each admitted by the product and then judged by the emulator's throttle."""
    virtual = _VirtualTime()
    throttle = Throttle("real", Clock(source=virtual.monotonic), Ledger(), 0.0)
    bucket, meter = Budget(virtual, BudgetLimits()).bucket(Scope.mailbox("m")), Meter()
    refused = 0
    while virtual.now < WINDOWS * WINDOW_S:
        async with bucket.admit(1, meter):
            try:
                throttle.mailbox("m", 1)
            except Exception as error:  # noqa: BLE001 - counted, whatever it is
                refused += bool(error)
            virtual.now += ANSWER_S / 4  # four at once
    return {
        "requests": meter.requests,
        "virtual seconds": round(virtual.now),
        "refused": refused,
        "share of the budget": round(meter.requests / (WINDOWS * 10_000), 3),
    }


async def reads(org: str) -> dict[str, dict[str, float]]:
    """Seconds for READS contents, singly and by batches, for each latency."""
    settings = load_organization(org)
    control = json.loads((Path(org).parent / "emulator" / "control.json").read_text())
    found: dict[str, dict[str, float]] = {}
    async with GraphService(settings, "bench") as service:
        client = service.client()
        listing = client.url(f"/users/{USER}/messages", {"$select": "id"})
        first = Call(listing, Scope.mailbox(USER), "List", prefer=(f"odata.maxpagesize={READS}",))
        async for page in client.pages(first):
            ids = [json.loads(bytes(raw))["id"] for raw in page.items][:READS]
            break
        calls = [
            Call(
                client.url(f"/users/{USER}/messages/{segment(i)}/$value"), Scope.mailbox(USER), "x"
            )
            for i in ids
        ]
        for latency_s in LATENCIES_S:
            ask_emulator(control, "set_latency", seconds=latency_s)
            began = time.perf_counter()
            await together(client.get_bytes(call, 1 << 20) for call in calls)
            singly = time.perf_counter() - began
            began = time.perf_counter()
            await client.batch(calls)
            batched = time.perf_counter() - began
            found[f"{latency_s * 1000:.0f} ms"] = {
                "single": round(singly, 2),
                "batch": round(batched, 2),
            }
        ask_emulator(control, "set_latency", seconds=0)
    return found


def ask_emulator(control: dict[str, Any], call: str, **arguments: Any) -> Any:
    """A control call; `control`: what `control.json` holds."""
    request = Request(
        f"{control['url']}/{call}",
        data=json.dumps(arguments).encode(),
        headers={"Authorization": f"Bearer {control['token']}"},
    )
    with urlopen(request) as answer:
        return json.loads(answer.read() or b"null")


@contextmanager
def emulated(folder: str, messages: int) -> Iterator[str]:
    """An emulator with a mailbox of so many messages; the name of its organization file."""
    org = Path(folder, "org.toml")
    words = ["--recipe", f"huge:{messages}", "--org", str(org), "--data-dir", f"{folder}/emulator"]
    words += ["--restore-org", f"{folder}/{RESTORE_ORG}"]
    with subprocess.Popen(
        [sys.executable, "-m", "tools.emulator", *words], stdout=subprocess.DEVNULL
    ) as process:
        try:
            until = time.monotonic() + START_S
            while not org.exists() and time.monotonic() < until:
                time.sleep(0.1)
            yield str(org)
        finally:
            process.terminate()


def huge(messages: int, record: Path | None) -> int:
    """A mailbox of so many messages: the first backup, the one that finds it unchanged, and the plan of a restore of all."""
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder, emulated(folder, messages) as org:
        for step in ("full backup, portable", "unchanged, portable"):
            with get_context("spawn").Pool(1) as pool:
                figures[step] = pool.apply(session, (folder, "portable", org, "portable"))
            print(step, figures[step], flush=True)
        with get_context("spawn").Pool(1) as pool:
            figures["plan of a restore"] = pool.apply(plan, (folder, "portable"))
        print("plan of a restore", figures["plan of a restore"], flush=True)
    if record:
        result = {**conditions("exchange"), "sessions": figures}
        record.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def main() -> int:
    """Measure, print, and with --record keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument(
        "--huge", type=int, metavar="N", help="only: a mailbox of N, then unchanged"
    )
    parser.add_argument("--record", type=Path)
    words = parser.parse_args()
    if words.huge:
        return huge(words.huge, words.record)
    steps = (
        ("full backup, portable", "portable", "portable"),
        ("unchanged, portable", "portable", "portable"),
        ("full backup, full", "full", "full"),
        ("unchanged, full", "full", "full"),
    )
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder, emulated(folder, words.messages) as org:
        for step, name, policy in steps:
            with get_context("spawn").Pool(1) as pool:
                figures[step] = pool.apply(session, (folder, name, org, policy))
        read = asyncio.run(reads(org))
    used = asyncio.run(budget())
    head = list(figures["unchanged, full"])
    rows = [[step, *(str(found[h]) for h in head)] for step, found in figures.items()]
    table(["step", *head], rows, right=range(1, len(head) + 1))
    table(["budget", *map(str, used)], [["a mailbox", *map(str, used.values())]], right=range(1, 5))
    rows = [[latency, str(found["single"]), str(found["batch"])] for latency, found in read.items()]
    table([f"{READS} contents, s", "single", "batch"], rows, right=range(1, 3))
    if words.record:
        result = {**conditions("exchange"), "sessions": figures, "budget": used, "reads": read}
        words.record.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
