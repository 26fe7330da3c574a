"""
Opening a repository whose index lies in many runs, with an empty cache and with a warm one.

    python -m benchmarks.open_scale --runs 10000 --record benchmarks/results/DATE-open.json

The runs are made up, 100 chunks each, and named by the commits of one cell, as after weeks without a collection.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.conditions import conditions
from engine.commit import CellForm, CommitForm, encode
from engine.frame import Codec, FrameInfo
from engine.ids import ObjectId, WriterId
from engine.keys import KdfCost
from engine.pack import DirectoryFrame
from engine.run import RunPack, encode_run
from engine.seal import ObjectClass, seal_object
from repository import Places, Repository
from repository.blobstore.local import LocalStore
from repository.layout import cell_name, run_name
from repository.repository import initialize, open_on

CHUNKS = 100  # of a run
PASSPHRASE = "a passphrase for a benchmark"
WRITER = WriterId("writer")


def main() -> int:
    """Build, open twice, print, and with --record keep the result."""
    words = _words()
    folder = Path(tempfile.mkdtemp(prefix="open-", dir=words.scratch))
    try:
        store = LocalStore.create(folder / "repository")
        initialize(store, PASSPHRASE, KdfCost(8, 1, 1))
        with open_on(store, PASSPHRASE, Places(folder / "c0", folder / "s0")) as repository:
            _fill(repository, words.runs)
        places = Places(folder / "cache", folder / "state")
        figures = {
            f"{kind} cache, s": _seconds(store, places, words.runs) for kind in ("empty", "warm")
        }
    finally:
        shutil.rmtree(folder)
    result = {
        **conditions("open_scale"),
        "runs": words.runs,
        "figures": figures,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if words.record:
        words.record.write_text(text + "\n")
    return 0


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--scratch", type=Path, help="a local disk (default: temporary)")
    parser.add_argument("--record", type=Path)
    return parser.parse_args()


def _fill(repository: Repository, count: int) -> None:
    rng = random.Random(1)
    commits = []
    for turn in range(1, count + 1):
        run = repository.store_sealed(ObjectClass.RUN, encode_run([_pack(rng)]), run_name)
        commits.append(CommitForm(turn, None, (run,)))
    name = cell_name(WRITER)
    plain = encode(CellForm(WRITER, count, "idle", tuple(commits)))
    stored = seal_object(
        repository.keys, ObjectClass.CELL, repository.uuid, rng.randbytes(32), plain, name
    )
    repository.store.replace(name, stored, None)


def _pack(rng: random.Random) -> RunPack:
    refs = b"".join(rng.randbytes(32) + (1000).to_bytes(4, "little") for _ in range(CHUNKS))
    info = FrameInfo(
        rng.randbytes(16), 64, 60_000, 1000 * CHUNKS, 0, 1, 0, Codec.ZSTD, rng.randbytes(32)
    )
    pack = ObjectId(rng.randbytes(32).hex())
    return RunPack(pack, ObjectClass.DATA_PACK, (DirectoryFrame(info, refs),))


def _seconds(store: LocalStore, places: Places, count: int) -> float:
    start = time.perf_counter()
    with open_on(store, PASSPHRASE, places) as repository:
        took = time.perf_counter() - start
        assert repository.index.count() == count * CHUNKS
    return round(took, 2)


if __name__ == "__main__":
    sys.exit(main())
