"""Microsoft 365 without a server: `backup`, and `export` of a tenant's restore points."""

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

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
)

if TYPE_CHECKING:
    from engine.manifest import PointForm
    from proxy.contract import ExportFormat, Selection
    from proxy.pipeline.standalone import SessionProgress, SessionResult
    from repository import Repository

PROBLEMS_SHOWN_MAX = 100
WorkloadChoice = Literal["mail", "calendar", "contacts", "tasks", "drives"]
WORKLOADS: tuple[WorkloadChoice, ...] = get_args(WorkloadChoice)


def backup(
    repo: str,
    org: Path,
    users: list[str] | None,
    workloads: list[WorkloadChoice] | None,
    budget_share: float,
    scope: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
    groups: list[str] | None,
    filter: str | None,
    without_users: list[str] | None,
    folders: list[str] | None,
    without_folders: list[str] | None,
    received_from: str | None,
    received_until: str | None,
    dated_from: str | None,
    dated_until: str | None,
    recoverable_items: bool,
    mail_policy: Literal["full", "portable"] | None,
) -> int:
    """One backup session of a Microsoft 365 tenant, without a server."""
    from proxy.contract import Selection
    from proxy.graph.settings import load_organization
    from proxy.pipeline.standalone import backup_organization

    organization = dataclasses.replace(load_organization(org), budget_share=budget_share)
    with (
        arguments.opened(repo, passphrase_file, cache_dir, state_dir) as opened,
        progress_bar("backing up", quiet=json) as bar,
    ):

        def show(progress: "SessionProgress") -> None:
            note = f"{progress.items} items, {size_text(progress.bytes_read)} read, {progress.requests} requests"
            bar.update(progress.tasks_done, progress.tasks, note)

        result = asyncio.run(
            backup_organization(
                organization,
                opened,
                users=users or (),
                selection=Selection(
                    groups=groups or [],
                    filter=filter or "",
                    without_users=without_users or [],
                    folders=folders or [],
                    without_folders=without_folders or [],
                    received_from=received_from or "",
                    received_until=received_until or "",
                    dated_from=dated_from or "",
                    dated_until=dated_until or "",
                    recoverable_items=recoverable_items,
                    mail_policy=mail_policy or "full",
                ),
                workloads=workloads or WORKLOADS,
                progress=show,
                scope=scope,
            )
        )
    return _report(result, json=json)


def _report(result: "SessionResult", *, json: bool) -> int:
    code = FAILED if result.failed else WARNINGS if result.warned else DONE
    totals = {
        name: sum(getattr(task.counters, name) for task in result.tasks)
        for name in (
            "items_stored",
            "items_unchanged",
            "items_removed",
            "bytes_read",
            "requests",
            "resource_units",
            "throttled",
        )
    }
    problems = [(task, outcome) for task in result.tasks for outcome in task.outcomes]
    failed = [task for task in result.tasks if task.error_code]
    if json:
        print_json(
            {
                "point": result.point.id if result.point else None,
                "session": result.session,
                "result": "failed" if result.failed else "warning" if result.warned else "success",
                **totals,
                "tasks": [
                    {
                        "object": task.object.name,
                        "workload": task.workload,
                        "counters": task.counters,
                        "outcomes": task.outcomes,
                        "error_code": task.error_code,
                        "error": task.error,
                    }
                    for task in result.tasks
                ],
                "missing": result.missing,
            }
        )
        return code
    for missing in result.missing:
        complain(f"{missing.name}: {missing.cause}")
    for task in failed:
        complain(f"failed: {task.object.name}/{task.workload}: {task.error} ({task.error_code})")
    for task, outcome in problems[:PROBLEMS_SHOWN_MAX]:
        name = plain_text(outcome.name)
        complain(f"{outcome.result}: {task.object.name}/{task.workload}: {name}: {outcome.cause}")
    if len(problems) > PROBLEMS_SHOWN_MAX:
        complain(f"... and {len(problems) - PROBLEMS_SHOWN_MAX} more; --json lists all")
    point = f"restore point {result.point.id}" if result.point else "no restore point"
    say(
        f"{point}: {len(result.tasks)} tasks, {totals['items_stored']} items stored, "
        f"{totals['items_unchanged']} unchanged, {totals['items_removed']} removed, "
        f"{size_text(totals['bytes_read'])} read, {totals['requests']} requests"
    )
    return code


def export_tenant(
    repository: "Repository",
    point: "PointForm",
    destination: Path,
    path: str,
    form: "ExportFormat",
    selection: "Selection",
    *,
    json: bool,
) -> int:
    """`export` of a restore point of a tenant."""
    from proxy.pipeline.export import ExportProgress, export_point

    with progress_bar("exporting", quiet=json) as bar:

        def show(progress: ExportProgress) -> None:
            bar.update(progress.items, progress.items_total, size_text(progress.bytes))

        result = export_point(repository, point, destination, path, form, show, selection=selection)
    if json:
        print_json(
            {
                "files": result.files,
                "folders": result.folders,
                "bytes": result.bytes,
                "problems": result.problems,
            }
        )
    else:
        for problem in result.problems[:PROBLEMS_SHOWN_MAX]:
            complain(plain_text(str(problem)))
        say(
            f"wrote {result.files} files, {result.folders} folders, "
            f"{size_text(result.bytes)} to {destination}"
        )
    return WARNINGS if result.problems else DONE
