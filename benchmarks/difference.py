"""
`diff` of two restore points of a large mailbox: after one day, and with no catalog part in common.

    python -m benchmarks.difference --items 1000000 --record benchmarks/results/DATE-difference.json

A repository on disk holds the mailbox, the same after a day (0.5 % new, 0.5 % changed), and that state once more in
parts of its own. Told for each pair: seconds until counts and bytes are known, seconds until all changes were
listed besides (best of the repeats), and peak memory of a process that does nothing else.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

from benchmarks.catalog_year import BEGIN_NS, rows_of_items
from benchmarks.conditions import conditions
from engine.keys import KdfCost
from engine.manifest import ObjectKey, PointForm
from repository import (
    Places,
    PointDraft,
    Repository,
    create_repository,
    new_point_id,
    open_repository,
)
from repository.difference import differences
from repository.tree import KIND, WORKLOAD
from tools.cli.output import table

ROWS_AT_ONCE = 100_000
PASSPHRASE = "benchmark"
SHARE = 0.005


def places_in(folder: str) -> Places:
    """Cache and state beside the repository."""
    return Places(Path(folder, "cache"), Path(folder, "state"))


def stored(
    repository: Repository, name: str, ranges: list[tuple[range, int]], base: PointForm | None
) -> PointForm:
    """A restore point with rows of these numbers and revisions over those of `base`."""
    previous = None if base is None else repository.entries.get(base.entries[0].entry)
    with repository.write_session() as session:
        slice_ = session.open_slice(
            ObjectKey(KIND, name, name), WORKLOAD, "s", previous=previous, walk=True
        )
        for numbers, revision in ranges:
            for start in range(numbers.start, numbers.stop, ROWS_AT_ONCE):
                some = range(start, min(start + ROWS_AT_ONCE, numbers.stop))
                times = [BEGIN_NS + number * 10**9 for number in some]
                slice_.advance_table(rows_of_items(some, revision, times))
        slice_.finish()
        session.commit()
        assert slice_.entry is not None
        draft = PointDraft(new_point_id(), name, "s", "success", (slice_.entry,))
        return session.seal_point(draft)


def measured(folder: str, older: str, newer: str, repeats: int) -> dict[str, float]:
    """Seconds and counts of one pair, in a process of its own."""
    with open_repository(str(Path(folder, "repo")), PASSPHRASE, places_in(folder)) as repository:
        return timed(repository, repository.point(older), repository.point(newer), repeats)


def peak_mb() -> int:
    """Peak of this process; what `getrusage` says may be that of the one it was started from."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1000


def timed(
    repository: Repository, older: PointForm, newer: PointForm, repeats: int
) -> dict[str, float]:
    """Seconds and counts of one pair."""
    counted, listed = [], []
    for _ in range(repeats):
        begin = time.perf_counter()
        (found,) = differences(repository, older, newer)
        sums = [found.sums(change).items for change in ("added", "removed", "changed")]
        counted.append(time.perf_counter() - begin)
        assert sum(1 for _ in found.changes()) == len(found)
        listed.append(time.perf_counter() - begin)
    return {
        "counted_s": round(min(counted), 3),
        "listed_s": round(min(listed), 3),
        "peak_mb": peak_mb(),
        **dict(zip(("added", "removed", "changed"), sums, strict=True)),
    }


def main() -> int:
    """Build, measure, print, and with --record keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--record", type=Path)
    words = parser.parse_args()
    few = int(words.items * SHARE)
    fresh = [(range(words.items - few, words.items), 1), (range(words.items, words.items + few), 0)]
    with tempfile.TemporaryDirectory() as folder:
        cost = KdfCost(memory_kib=64, iterations=1, lanes=1)
        path = str(Path(folder, "repo"))
        with create_repository(path, PASSPHRASE, places=places_in(folder), cost=cost) as made:
            first = stored(made, "mailbox", [(range(words.items), 0)], None)
            second = stored(made, "mailbox", fresh, first)
            third = stored(made, "apart", [(range(words.items - few), 0), *fresh], None)
        figures = {}
        for name, other in (("after a day", second), ("nothing in common", third)):
            with get_context("spawn").Pool(1) as pool:
                pair = (folder, first.id, other.id, words.repeats)
                figures[name] = pool.apply(measured, pair)
    head = list(figures["after a day"])
    rows = [[name, *(str(found[h]) for h in head)] for name, found in figures.items()]
    table(["pair", *head], rows, right=range(1, len(head) + 1))
    if words.record:
        result = {
            **conditions("difference"),
            "items": words.items,
            "figures": figures,
        }
        words.record.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
