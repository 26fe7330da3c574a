"""The life of a session, decided by pure functions."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.contract import Event, ObjectRef, Selection
from server.domain.sessions import (
    TASK_ENDS,
    TASK_STATES,
    End,
    Seal,
    TallyRow,
    Wait,
    next_step,
    task_state_after,
    work_subject,
)
from server.domain.tasks import backup_task, discover_task


def rows(*words: str) -> list[TallyRow]:
    """ "backup success 3" -> TallyRow; a fourth word counts problems."""
    made = []
    for word in words:
        kind, state, *numbers = word.split()
        count, problems = (*map(int, numbers), *(1, 0)[len(numbers) :])
        made.append(TallyRow(kind, state, count, problems))
    return made


@pytest.mark.parametrize(
    ("tally", "step"),
    [
        (["discover queued"], Wait()),
        (["discover leased"], Wait()),
        (["discover success", "backup leased", "backup success 4"], Wait()),
        (["discover success", "backup success 4"], Seal("success")),
        (["discover success", "backup success 4", "backup failed 1"], Seal("warning")),
        (["discover success", "backup success 4", "seal-point leased"], Wait()),
        (["discover success", "backup success 4", "seal-point success"], End("success")),
        (["discover success", "backup success 4 7", "seal-point success"], End("warning")),
        (
            ["discover success", "backup success", "backup failed", "seal-point success"],
            End("warning"),
        ),
        (["discover success", "backup warning", "seal-point success"], End("warning")),
        (["discover warning", "backup success", "seal-point success"], End("warning")),
        (["discover success", "backup success", "seal-point warning"], End("warning")),
        (["discover failed"], End("failed", cause="discover")),
        (["discover success", "backup failed 3"], End("failed", cause="backup")),
        (
            ["discover success", "backup success", "seal-point failed"],
            End("failed", cause="seal-point"),
        ),
    ],
)
def test_what_follows_in_a_backup(tally: list[str], step: object) -> None:
    """Each state of the tasks leads to one next step."""
    assert next_step("backup", "running", rows(*tally)) == step


def test_a_job_that_selects_nothing_fails() -> None:
    """An empty selection is told, not reported as a success."""
    step = next_step("backup", "running", rows("discover success"))
    assert isinstance(step, End)
    assert (step.state, step.error_code) == ("failed", "nothing-selected")


@pytest.mark.parametrize(
    ("tally", "step"),
    [
        (["verify queued"], Wait()),
        (["verify success"], End("success")),
        (["verify warning"], End("warning")),
        (["verify failed"], End("failed", cause="verify")),
    ],
)
def test_what_follows_in_a_verification(tally: list[str], step: object) -> None:
    """One task decides."""
    assert next_step("verify", "running", rows(*tally)) == step


def test_a_stopped_session_ends_when_its_tasks_have() -> None:
    """No restore point is written after a stop, whatever the tasks did."""
    assert next_step("backup", "stopping", rows("backup leased", "backup success")) == Wait()
    tally = rows("discover success", "backup success", "backup stopped")
    assert next_step("backup", "stopping", tally) == End("stopped")


kinds = st.sampled_from(["discover", "backup", "seal-point"])
tallies = st.lists(
    st.builds(TallyRow, kinds, st.sampled_from(TASK_STATES), st.integers(1, 9), st.integers(0, 3)),
    max_size=8,
    unique_by=lambda row: (row.kind, row.state),
)


@given(tallies, st.sampled_from(["queued", "running", "stopping"]))
def test_a_session_never_ends_over_open_tasks(tally: list[TallyRow], state: str) -> None:
    """Open tasks: wait. None open: a step. Success only without any failure or problem."""
    step = next_step("backup", state, tally)
    if any(row.state not in TASK_ENDS for row in tally):
        assert step == Wait()
    else:
        assert step != Wait()
    if step == End("success"):
        assert {row.state for row in tally} == {"success"}
        assert not any(row.problems for row in tally)


def event(kind: str, **members: object) -> Event:
    return Event(id="e", session="s", task="t", proxy="p", kind=kind, at="", **members)  # type: ignore[arg-type]


def test_events_move_a_task_forward_only() -> None:
    """A task that ended stays as it is; anything but `finished` only begins it."""
    for state, kind in itertools.product(TASK_STATES, ("leased", "progress", "finished")):
        after = task_state_after(state, event(kind, result="success"), stopping=False)
        if state in TASK_ENDS:
            assert after is None
        elif kind == "finished":
            assert after == "success"
        else:
            assert after == ("leased" if state == "queued" else None)


def test_a_task_that_was_stopped_is_no_failure() -> None:
    """Stopped early in a session that a person stopped; the same in another session is a failure."""
    stopped = event("finished", result="failed", error_code="stopped-early")
    assert task_state_after("leased", stopped, stopping=True) == "stopped"
    assert task_state_after("leased", stopped, stopping=False) == "failed"
    assert task_state_after("leased", event("finished"), stopping=False) == "failed"


def test_the_subject_names_pool_kind_and_task() -> None:
    """The task's id in the subject makes its message findable."""
    assert work_subject("default", "seal-point", "t1") == "work.default.backup.t1"
    assert work_subject("far", "verify", "t2") == "work.far.maintenance.t2"


def test_every_backup_task_carries_what_the_job_covers() -> None:
    session = {
        "id": "s",
        "job": "j",
        "job_name": "J",
        "pool": "p",
        "organization": "o",
        "workloads": ["mail"],
    }
    chosen = Selection(groups=["Legal"], folders=["@inbox"])
    discover = discover_task("t", session, {"id": "r", "url": "/r"}, ("O", ["ann"], chosen))
    assert (discover.users, discover.selection) == (["ann"], chosen)
    assert backup_task("u", discover, ObjectRef("user", "1", "ann"), "mail").selection == chosen
