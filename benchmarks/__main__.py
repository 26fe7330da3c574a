"""`make bench`: every data set, contenders in turns, medians, ratios to the first peer."""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.contenders import Contender, contenders
from benchmarks.datasets import DATASETS
from benchmarks.measure import Figures, measured
from tools.cli.output import say, size_text, table

STEPS = ("fresh", "again", "verify", "restore")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _run(contender: Contender, data: Path, scratch: Path) -> tuple[dict[str, Figures], int]:
    """All steps of one contender on one data set; figures by step, repository bytes."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        place = Path(folder)
        environment = contender.environment(place)
        figures = {}
        for step, command in contender.commands(place, data).items():
            figures[step] = measured(command, environment)
        return figures, _size(contender.repository(place))


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    found["processor"] = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), ""
    )
    try:
        answer = subprocess.run(["restic", "version"], capture_output=True, text=True, check=False)
        found["restic"] = answer.stdout.strip()
    except FileNotFoundError:
        found["restic"] = "not installed: no pairs"
    return found


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []


def main() -> int:
    """Run, print, and with --record keep the result."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data sets")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contender, in turns")
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"), help="where all lies")
    parser.add_argument("--record", type=Path, help="JSON file for the result")
    words = parser.parse_args()
    result: dict[str, object] = {"versions": _versions(), "scale": words.scale}
    for name, make in DATASETS.items():
        with tempfile.TemporaryDirectory(dir=words.scratch) as folder:
            data = Path(folder) / "data"
            make(data, words.scale)
            result[name] = _compare(name, data, Path(folder), words.rounds)
    if words.record:
        words.record.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _compare(name: str, data: Path, scratch: Path, rounds: int) -> dict[str, object]:
    size = _size(data)
    runs: dict[str, list[tuple[dict[str, Figures], int]]] = {}
    for _ in range(rounds):
        for contender in contenders():
            runs.setdefault(contender.name, []).append(_run(contender, data, scratch))
    say(f"\n{name}: {size_text(size)}, medians of {rounds} runs in turns")
    rows, kept = [], {}
    ours = _medians(runs["strongroom"])
    for who, all_runs in runs.items():
        medians = _medians(all_runs)
        stored = int(statistics.median(bytes_ for _, bytes_ in all_runs))
        kept[who] = {"repository_bytes": stored, **{s: vars_of(f) for s, f in medians.items()}}
        for step in STEPS:
            figures = medians[step]
            rows.append(
                [
                    who,
                    step,
                    f"{figures.wall_s:.2f}",
                    f"{figures.cpu_s:.2f}",
                    f"{size / figures.wall_s / 1e6:.0f}",
                    f"{figures.peak_mb:.0f}",
                    size_text(stored),
                    f"{figures.wall_s / ours[step].wall_s:.2f}x",
                ]
            )
    head = ["", "step", "wall s", "CPU s", "MB/s", "peak MB", "repository", "wall to ours"]
    table(head, rows, right=range(2, 8))
    return {"bytes": size, "rounds": rounds, **kept}


def _medians(runs: list[tuple[dict[str, Figures], int]]) -> dict[str, Figures]:
    return {
        step: Figures(
            statistics.median(f[step].wall_s for f, _ in runs),
            statistics.median(f[step].cpu_s for f, _ in runs),
            statistics.median(f[step].peak_mb for f, _ in runs),
        )
        for step in STEPS
    }


def vars_of(figures: Figures) -> dict[str, float]:
    """Figures as they are recorded."""
    return {
        "wall_s": round(figures.wall_s, 3),
        "cpu_s": round(figures.cpu_s, 3),
        "peak_mb": round(figures.peak_mb, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
