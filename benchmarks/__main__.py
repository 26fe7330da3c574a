"""`make bench`: every data set, contenders in turns, tables, goals, record and plot."""

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import plot, report
from benchmarks.contenders import OURS, STEPS, Contender, contenders
from benchmarks.datasets import DATASETS, DataSet, prepare
from benchmarks.measure import file_system
from benchmarks.results import SetResult
from benchmarks.runner import ROOM, compare
from tools.cli.output import complain, facts, say, size_text

GOALS_SCALE_MIN = 0.3


def main() -> int:
    """Run, print, and with --record keep the result. 1 if a contender failed or gave back other bytes."""
    words = _words()
    found = [c for c in contenders(words.restic) if not words.only or c.name in words.only]
    for missing in {OURS, "restic", "borg"} & set(words.only or (OURS, "restic", "borg")):
        if missing not in {contender.name for contender in found}:
            complain(f"\n*** {missing} cannot be had on this machine: no pairs against it\n")
    conditions = _conditions(found, words.scratch, words.scale, words.rounds)
    facts(conditions)
    results: dict[str, SetResult] = {}
    failures: list[str] = []
    store = words.scratch / "strongroom-bench-data"
    for name in words.sets:
        try:
            data = prepare(name, words.scale, store)
        except LookupError as e:
            complain(f"{name}: {e}; left out")
            continue
        try:
            if _has_room(data, words.scratch):
                results[name] = compare(
                    data, found, words.scratch, words.steps, words.rounds, failures
                )
                report.print_set(results[name])
        finally:
            if not words.keep:
                shutil.rmtree(data.folder)
    if store.is_dir() and not any(store.iterdir()):
        store.rmdir()
    goals = report.goal_rows(results)
    report.print_goals(goals)
    if goals and words.scale < GOALS_SCALE_MIN:
        say(
            f"the goals are meant for a scale of {GOALS_SCALE_MIN} and more: below it start costs rule"
        )
    if words.record:
        _record(words.record, conditions, results, goals, failures)
    if failures:
        complain(f"\n*** {len(failures)} runs failed and are not in the tables, see above")
    return 1 if failures or not results else 0


def _words() -> argparse.Namespace:
    def names(allowed: Sequence[str]) -> dict[str, object]:
        def several(text: str) -> list[str]:
            wanted = text.split(",")
            if unknown := set(wanted) - set(allowed):
                raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
            return [name for name in allowed if name in wanted]

        return {"type": several, "metavar": "A,B", "help": f"some of {', '.join(allowed)}"}

    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--sets", default=list(DATASETS), **names(tuple(DATASETS)))  # type: ignore[arg-type]
    parser.add_argument("--steps", default=list(STEPS), **names(STEPS))  # type: ignore[arg-type]
    parser.add_argument("--only", default=[], **names((OURS, "restic", "borg")))  # type: ignore[arg-type]
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data sets")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contender, in turns")
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"), help="where all lies")
    parser.add_argument("--keep", action="store_true", help="leave the data sets for the next run")
    parser.add_argument("--restic", default="", help="version to take, as 0.18; else the newest")
    parser.add_argument("--record", type=Path, help="JSON file for the result, plot beside it")
    words = parser.parse_args()
    words.scratch = words.scratch.resolve()
    return words


def _has_room(data: DataSet, scratch: Path) -> bool:
    needed, free = ROOM * data.facts.bytes, shutil.disk_usage(scratch).free
    if os.path.exists("/proc/meminfo"):
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = min(free, int(lines["MemAvailable"].split()[0]) * 1024)
    if needed > free:
        complain(
            f"*** {data.facts.name}: needs {size_text(needed)}, {size_text(free)} are free; left out"
        )
    return needed <= free


def _conditions(
    found: Sequence[Contender], scratch: Path, scale: float, rounds: int
) -> dict[str, str]:
    def first(file: str, key: str) -> str:
        try:
            lines = Path(file).read_text().splitlines()
        except OSError:
            return "unknown"
        return next(
            (line.split(":")[1].strip() for line in lines if line.startswith(key)), "unknown"
        )

    return {
        **{contender.name: contender.version for contender in found},
        "python": platform.python_version(),
        "processor": first("/proc/cpuinfo", "model name"),
        "cores": str(os.cpu_count()),
        "vectors": _vectors(first("/proc/cpuinfo", "flags")),
        "memory": first("/proc/meminfo", "MemTotal"),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "file system": f"{file_system(scratch)} for data, repositories and restores",
        "scale": f"{scale:g}, {rounds} rounds",
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def _vectors(flags: str) -> str:
    known = ("avx2", "avx512f", "avx512vbmi", "vaes", "sha_ni")
    return " ".join(name for name in known if name in flags.split()) or "none known"


def _record(
    file: Path,
    conditions: dict[str, str],
    results: dict[str, SetResult],
    goals: list[dict[str, object]],
    failures: list[str],
) -> None:
    sets = {name: result.as_record() for name, result in results.items()}
    record = {"conditions": conditions, "sets": sets, "goals": goals, "failures": failures}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=1) + "\n")
    say(f"\nwritten: {file}")
    if drawn := plot.groups(results):
        picture = file.with_suffix(".svg")
        picture.write_text(plot.svg(drawn, f"strongroom, scale {conditions['scale']}"))
        say(f"written: {picture}")


if __name__ == "__main__":
    sys.exit(main())
