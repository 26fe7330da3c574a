"""Restore to Microsoft 365 without a server: `restore`."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.errors import UsageError
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
    from proxy.restore.session import EntryResult, RestoreProgress, RestoreResult

PROBLEMS_SHOWN_MAX = 100
COLUMNS = ("create", "copy", "replace", "skip", "unchanged", "failed")


def restore(
    repo: str,
    point: str,
    org: Path,
    to: str,
    path: str,
    folders: list[str] | None,
    without_folders: list[str] | None,
    received_from: str | None,
    received_until: str | None,
    dated_from: str | None,
    dated_until: str | None,
    collision: Literal["skip", "copy", "replace"],
    settings: str,
    settings_only: bool,
    dry_run: bool,
    yes: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Plan, ask before anything is replaced, write, report."""
    from proxy.contract import Selection
    from proxy.graph.settings import load_organization
    from proxy.restore.destination import parse_destination
    from proxy.restore.session import RestoreAsked, restore_point
    from proxy.restore.setting_rows import parse_settings

    organization = load_organization(org)
    parts = parse_settings(settings)
    if settings_only and not parts:
        raise UsageError("--settings-only needs --settings.", code="settings-unknown")
    destination = parse_destination(to)
    selection = Selection(
        folders=folders or [],
        without_folders=without_folders or [],
        received_from=received_from or "",
        received_until=received_until or "",
        dated_from=dated_from or "",
        dated_until=dated_until or "",
    )
    asked = RestoreAsked(destination, path, collision, dry_run, parts, not settings_only, selection)
    with (
        arguments.opened(repo, passphrase_file, cache_dir, state_dir) as opened,
        progress_bar("restoring", quiet=json or dry_run) as bar,
    ):

        def show(progress: "RestoreProgress") -> None:
            bar.update(progress.items, progress.items_total, f"{progress.requests} requests")

        result = asyncio.run(
            restore_point(
                organization,
                opened,
                opened.point(point),
                asked,
                state_dir=arguments.places(cache_dir, state_dir).state_dir,
                confirm=None if yes else _confirmed,
                progress=show,
            )
        )
    if json:
        print_json(_document(result))
    else:
        _report(result)
    return FAILED if result.failed else WARNINGS if result.warned else DONE


def _confirmed(result: "RestoreResult") -> bool:
    """Ask before items are replaced; on no terminal it must have been said before."""
    plans = [entry.plan for entry in result.entries if entry.plan is not None]
    replaced = sum(plan.counts["replace"] for plan in plans)
    if not replaced:
        return True
    if not sys.stdin.isatty():
        raise UsageError(
            f"{replaced} items would be replaced: give --yes, or look with --dry-run",
            code="confirmation-missing",
        )
    sys.stderr.write(f"{replaced} items that are there now will be replaced. Go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _counts(entry: "EntryResult", *, planned: bool) -> dict[str, int]:
    if planned:
        return {str(k): n for k, n in entry.plan.counts.items()} if entry.plan is not None else {}
    return entry.done


def _document(result: "RestoreResult") -> dict[str, object]:
    return {
        "dry_run": result.dry_run,
        "resumed": result.resumed,
        "result": "failed" if result.failed else "warning" if result.warned else "success",
        "requests": result.requests,
        "left_out": result.left_out,
        "cost": {
            "requests": result.cost.requests,
            "upload_bytes": result.cost.upload_bytes,
            "seconds_min": round(result.seconds_min, 1),
        },
        "entries": [
            {
                "entry": entry.label,
                "target": entry.plan.target if entry.plan is not None else None,
                "places_made": entry.plan.places_made if entry.plan is not None else 0,
                "planned": _counts(entry, planned=True),
                "done": dict(entry.done),
                "outcomes": entry.outcomes,
                "error_code": entry.error_code,
                "error": entry.error,
            }
            for entry in result.entries
        ],
    }


def _report(result: "RestoreResult") -> None:
    rows = []
    for entry in result.entries:
        if entry.error_code:
            complain(f"failed: {plain_text(entry.label)}: {entry.error} ({entry.error_code})")
        counts = _counts(entry, planned=result.dry_run)
        target = entry.plan.target if entry.plan is not None else "-"
        rows.append([entry.label, target, *(str(counts.get(name, 0)) for name in COLUMNS)])
    table(("entry", "to", *COLUMNS), rows, right=range(2, 2 + len(COLUMNS)))
    problems = [(entry, outcome) for entry in result.entries for outcome in entry.outcomes]
    for entry, outcome in problems[:PROBLEMS_SHOWN_MAX]:
        name = plain_text(outcome.name)
        complain(f"{outcome.result}: {plain_text(entry.label)}: {name}: {outcome.cause}")
    if len(problems) > PROBLEMS_SHOWN_MAX:
        complain(f"... and {len(problems) - PROBLEMS_SHOWN_MAX} more; --json lists all")
    for label in result.left_out:
        complain(f"left out: {plain_text(label)}: not restored to Microsoft 365 yet, use `export`")
    if result.dry_run:
        say(
            f"nothing was written; it takes about {result.cost.requests} requests, "
            f"{size_text(result.cost.upload_bytes)} sent, at least {result.seconds_min:.0f} s"
        )
    else:
        went_on = "went on where it had stopped; " if result.resumed else ""
        say(f"{went_on}{len(result.entries)} entries, {result.requests} requests")
