"""
The life of a session, as pure functions: what a task's event changes, and what comes next.

Neighbours: `server.orchestration` asks these and writes the answer in one transaction. Every answer
depends only on stored rows, so asking twice (an event delivered twice, a server killed between two
steps) gives the same answer and the step is done once.

    session   queued -> running -> success | warning | failed
                     \\-> stopping -> stopped          (a person asked)
    task      queued -> leased -> success | warning | failed | stopped
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from proxy.contract import Event, TaskKind

SessionState = Literal["queued", "running", "stopping", "success", "warning", "failed", "stopped"]
TaskState = Literal["queued", "leased", "success", "warning", "failed", "stopped"]
SessionEnd = Literal["success", "warning", "failed", "stopped"]

TASK_STATES: tuple[TaskState, ...] = get_args(TaskState)
SESSION_ENDS: frozenset[str] = frozenset(get_args(SessionEnd))
TASK_ENDS: frozenset[str] = frozenset({"success", "warning", "failed", "stopped"})
SUBJECT_KINDS: dict[TaskKind, str] = {
    "discover": "backup",
    "backup": "backup",
    "seal-point": "backup",
    "verify": "maintenance",
}


def work_subject(pool: str, kind: TaskKind, task: str) -> str:
    """Where the message of a task is published. The task's id makes it findable there."""
    return f"work.{pool}.{SUBJECT_KINDS[kind]}.{task}"


def task_state_after(state: str, event: Event, *, stopping: bool) -> TaskState | None:
    """
    The state an event takes a task to; None if it changes nothing.

    A task that ended stays as it is: a late or second report of another delivery is no news.
    """
    if state in TASK_ENDS:
        return None
    if event.kind != "finished":
        return "leased" if state == "queued" else None
    if stopping and event.error_code == "stopped-early":
        return "stopped"
    return event.result or "failed"


@dataclass(frozen=True, slots=True)
class TallyRow:
    """How many tasks of one kind are in one state, and how many of their items had problems."""

    kind: str
    state: str
    count: int
    problems: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until another task ends."""


@dataclass(frozen=True, slots=True)
class Seal:
    """All backup tasks have ended: write the restore point. `result` says whether something is missing in it."""

    result: Literal["success", "warning"]


@dataclass(frozen=True, slots=True)
class End:
    """The session is over. `cause` names the kind of task whose error is the session's error."""

    state: SessionEnd
    error_code: str = ""
    error: str = ""
    cause: str = ""


Step = Wait | Seal | End


def _by_state(rows: Iterable[TallyRow], kind: str) -> dict[str, int]:
    return {row.state: row.count for row in rows if row.kind == kind}


def next_step(kind: str, state: str, tally: list[TallyRow]) -> Step:
    """
    Decide what follows in a session that has not ended.

    Args:
        kind: "backup" or "verify".
        state: of the session.
        tally: its tasks.
    """
    if any(row.state not in TASK_ENDS for row in tally):
        return Wait()
    if state == "stopping":
        return End("stopped")
    return _after_verify(tally) if kind == "verify" else _after_backup(tally)


def _after_verify(tally: list[TallyRow]) -> Step:
    states = _by_state(tally, "verify")
    if states.get("failed") or not states:
        return End("failed", cause="verify")
    return End("warning" if states.get("warning") else "success")


def _after_backup(tally: list[TallyRow]) -> Step:
    if not _by_state(tally, "discover").get("success") and not _by_state(tally, "discover").get(
        "warning"
    ):
        return End("failed", cause="discover")
    backups = _by_state(tally, "backup")
    if not backups:
        return End("failed", "nothing-selected", "The job selects no object of the organization.")
    good = backups.get("success", 0) + backups.get("warning", 0)
    if not good:
        return End("failed", cause="backup")
    seal = _by_state(tally, "seal-point")
    if seal.get("failed"):
        return End("failed", cause="seal-point")
    problems = any(row.problems or row.state != "success" for row in tally)
    verdict: Literal["success", "warning"] = "warning" if problems else "success"
    return End(verdict) if seal else Seal(verdict)
