"""`strongroom repo lock ...`: what the store locks, for how long, and whether it says so."""

import dataclasses
from pathlib import Path

from tools.cli import arguments
from tools.cli.output import DONE, FAILED, complain, print_json, progress_bar, say

DRIFTS_SHOWN_MAX = 100
_MEANINGS = {
    "bucket": "the bucket",
    "unlocked": "not locked",
    "short": "locked for too short",
    "weaker": "locked in a weaker mode",
    "hidden": "deleted by somebody else",
    "missing": "missing",
    "overwritten": "overwritten by somebody else",
    "locked": "locked and should not be",
    "long": "locked for longer than we would",
}


def audit(
    repo: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Compare the locks that the store states with what was promised."""
    from repository.immutability import audit_locks

    with (
        arguments.opened(repo, passphrase_file, cache_dir, state_dir) as opened,
        progress_bar("asking for locks", quiet=json) as bar,
    ):
        report = audit_locks(opened, lambda done, todo: bar.update(done, todo, f"{done} objects"))
    if json:
        print_json({**dataclasses.asdict(report), "ok": not report.drifts})
        return FAILED if report.drifts else DONE
    say(
        f"{report.locked} of {report.objects} objects are locked ({report.mode}); promised: "
        f"{report.days} days, the first lock ends {report.locked_until or 'never: there is none'}"
    )
    for drift in report.drifts[:DRIFTS_SHOWN_MAX]:
        complain(f"{drift.name or 'bucket'}: {_MEANINGS[drift.kind]} ({drift.detail})")
    if len(report.drifts) > DRIFTS_SHOWN_MAX:
        complain(f"... and {len(report.drifts) - DRIFTS_SHOWN_MAX} more; --json lists all")
    if any(drift.kind in ("unlocked", "short", "weaker") for drift in report.drifts):
        complain("`strongroom repo lock extend` locks what is not locked enough")
    return FAILED if report.drifts else DONE


def extend(
    repo: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Bring every lock up to the promise; collect does it too."""
    from repository.immutability import extend_locks

    with (
        arguments.opened(repo, passphrase_file, cache_dir, state_dir) as opened,
        progress_bar("asking for locks", quiet=json) as bar,
    ):
        report = extend_locks(
            opened,
            lambda done, todo: bar.update(done, todo, f"{done} objects"),
            everything=True,
        )
    if json:
        print_json(dataclasses.asdict(report))
    else:
        say(f"extended {report.extended} of {report.objects} locks to {report.until}")
    return DONE


def set_(
    repo: str,
    days: int,
    dry_run: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Lock for more days from now on; never for fewer."""
    from repository.immutability import extend_locks, require_immutable

    with arguments.opened(repo, passphrase_file, cache_dir, state_dir) as opened:
        held = require_immutable(opened)
        before = held.days()
        held.require_more(days)
        if not dry_run:
            held.raise_days(days)
            report = extend_locks(opened, everything=True)
    if json:
        print_json({"days_before": before, "days": days, "dry_run": dry_run})
    elif dry_run:
        say(f"would lock for {days} days instead of {before}; nothing was changed")
    else:
        say(f"locks are for {days} days now; {report.extended} were extended to {report.until}")
    return DONE
