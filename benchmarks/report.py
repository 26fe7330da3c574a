"""The tables: a set's steps, its ceilings, the goals."""

from collections.abc import Mapping

from benchmarks.contenders import OURS, STEPS
from benchmarks.goals import GOALS
from benchmarks.results import SetResult
from tools.cli.output import say, size_text, table

NONE = "-"
_NOT_OVER_DATA = ("init", "start", "reclaim")


def _shown(number: float | None, form: str = ".2f", unit: str = "") -> str:
    return NONE if number is None else f"{number:{form}}{unit}"


def print_set(result: SetResult) -> None:
    """One row a step and contender, then what the hardware allows."""
    facts = result.facts
    say(
        f"\n{facts.name}: {facts.files:,} files, {size_text(facts.bytes)}; medians of the runs, in turns"
    )
    rows = [_row(result, who, step) for step in STEPS[1:] for who in result.runs]
    head = ["step", "", "wall s", "from - to", "CPU s", "MB/s", "peak MB", "mapped", "RSS max"]
    head += ["stored after", "to ours", "to best peer", "of ceiling"]
    table(head, [row for row in rows if row], right=range(2, len(head)))
    if result.parts:
        parts = (
            f"{part} {taken:.2f} s ({facts.bytes / max(taken, 1e-9) / 1e9:.2f} GB/s)"
            for part, taken in sorted(result.parts.items())
        )
        say(f"ceilings: {', '.join(parts)}")
    if padding := [run.padding_bytes for run in result.runs.get(OURS, []) if run.padding_bytes]:
        say(f"padding of packs, off here, would add {size_text(padding[0])} to the fresh backup")
    if parity := [run.parity_bytes for run in result.runs.get(OURS, []) if run.parity_bytes]:
        say(f"parity of packs, off here, would add {size_text(parity[0])} to the fresh backup")
    grown = ", ".join(
        f"{who} {growth / 1e6:.2f}"
        for who in result.runs
        if (growth := result.growth(who)) is not None
    )
    if grown:
        say(f"growth after {facts.changed_bytes / 1e6:.2f} MB were changed, MB: {grown}")


def _row(result: SetResult, who: str, step: str) -> list[str]:
    wall, memory = result.wall_s(who, step), result.memory_mb(who, step)
    if wall is None or memory is None:
        measured = any(result.wall_s(other, step) is not None for other in result.runs)
        return [step, who, *[NONE] * 11] if measured else []
    least, most = result.wall_range_s(who, step)
    rate = None if step in _NOT_OVER_DATA else result.facts.bytes / wall / 1e6
    ours = who == OURS
    return [
        step,
        who,
        f"{wall:.2f}",
        f"{least:.2f} - {most:.2f}",
        _shown(result.cpu_s(who, step)),
        _shown(rate, ".0f"),
        *(f"{figure:.0f}" for figure in memory),
        size_text(result.stored(who, step) or 0),
        NONE if ours else _shown(result.ratio(step, who), unit="x"),
        _shown(result.best_peer(step), unit="x") if ours else NONE,
        _shown(result.of_ceiling(who, step), ".0%"),
    ]


def goal_rows(results: Mapping[str, SetResult]) -> list[dict[str, object]]:
    """Each goal that this run can judge: text, must, aim, measured, met; `cpu` where seconds are compared."""
    rows: list[dict[str, object]] = []
    for goal in GOALS:
        found = goal.measure(results)
        if found is None:
            continue
        cpu = goal.cpu(results) if goal.cpu else None
        rows.append(
            {
                "goal": goal.text,
                "unit": goal.unit,
                "sign": ">=" if goal.least else "<=",
                "must": goal.must,
                "aim": goal.aim,
                "measured": found,
                "met": goal.met(found, goal.must),
                "aim_met": goal.met(found, goal.aim),
                "cpu": cpu,
                "cpu_met": None if cpu is None else goal.cpu_met(cpu),
            }
        )
    return rows


def print_goals(rows: list[dict[str, object]]) -> None:
    """The goals table: yes and no for the wall, and for processor seconds in their own columns."""
    if not rows:
        return
    say("\ngoals that this run can judge")
    cells = [
        [
            str(row["goal"]),
            _figure(row, "must", sign=True),
            _figure(row, "aim", sign=True),
            _figure(row, "measured"),
            _answer(row["met"]),
            _answer(row["aim_met"]),
            _figure(row, "cpu"),
            _answer(row["cpu_met"]),
        ]
        for row in rows
    ]
    head = ["goal", "must", "aim", "measured", "met", "aim met", "by CPU s", "met (a tenth less)"]
    table(head, cells, right=range(1, 8))
    judged = [row["met"] for row in rows if row["met"] is not None]
    say(f"met: {sum(map(bool, judged))} of {len(judged)} that must be")


def _figure(row: Mapping[str, object], key: str, *, sign: bool = False) -> str:
    value = row[key]
    if not isinstance(value, int | float):
        return NONE
    return f"{row['sign']} {value:g}{row['unit']}" if sign else f"{value:.4g}{row['unit']}"


def _answer(met: object) -> str:
    return NONE if met is None else "yes" if met else "NO"
