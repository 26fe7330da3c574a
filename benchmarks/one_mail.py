"""
One mail out of a mailbox on object storage, by a machine that knows nothing: requests, bytes, seconds.

    python -m benchmarks.one_mail --record benchmarks/results/DATE-one-mail.json

A repository on the counting S3 server (s3_sink.py) holds mailboxes of several sizes, each backed up whole and then ten times
with a hundredth of its messages new. For each size `strongroom export` writes one message of the newest restore point, with
empty caches, through a server without delay and through one 20 ms away.
"""

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from benchmarks.catalog_year import BEGIN_NS, rows_of_items
from benchmarks.conditions import conditions
from benchmarks.contenders import PASSPHRASE
from benchmarks.datasets import sorted_files
from benchmarks.measure import measured
from benchmarks.object_storage import KINDS, SINKS, running
from engine.catalog import Row, encode_single_parts, rows_of
from engine.keys import KdfCost
from engine.manifest import ObjectKey
from repository import Places, PointDraft, Repository, create_repository, new_point_id
from repository.browse import marked_segment
from repository.catalogs import CONTAINER
from repository.entries import Entry
from tests.fixtures.object_servers import BUCKET, s3_environment
from tools.cli.output import table

Figures = dict[str, str | int | float]

SIZES = (1_000, 10_000, 100_000)
DAYS, DAY_SHARE = 10, 0.01
MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX = 2_000, 12_000
AT_ONCE = 1_000
ADDRESS = f"s3://{BUCKET}/mail"


def main() -> int:
    """Build, export, print, and with --record keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="messages of a mailbox")
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--record", type=Path)
    words = parser.parse_args()
    figures = [
        figure for server in SINKS for figure in _on_server(server, words.sizes, words.scratch)
    ]
    head = list(figures[0])
    table(
        head, [[str(value) for value in figure.values()] for figure in figures], range(1, len(head))
    )
    if words.record:
        record = {**conditions("one_mail"), "figures": figures}
        words.record.write_text(json.dumps(record, indent=1) + "\n")
    return 0


def _on_server(name: str, sizes: Sequence[int], scratch: Path) -> Iterator[Figures]:
    with (
        tempfile.TemporaryDirectory(dir=scratch, prefix="one-mail-") as folder,
        running(name, scratch) as server,
    ):
        place = Path(folder)
        os.environ |= s3_environment(server.port)
        cost, places = KdfCost(64, 1, 1), Places(place / "cache", place / "state")
        with create_repository(ADDRESS, PASSPHRASE, places=places, cost=cost) as repository:
            wanted = {size: _fill(repository, f"u{size}", size) for size in sizes}
        for size, (path, content) in wanted.items():
            server.counts()
            command = [sys.executable, "-P", "-m", "tools.cli.main", "export", ADDRESS]
            command += [f"u{size}:latest", str(place / f"out{size}"), "--path", path]
            local = {
                "XDG_CACHE_HOME": str(place / f"cache{size}"),
                "TMPDIR": folder,
                "XDG_STATE_HOME": str(place / f"state{size}"),
            }
            took = measured(command, {"STRONGROOM_PASSPHRASE": PASSPHRASE, **local}, place)
            asked = server.counts()
            (written,) = sorted_files(place / f"out{size}")
            assert written.read_bytes() == content
            yield {
                "server": name,
                "messages": size,
                "bytes of the message": len(content),
                **{kind: asked.get(kind, 0) for kind in KINDS},
                "kB received": round(asked["bytes received"] / 1000),
                "wall s": round(took.wall_s, 2),
                "CPU s": round(took.cpu_s, 2),
                "peak MB": round(took.peak_mb),
            }


def _fill(repository: Repository, mailbox: str, size: int) -> tuple[str, bytes]:
    """Back a mailbox up; path and content of one of its messages."""
    fresh = max(1, int(size * DAY_SHARE))
    entry = _back_up(repository, mailbox, range(size), None)
    for day in range(DAYS):
        start = size + day * fresh
        entry = _back_up(repository, mailbox, range(start, start + fresh), entry)
    number = size // 2
    (row,) = rows_of(_rows(range(number, number + 1)))
    segment = marked_segment(row.name.decode(), row.id)
    return f"{mailbox}/mail/{_folder_name(row.container)}/{segment}", _message(number)


def _back_up(repository: Repository, mailbox: str, numbers: range, base: Entry | None) -> Entry:
    """A restore point with these messages on top of what the mailbox had."""
    with repository.write_session() as session:
        key = ObjectKey("user", mailbox, mailbox)
        slice_ = session.open_slice(key, "mail", "session", previous=base, walk=True)
        for start in range(numbers.start, numbers.stop, AT_ONCE):
            some = range(start, min(numbers.stop, start + AT_ONCE))
            contents = [_message(number) for number in some]
            ends = list(itertools.accumulate(map(len, contents), initial=0))
            places = array("Q", itertools.chain.from_iterable(itertools.pairwise(ends)))
            stored = session.store_many(b"".join(contents), places)
            parts = encode_single_parts("mime", stored.sizes, stored.chunks, stored.recipes)
            rows = _rows(some)
            at = rows.schema.get_field_index("parts")
            field = rows.schema.field(at)
            slice_.advance_table(rows.set_column(at, field, pa.array(parts, field.type)))
            folders = set(rows.column("container").to_pylist())
            slice_.advance([Row(f, b"", _folder_name(f).encode(), CONTAINER) for f in folders])
        slice_.finish()
        session.commit()
        assert slice_.entry is not None
        draft = PointDraft(new_point_id(), mailbox, "session", "success", (slice_.entry,))
        session.seal_point(draft)
    return repository.entries.get(slice_.entry)


def _rows(numbers: range) -> pa.Table:
    return rows_of_items(numbers, 0, [BEGIN_NS + number * 10**9 for number in numbers])


def _folder_name(folder: bytes) -> str:
    return f"folder {folder[-4:].decode()}"


def _message(number: int) -> bytes:
    """A few kilobytes, half of which compresses."""
    dice = random.Random(number)
    head = f"From: a@example.com\r\nTo: b@example.com\r\nSubject: {number}\r\n\r\n"
    text = dice.randbytes(dice.randrange(MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX) // 2).hex()
    return f"{head}{text}\r\n".encode()


if __name__ == "__main__":
    sys.exit(main())
