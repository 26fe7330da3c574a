"""
Backup and restore over S3, restic beside us on the same server: MB/s, processor seconds of the client, requests and bytes.

    python -m benchmarks.object_storage --sets mail --servers sink,far --record benchmarks/results/DATE-object-storage-mail.json

Servers: `sink` holds objects in memory and costs nearly nothing (s3_sink.py); `far` is the same with 20 ms before each
answer and 60 MB/s a connection, about what storage in the same region gives; `seaweed` is SeaweedFS in memory. The sinks
count requests: a client sends the same ones to any server. Steps as of `make bench`, and `one`: one file by its path on a
machine that knows nothing; `fewer`: a backup without every second folder; `reclaim`: all restore points but this one
forgotten, their space given back.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import s3_sink
from benchmarks.conditions import conditions
from benchmarks.contenders import OURS, Commands, Contender, contenders, out_folder
from benchmarks.datasets import DataSet, prepare, sorted_files, tree_digest
from benchmarks.measure import Figures, measured, touch_memory
from tests.fixtures.object_servers import BUCKET, running_seaweed, s3_environment
from tools.cli.output import say, table

SINKS = {"sink": (), "far": ("--latency-ms", "20", "--rate-mb", "60")}
SERVERS = (*SINKS, "seaweed")
STEPS = (
    "init",
    "start",
    "fresh",
    "again",
    "changed",
    "verify",
    "restore",
    "one",
    "fewer",
    "reclaim",
)
KINDS = ("PUT", "GET", "LIST", "HEAD", "DELETE")
GIB = 1024**3
ROOM = 3  # in multiples of a set's bytes, see runner


@dataclass(frozen=True, slots=True)
class Server:
    """A running S3 server; `counts` says how many requests and bytes there were since it was called last."""

    name: str
    port: int

    def counts(self) -> dict[str, int]:
        if self.name not in SINKS:
            return {}
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{s3_sink.COUNTS}") as answer:
            counts: dict[str, int] = json.load(answer)
        return counts


@dataclass(frozen=True, slots=True)
class Step:
    """What one step took. `requests`: by kind, and bytes of bodies; empty where nobody counts."""

    server: str
    who: str
    number: int  # of the round
    step: str
    figures: Figures
    requests: dict[str, int] = field(default_factory=dict)


def main() -> int:
    """Run, print, and with --record keep the result. 1 if other bytes came back."""
    words = _words()
    found = [contender for contender in contenders() if contender.name in (OURS, "restic")]
    steps: dict[str, list[Step]] = {}
    facts = {}
    store = words.scratch / "strongroom-bench-data"
    for name in words.sets:
        data = prepare(name, words.scale, store)
        try:
            touch_memory(words.scratch, ROOM * data.facts.bytes)
            steps[name] = list(_compared(data, found, words))
        finally:
            if not words.keep:
                shutil.rmtree(data.folder)
        facts[name] = {"files": data.facts.files, "bytes": data.facts.bytes}
        _print(name, data.facts.bytes, steps[name])
    if words.record:
        record = {
            **conditions("object_storage"),
            "contenders": {contender.name: contender.version for contender in found},
            "sets": facts,
            "steps": {name: [asdict(step) for step in done] for name, done in steps.items()},
        }
        words.record.write_text(json.dumps(record, indent=1) + "\n")
    return 0


def _words() -> argparse.Namespace:
    def several(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=several, default=["mail", "files"])
    parser.add_argument("--servers", type=several, default=list(SERVERS))
    parser.add_argument("--steps", type=several, default=list(STEPS))
    parser.add_argument("--scale", type=float, default=0.3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--keep", action="store_true", help="leave the data sets for the next run")
    parser.add_argument("--record", type=Path)
    words = parser.parse_args()
    if unknown := {*words.servers} - {*SERVERS} | {*words.steps} - {*STEPS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return words


@contextmanager
def running(name: str, scratch: Path) -> Iterator[Server]:
    """A server of this name, and nothing in it."""
    if name not in SINKS:
        with running_seaweed(Path(tempfile.mkdtemp(prefix="weed-", dir=scratch))) as seaweed:
            yield Server(name, seaweed.port)
        return
    words = [sys.executable, "-m", "benchmarks.s3_sink", *SINKS[name]]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, text=True, **pipes) as sink:  # type: ignore[call-overload]
        try:
            yield Server(name, int(sink.stdout.readline()))
        finally:
            sink.stdin.close()


def _compared(
    data: DataSet, found: Sequence[Contender], words: argparse.Namespace
) -> Iterator[Step]:
    """Contenders in turns on each server, each with a server of its own."""
    for number in range(words.rounds):
        for name in words.servers:
            for contender in found:
                with (
                    tempfile.TemporaryDirectory(dir=words.scratch, prefix="s3-bench-") as folder,
                    running(name, words.scratch) as server,
                ):
                    run = _Run(contender, data, Path(folder), server)
                    for step in run.steps(words.steps):
                        yield Step(name, contender.name, number, *step)


class _Run:
    """One contender on one server."""

    def __init__(self, contender: Contender, data: DataSet, place: Path, server: Server) -> None:
        self._contender = contender
        self._data = data
        self._place = place
        self._server = server
        self._is_changed = False
        self._picked = sorted(sorted_files(data.data))[data.facts.files // 2]

    def steps(self, wanted: Sequence[str]) -> Iterator[tuple[str, Figures, dict[str, int]]]:
        """Each step: its name, what it took, what was asked. RuntimeError if other bytes came back."""
        (self._place / "tmp").mkdir()
        for step in STEPS:
            if step not in wanted and step != "init":
                continue
            shutil.rmtree(out_folder(self._place), ignore_errors=True)
            out_folder(self._place).mkdir()
            self._server.counts()
            with self._source(step):
                figures = [
                    measured(command, self._environment(step), out_folder(self._place))
                    for command in self._commands(step)
                ]
                asked = self._server.counts()
                self._check(step)
            yield step, sum(figures[1:], figures[0]), asked

    @contextmanager
    def _source(self, step: str) -> Iterator[None]:
        """The source as a step finds it."""
        gone = sorted(self._data.data.iterdir())[::2] if step == "fewer" else []
        aside = self._place / "aside"
        self._is_changed |= step == "changed"
        if self._is_changed and step in ("changed", "restore", "one"):
            self._data.toggle()
        for entry in gone:
            aside.mkdir(exist_ok=True)
            entry.rename(aside / entry.name)
        try:
            yield
        finally:
            for entry in gone:
                (aside / entry.name).rename(entry)
            if self._data.changed:
                self._data.toggle()

    def _commands(self, step: str) -> Commands:
        """As on a path, but with an address."""
        contender, place, data = self._contender, self._place, self._data.data
        known = contender.commands(place, data, ["fresh"])
        made = known["again" if step == "fewer" else "restore" if step == "one" else step]
        repository = str(contender.repository(place))
        if contender.name == OURS:
            address = f"s3://{BUCKET}/repository"
            more = ["--path", str(self._picked.relative_to(data))]
        else:
            address = f"s3:http://127.0.0.1:{self._server.port}/{BUCKET}/repository"
            more = ["--include", str(self._picked)]
        aimed = [[address if word == repository else word for word in words] for words in made]
        return [[*words, *more] for words in aimed] if step == "one" else aimed

    def _environment(self, step: str) -> Mapping[str, str]:
        place = self._place / "cold" if step == "one" else self._place
        return {
            **self._contender.environment(place),
            **s3_environment(self._server.port),
            "AWS_DEFAULT_REGION": "us-east-1",
            "TMPDIR": str(self._place / "tmp"),
        }

    def _check(self, step: str) -> None:
        restored = self._contender.restored(self._place, self._data.data)
        if step == "restore":
            same = tree_digest(restored) == self._data.digest()
        elif step == "one":
            files = list(sorted_files(restored))
            same = [f.read_bytes() for f in files] == [self._picked.read_bytes()]
        else:
            return
        if not same:
            raise RuntimeError("THE RESTORED BYTES ARE NOT THE ORIGINAL ONES")


def _print(name: str, size: int, steps: Sequence[Step]) -> None:
    """Medians over the rounds."""
    rows = []
    keys = dict.fromkeys((step.server, step.step, step.who) for step in steps)
    for key in sorted(keys, key=lambda k: (SERVERS.index(k[0]), STEPS.index(k[1]))):
        some = [step for step in steps if (step.server, step.step, step.who) == key]
        wall = statistics.median(step.figures.wall_s for step in some)
        cpu = statistics.median(step.figures.cpu_s for step in some)
        peak = statistics.median(step.figures.peak_mb for step in some)
        asked = some[0].requests
        row = [
            *key,
            f"{wall:.2f}",
            f"{size / wall / 1e6:.0f}",
            f"{cpu:.2f}",
            f"{cpu / size * GIB:.2f}",
        ]
        row += [f"{peak:.0f}", *(str(asked.get(kind, 0)) if asked else "-" for kind in KINDS)]
        row += [f"{sum(asked.get(kind, 0) for kind in KINDS) / size * 1e9:.0f}" if asked else "-"]
        row += [
            f"{asked.get(f'bytes {way}', 0) / 1e6:.2f}" if asked else "-"
            for way in ("sent", "received")
        ]
        rows.append(row)
    say(f"\n{name}: {size / 1e6:.0f} MB of source, on {os.cpu_count()} cores")
    head = ["server", "step", "", "wall s", "MB/s", "CPU s", "CPU s/GiB", "peak MB", *KINDS]
    head += ["requests/GB", "MB sent", "MB received"]
    table(head, rows, right=range(3, len(head)))


if __name__ == "__main__":
    sys.exit(main())
