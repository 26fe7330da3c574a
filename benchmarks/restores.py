"""
Exchange restored: items a second, processor time and requests an item, by import and from parts.

    python -m benchmarks.restores --items 4000 --record benchmarks/results/DATE-restores.json

Into a folder of the mailbox that was backed up, with the emulator (throttling off) in a process of its own. Each restore runs
in a process as well, so that its processor time is the product's alone.
"""

import argparse
import json
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.conditions import conditions
from benchmarks.exchange import (
    UNLIMITED,
    USER,
    Figures,
    ask_emulator,
    emulated,
    figures_of,
    restored,
    session,
)
from proxy.contract import Workload
from proxy.graph.budget import BudgetLimits
from proxy.restore.destination import parse_destination
from proxy.restore.session import RestoreAsked
from tools.cli.output import table

WORKLOADS: tuple[Workload, ...] = ("mail", "calendar", "contacts", "tasks")
RECORDS_SHARE = 4  # so many messages for each event, contact and task
LIMITS = BudgetLimits(mailbox_requests=UNLIMITED, upload_bytes=1 << 40)
WAYS = {"full": "import", "portable": "from parts"}


def restore(folder: str, name: str, workload: str) -> Figures:
    """One restore in this process, out of the newest point of a repository."""
    destination = parse_destination(f"{USER}/{name} {workload}")
    asked = RestoreAsked(destination, f"{USER}/{workload}", "copy")
    result, seconds, cpu = restored(folder, name, asked, LIMITS)
    assert not result.warned, [entry.error or entry.outcomes[:3] for entry in result.entries]
    items = sum(sum(entry.done.values()) for entry in result.entries)
    return {"items": items} | figures_of(items, seconds, cpu, result.requests)


def fill(control: dict[str, Any], number: int) -> None:
    """So many events (every tenth a series), contacts and tasks."""
    for n in range(number):
        day = f"2026-{1 + n % 12:02}-{1 + n % 28:02}"
        hours = [{"dateTime": f"{day}T{hour:02}:00:00", "timeZone": "UTC"} for hour in (9, 10)]
        event: dict[str, Any] = {"subject": f"Meeting {n}", "start": hours[0], "end": hours[1]}
        event["body"] = {"contentType": "html", "content": f"<p>Agenda {n}</p>" * 20}
        if n % 10 == 0:
            within = {"type": "numbered", "startDate": day, "numberOfOccurrences": 8}
            event["recurrence"] = {"pattern": {"type": "daily", "interval": 1}, "range": within}
        person = {"givenName": f"No {n}", "surname": "Ade", "mobilePhone": f"+49 {n}"}
        task = {"title": f"Task {n}", "body": {"contentType": "text", "content": "Words " * 20}}
        for workload, place, record in (
            ("calendar", "Calendar", event),
            ("contacts", "Contacts", person),
            ("tasks", "Tasks", task),
        ):
            ask_emulator(
                control,
                "add_record",
                user=USER,
                workload=workload,
                container=place,
                properties=record,
            )


def main() -> int:
    """Measure, print, and with --record keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=4_000)
    parser.add_argument("--record", type=Path)
    words = parser.parse_args()
    backups: dict[str, Figures] = {}
    restores: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder, emulated(folder, words.items) as org:
        control = json.loads((Path(folder, "emulator", "control.json")).read_text())
        fill(control, words.items // RECORDS_SHARE)
        for policy in WAYS:
            with get_context("spawn").Pool(1) as pool:
                backups[policy] = pool.apply(session, (folder, policy, org, policy, WORKLOADS))
        for policy, way in WAYS.items():
            for workload in WORKLOADS[: -1 if policy == "full" else None]:  # no import of tasks
                with get_context("spawn").Pool(1) as pool:
                    step = f"{workload}, {way}"
                    restores[step] = pool.apply(restore, (folder, policy, workload))
        broken = ask_emulator(control, "ledger")["breach_counts"]
    for steps in (backups, restores):
        head = list(next(iter(steps.values())))
        rows = [[step, *(str(found[h]) for h in head)] for step, found in steps.items()]
        table(["step", *head], rows, right=range(1, len(head) + 1))
    print("broken rules:", broken)
    if words.record:
        found = {"backups of all workloads": backups, "restores": restores, "broken": broken}
        result = {**conditions("restores"), **found}
        words.record.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
