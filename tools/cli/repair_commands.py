"""`strongroom repo verify` and `repo salvage`: check what is stored, repair it, get back what is left."""

import dataclasses
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError
from tools.cli import arguments
from tools.cli.output import (
    DONE,
    FAILED,
    WARNINGS,
    complain,
    facts,
    plain_text,
    print_json,
    progress_bar,
    say,
    size_text,
)

if TYPE_CHECKING:
    from engine.manifest import PointForm
    from repository.ledger import Level, Rolling
    from repository.leftover import Leftover
    from repository.mending import RepairReport
    from repository.salvage import SalvageReport
    from repository.scrub import ScrubReport
    from repository.verify import VerifyReport

_SIZE_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_TIME_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def verify(
    repo: str,
    level: "Level | None",
    read_data: bool,
    repair: bool,
    dry_run: bool,
    others: list[str] | None,
    budget: str | None,
    older_than: str | None,
    everything: bool,
    as_of: str | None,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Check what is stored; with --repair put back what is damaged."""
    _require_fit(repair=repair, dry_run=dry_run, others=others, rolling=bool(budget or older_than))
    chosen: Level = "read" if read_data else level or ("scrub" if repair else "directory")
    if as_of is not None and chosen == "scrub":
        raise UsageError(
            "--as-of looks with the keys and repairs nothing: give another --level",
            code="as-of-options",
        )
    if repair:
        return _repair(
            repo,
            chosen,
            others or [],
            (passphrase_file, cache_dir, state_dir),
            dry_run=dry_run,
            json=json,
        )
    from repository.verify import verify as checked

    rolling = _rolling(budget, older_than)
    if chosen == "scrub":
        return _scrub(repo, rolling, state_dir, json=json)
    with (
        arguments.opened(
            repo,
            passphrase_file,
            cache_dir,
            state_dir,
            soon="repository.verify",
            as_of=as_of,
            damaged=True,
        ) as opened,
        progress_bar("verifying", quiet=json) as bar,
    ):
        report = checked(  # it was opened a moment ago: the state is not read again
            opened,
            chosen,
            lambda done, all_, read: bar.update(done, all_, size_text(read)),
            rolling,
            everything=everything,
        )
    if json:
        print_json({**dataclasses.asdict(report), "ok": report.ok})
    else:
        _tell_verified(report)
        if not report.ok:
            complain(
                "nothing was changed: `--repair` puts back what parity or a copy can make good"
            )
    return DONE if report.ok else FAILED


def _require_fit(*, repair: bool, dry_run: bool, others: list[str] | None, rolling: bool) -> None:
    if (dry_run or others) and not repair:
        raise UsageError("--dry-run and --from belong to --repair", code="repair-options")
    if repair and rolling:
        raise UsageError(
            "--repair looks at everything: leave --budget and --older-than away",
            code="repair-options",
        )


# -- rolling ---------------------------------------------------------------------------------------


def _rolling(budget: str | None, older_than: str | None) -> "Rolling | None":
    """What --budget (10% or 50G) and --older-than (30d, 12h, 2w) choose. UsageError."""
    from repository.ledger import Rolling

    if budget is None and older_than is None:
        return None
    share = budget_bytes = age = None
    if budget is not None:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%|[kmgt]?b?)", budget.lower())
        if found is None:
            raise UsageError("--budget is a share or a size: 10%, 50G", code="budget-form")
        number, unit = float(found[1]), found[2]
        if unit == "%":
            share = number / 100
        else:
            budget_bytes = int(number * _SIZE_UNITS[unit.removesuffix("b")])
    if older_than is not None:
        found = re.fullmatch(r"(\d{1,5})\s*([hdw])", older_than.lower())
        if found is None:
            raise UsageError("--older-than is a time: 30d, 12h, 2w", code="age-form")
        age = int(found[1]) * _TIME_UNITS[found[2]]
    return Rolling(share, budget_bytes, age)


def _scrub(repo: str, rolling: "Rolling | None", state_dir: Path | None, *, json: bool) -> int:
    """Needs no key."""
    from repository.blobstore.addresses import open_store
    from repository.layout import CONFIG
    from repository.ledger import Ledger
    from repository.scrub import scrub
    from repository.settings import read_config

    store = open_store(repo)
    config = read_config(store.get(CONFIG), store.describe())
    folder = arguments.places(None, state_dir).state_dir / config.repository
    with progress_bar("scrubbing", quiet=json) as bar:
        report = scrub(store, bar.update, Ledger(folder / "verified.json"), rolling)
    if json:
        print_json({**dataclasses.asdict(report), "ok": not report.damaged})
    else:
        _tell_scrubbed(report)
    return FAILED if report.damaged else DONE


def _tell_scrubbed(report: "ScrubReport") -> None:
    for name in report.damaged:
        complain(f"{name}: its bytes are not those its name says (object-corrupt)")
    count = len(report.damaged)
    verdict = f"{count} objects are damaged" if count else "no problem found"
    say(f"{verdict}: {report.objects} objects, {size_text(report.bytes_read)} read at level scrub")
    _tell_age(report.packs, report.packs_looked_into, report.oldest, "scrub")


def _tell_age(packs: int, looked_into: int, oldest: str | None, level: str) -> None:
    if oldest is None or level == "listing":
        return
    since = f"since {oldest[:16]}" if oldest else "in part never yet"
    say(f"looked into {looked_into} of {packs} packs; all were at this level {since}")


def _tell_verified(report: "VerifyReport") -> None:
    for problem in report.problems:
        remedy = f"; `{problem.remedy}` makes it good" if problem.remedy else ""
        complain(f"{problem.name}: {problem.detail} ({problem.code}){remedy}")
    for affected in report.affected:
        complain(f"affected: {affected}")
    if report.points_affected:
        complain(f"restore points that are not whole: {', '.join(report.points_affected)}")
        lost = ", ".join(report.points_lost) or "none"
        complain(f"... and that nothing stored here makes whole again: {lost}")
    if report.drill is not None:
        for kind, done in sorted(report.drill.kinds.items()):
            failed = f", {done.failed} FAILED" if done.failed else ""
            say(f"drill, {kind}: {done.items} read of {size_text(done.bytes)}{failed}")
        for failure in report.drill.failures:
            complain(f"drill: {failure}")
    for scope in report.closed:
        say(
            f"{scope.state}: scope {plain_text(scope.name)}, {len(scope.points)} restore points, {scope.entries} entries: "
            "its stored bytes are looked at, what is in them is not"
        )
    verdict = "no problem found" if report.ok else f"{len(report.problems)} problems"
    say(
        f"{verdict}: {report.objects} objects, {report.packs} packs, {report.chunks} chunks, "
        f"{report.points} restore points, {size_text(report.bytes_read)} read at level {report.level}"
    )
    _tell_age(report.packs, report.packs_looked_into, report.oldest, report.level)


# -- repair ----------------------------------------------------------------------------------------


def _repair(
    repo: str,
    level: "Level",
    others: list[str],
    opening: tuple[Path | None, Path | None, Path | None],
    *,
    dry_run: bool,
    json: bool,
) -> int:
    from repository.blobstore.addresses import open_store
    from repository.repair import verify_and_repair

    store, copies = open_store(repo), [open_store(other) for other in others]
    passphrase_file, cache_dir, state_dir = opening
    credential = arguments.credential(passphrase_file)
    with progress_bar("repairing", quiet=json) as bar:
        report, after = verify_and_repair(
            store,
            credential,
            arguments.places(cache_dir, state_dir),
            level,
            copies,
            dry_run=dry_run,
            progress=bar.update,
        )
    if json:
        verified = None if after is None else {**dataclasses.asdict(after), "ok": after.ok}
        print_json({"repair": dataclasses.asdict(report), "verify": verified})
    else:
        _tell_repaired(report)
        if after is not None:
            _tell_verified(after)
    if after is None or not after.ok or report.lost:
        return FAILED
    return WARNINGS if report.marked else DONE


def _tell_repaired(report: "RepairReport") -> None:
    would = "would be " if report.dry_run else ""
    for one in report.repaired:
        say(f"{would}repaired: {one.name}, by {one.by}")
    for run in report.runs_lost:
        say(f"{would}replaced: run/{run}, made again from the directories of packs")
    for name in report.unmarked:
        say(f"{name} is sound again: its mark {would}taken away")
    for name in report.marked:
        complain(
            f"{name} cannot be repaired: {would}marked, the next backup stores its chunks anew"
        )
    for name in report.lost:
        complain(f"{name} cannot be repaired: put it back from a copy (--from)")
    if not (report.changed or report.lost):
        say("nothing to repair")


# -- salvage ---------------------------------------------------------------------------------------


def salvage(
    repo: str,
    show: bool,
    dry_run: bool,
    force: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Name anew what is left of a repository whose cells, generations or runs are lost."""
    from repository.blobstore.addresses import open_store
    from repository.leftover import leftover
    from repository.salvage import salvage

    store = open_store(repo)
    credential = arguments.credential(passphrase_file)
    if show:
        if dry_run or force:
            raise UsageError("--list goes alone: it writes nothing", code="salvage-options")
        found = leftover(store, credential, arguments.places(cache_dir, state_dir))
        if json:
            print_json({**dataclasses.asdict(found), "points": _listing(found.points)})
        else:
            _tell_left(found)
        return WARNINGS if found.damaged else DONE
    with progress_bar("looking into packs", quiet=json) as bar:
        report = salvage(
            store,
            credential,
            arguments.places(cache_dir, state_dir),
            dry_run=dry_run,
            force=force,
            progress=bar.update,
        )
    if json:
        told = {f.name: getattr(report, f.name) for f in dataclasses.fields(report)}
        print_json({**told, "listing": _listing(report.listing)})
        return WARNINGS if report.damaged else DONE
    _tell_salvaged(report)
    return WARNINGS if report.damaged else DONE


def _listing(points: "list[PointForm]") -> list[dict[str, object]]:
    return [
        {"id": p.id, "name": p.name, "created_at": p.created_at, "entries": len(p.entries)}
        for p in points
    ]


def _tell_points(points: "list[PointForm]") -> None:
    for point in points:
        name = plain_text(point.name)
        say(f"{point.id}  {point.created_at[:16]}  {len(point.entries)} objects  {name}")


def _tell_left(found: "Leftover") -> None:
    """Configuration, protected objects, restore points."""
    for name, why in found.damaged.items():
        complain(f"{name}: {why}")
    told = dataclasses.asdict(found.configuration)
    for several in ("keys", "holds", "forgotten", "writers", "packs_marked", "protected"):
        del told[several]
    facts({name.replace("_", " "): str(value) for name, value in told.items()})
    held = found.configuration
    for key in held.keys:
        say(f"key {key.id}: {key.kind}, {key.created_at[:10]} {plain_text(key.label)}".rstrip())
    for writer, turn in sorted(held.writers.items()):
        say(f"writer {writer}: turn {turn}")
    for point, reason in sorted(held.holds.items()):
        say(f"held: {point}, {plain_text(reason)}")
    for point in held.forgotten:
        say(f"forgotten, not collected: {point}")
    for name in held.packs_marked:
        say(f"marked as damaged: {name}")
    for one in held.protected:
        names = ", ".join(one.workloads)
        say(f"protected: {one.kind} {plain_text(one.name)}: {names}; newest {one.newest[:16]}")
    _tell_points(found.points)
    say(f"{len(found.points)} restore points; jobs and policies are not kept in a repository")


def _tell_salvaged(report: "SalvageReport") -> None:
    for name, why in report.damaged.items():
        complain(f"{name}: {why}")
    _tell_points(report.listing)
    say(
        f"{len(report.listing)} restore points ({report.points_taken_in} that nothing named), "
        f"{report.manifests} manifests ({report.manifests_taken_in}), {report.chunks} chunks"
    )
    say(f"index: {report.runs_lost} runs lost, {report.packs_taken_in} packs taken in")
    if report.left_out:
        complain(f"{len(report.left_out)} manifests left out: their catalogs are not all there")
    if report.dry_run:
        say("nothing was written")
    else:
        say(
            f"generation {report.generation} names all this; machines that saw a newer state say so: "
            "run `repo verify --read-data` next"
        )
