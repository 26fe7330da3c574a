"""What is measured is what happened, and a contender that gives back other bytes is not measured."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.contenders import STEPS, Commands, out_folder
from benchmarks.datasets import DataSet, Facts, tree_digest
from benchmarks.measure import measured
from benchmarks.runner import run


@dataclass(frozen=True, slots=True)
class Copy:
    """The simplest contender: a copy of the tree. `damage` is a shell command before the restore."""

    damage: str = "true"
    name: str = "copy"
    version: str = "1"

    def environment(self, place: Path) -> Mapping[str, str]:
        return {"KEPT": str(self.repository(place))}

    def commands(self, place: Path, data: Path, backups: Sequence[str]) -> dict[str, Commands]:
        kept = str(self.repository(place))
        backup = ["cp", "-r", f"{data}/.", kept]
        return {
            "init": [["mkdir", kept]],
            "fresh": [backup],
            "changed": [backup],
            "restore": [
                ["sh", "-c", self.damage],
                ["cp", "-r", f"{kept}/.", str(out_folder(place))],
            ],
        }

    def repository(self, place: Path) -> Path:
        return place / "kept"

    def restored(self, place: Path, data: Path) -> Path:
        return out_folder(place)


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    for below, content in (("data", "old"), ("change", "newer")):
        (tmp_path / "set" / below).mkdir(parents=True)
        (tmp_path / "set" / below / "a").write_text(content)
    digests = {
        "before": tree_digest(tmp_path / "set/data"),
        "after": tree_digest(tmp_path / "set/change"),
    }
    return DataSet(tmp_path / "set", Facts("x", 1, 3, replaced=["a"], digests=digests))


def test_steps_run_in_order_and_the_change_is_taken_back(data: DataSet, tmp_path: Path) -> None:
    """Sizes follow the change; afterwards the set is as before and the place is gone."""
    done = run(Copy(), data, tmp_path, STEPS)
    assert done.stored == {"init": 0, "fresh": 3, "changed": 5, "restore": 5}
    assert done.figures.keys() == done.stored.keys()
    assert tree_digest(data.data) == data.facts.digests["before"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_without_the_change_the_original_is_expected(data: DataSet, tmp_path: Path) -> None:
    """Only the wanted steps run."""
    done = run(Copy(), data, tmp_path, ("fresh", "restore"))
    assert list(done.figures) == ["init", "fresh", "restore"]


@pytest.mark.parametrize(
    "damage", ['printf x >> "$KEPT/a"', 'mv "$KEPT/a" "$KEPT/b"', 'rm "$KEPT/a"']
)
def test_other_bytes_back_fail_the_run(data: DataSet, tmp_path: Path, damage: str) -> None:
    """A fast wrong answer is worth nothing."""
    with pytest.raises(RuntimeError, match="NOT THE ORIGINAL"):
        run(Copy(damage), data, tmp_path, STEPS)
    assert tree_digest(data.data) == data.facts.digests["before"]


def test_a_failing_command_says_why(tmp_path: Path) -> None:
    """Its last words and its exit code."""
    with pytest.raises(RuntimeError, match="ended with 3: no such luck"):
        measured(["sh", "-c", "echo no such luck >&2; exit 3"], {}, tmp_path)


@pytest.mark.slow
def test_memory_of_child_processes_counts(tmp_path: Path) -> None:
    """The peak is the sum of a process and its children while they live."""
    hold = f"import time; kept = b'x' * {40 << 20}; time.sleep(2)"
    both = f"import subprocess, sys; kept = b'x' * {40 << 20}; subprocess.run([sys.executable, '-c', {hold!r}])"
    figures = measured([sys.executable, "-c", both], {}, tmp_path)
    assert 80 < figures.peak_mb < 160
    assert figures.wall_s > 2
