"""Retention keeps what a policy says and says why; no clock, order or repetition makes it drop more than that."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Conflict
from engine.periods import Period, parse_period
from engine.retention import (
    BUCKETS,
    Candidate,
    Policy,
    Rule,
    check_sane,
    decide,
    item_cutoff_ns,
    moment_of,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def point(
    moment: datetime | str, series: str = "office", objects: str = "ann", hold: str | None = None
) -> Candidate:
    """A restore point whose id is its time."""
    text = moment if isinstance(moment, str) else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    names = {name: f"{name}/mail" for name in objects.split()}
    return Candidate(f"{text} {series}", series, text, names, hold)


def days_back(*days: float, series: str = "office", objects: str = "ann") -> list[Candidate]:
    return [point(NOW - timedelta(days=d), series, objects) for d in days]


def kept(points: Iterable[Candidate], policy: Policy, now: datetime = NOW) -> list[Candidate]:
    return [d.point for d in decide(points, policy, now) if d.keep]


def reasons(points: list[Candidate], policy: Policy, now: datetime = NOW) -> list[list[str]]:
    """Of every point in the order given: kept or not, then the texts."""
    found = {d.point.id: [r.text for r in d.reasons] for d in decide(points, policy, now)}
    return [found[p.id] for p in points]


def one(rule: Rule, **members: object) -> Policy:
    return Policy((rule,), **members)  # type: ignore[arg-type]


def window(text: str, last_state: str | None = None) -> Policy:
    state = None if last_state is None else parse_period(last_state)
    return one(Rule(window=parse_period(text), last_state=state))


# -- calendar ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "period", "before"),
    [
        ("2026-11-24T12:00", "30 days", "2026-10-25T12:00"),
        ("2026-11-24T12:00", "2 weeks", "2026-11-10T12:00"),
        ("2026-03-28T10:00", "1 month", "2026-02-28T10:00"),
        ("2026-03-29T00:00", "1 month", "2026-03-01T00:00"),
        ("2026-03-31T23:59", "1 month", "2026-03-01T00:00"),
        ("2024-03-29T10:00", "1 month", "2024-02-29T10:00"),
        ("2024-02-29T10:00", "1 year", "2023-03-01T00:00"),
        ("2024-02-29T10:00", "4 years", "2020-02-29T10:00"),
        ("2026-01-15T00:00", "1 month", "2025-12-15T00:00"),
        ("2026-12-31T08:00", "1 month", "2026-12-01T00:00"),
        ("2026-01-31T08:00", "3 months", "2025-10-31T08:00"),
        ("2026-11-24T12:00", "25 years", "2001-11-24T12:00"),
    ],
)
def test_periods_follow_the_calendar(now: str, period: str, before: str) -> None:
    """Months and years end with the month where the day is lacking."""
    assert parse_period(period).before(at(now)) == at(before)


MOMENTS = st.datetimes(datetime(2019, 1, 1), datetime(2033, 1, 1), timezones=st.just(UTC))
PERIODS = st.builds(
    Period, st.integers(1, 60), st.sampled_from(["hours", "days", "weeks", "months", "years"])
)


@given(MOMENTS, MOMENTS, PERIODS)
def test_the_moment_before_never_moves_back(first: datetime, second: datetime, p: Period) -> None:
    """So a cutoff only grows, also over month ends and leap days."""
    first, second = sorted((first, second))
    assert p.before(first) <= p.before(second)
    policy = Policy((Rule(last=1),), item_period=p)
    assert (item_cutoff_ns(policy, first) or 0) <= (item_cutoff_ns(policy, second) or 0)


def test_the_item_cutoff_is_in_nanoseconds() -> None:
    """Exact to the microsecond; none without a period."""
    policy = one(Rule(last=1), item_period=Period(1, "days"))
    assert item_cutoff_ns(policy, datetime(1970, 1, 2, 0, 0, 0, 7, UTC)) == 7000
    assert item_cutoff_ns(one(Rule(last=1)), NOW) is None


# -- snapshot-based, as Veeam Backup for Microsoft 365 has it -----------------------------------------


def test_a_point_goes_when_it_leaves_the_window() -> None:
    """To the second, and whatever the day's length."""
    points = days_back(0, 29.9, 30, 30.01)
    assert kept(points, window("30 days")) == points[2::-1]
    assert reasons(points, window("30 days"))[1:] == [
        ["within 30 days"],
        ["within 30 days"],
        ["older than 30 days"],
    ]


@pytest.mark.parametrize(
    ("created", "leaves"),
    [
        ("2026-01-31T12:00", "2026-03-01T00:00:01"),
        ("2024-01-31T12:00", "2024-03-01T00:00:01"),
        ("2026-02-28T12:00", "2026-03-28T12:00:01"),
        ("2026-03-31T12:00", "2026-05-01T00:00:01"),
    ],
)
def test_month_ends_in_the_window(created: str, leaves: str) -> None:
    """A point stays until a month later, and if that day is lacking until the month has ended."""
    points = [point(at(created)), point(at("2030-01-01"))]  # the second is from the future
    points.append(point(at(leaves)))
    stay = at(leaves) - timedelta(seconds=2)
    assert points[0] in kept(points[:2], window("1 month"), stay)
    assert points[0] not in kept(points, window("1 month"), at(leaves))


def test_the_newest_state_stays_though_the_window_has_passed() -> None:
    """The last point of a job that stopped, for ever by default."""
    old = days_back(500, 400)
    other = days_back(0, series="other")
    assert kept(old + other, window("30 days")) == [old[1], *other]
    assert reasons(old + other, window("30 days"))[:2] == [
        ["older than 30 days"],
        ["newest of its series"],
    ]


def test_data_of_a_disabled_job_ages_out_where_the_policy_says_so() -> None:
    """As in VB365: with the last point the object goes too."""
    old = days_back(500, 400)
    other = days_back(0, series="other")
    policy = window("30 days", last_state="30 days")
    assert kept(old + other, policy) == other
    assert reasons(old + other, policy)[1] == [
        "older than 30 days",
        "newest of its series, but older than 30 days",
    ]


def test_the_last_good_state_of_every_object_stays() -> None:
    """A job that stored users one by one, or a user who left: nobody's only point goes by default."""
    points = [
        *days_back(90, objects="bob"),
        *days_back(80, objects="ann carl dora eve"),
        *days_back(70, objects="ann"),
        *days_back(0, objects="ann"),
    ]
    assert kept(points, window("30 days")) == [points[0], points[1], points[3]]
    assert reasons(points, window("30 days"))[:2] == [
        ["last state of bob/mail"],
        ["last state of carl/mail, dora/mail, eve/mail"],
    ]
    assert kept(points, window("30 days", last_state="85 days")) == [points[1], points[3]]


def test_an_object_that_fails_keeps_its_last_good_state() -> None:
    """Later points name the entry of the last success, so that the object is in the newest point, whatever goes."""
    points = days_back(*range(40, -1, -1), objects="ann failing")
    newest = kept(points, one(Rule(last=1)))
    assert [sorted(p.objects) for p in newest] == [["ann", "failing"]]


# -- thinning ----------------------------------------------------------------------------------------


def test_grandfather_father_son() -> None:
    """The newest point of each of the newest buckets that have one, each with its reason."""
    points = [point(NOW - timedelta(hours=6 * n)) for n in range(400)]
    rule = Rule(
        counts=(("hourly", 2), ("daily", 3), ("weekly", 2), ("monthly", 2), ("yearly", 5)), last=1
    )
    found = kept(points, one(rule))
    assert [p.created_at[:13] for p in found] == [
        "2026-10-31T18", "2026-11-22T18", "2026-11-23T18", "2026-11-24T06", "2026-11-24T12",
    ]  # fmt: skip
    assert reasons(points, one(rule))[0] == [
        "among the last 1", "hourly 2026-11-24T12", "daily 2026-11-24", "weekly 2026-W48",
        "monthly 2026-11", "yearly 2026", "newest of its series", "newest of the repository",
    ]  # fmt: skip
    assert f"daily 2026-11-24 is kept by {points[0].id}" in reasons(points, one(rule))[2]
    assert "daily 2026-11-20 is before the last 3" in reasons(points, one(rule))[16]


def test_weeks_are_those_of_iso_8601() -> None:
    """The first of January 2027 belongs to the last week of 2026."""
    assert BUCKETS["weekly"](at("2027-01-01")) == "2026-W53"
    assert BUCKETS["weekly"](at("2024-12-30")) == "2025-W01"


def test_kept_by_any_rule_is_kept() -> None:
    """Rules add up; a series that no rule speaks for is left alone."""
    points = days_back(0, 1, 2, 3, 4)
    policy = Policy((Rule(last=2), Rule(window=Period(1, "days"), series=("off*",))))
    assert kept(points, policy) == points[1::-1]
    assert kept(points, Policy((Rule(last=1, series=("x",)),))) == points[::-1]
    assert kept(points, Policy((Rule(last=1, except_series=("off*",)),))) == points[::-1]
    assert len(kept(points, Policy((Rule(last=1), Rule(last=4, series=("office",)))))) == 4


# -- clocks ------------------------------------------------------------------------------------------


def test_points_from_the_future_stay_and_take_no_place() -> None:
    """Neither a bucket's nor the last state's; they are named."""
    points = [*days_back(0, 1, 2), point("2099-01-01T00:00:00Z"), point("when it rained")]
    policy = one(Rule(last=1))
    assert kept(points, policy) == [points[0], *points[3:]]
    assert reasons(points, policy)[3:] == [
        ["from the future: check the clocks"],
        ["its time cannot be read"],
    ]


def test_a_damaged_point_takes_nobodys_place() -> None:
    """Rules never leave a damaged point as the only one."""
    points = days_back(0, 1, 2)
    points[0] = replace(points[0], damaged=True)
    assert kept(points, one(Rule(last=1))) == points[1::-1]
    assert reasons(points, one(Rule(last=1)))[0] == ["damaged: `strongroom repo verify` says what"]


def test_a_clock_that_jumps_ahead_is_noticed() -> None:
    """Forty days on: a window would drop all but the newest; counts ask no clock at all."""
    points = days_back(*range(30))
    later = NOW + timedelta(days=40)
    for policy in (window("30 days"), one(Rule(window=Period(30, "days")), drop_share_max=1.0)):
        decisions = decide(points, policy, later)
        assert sum(d.keep for d in decisions) == 1
        with pytest.raises(Conflict) as raised:
            check_sane(decisions, policy, later)
        assert raised.value.code == "retention-silence"
    thinned = one(Rule(last=30))
    assert kept(points, thinned, later) == kept(points, thinned) == points[::-1]


def test_a_policy_that_drops_most_is_refused() -> None:
    """Above its share; at the share it passes."""
    points = days_back(*range(10))
    half, most = one(Rule(last=5)), one(Rule(last=4))
    check_sane(decide(points, half, NOW), half, NOW)
    with pytest.raises(Conflict) as raised:
        check_sane(decide(points, most, NOW), most, NOW)
    assert raised.value.code == "retention-share"
    check_sane(decide([], most, NOW), most, NOW)


# -- for all policies and points -----------------------------------------------------------------------

POINTS = st.lists(
    st.builds(
        point,
        MOMENTS | st.just("no time"),
        st.sampled_from(["office", "hr"]),
        st.sampled_from(["", "ann", "ann bob", "carl"]),
        st.sampled_from([None, None, None, "court"]),
    ),
    max_size=25,
    unique_by=lambda p: p.id,
)
RULES = st.builds(
    Rule,
    series=st.sampled_from([("*",), ("office",), ("h*", "x")]),
    except_series=st.sampled_from([(), ("hr",)]),
    window=st.none() | PERIODS,
    last=st.integers(0, 4),
    counts=st.lists(st.tuples(st.sampled_from(sorted(BUCKETS)), st.integers(1, 5)), max_size=3).map(
        tuple
    ),
    last_state=st.none() | PERIODS,
)
POLICIES = st.builds(Policy, st.lists(RULES, min_size=1, max_size=3).map(tuple))


@given(POINTS, POLICIES, MOMENTS, MOMENTS)
def test_a_later_clock_never_keeps_more(
    points: list[Candidate], policy: Policy, first: datetime, second: datetime
) -> None:
    """Without exception: what a preview for a later day keeps, an earlier day keeps too."""
    first, second = sorted((first, second))
    early = {p.id for p in kept(points, policy, first)}
    assert {p.id for p in kept(points, policy, second)} <= early


@given(POINTS, POLICIES, MOMENTS)
def test_holds_order_and_repetition(points: list[Candidate], policy: Policy, now: datetime) -> None:
    """Held points stay, some point stays, the order does not matter, and a second run drops nothing more."""
    found = kept(points, policy, now)
    assert {p.id for p in points if p.hold is not None} <= {p.id for p in found}
    assert bool(found) == bool(points)
    assert kept(reversed(points), policy, now) == found
    assert kept(found, policy, now) == found


@given(POINTS, POLICIES, MOMENTS, RULES)
def test_another_rule_never_drops_what_was_ruled(
    points: list[Candidate], policy: Policy, now: datetime, rule: Rule
) -> None:
    """Of series that had a rule before."""
    more = Policy((*policy.rules, rule))
    ruled = {p.id for p in points if any(r.covers(p.series) for r in policy.rules)}
    before = {p.id for p in kept(points, policy, now)} & ruled
    assert before <= {p.id for p in kept(points, more, now)}


@given(POINTS, POLICIES, MOMENTS)
def test_every_decision_has_a_reason(
    points: list[Candidate], policy: Policy, now: datetime
) -> None:
    """Also those to drop, if the rules that speak for them keep anything at all."""
    for decision in decide(points, policy, now):
        rules = [r for r in policy.rules if r.covers(decision.point.series)]
        if decision.keep or any(r.window or r.last or r.counts for r in rules):
            assert decision.reasons
        moment = moment_of(decision.point.created_at)
        assert decision.keep or (moment is not None and moment <= now + timedelta(minutes=5))
