"""
Which restore points a retention policy keeps, and why. Pure: the time is an argument, everything is in UTC.

A *series* is all restore points of one name (of one job). Every rule whose patterns fit a series speaks for it, and what any
of them keeps is kept; a series without a rule is kept in full. Counts (`last`, `hourly` ... `yearly`) ask no clock: they take
the newest point of each of the newest hours, days ... that have one. A window asks the clock. Kept besides, whatever the rules
say: held points, points from the future, damaged ones, those whose time cannot be read, the newest point of the repository, and
for `last_state` the newest point of each series and the newest one that names an object and workload. Points from the future
and damaged ones take nobody's place. A later `now` never keeps more, and what was dropped changes nothing for the rest.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from engine.errors import Conflict
from engine.periods import Period, nanoseconds

CLOCK_SKEW = timedelta(minutes=5)  # clocks of two machines may differ by so much
OBJECTS_NAMED_MAX = 3
DROP_SHARE_MAX = 0.5
SILENCE_MAX = Period(30, "days")

BUCKETS: Mapping[str, Callable[[datetime], str]] = {
    "hourly": lambda t: t.strftime("%Y-%m-%dT%H"),
    "daily": lambda t: t.strftime("%Y-%m-%d"),
    "weekly": lambda t: "{}-W{:02}".format(*t.isocalendar()),
    "monthly": lambda t: t.strftime("%Y-%m"),
    "yearly": lambda t: t.strftime("%Y"),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """
    A restore point as the rules see it.

    Attributes:
        created_at: RFC 3339. hold: why it is held, None if it is not.
        objects: identity of every object and workload in it, to its name for people.
        damaged: something that it names cannot be read.
    """

    id: str
    series: str
    created_at: str
    objects: Mapping[str, str] = field(default_factory=dict)
    hold: str | None = None
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """
    What is kept of the series whose names fit a pattern of `series` and none of `except_series`.

    Attributes:
        window: keep what is not older. last: keep so many newest points.
        counts: pairs of bucket kind ("daily", ...) and how many of its newest buckets keep their newest point.
        last_state: how long the newest point of a series, and the newest one of each object, stays though no other line
            keeps it; None: for ever.
    """

    series: tuple[str, ...] = ("*",)
    except_series: tuple[str, ...] = ()
    window: Period | None = None
    last: int = 0
    counts: tuple[tuple[str, int], ...] = ()
    last_state: Period | None = None

    def covers(self, series: str) -> bool:
        """Whether the rule speaks for a series."""
        return any(fnmatchcase(series, p) for p in self.series) and not any(
            fnmatchcase(series, p) for p in self.except_series
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """
    Rules, and when they are not to be trusted.

    Attributes:
        item_period: items neither created nor modified for so long go from every restore point; None: none go.
        drop_share_max: share of all points that may go at once. silence_max: how old the newest point may be.
    """

    rules: tuple[Rule, ...]
    item_period: Period | None = None
    drop_share_max: float = DROP_SHARE_MAX
    silence_max: Period = SILENCE_MAX


@dataclass(frozen=True, slots=True)
class Reason:
    """One line of the policy and what it says of a point."""

    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A point, whether it stays, and every reason for that."""

    point: Candidate
    keep: bool
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Timed:
    """A point whose time is known and past."""

    point: Candidate
    moment: datetime


class _Verdicts:
    """Reasons for and against each point, by id."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Reason]] = {}
        self.gone: dict[str, list[Reason]] = {}

    def say(self, keep: bool, point: Candidate, rule: str, text: str) -> None:
        """Note a reason that keeps the point, or one that does not."""
        (self.kept if keep else self.gone).setdefault(point.id, []).append(Reason(rule, text))


def decide(points: Iterable[Candidate], policy: Policy, now: datetime) -> list[Decision]:
    """
    A decision for every point, oldest first.

    Args:
        now: aware; points more than `CLOCK_SKEW` later are from the future.
    """
    order = sorted(points, key=lambda p: (p.created_at, p.id))
    verdicts = _Verdicts()
    series: dict[str, list[_Timed]] = {}
    for point in order:
        moment = moment_of(point.created_at)
        if point.hold is not None:
            verdicts.say(True, point, "hold", f"held: {point.hold}" if point.hold else "held")
        if moment is None:
            verdicts.say(True, point, "time", "its time cannot be read")
        elif moment > now + CLOCK_SKEW:
            verdicts.say(True, point, "future", "from the future: check the clocks")
        elif point.damaged:
            verdicts.say(True, point, "damaged", "damaged: `strongroom repo verify` says what")
        else:
            series.setdefault(point.series, []).append(_Timed(point, moment))
    for members in series.values():
        members.sort(key=_age, reverse=True)
        _judge(members, policy, now, verdicts)
    if series:
        newest = max((members[0] for members in series.values()), key=_age)
        verdicts.say(True, newest.point, "newest", "newest of the repository")
    return [_decision(point, verdicts) for point in order]


def _age(timed: _Timed) -> tuple[datetime, str]:
    return timed.moment, timed.point.id


def _decision(point: Candidate, verdicts: _Verdicts) -> Decision:
    kept = verdicts.kept.get(point.id, [])
    return Decision(point, bool(kept), tuple(kept or verdicts.gone.get(point.id, [])))


def _judge(members: Sequence[_Timed], policy: Policy, now: datetime, verdicts: _Verdicts) -> None:
    """What the rules say of the points of a series, newest first."""
    rules = [rule for rule in policy.rules if rule.covers(members[0].point.series)]
    if not rules:
        for member in members:
            verdicts.say(True, member.point, "none", "no rule speaks for its series")
    for rule in rules:
        if rule.last:
            for number, member in enumerate(members):
                keep = number < rule.last
                text = f"{'' if keep else 'not '}among the last {rule.last}"
                verdicts.say(keep, member.point, "last", text)
        if rule.window is not None:
            start = rule.window.before(now)
            for member in members:
                keep = member.moment >= start
                text = f"{'within' if keep else 'older than'} {rule.window}"
                verdicts.say(keep, member.point, "window", text)
        for kind, count in rule.counts:
            _thin(members, kind, count, verdicts)
        _keep_last_states(members, rule, now, verdicts)


def _thin(members: Sequence[_Timed], kind: str, count: int, verdicts: _Verdicts) -> None:
    """The newest point of each of the newest `count` buckets stays."""
    newest: dict[str, str] = {}
    for member in members:
        bucket = BUCKETS[kind](member.moment)
        keep = bucket not in newest and len(newest) < count
        if keep:
            newest[bucket] = member.point.id
            text = f"{kind} {bucket}"
        elif bucket in newest:
            text = f"{kind} {bucket} is kept by {newest[bucket]}"
        else:
            text = f"{kind} {bucket} is before the last {count}"
        verdicts.say(keep, member.point, kind, text)


def _keep_last_states(
    members: Sequence[_Timed], rule: Rule, now: datetime, verdicts: _Verdicts
) -> None:
    """The newest point stays, and the newest one that names an object, as long as `last_state` says."""
    start = rule.last_state.before(now) if rule.last_state is not None else None
    seen: set[str] = set()
    for number, member in enumerate(members):
        objects = member.point.objects
        fresh = sorted(objects[key] for key in objects.keys() - seen)
        seen.update(objects)
        if number and not fresh:
            continue
        text = "newest of its series"
        if number:
            more = len(fresh) - OBJECTS_NAMED_MAX
            text = f"last state of {', '.join(fresh[:OBJECTS_NAMED_MAX])}"
            text += f" and {more} more" if more > 0 else ""
        keep = start is None or member.moment >= start
        text += "" if keep else f", but older than {rule.last_state}"
        verdicts.say(keep, member.point, "last_state", text)


def moment_of(created_at: str) -> datetime | None:
    """The time of an RFC 3339 text; None if it is none."""
    try:
        moment = datetime.fromisoformat(created_at)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def item_cutoff_ns(policy: Policy, now: datetime) -> int | None:
    """
    Nanoseconds since 1970 before which an item must have been both created and modified to go; None: none goes.

    Never smaller at a later `now`. Containers never go.
    """
    return None if policy.item_period is None else nanoseconds(policy.item_period.before(now))


@dataclass(frozen=True, slots=True)
class ExpiringItems:
    """How many items an item period takes away, of how many."""

    going: int
    there: int


def check_sane(
    decisions: Sequence[Decision],
    policy: Policy,
    now: datetime,
    items: ExpiringItems | None = None,
) -> None:
    """
    Guard rails of a policy; a person who has seen the preview may pass them by.

    Args:
        items: what the item period takes, if it takes more than went before.

    Raises:
        Conflict: too large a share would go at once; or nothing was stored for so long that either backups have
            stopped or the clock is wrong.
    """
    gone = sum(not decision.keep for decision in decisions)
    if not gone and policy.item_period is None:
        return
    moments = [
        m for d in decisions if (m := moment_of(d.point.created_at)) and m <= now + CLOCK_SKEW
    ]
    if moments and max(moments) < policy.silence_max.before(now):
        raise Conflict(
            f"the newest restore point is older than {policy.silence_max}: either backups have stopped or the clock of this "
            "machine is wrong; --force goes on",
            code="retention-silence",
        )
    if items is not None and items.going > policy.drop_share_max * items.there:
        raise Conflict(
            f"{items.going} of {items.there} items would go at once and never come back, more than drop_share_max "
            f"({policy.drop_share_max:.0%}) allows: look at --dry-run; --force goes on",
            code="retention-share",
        )
    if gone > policy.drop_share_max * len(decisions):
        raise Conflict(
            f"{gone} of {len(decisions)} restore points would go at once, more than drop_share_max "
            f"({policy.drop_share_max:.0%}) allows: look at --dry-run; --force goes on",
            code="retention-share",
        )
