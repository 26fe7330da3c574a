"""
A year of a large mailbox's catalog: what each day writes, what merges rewrite, and what is kept.

    python -m benchmarks.catalog_year --record benchmarks/results/DATE-catalog.json

Day 0 holds all items in one part; each later day commits one part with new, changed and removed rows. Change clusters at
the newest items. Parts are encoded and merged by the functions and the rule of a write session (`repository/session.py`),
without a store. Stored bytes are those of chunks that no earlier part has.
"""

import argparse
import json
import random
import statistics
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from blake3 import blake3

from benchmarks.conditions import conditions
from engine.catalog import (
    columns_table,
    decode_catalog_part,
    encode_catalog_part,
    encode_parts,
    parts_to_merge,
    removed_row,
    table_of,
)
from engine.chunker import ChunkerParams, cut_spans, keyed_table
from engine.parts import Part
from repository.catalogs import Catalog, latest, merged_part
from tools.cli.output import table

DAY_NS = 86_400 * 10**9
BEGIN_NS = 1_600_000_000 * 10**9
FOLDERS, PEOPLE = 300, 1_500
LOADED_EVERY_DAYS = 30  # days at which reading the whole catalog is timed
WORDS = (
    "Re",
    "plan",
    "offer",
    "invoice",
    "minutes",
    "meeting",
    "order",
    "question",
    "draft",
    "week",
)


@dataclass(frozen=True, slots=True)
class Year:
    """Shares are of the items of day 0, for one day. `recent_share` of changes meet the newest `recent_items`."""

    items: int
    days: int
    new_share: float = 0.001
    changed_share: float = 0.0005
    removed_share: float = 0.0003
    recent_share: float = 0.9
    recent_items: float = 0.05
    first_level: int = 0  # level of the part of day 0; a write session has no other than 0


@dataclass(frozen=True, slots=True)
class StoredPart:
    """One part as a write session keeps it. `chunks`: digest and bytes of each."""

    level: int
    rows: int
    encoded: bytes
    chunks: tuple[tuple[bytes, int], ...]


@dataclass(slots=True)
class Figures:
    """Bytes and rows over the year; the base of day 0 counts apart."""

    base_rows: int = 0
    base_bytes: int = 0
    changed_rows: int = 0
    changed_bytes: int = 0  # of the daily parts alone
    written_rows: int = 0  # daily parts and merges
    written_bytes: int = 0
    stored_bytes: int = 0  # of them in chunks that were not there yet
    day_s: list[float] = field(default_factory=list)  # CPU, encoding and merging
    commit_s: list[float] = field(default_factory=list)  # CPU, loading the catalog and its totals
    base_rewrites: list[int] = field(default_factory=list)  # days


class Parts:
    """The catalog's parts, oldest first, and all chunks that any part had."""

    def __init__(self, figures: Figures) -> None:
        self.parts: list[StoredPart] = []
        self.figures = figures
        self._chunker = ChunkerParams(keyed_table(bytes(32)))
        self._seen: dict[bytes, int] = {}
        self._named: dict[bytes, int] = {}

    def commit(self, rows: pa.Table, level: int) -> bool:
        """Add a part and merge while a level is full, as `WriteSession._merge`; whether the oldest part went into it."""
        self.parts.append(self._store(encode_catalog_part(rows), level, rows.num_rows))
        reached = False
        while count := parts_to_merge([part.level for part in self.parts]):
            older, newest = self.parts[:-count], self.parts[-count:]
            stored = (part.encoded for part in newest)
            encoded, merged_rows = merged_part(stored, oldest=not older)
            self.parts = [*older, self._store(encoded, newest[0].level + 1, merged_rows)]
            reached = not older
        for part in self.parts:
            self._named.update(part.chunks)
        return reached

    def _store(self, encoded: bytes, level: int, rows: int) -> StoredPart:
        cuts, _ = cut_spans(encoded, array("Q", (0, len(encoded))), self._chunker)
        view = memoryview(encoded)
        chunks = tuple(
            (blake3(view[start:end]).digest(), end - start)
            for start, end in zip(cuts[::2], cuts[1::2], strict=True)
        )
        self.figures.written_rows += rows
        self.figures.written_bytes += len(encoded)
        self.figures.stored_bytes += sum(
            size for name, size in dict(chunks).items() if name not in self._seen
        )
        self._seen.update(chunks)
        return StoredPart(level, rows, encoded, chunks)

    def loaded(self) -> Catalog:
        """The catalog as a reader has it."""
        return Catalog(
            tuple(decode_catalog_part(part.encoded).combine_chunks() for part in self.parts)
        )

    @property
    def bytes_now(self) -> int:
        """Of the parts that the newest entry names."""
        return sum(dict(c for part in self.parts for c in part.chunks).values())

    @property
    def bytes_of_all_entries(self) -> int:
        """Of all parts that any day's entry names: what stays when every restore point does."""
        return sum(self._named.values())


def rows_of_items(numbers: Sequence[int], revision: int, created_ns: Sequence[int]) -> pa.Table:
    """Rows of messages; the same number has the same id, names and attachments in every revision."""
    made: dict[str, list[object]] = {name: [] for name in ("id", "container", "name", "size")}
    versions, metas, parts = [], [], []
    for number, created in zip(numbers, created_ns, strict=True):
        fixed = blake3(number.to_bytes(8, "little")).digest(length=128)
        fresh = blake3(fixed + revision.to_bytes(4, "little")).hexdigest()
        size = 2_000 + int.from_bytes(fixed[:2], "little")
        folder = min(fixed[2] * fixed[3] * FOLDERS >> 16, FOLDERS - 1)
        made["id"].append(b"AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A" + fixed[:32].hex().encode())
        made["container"].append(b"AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A%028x" % folder)
        made["name"].append(" ".join(WORDS[b % len(WORDS)] for b in fixed[4:9]).encode())
        made["size"].append(size)
        version = f"CQAAABYAAAD{fresh[:32]}"
        versions.append(version)
        person = int.from_bytes(fixed[9:11], "little") % PEOPLE
        received = datetime.fromtimestamp(created // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metas.append(
            f'{{"@odata.etag":"W/\\"{version}\\"","changeKey":"{version}",'
            f'"isRead":{"true" if revision else "false"},"categories":[],'
            f'"flag":{{"flagStatus":"notFlagged"}},"from":"person.{person}@contoso.example",'
            f'"received":"{received}","attachments":{"true" if fixed[11] < 38 else "false"}}}'.encode()
        )
        parts.append(_parts(fixed, bytes.fromhex(fresh[:64]), size))
    count = len(numbers)
    return columns_table(
        {
            **made,
            "kind": ["message"] * count,
            "created_ns": created_ns,
            "modified_ns": [created + revision * DAY_NS for created in created_ns],
            "version": versions,
            "meta": metas,
            "parts": parts,
            "removed": [False] * count,
        }
    )


def _parts(fixed: bytes, fresh: bytes, size: int) -> bytes:
    """A JSON part that each revision has anew, and a MIME part: text, and a body in 15 of 100."""
    chunks, recipe = fixed[32:64] + size.to_bytes(4, "little"), b""
    if fixed[11] < 38:
        body = 40_000 + 16 * size
        chunks += fixed[64:96] + body.to_bytes(4, "little")
        recipe = fixed[96:102]
    json_part = Part("json", 1_500, fresh + (1_500).to_bytes(4, "little"))
    return encode_parts((json_part, Part("mime", size, chunks, recipe)))


class Mailbox:
    """Live items by number, in order of creation."""

    def __init__(self, year: Year) -> None:
        self._year = year
        self._dice = random.Random(1)
        self._live = list(range(year.items))
        self._created = [self._moment(number, 0) for number in range(year.items)]

    def _moment(self, number: int, day: int) -> int:
        """The items of day 0 came evenly over ten years before it."""
        if number < self._year.items:
            return BEGIN_NS - (self._year.items - number) * (3650 * DAY_NS // self._year.items)
        return BEGIN_NS + day * DAY_NS + number % 86_400 * 10**9

    def all(self) -> pa.Table:
        """Rows of day 0."""
        return rows_of_items(self._live, 0, self._created)

    def day(self, day: int) -> pa.Table:
        """Rows of one day, as a slice hands them to a commit."""
        year = self._year
        changed = self._picked(round(year.items * year.changed_share))
        gone = set(self._picked(round(year.items * year.removed_share)))
        count = round(year.items * year.new_share)
        new = list(range(len(self._created), len(self._created) + count))
        self._created += [self._moment(number, day) for number in new]
        self._live = [number for number in self._live if number not in gone] + new
        kept = sorted(set(changed) - gone)
        news = rows_of_items(new, 0, [self._created[number] for number in new])
        changes = rows_of_items(kept, day, [self._created[number] for number in kept])
        held = rows_of_items(sorted(gone), 0, [0] * len(gone)).column("id").to_pylist()
        return latest((news, changes, table_of([removed_row(row_id) for row_id in held])))

    def _picked(self, count: int) -> list[int]:
        dice, live, recent = self._dice, self._live, self._year.recent_items
        return [
            live[
                dice.randrange(int(len(live) * (1 - recent)), len(live))
                if dice.random() < self._year.recent_share
                else dice.randrange(len(live))
            ]
            for _ in range(count)
        ]

    def __len__(self) -> int:
        return len(self._live)


def simulated(year: Year) -> tuple[dict[str, object], pa.Table]:
    """The figures of a year, and the live rows at its end."""
    figures = Figures()
    mailbox, parts = Mailbox(year), Parts(figures)
    base = mailbox.all()
    parts.commit(base, year.first_level)
    figures.base_rows, figures.base_bytes = base.num_rows, figures.written_bytes
    figures.written_rows = figures.written_bytes = figures.stored_bytes = 0
    del base
    for day in range(1, year.days + 1):
        rows = mailbox.day(day)
        before = time.process_time()
        if parts.commit(rows, 0):
            figures.base_rewrites.append(day)
        figures.day_s.append(time.process_time() - before)
        figures.changed_rows += rows.num_rows
        figures.changed_bytes += len(encode_catalog_part(rows))
        if day % LOADED_EVERY_DAYS == 0:
            before = time.process_time()
            totals = parts.loaded().totals()
            figures.commit_s.append(time.process_time() - before)
            assert totals.items == len(mailbox)
    live = latest(parts.loaded().live())
    assert live.num_rows == len(mailbox)
    return _summary(figures, parts, len(encode_catalog_part(live))), live


def _summary(figures: Figures, parts: Parts, single_bytes: int) -> dict[str, object]:
    return {
        "base_rows": figures.base_rows,
        "base_bytes": figures.base_bytes,
        "changed_rows": figures.changed_rows,
        "changed_bytes": figures.changed_bytes,
        "written_rows": figures.written_rows,
        "written_bytes": figures.written_bytes,
        "stored_bytes": figures.stored_bytes,
        "amplification_rows": round(figures.written_rows / max(figures.changed_rows, 1), 2),
        "amplification_bytes": round(figures.written_bytes / max(figures.changed_bytes, 1), 2),
        "amplification_stored": round(figures.stored_bytes / max(figures.changed_bytes, 1), 2),
        "base_rewritten_on_days": figures.base_rewrites,
        "parts": [(part.level, part.rows) for part in parts.parts],
        "live_bytes": parts.bytes_now,
        "single_base_bytes": single_bytes,
        "all_entries_bytes": parts.bytes_of_all_entries,
        "day_cpu_s_median": round(statistics.median(figures.day_s), 4),
        "day_cpu_s_worst": round(max(figures.day_s), 2),
        "year_cpu_s": round(sum(figures.day_s), 2),
        "load_and_totals_cpu_s_median": (
            round(statistics.median(figures.commit_s), 2) if figures.commit_s else None
        ),
    }


def rates(rows: pa.Table, rounds: int = 3) -> dict[str, float]:
    """Rows a second of CPU and bytes a row: the stored form, and Arrow IPC (which is read plain by mapping, in no time)."""
    rows = rows.combine_chunks()

    def ipc(compression: str | None) -> pa.Buffer:
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
        with pa.ipc.new_file(sink, rows.schema, options=options) as writer:
            writer.write_table(rows, max_chunksize=65536)
        return sink.getvalue()

    def read_ipc(data: pa.Buffer) -> pa.Table:
        options = pa.ipc.IpcReadOptions(use_threads=False)
        return pa.ipc.open_file(data, options=options).read_all()

    parquet, packed = encode_catalog_part(rows), ipc("zstd")
    count = rows.num_rows
    found = {
        "parquet_encode_rows_per_s": count / cpu_seconds(lambda: encode_catalog_part(rows), rounds),
        "parquet_decode_rows_per_s": count
        / cpu_seconds(lambda: decode_catalog_part(parquet), rounds),
        "ipc_plain_encode_rows_per_s": count / cpu_seconds(lambda: ipc(None), rounds),
        "ipc_zstd_encode_rows_per_s": count / cpu_seconds(lambda: ipc("zstd"), rounds),
        "ipc_zstd_decode_rows_per_s": count / cpu_seconds(lambda: read_ipc(packed), rounds),
    }
    sizes = {"memory": rows.nbytes, "parquet": len(parquet), "ipc_zstd": len(packed)}
    return {name: round(rate) for name, rate in found.items()} | {
        f"{name}_bytes_per_row": round(size / count, 1) for name, size in sizes.items()
    }


def cpu_seconds(call: Callable[[], object], rounds: int = 3) -> float:
    """Best of several, all threads."""
    best = float("inf")
    for _ in range(rounds):
        before = time.process_time()
        call()
        best = min(best, time.process_time() - before)
    return best


def main() -> int:
    """Simulate, print, and with --record keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--first-level", type=int, default=0, help="of the base, to compare rules")
    parser.add_argument("--record", type=Path)
    words = parser.parse_args()
    year = Year(words.items, words.days, first_level=words.first_level)
    figures, live = simulated(year)
    speeds = rates(live)
    result = {
        **conditions("catalog_year"),
        "pyarrow": pa.__version__,
        "year": asdict(year),
        "figures": figures,
        "rates": speeds,
    }
    shown = {**figures, **speeds}
    table(["figure", "value"], [[name, str(value)] for name, value in shown.items()], right=(1,))
    if words.record:
        words.record.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
