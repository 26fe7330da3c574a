"""The goals as data: what must be reached, what is aimed at, and how it is measured in a run."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.contenders import OURS
from benchmarks.results import SetResult, divided

CPU_SLACK = (
    0.9  # the ratio of processor seconds may be a tenth worse than the one of wall seconds must be
)
MAIL, FILES, RANDOM, SOURCE, SMALL = "mail", "files", "random", "source", "small"
RESTIC, BORG = "restic", "borg"

Results = Mapping[str, SetResult]


@dataclass(frozen=True, slots=True)
class Goal:
    """One row. `unit` is put behind the figures; `least`: more is better, else less is."""

    text: str
    measure: Callable[[Results], float | None]
    must: float | None
    aim: float | None
    unit: str = "x"
    least: bool = True
    cpu: Callable[[Results], float | None] | None = None

    def met(self, found: float, wanted: float | None) -> bool | None:
        """Whether a figure reaches `wanted`; None without one."""
        if wanted is None:
            return None
        return found >= wanted if self.least else found <= wanted

    def cpu_met(self, found: float) -> bool | None:
        """Whether a ratio of processor seconds is at most a tenth below what the wall must reach."""
        return None if self.must is None else found >= CPU_SLACK * self.must


def _on(name: str, ask: Callable[[SetResult], float | None]) -> Callable[[Results], float | None]:
    return lambda results: ask(results[name]) if name in results else None


def _faster(name: str, step: str, peer: str, must: float, aim: float | None) -> Goal:
    def cpu(found: SetResult) -> float | None:
        return divided(found.cpu_s(peer, step), found.cpu_s(OURS, step))

    text = f"{name}: {step}, against {peer}"
    return Goal(
        text, _on(name, lambda found: found.ratio(step, peer)), must, aim, cpu=_on(name, cpu)
    )


def _smaller(name: str, peer: str, must: float, aim: float) -> Goal:
    measure = _on(name, lambda found: divided(found.stored(OURS), found.stored(peer)))
    return Goal(f"{name}: repository, by {peer}'s", measure, must, aim, least=False)


def _of_compressor(name: str, must: float, aim: float) -> Goal:
    def share(found: SetResult) -> float | None:
        wall = divided(found.parts.get("zstd1"), found.wall_s(OURS, "fresh"))
        return None if wall is None else 100 * wall

    return Goal(f"{name}: fresh, of two threads of zstd level 1", _on(name, share), must, aim, "%")


def _rate(name: str, step: str, must: float, aim: float, *, without_start: bool) -> Goal:
    def rate(found: SetResult) -> float | None:
        wall, start = found.wall_s(OURS, step), found.wall_s(OURS, "start")
        if wall is not None and without_start:
            wall = None if start is None else wall - start
        return divided(found.facts.bytes / 1e9, wall)

    apart = ", start cost apart" if without_start else ""
    return Goal(f"{name}: {step}{apart}", _on(name, rate), must, aim, " GB/s")


def _start(results: Results, who: str) -> float | None:
    found = [result.wall_s(who, "start") for result in results.values()]
    known = [wall for wall in found if wall is not None]
    return statistics.median(known) if known else None


def _memory(found: SetResult, who: str, step: str) -> float | None:
    memory = found.memory_mb(who, step)
    return None if memory is None else memory[0]


GOALS: tuple[Goal, ...] = (
    _faster(MAIL, "fresh", RESTIC, 3.5, 5.0),
    _faster(MAIL, "fresh", BORG, 4.5, 6.0),
    _of_compressor(MAIL, 30, 42),
    _smaller(MAIL, RESTIC, 0.88, 0.77),
    _smaller(MAIL, BORG, 0.95, 0.83),
    _faster(FILES, "fresh", RESTIC, 3.5, 5.0),
    _faster(FILES, "fresh", BORG, 2.5, 3.5),
    _smaller(FILES, RESTIC, 0.92, 0.89),
    Goal(
        "files: repository, by the ideal unique bytes",
        _on(FILES, lambda found: divided(found.stored(OURS), found.facts.ideal_bytes)),
        1.04,
        1.025,
        least=False,
    ),
    _faster(RANDOM, "fresh", RESTIC, 3.5, 5.0),
    _faster(RANDOM, "fresh", BORG, 2.2, 3.0),
    _rate(RANDOM, "fresh", 0.6, 0.9, without_start=False),
    _faster(SOURCE, "fresh", RESTIC, 2.2, 3.0),
    _faster(SOURCE, "fresh", BORG, 2.2, 2.7),
    _of_compressor(SOURCE, 60, 75),
    _smaller(SOURCE, BORG, 1.10, 1.03),
    _faster(FILES, "again", RESTIC, 2.5, 4.0),
    _faster(FILES, "again", BORG, 2.5, 4.0),
    _rate(FILES, "again", 2.0, 3.5, without_start=True),
    _faster(MAIL, "again", RESTIC, 1.8, 2.5),
    _faster(MAIL, "again", BORG, 4.5, 6.0),
    Goal(
        "files: growth after a change, by the bytes changed",
        _on(FILES, lambda found: divided(found.growth(OURS), found.facts.changed_bytes)),
        1.5,
        1.2,
        least=False,
    ),
    Goal(
        "source: growth after a change, by restic's",
        _on(SOURCE, lambda found: divided(found.growth(OURS), found.growth(RESTIC))),
        0.9,
        0.5,
        least=False,
    ),
    _faster(MAIL, "restore", RESTIC, 2.5, 4.0),
    _faster(MAIL, "restore", BORG, 3.0, 5.0),
    _faster(SOURCE, "restore", RESTIC, 1.8, 2.3),
    _faster(RANDOM, "restore", RESTIC, 1.5, 1.9),
    _faster(MAIL, "verify", RESTIC, 2.0, 2.4),
    _faster(MAIL, "verify", BORG, 4.5, 6.0),
    _faster(SOURCE, "verify", RESTIC, 2.0, 2.5),
    _faster(RANDOM, "verify", RESTIC, 3.0, 5.0),
    _faster(MAIL, "reclaim", RESTIC, 1.0, 3.0),
    _faster(MAIL, "reclaim", BORG, 1.0, 3.0),
    Goal(
        "mail: own memory at its peak, fresh",
        _on(MAIL, lambda found: _memory(found, OURS, "fresh")),
        200,
        130,
        " MB",
        least=False,
    ),
    Goal(
        "small: own memory at its peak, restore, by restic's",
        _on(
            SMALL,
            lambda found: divided(
                _memory(found, OURS, "restore"), _memory(found, RESTIC, "restore")
            ),
        ),
        0.5,
        0.25,
        least=False,
    ),
    Goal(
        "a command without work, by restic's",
        lambda results: divided(_start(results, OURS), _start(results, RESTIC)),
        0.5,
        None,
        least=False,
    ),
    Goal(
        "a command without work",
        lambda results: _start(results, OURS),
        None,
        0.2,
        " s",
        least=False,
    ),
)
