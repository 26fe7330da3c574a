"""What goes and what stays: `retain`, `forget`, `hold`."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import BackupError, Conflict, NotFound, UsageError
from engine.retention import (
    Candidate,
    Decision,
    ExpiringItems,
    Policy,
    Reason,
    Rule,
    check_sane,
    decide,
    item_cutoff_ns,
    moment_of,
)
from tools.cli import arguments
from tools.cli.output import DONE, WARNINGS, complain, print_json, say, table

if TYPE_CHECKING:
    from engine.manifest import PointForm
    from repository import Repository

REASONS_SHOWN_MAX = 4
_DOUBTFUL = {"future", "time", "damaged"}  # reasons that a person should look at


def retain(
    repo: str,
    policy: Path,
    at: str | None,
    force: bool,
    dry_run: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Apply retention rules."""
    from engine.retention_policy import parse_policy
    from repository import ambient

    rules = parse_policy(_text_of(policy))
    now = moment_of(ambient.now()) if at is None else arguments.moment(at, "--at")
    assert now is not None
    if at is not None and not dry_run:
        raise UsageError("--at looks ahead: it goes with --dry-run alone", code="at-needs-dry-run")
    with arguments.opened(repo, passphrase_file, cache_dir, state_dir) as opened:
        plan = _Plan(opened, now, dry_run=dry_run)
        plan.decisions = decide(plan.candidates(), rules, now)
        plan.expire(_items_from_ns(plan, rules))
        if not force and not dry_run:
            check_sane(plan.decisions, rules, now, plan.items)
        plan.carry_out()
        code = plan.show(json=json)
        if dry_run and not force and at is None:
            _say_refusal(plan, rules)
    return code


def _say_refusal(plan: "_Plan", rules: Policy) -> None:
    """What would stop the command without --dry-run; the preview itself is fine."""
    try:
        check_sane(plan.decisions, rules, plan.now, plan.items)
    except Conflict as error:
        complain(f"note: this would be refused: {error.message} ({error.code})")


def forget(
    repo: str,
    points: list[str],
    keep_last: int | None,
    force: bool,
    dry_run: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Remove restore points; space comes back with collect."""
    from repository import ambient

    if bool(points) == (keep_last is not None):
        raise UsageError("name restore points, or give --keep-last", code="forget-what")
    now = moment_of(ambient.now())
    assert now is not None
    with arguments.opened(repo, passphrase_file, cache_dir, state_dir) as opened:
        plan = _Plan(opened, now, dry_run=dry_run)
        if keep_last is not None:
            plan.decisions = decide(plan.candidates(), Policy((Rule(last=keep_last),)), now)
        else:
            plan.choose(points)
            if not force and plan.points and not any(d.keep for d in plan.decisions):
                raise Conflict(
                    "no restore point would be left: --force if that is wanted", code="forget-all"
                )
        plan.carry_out()
        return plan.show(json=json)


def hold_add(
    repo: str,
    point: str,
    reason: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """Keep a restore point whatever the rules say."""
    with arguments.opened(repo, passphrase_file, cache_dir, state_dir) as opened:
        chosen = opened.point(point)
        opened.hold(chosen.id, reason)
    if json:
        print_json({"id": chosen.id, "name": chosen.name, "held": True, "reason": reason})
    else:
        say(f"restore point {chosen.id} ({chosen.name}) is held")
    return DONE


def hold_remove(
    repo: str,
    point: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """End the hold of a restore point."""
    with arguments.opened(repo, passphrase_file, cache_dir, state_dir) as opened:
        chosen = opened.point(point)
        opened.release(chosen.id)
    if json:
        print_json({"id": chosen.id, "name": chosen.name, "held": False})
    else:
        say(f"restore point {chosen.id} ({chosen.name}) is no longer held")
    return DONE


def hold_list(
    repo: str,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """List held restore points."""
    with arguments.opened(repo, passphrase_file, cache_dir, state_dir) as opened:
        holds = opened.state.generation.holds
        found = [point for point in opened.points({}) if point.id in holds]
    if json:
        print_json(
            [
                {"id": p.id, "name": p.name, "created_at": p.created_at, "reason": holds[p.id]}
                for p in found
            ]
        )
    elif not found:
        say("no restore point is held")
    else:
        rows = [[p.id, _time(p.created_at), p.name, holds[p.id]] for p in found]
        table(["id", "time (UTC)", "name", "reason"], rows)
    return DONE


class _Plan:
    """The restore points of a repository, what is decided of each, and the doing of it."""

    def __init__(self, repository: "Repository", now: datetime, *, dry_run: bool) -> None:
        self.repository = repository
        self.now = now
        self.dry_run = dry_run
        self.damaged: dict[str, BackupError] = {}
        self.points = repository.points(self.damaged)
        self.holds = repository.state.generation.holds
        self.decisions: list[Decision] = []
        self.items_from_ns: int | None = None
        self.items: ExpiringItems | None = None

    def candidates(self) -> list[Candidate]:
        """The points as the rules see them."""
        return [
            Candidate(
                p.id,
                p.name,
                p.created_at,
                _objects(p),
                self.holds.get(p.id),
                any(e.entry.manifest in self.repository.entries.damaged for e in p.entries),
            )
            for p in self.points
        ]

    def choose(self, texts: Sequence[str]) -> None:
        """Decide that the points that POINT arguments name go, and no other. Conflict if one is held."""
        from repository.points import resolve_point

        chosen = {resolve_point(self.points, text, self.damaged).id for text in texts}
        for candidate in self.candidates():
            keep = candidate.id not in chosen
            if not keep and candidate.hold is not None:
                raise Conflict(
                    f"restore point {candidate.id} is held ({candidate.hold}): `strongroom hold remove` first",
                    code="point-held",
                )
            reason = Reason("named", "not named" if keep else "named")
            self.decisions.append(Decision(candidate, keep, (reason,)))

    def expire(self, items_from_ns: int | None) -> None:
        """Decide that items of before a time go, and count them."""
        from repository.expiry import expiring_items

        if items_from_ns is not None:
            self.items_from_ns = items_from_ns
            self.items = expiring_items(self.repository, items_from_ns)

    @property
    def going(self) -> list[Decision]:
        """What goes."""
        return [decision for decision in self.decisions if not decision.keep]

    def carry_out(self) -> None:
        """Forget what goes, unless this is a dry run."""
        if not self.dry_run and (self.going or self.items_from_ns is not None):
            ids = [decision.point.id for decision in self.going]
            self.repository.forget(ids, items_from_ns=self.items_from_ns)

    def show(self, *, json: bool) -> int:
        """Say what goes, in a dry run also what stays, and why; the exit code."""
        doubtful = [d for d in self.decisions if any(r.rule in _DOUBTFUL for r in d.reasons)]
        for decision in doubtful:
            complain(f"{decision.point.id}: {', '.join(r.text for r in decision.reasons)}")
        for error in self.damaged.values():
            complain(f"damaged, stays: {error} ({error.code})")
        if json:
            print_json(self._document())
        else:
            self._show_table()
        return WARNINGS if doubtful or self.damaged else DONE

    def _show_table(self) -> None:
        shown = self.decisions if self.dry_run else self.going
        rows = [
            [
                "stays" if d.keep else "goes",
                d.point.id,
                _time(d.point.created_at),
                d.point.series,
                _why(d.reasons),
            ]
            for d in shown
        ]
        if rows:
            table(["", "id", "time (UTC)", "name", "why"], rows)
        if self.items_from_ns is not None and self.items is not None:
            go = "would go" if self.dry_run else "go"
            say(
                f"items created and modified before {_moment_text(self.items_from_ns)} {go}, for good: "
                f"{self.items.going} of {self.items.there} in the newest states"
            )
        going = len(self.going)
        if self.dry_run:
            say(f"{going} of {len(self.decisions)} restore points would be forgotten")
        else:
            say(f"{going} restore points forgotten; `strongroom repo collect` gives the space back")

    def _document(self) -> dict[str, object]:
        return {
            "dry_run": self.dry_run,
            "now": self.now.isoformat().replace("+00:00", "Z"),
            "forgotten": len(self.going),
            "kept": len(self.decisions) - len(self.going),
            "items_from_ns": self.items_from_ns,
            "items": None if self.items is None else asdict(self.items),
            "damaged": sorted(self.damaged),
            "points": [
                {
                    "id": d.point.id,
                    "name": d.point.series,
                    "created_at": d.point.created_at,
                    "keep": d.keep,
                    "reasons": [{"rule": r.rule, "text": r.text} for r in d.reasons],
                }
                for d in self.decisions
            ],
        }


def _items_from_ns(plan: _Plan, policy: Policy) -> int | None:
    """The time before which items go; None if none do, or no more than went before. UsageError where it would do harm."""
    cutoff = item_cutoff_ns(policy, plan.now)
    if cutoff is None:
        return None
    if any(e.object.kind == "tree" for p in plan.points for e in p.entries):
        raise UsageError(
            "the repository has directory trees, whose files have old times from the beginning: use no [items] here",
            code="item-period-unfit",
        )
    if plan.holds:
        raise UsageError(
            "items would go from held restore points too: release them, or leave [items] out",
            code="item-period-unfit",
        )
    before = plan.repository.state.generation.items_from_ns
    return None if before is not None and before >= cutoff else cutoff


def _objects(point: "PointForm") -> dict[str, str]:
    return {
        f"{e.object.kind} {e.object.id} {e.workload}": f"{e.object.name}/{e.workload}"
        for e in point.entries
    }


def _why(reasons: Sequence[Reason]) -> str:
    more = len(reasons) - REASONS_SHOWN_MAX
    text = "; ".join(reason.text for reason in reasons[:REASONS_SHOWN_MAX])
    return f"{text}; and {more} more" if more > 0 else text


def _time(created_at: str) -> str:
    return created_at[:19].replace("T", " ")


def _moment_text(nanoseconds: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000)
    return moment.strftime("%Y-%m-%d %H:%M")


def _text_of(policy: Path) -> str:
    try:
        return policy.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"{policy} is not there: check --policy", code="file-not-found") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"{policy} cannot be read ({reason})", code="file-unreadable") from None
