"""
A collection at scale: many chunks, many restore points, half of these forgotten.

    python -m benchmarks.collect_scale --chunks 1000000 --points 1000 --record benchmarks/results/DATE-collect.json

Fifty objects of small items: half of the chunks in their first states, the others spread over the restore points, each of
which replaces some items of one object. Told: seconds of the wall clock and of the processor, peak memory, bytes before
and after.
"""

import argparse
import itertools
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.conditions import conditions
from engine.catalog import columns_table, encode_single_parts
from engine.keys import KdfCost
from engine.manifest import ObjectKey
from repository import Places, PointDraft, Repository, new_point_id
from repository.blobstore.local import LocalStore
from repository.entries import Entry
from repository.repository import initialize, open_on
from repository.session import WriteSession
from repository.slices import Slice

ITEM_BYTES = 200
OBJECTS = 50
PASSPHRASE = "a passphrase for a benchmark"

Figures = dict[str, float | int]


def main() -> int:
    """Build, forget, collect, print, and with --record keep the result."""
    words = _words()
    folder = Path(tempfile.mkdtemp(prefix="collect-", dir=words.scratch))
    try:
        store = LocalStore.create(folder / "repository")
        initialize(store, PASSPHRASE, KdfCost(8, 1, 1), "none")
        with open_on(store, PASSPHRASE, Places(folder / "cache", folder / "state")) as repository:
            points = _fill(repository, words.chunks, words.points)
            figures = _measure(repository, store, points)
    finally:
        shutil.rmtree(folder)
    result = {
        **conditions("collect_scale"),
        "chunks": words.chunks,
        "points": words.points,
        "figures": figures,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if words.record:
        words.record.write_text(text + "\n")
    return 0


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--record", type=Path)
    return parser.parse_args()


def _fill(repository: Repository, chunks: int, points: int) -> list[str]:
    """Ids of the restore points, oldest first."""
    rng = random.Random(1)
    each, step = chunks // 2 // OBJECTS, chunks // 2 // points
    ids = [new_point_id() for _ in range(points)]
    newest: list[Entry | None] = [None] * OBJECTS
    with repository.write_session("writer") as session:
        for number, point in enumerate(ids):
            for place in range(OBJECTS) if number == 0 else (number % OBJECTS,):
                items = range(each) if number == 0 else rng.sample(range(each), step)
                newest[place] = _back_up(repository, session, rng, place, newest[place], items)
            refs = tuple(entry.ref for entry in newest if entry is not None)
            session.seal_point(PointDraft(point, "nightly", point, "success", refs))
    return ids


def _back_up(
    repository: Repository,
    session: WriteSession,
    rng: random.Random,
    place: int,
    previous: Entry | None,
    items: Sequence[int],
) -> Entry:
    key = ObjectKey("user", f"user-{place}", f"user-{place}")
    slice_ = session.open_slice(key, "mail", "session", previous=previous, walk=True)
    _add(session, slice_, rng, items)
    slice_.finish()
    commit = session.commit()
    assert commit is not None
    return repository.entries.get(commit.entries[slice_])


def _add(session: WriteSession, slice_: Slice, rng: random.Random, items: Sequence[int]) -> None:
    count = len(items)
    data = rng.randbytes(count * ITEM_BYTES)
    ends = range(0, count * ITEM_BYTES + 1, ITEM_BYTES)
    places = array("Q", (x for pair in itertools.pairwise(ends) for x in pair))
    stored = session.store_many(data, places)
    slice_.advance_table(
        columns_table(
            {
                "id": [b"%09d" % item for item in items],
                "container": [b"inbox"] * count,
                "name": [b"item"] * count,
                "kind": ["message"] * count,
                "size": stored.sizes,
                "created_ns": list(items),
                "modified_ns": list(items),
                "version": [rng.randbytes(4).hex() for _ in range(count)],
                "meta": [b""] * count,
                "parts": encode_single_parts("mime", stored.sizes, stored.chunks, stored.recipes),
                "removed": [False] * count,
            }
        )
    )


def _measure(repository: Repository, store: LocalStore, points: list[str]) -> Figures:
    figures: Figures = {"objects": len(list(store.list(""))), "bytes": _bytes(store)}
    figures |= _timed("collect nothing forgotten", repository.collect)
    figures["bytes folded"] = _bytes(store)
    repository.forget(points[: len(points) // 2])
    figures |= _timed("collect half forgotten", repository.collect)
    figures["bytes after"] = _bytes(store)
    figures["points left"] = len(repository.points())
    figures["objects after"] = len(list(store.list("")))
    figures["peak memory MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return figures


def _bytes(store: LocalStore) -> int:
    return sum(blob.size for blob in store.list("pack/"))


def _timed(name: str, action: Callable[[], object]) -> Figures:
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return {
        f"{name}, s": round(time.perf_counter() - wall, 2),
        f"{name}, CPU s": round(time.process_time() - cpu, 2),
    }


if __name__ == "__main__":
    sys.exit(main())
