"""`strongroom repo copy`: backup copy into another repository."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tools.cli import arguments
from tools.cli.output import (
    DONE,
    FAILED,
    WARNINGS,
    complain,
    plain_text,
    print_json,
    progress_bar,
    say,
    size_text,
    table,
)

if TYPE_CHECKING:
    from engine.manifest import PointForm
    from repository import Repository
    from repository.copying import CopyProblem, CopyProgress, CopyReport
    from repository.copying_check import CheckReport
    from repository.copying_plan import Plan

PROBLEMS_SHOWN_MAX = 100


def copy(
    source: str,
    target: str,
    points: list[str] | None,
    last: int | None,
    name: str | None,
    again: bool,
    dry_run: bool,
    verify: bool,
    to_passphrase_file: Path | None,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Copy restore points into another repository."""
    from repository.copying_plan import Selection, plan_copy

    secrets = passphrase_file, to_passphrase_file
    with _both(source, target, secrets, cache_dir, state_dir) as (original, copied):
        selection = Selection(tuple(points or ()), last, name, again)
        plan = plan_copy(original, copied, selection)
        if dry_run:
            return _tell_plan(plan, target, json=json)
        report = _copied(original, copied, plan, quiet=json)
        checked = None
        if verify:
            named = [point.id for point in plan.present] if points else []
            ids = [*named, *(point.id for point in report.points)]
            checked = _checked(original, copied, ids, quiet=json)
    if json:
        print_json(_document(plan, report, checked))
    else:
        _tell(plan, report, checked, target)
    return _code(plan, report, checked)


@contextmanager
def _both(
    source: str,
    target: str,
    secrets: tuple[Path | None, Path | None],
    cache_dir: Path | None,
    state_dir: Path | None,
) -> "Iterator[tuple[Repository, Repository]]":
    """Both repositories, opened; asked for in the order of the command line."""
    from repository import open_repository
    from repository.blobstore.addresses import open_store

    for address in (source, target):
        open_store(address)  # before a passphrase is asked for
    first = arguments.credential(secrets[0], of=source)
    second = arguments.credential(secrets[1], side="to", of=target)
    places = arguments.places(cache_dir, state_dir)
    with open_repository(source, first, places) as original:
        from repository.copying_plan import require_two

        with open_repository(target, second, places) as copied:
            require_two(original, copied)
            yield original, copied


def _copied(
    source: "Repository", target: "Repository", plan: "Plan", *, quiet: bool
) -> "CopyReport":
    from repository.copying import copy_points

    begun = time.monotonic()
    with progress_bar("copying", quiet=quiet) as bar:

        def show(p: "CopyProgress") -> None:
            rate = p.bytes_read / max(time.monotonic() - begun, 0.001)
            read = f"{size_text(p.bytes_read)}, {size_text(rate)}/s"
            note = f"{p.points}/{p.points_total} points, {p.items} items, {read}"
            bar.update(p.bytes + p.items, p.bytes_total + p.items_total, note)

        return copy_points(source, target, plan, show=show if bar.shown else None)


def _checked(
    source: "Repository", target: "Repository", ids: list[str], *, quiet: bool
) -> "CheckReport":
    from repository.copying_check import check_copy

    with progress_bar("comparing", quiet=quiet) as bar:
        return check_copy(
            source, target, ids, lambda done, todo, size: bar.update(done, todo, size_text(size))
        )


def _code(plan: "Plan", report: "CopyReport", checked: "CheckReport | None") -> int:
    if report.unsealed or (checked is not None and checked.problems and not report.problems):
        return FAILED
    problems = (
        report.problems or plan.damaged or plan.closed or (checked is not None and checked.problems)
    )
    return WARNINGS if problems else DONE


# -- what is told --------------------------------------------------------------------------------


def _point_document(point: "PointForm") -> dict[str, object]:
    return {
        "id": point.id,
        "name": point.name,
        "created_at": point.created_at,
        "result": point.result,
        "objects": len({entry.object.id for entry in point.entries}),
        "items": sum(entry.items for entry in point.entries),
        "bytes": sum(entry.bytes for entry in point.entries),
    }


def _plan_document(plan: "Plan") -> dict[str, object]:
    return {
        "present": len(plan.present),
        "older": [point.id for point in plan.older],
        "damaged": sorted(plan.damaged),
        "closed": sorted(plan.closed),
    }


def _document(
    plan: "Plan", report: "CopyReport", checked: "CheckReport | None"
) -> dict[str, object]:
    document = {
        "points": [_point_document(point) for point in report.points],
        **_plan_document(plan),
        "unsealed": report.unsealed,
        "rows": report.rows,
        "removed": report.removed,
        "bytes_read": report.bytes_read,
        "bytes_stored": report.bytes_stored,
        "seconds": round(report.seconds, 3),
        "problems": [dataclasses.asdict(problem) for problem in report.problems],
    }
    if checked is not None:
        document["verified"] = {
            "points": checked.points,
            "items": checked.items,
            "bytes": checked.bytes,
            "problems": [dataclasses.asdict(problem) for problem in checked.problems],
        }
    return document


def _tell_plan(plan: "Plan", target: str, *, json: bool) -> int:
    wanted = [_point_document(point) for point in plan.wanted]
    if json:
        print_json({"dry_run": True, "points": wanted, **_plan_document(plan)})
        return WARNINGS if plan.damaged or plan.closed else DONE
    if wanted:
        rows = [
            [
                point.id,
                point.created_at[:19].replace("T", " "),
                point.name,
                str(sum(entry.items for entry in point.entries)),
                size_text(sum(entry.bytes for entry in point.entries)),
            ]
            for point in plan.wanted
        ]
        table(["id", "time (UTC)", "name", "items", "size"], rows, right=(3, 4))
    say(f"would copy {len(wanted)} restore points to {target}; only what changed between them")
    _tell_left_out(plan)
    return WARNINGS if plan.damaged or plan.closed else DONE


def _tell_left_out(plan: "Plan") -> None:
    if plan.present:
        say(f"{len(plan.present)} are there already")
    if plan.older:
        say(f"{len(plan.older)} older than the newest copy are left out: --again copies them")
    for point, why in plan.closed.items():
        complain(f"restore point {point} is left out: {why}")
    for name, error in plan.damaged.items():
        complain(f"damaged: {name}: {error.message} ({error.code})")


def _tell(plan: "Plan", report: "CopyReport", checked: "CheckReport | None", target: str) -> None:
    _complain_of(report.problems)
    for point in report.unsealed:
        complain(f"restore point {point} was not copied: nothing of it can be read")
    rate = report.bytes_read / max(report.seconds, 0.001)
    say(
        f"copied {len(report.points)} restore points to {target}: {report.rows} items and folders, "
        f"{size_text(report.bytes_read)} read, {size_text(report.bytes_stored)} stored, "
        f"{report.seconds:.1f} s, {size_text(rate)}/s"
    )
    _tell_left_out(plan)
    if checked is None:
        return
    _complain_of(checked.problems)
    verdict = f"{len(checked.problems)} differences" if checked.problems else "all equal"
    say(
        f"{verdict}: {checked.points} restore points, {checked.items} items, "
        f"{size_text(checked.bytes)} compared with the original"
    )


def _complain_of(problems: "list[CopyProblem]") -> None:
    for problem in problems[:PROBLEMS_SHOWN_MAX]:
        place = "/".join(p for p in (problem.object, problem.workload, problem.name) if p)
        complain(
            f"restore point {problem.point}: {plain_text(place)}: {problem.reason} ({problem.code})"
        )
    if len(problems) > PROBLEMS_SHOWN_MAX:
        complain(f"... and {len(problems) - PROBLEMS_SHOWN_MAX} more; --json lists all")
