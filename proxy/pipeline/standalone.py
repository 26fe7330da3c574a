"""
A backup session without a server: `strongroom backup REPO --org FILE`.

The same tasks as a server would hand out, run in this process, a few at once; then the restore point. It is an
installation of its own: its share of the organization's request budget is `budget_share` of the settings.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine.errors import BackupError
from engine.manifest import PointForm
from proxy.contract import (
    Counters,
    EntryRef,
    EventKind,
    ItemOutcome,
    ObjectRef,
    Selection,
    Task,
    TaskSecrets,
    Workload,
)
from proxy.graph.budget import BudgetLimits
from proxy.graph.clock import Clock
from proxy.graph.service import GraphService
from proxy.graph.settings import OrganizationSettings
from proxy.keeper import KeptRepository, RepositoryKeeper
from proxy.pipeline.backup import run_backup
from proxy.pipeline.outcome import is_warning
from proxy.pipeline.tasks import seal
from proxy.workloads.together import together
from proxy.workloads.users import discover_users
from repository import Repository

__all__ = ["SessionProgress", "SessionResult", "TaskResult", "backup_organization"]

TASKS_AT_ONCE = 4
WORKLOADS: tuple[Workload, ...] = ("mail", "calendar", "contacts", "tasks", "drives")


@dataclass(slots=True)
class TaskResult:
    """One object and workload: what was done, and the error if it failed as a whole."""

    object: ObjectRef
    workload: Workload
    counters: Counters = field(default_factory=Counters)
    outcomes: list[ItemOutcome] = field(default_factory=list)
    entry: EntryRef | None = None
    finished: bool = False
    error_code: str = ""
    error: str = ""


@dataclass(slots=True)
class SessionResult:
    """What a session did. `point` is None if nothing could be sealed."""

    session: str
    selection: Selection = field(default_factory=Selection)
    tasks: list[TaskResult] = field(default_factory=list)
    missing: list[ItemOutcome] = field(default_factory=list)  # users asked for that nobody has
    point: PointForm | None = None

    @property
    def failed(self) -> bool:
        """There is no restore point."""
        return self.point is None

    @property
    def warned(self) -> bool:
        """A restore point is there, but something is missing in it."""
        outcomes = (outcome for task in self.tasks for outcome in task.outcomes)
        failed = any(task.error_code for task in self.tasks)
        return bool(self.missing) or failed or any(is_warning(o) for o in outcomes)


@dataclass(frozen=True, slots=True)
class SessionProgress:
    """Sums over all tasks so far."""

    tasks_done: int
    tasks: int
    items: int
    bytes_read: int
    requests: int


Progress = Callable[[SessionProgress], None]


async def backup_organization(
    organization: OrganizationSettings,
    repository: Repository,
    *,
    users: Sequence[str] = (),
    selection: Selection | None = None,
    workloads: Sequence[Workload] = WORKLOADS,
    identity: str | None = None,
    progress: Progress | None = None,
    version: str = "0",
    limits: BudgetLimits | None = None,
    clock: Clock | None = None,
    scope: str | None = None,
) -> SessionResult:
    """
    Back up users of an organization and seal a restore point.

    Args:
        users: ids or principal names. selection: groups and a filter that name further ones, and what is covered of their
            mail. Neither names anybody: everybody but guests.
        identity: permanent name of the writer; None: a free one of this machine.
        progress: called on the event loop, about once a second for each running task.
        scope: name of the scope that all of it belongs to.
        clock: what is waited by; None: the machine's.

    Raises:
        BackupError: nothing could be begun (sign-in, directory, repository). Later failures are in the result.
    """
    session = SessionResult(uuid.uuid4().hex, selection or Selection())
    async with (
        GraphService(organization, version, clock=clock, limits=limits) as service,
        RepositoryKeeper(identity) as keeper,
    ):
        found, session.missing = await discover_users(
            service.client(), list(users), session.selection
        )
        session.tasks = [TaskResult(user, workload) for user in found for workload in workloads]
        scope_id = repository.keyring.scope(scope).id if scope else ""
        kept = keeper.adopt(repository, scope)
        await _run_tasks(session, kept, service, progress)
        entries = [entry for task in session.tasks if (entry := _entry(repository, task, scope_id))]
        if entries:
            name = organization.name or organization.tenant_id
            task = _task(session, None, None, entries, name)
            task = msgspec.structs.replace(task, result="warning" if session.warned else "success")
            session.point = await seal(kept, task)
    return session


def _entry(repository: Repository, task: TaskResult, scope_id: str) -> EntryRef | None:
    """What the restore point names: the new entry, or the newest complete one of the scope if the task failed."""
    if task.entry is not None:
        return task.entry
    older = repository.entries.newest_complete(task.object.kind, task.object.id, task.workload)
    if older is None or older.form.scope != scope_id:
        return None
    return EntryRef(older.ref.manifest, older.ref.index)


async def _run_tasks(
    session: SessionResult,
    kept: KeptRepository,
    service: GraphService,
    progress: Progress | None,
) -> None:
    places = asyncio.Semaphore(TASKS_AT_ONCE)

    def show() -> None:
        if progress is not None:
            progress(_sum(session.tasks))

    async def run(result: TaskResult) -> None:
        async with places:
            task = _task(session, result.object, result.workload, [], "")
            try:
                await run_backup(task, _LocalContext(task, result, show), kept, service.client())
            except BackupError as error:
                result.error_code, result.error = error.code, error.message
            result.finished = True
            show()

    await together(run(result) for result in session.tasks)


def _sum(tasks: Sequence[TaskResult]) -> SessionProgress:
    counters = [task.counters for task in tasks]
    return SessionProgress(
        tasks_done=sum(task.finished for task in tasks),
        tasks=len(tasks),
        items=sum(c.items_stored + c.items_unchanged for c in counters),
        bytes_read=sum(c.bytes_read for c in counters),
        requests=sum(c.requests for c in counters),
    )


def _task(
    session: SessionResult,
    target: ObjectRef | None,
    workload: Workload | None,
    entries: list[EntryRef],
    name: str,
) -> Task:
    return Task(
        id=uuid.uuid4().hex,
        session=session.session,
        job="",
        job_name=name,
        pool="",
        kind="seal-point" if target is None else "backup",
        organization="",
        repository="",
        repository_url="",
        object=target,
        workload=workload,
        selection=session.selection,
        entries=entries,
    )


class _LocalContext:
    """Implements `TaskContext`: events end in the task's result."""

    def __init__(self, task: Task, result: TaskResult, show: Callable[[], None]) -> None:
        self._task = task
        self._result = result
        self._show = show
        self._stopping = asyncio.Event()

    @property
    def task(self) -> Task:
        return self._task

    @property
    def delivery(self) -> int:
        return 1

    @property
    def stopping(self) -> asyncio.Event:
        return self._stopping

    async def emit(self, kind: EventKind, **members: Any) -> None:
        result = self._result
        result.counters = members.get("counters") or result.counters
        result.outcomes += members.get("outcomes", [])
        if kind == "finished" or members.get("complete"):
            result.entry = members.get("entry") or result.entry
        self._show()

    async def secrets(self, organization: str | None, repository: str | None) -> TaskSecrets:
        return TaskSecrets()
