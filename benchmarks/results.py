"""What a run of the benchmarks found: all single figures, and the medians that tables and goals are made of."""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from benchmarks.ceilings import ceiling
from benchmarks.contenders import OURS
from benchmarks.datasets import Facts
from benchmarks.measure import Figures


@dataclass(slots=True)
class Run:
    """One contender, once through all steps: figures, and bytes of the repository after each step."""

    figures: dict[str, Figures] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    padding_bytes: int = 0  # what padding would add to the packs of a fresh backup
    parity_bytes: int = 0  # what parity would add to them


@dataclass(slots=True)
class SetResult:
    """All runs over one data set. Every question is answered by a median, or None if nobody measured it."""

    facts: Facts
    parts: dict[str, float] = field(default_factory=dict)  # seconds, see ceilings
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def _of(self, who: str, step: str, figure: Callable[[Figures], float]) -> list[float]:
        return [figure(run.figures[step]) for run in self.runs.get(who, []) if step in run.figures]

    def wall_s(self, who: str, step: str) -> float | None:
        """Seconds by the clock."""
        return _median(self._of(who, step, lambda figures: figures.wall_s))

    def wall_range_s(self, who: str, step: str) -> tuple[float, float]:
        """The fastest and the slowest run. ValueError if there is none."""
        found = self._of(who, step, lambda figures: figures.wall_s)
        return min(found), max(found)

    def cpu_s(self, who: str, step: str) -> float | None:
        """Seconds of processor."""
        return _median(self._of(who, step, lambda figures: figures.cpu_s))

    def memory_mb(self, who: str, step: str) -> tuple[float, float, float] | None:
        """Own peak, mapped files, and all by wait4; see Figures."""
        found = [
            _median(self._of(who, step, figure))
            for figure in (lambda f: f.peak_mb, lambda f: f.file_mb, lambda f: f.rss_max_mb)
        ]
        own, mapped, everything = found
        if own is None or mapped is None or everything is None:
            return None
        return own, mapped, everything

    def stored(self, who: str, step: str = "fresh") -> float | None:
        """Bytes of the repository after a step."""
        return _median([run.stored[step] for run in self.runs.get(who, []) if step in run.stored])

    def growth(self, who: str) -> float | None:
        """Bytes that the repository grew by in the step `changed`."""
        before = "again" if self.stored(who, "again") is not None else "fresh"
        return _median(
            [
                run.stored["changed"] - run.stored[before]
                for run in self.runs.get(who, [])
                if "changed" in run.stored and before in run.stored
            ]
        )

    def ratio(self, step: str, peer: str) -> float | None:
        """Wall of the peer by ours: above 1 we are faster."""
        return divided(self.wall_s(peer, step), self.wall_s(OURS, step))

    def best_peer(self, step: str) -> float | None:
        """The same against the fastest peer of this step."""
        found = [self.ratio(step, who) for who in self.runs if who != OURS]
        return min((ratio for ratio in found if ratio is not None), default=None)

    def of_ceiling(self, who: str, step: str) -> float | None:
        """The share of what the hardware allows, 0 to about 1."""
        return divided(ceiling(self.parts, step) if self.parts else None, self.wall_s(who, step))

    def as_record(self) -> dict[str, object]:
        """For JSON: facts without the lists of names, all single figures."""
        facts = {k: v for k, v in asdict(self.facts).items() if k not in ("replaced", "added")}
        runs = {
            who: [
                {
                    step: asdict(found) | {"stored": run.stored[step]}
                    for step, found in run.figures.items()
                }
                | {"padding_bytes": run.padding_bytes, "parity_bytes": run.parity_bytes}
                for run in all_runs
            ]
            for who, all_runs in self.runs.items()
        }
        return {"facts": facts, "ceiling_s": self.parts, "runs": runs}


def divided(above: float | None, below: float | None) -> float | None:
    """The ratio, None if one is unknown or the divisor is nothing."""
    return above / below if above is not None and below else None


def _median(found: list[float]) -> float | None:
    return statistics.median(found) if found else None
