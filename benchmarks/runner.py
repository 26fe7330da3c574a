"""Contenders in turns over one data set, each in a place of its own that is gone before the next one comes."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import ceilings
from benchmarks.contenders import BACKUPS, Contender, out_folder
from benchmarks.datasets import DataSet, tree_digest
from benchmarks.measure import measured, touch_memory, warm
from benchmarks.results import Run, SetResult
from engine.pack import TRAILER_BYTES, padme
from engine.parity import area_bytes
from tools.cli.output import complain

# in multiples of a set's bytes, beside the set: a repository, a restored tree, caches
ROOM = 3


def compare(
    data: DataSet,
    found: Sequence[Contender],
    scratch: Path,
    steps: Sequence[str],
    rounds: int,
    failures: list[str],
) -> SetResult:
    """All contenders in turns, `rounds` times. A run that fails is said, kept in `failures`, and left out."""
    result = SetResult(data.facts, runs={contender.name: [] for contender in found})
    touch_memory(scratch, ROOM * data.facts.bytes)
    result.parts = ceilings.seconds(data.data, scratch)
    for number in range(rounds):
        for contender in found:
            try:
                result.runs[contender.name].append(run(contender, data, scratch, steps))
            except RuntimeError as e:
                failures.append(f"{data.facts.name}, round {number + 1}, {contender.name}: {e}")
                complain(f"*** {failures[-1]}")
    return result


def run(contender: Contender, data: DataSet, scratch: Path, steps: Sequence[str]) -> Run:
    """One contender through all steps. RuntimeError if a command fails or other bytes come back."""
    done = Run()
    backups = [step for step in BACKUPS if step in steps]
    with tempfile.TemporaryDirectory(dir=scratch, prefix="strongroom-bench-") as folder:
        place = Path(folder)
        out_folder(place).mkdir()
        environment = contender.environment(place)
        try:
            for step, commands in contender.commands(place, data.data, backups).items():
                if step not in steps and step != "init":
                    continue
                if step == "changed":
                    data.toggle()
                if step in BACKUPS:
                    warm(data.data)
                figures = [
                    measured(command, environment, out_folder(place)) for command in commands
                ]
                done.figures[step] = sum(figures[1:], figures[0])
                done.stored[step] = _size(contender.repository(place))
                if step == "fresh":
                    packs = contender.repository(place) / "pack"
                    done.padding_bytes, done.parity_bytes = _padding(packs), _parity(packs)
                if step == "restore":
                    _check(contender.restored(place, data.data), data)
        finally:
            if data.changed:
                data.toggle()
    return done


def _check(restored: Path, data: DataSet) -> None:
    if tree_digest(restored) != data.digest():
        raise RuntimeError("THE RESTORED BYTES ARE NOT THE ORIGINAL ONES")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _parity(packs: Path) -> int:
    """What parity would add to packs that have none; 0 where there is no such folder."""
    sizes = [path.stat().st_size for path in packs.rglob("*") if path.is_file()]
    return sum(area_bytes(size - TRAILER_BYTES, TRAILER_BYTES) for size in sizes)


def _padding(packs: Path) -> int:
    """What padding would add to packs that have none; 0 where there is no such folder."""
    sizes = [path.stat().st_size for path in packs.rglob("*") if path.is_file()]
    return sum(padme(size) - size for size in sizes)
