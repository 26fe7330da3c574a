"""`strongroom repo collect`: space of what nothing needs comes back."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tools.cli import arguments
from tools.cli.output import DONE, print_json, progress_bar, say, size_text

if TYPE_CHECKING:
    from repository.collector import CollectReport

STEPS = {
    "mark": "marking what is needed",
    "copy": "copying out of sparse packs",
    "wait": "waiting for writers",
    "delete": "deleting",
}


def collect(
    repo: str,
    dry_run: bool,
    wait_s: float,
    max_unused: float,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Give back the space of what nothing needs."""
    with (
        arguments.opened(
            repo, passphrase_file, cache_dir, state_dir, soon="repository.collector"
        ) as opened,
        progress_bar("collecting", quiet=json) as bar,
    ):
        from repository.collector import CollectLimits

        report = opened.collect(
            dry_run=dry_run,
            limits=CollectLimits(wait_s=wait_s, unused_share_max=max_unused / 100),
            progress=lambda step, done, todo: bar.update(done, todo, STEPS[step]),
        )
    if json:
        print_json(dataclasses.asdict(report))
    elif dry_run:
        _tell_plan(report)
    else:
        _tell(report)
    return DONE


def _tell_plan(report: "CollectReport") -> None:
    unused = max(0, report.pack_bytes - report.needed_bytes)
    say(f"would drop {report.points_forgotten} restore points and {report.entries_dropped} entries")
    for point in report.would_forget:
        say(f"  restore point {point}")
    say(f"would delete {report.condemned} objects of {size_text(report.condemned_bytes)}")
    say(f"would copy {size_text(report.copied_bytes)} out of {report.copied_packs} sparse packs")
    say(
        f"packs: {size_text(report.pack_bytes)} in {report.packs}; not needed of them, with fill and "
        f"parity: {size_text(unused)}"
    )
    say("nothing was changed")


def _tell(report: "CollectReport") -> None:
    say(
        f"dropped {report.points_forgotten} restore points and {report.entries_dropped} entries; "
        f"{report.points} restore points are left"
    )
    if report.copied_packs:
        say(f"copied {size_text(report.copied_bytes)} out of {report.copied_packs} packs")
    if report.turns_revoked:
        say(f"{report.turns_revoked} writers were too slow: they go on from their last commit")
    freed = report.deleted_bytes - report.copied_bytes
    say(
        f"deleted {report.deleted} objects of {size_text(report.deleted_bytes)}; "
        f"the repository is {size_text(abs(freed))} {'smaller' if freed >= 0 else 'larger'}"
    )
    if report.locked:
        say(f"{report.locked} objects go when their locks end")
    if report.locks_extended:
        say(f"{report.locks_extended} locks were extended")
    if report.condemned:
        say(
            f"{report.condemned} objects of {size_text(report.condemned_bytes)} are condemned: "
            "the next collection deletes what nobody needs by then"
        )
