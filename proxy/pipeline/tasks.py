"""What a proxy does with a task: discover, backup, seal-point, verify. Knows nothing of the bus."""

import asyncio
from dataclasses import asdict
from typing import assert_never

from engine.errors import UsageError
from engine.manifest import EntryRef, PointForm
from proxy.contract import OBJECTS_PER_EVENT_MAX, OUTCOMES_PER_EVENT_MAX, Task, TaskSecrets
from proxy.graph.service import GraphService
from proxy.graph.settings import OrganizationSettings, parse_organization
from proxy.keeper import KeptRepository, RepositoryKeeper
from proxy.pipeline.backup import run_backup
from proxy.pipeline.context import TaskContext
from proxy.pipeline.organizations import Organizations
from proxy.pipeline.reporter import reporting
from proxy.workloads.users import discover_users
from repository import PointDraft, new_point_id
from repository.verify import VerifyReport

__all__ = ["run_task", "seal"]

PROBLEMS_NAMED_MAX = 5


async def run_task(
    task: Task, context: TaskContext, keeper: RepositoryKeeper, organizations: Organizations
) -> None:
    """
    Do `task`, reporting through `context`.

    Raises:
        StoppedEarly: the context asked to stop; what was done is committed.
        BackupError: the task as a whole failed.
    """
    match task.kind:
        case "discover":
            secrets = await context.secrets(task.organization, None)
            async with organizations.use(_settings(secrets)) as service:
                await _discover(task, context, service)
        case "backup":
            secrets = await context.secrets(task.organization, task.repository)
            kept = await _repository(task, secrets, keeper)
            async with organizations.use(_settings(secrets)) as service:
                await run_backup(task, context, kept, service.client())
        case "seal-point":
            secrets = await context.secrets(None, task.repository)
            kept = await _repository(task, secrets, keeper)
            point = await seal(kept, task)
            await context.emit("finished", result="success", report=_point_report(point))
        case "verify":
            secrets = await context.secrets(None, task.repository)
            await _verify(task, context, await _repository(task, secrets, keeper))
        case _:
            assert_never(task.kind)


def _settings(secrets: TaskSecrets) -> OrganizationSettings:
    if secrets.graph is None:
        raise UsageError("The organization has no credentials.", code="organization-settings")
    return parse_organization(secrets.graph)


async def _repository(task: Task, secrets: TaskSecrets, keeper: RepositoryKeeper) -> KeptRepository:
    if secrets.passphrase is None:
        raise UsageError("The repository has no passphrase.", code="passphrase-missing")
    return await keeper.open(task.repository_url, secrets.passphrase)


async def _discover(task: Task, context: TaskContext, service: GraphService) -> None:
    found, missing = await discover_users(service.client(), task.users, task.selection)
    for start in range(0, len(found), OBJECTS_PER_EVENT_MAX):
        await context.emit("discovered", objects=found[start : start + OBJECTS_PER_EVENT_MAX])
    for start in range(0, len(missing), OUTCOMES_PER_EVENT_MAX):
        await context.emit("outcome", outcomes=missing[start : start + OUTCOMES_PER_EVENT_MAX])
    result = "warning" if missing else "success"
    await context.emit("finished", result=result, report={"objects": len(found)})


async def seal(kept: KeptRepository, task: Task) -> PointForm:
    """
    Write the restore point of a session from the entries that its task names. Once per session, however often called.

    Raises:
        NotFound: an entry is not in the repository, and no newer one of its object.
    """
    refs = tuple(EntryRef(entry.manifest, entry.index) for entry in task.entries)
    name = task.job_name or task.organization_name
    point = task.point or new_point_id()
    return await kept.seal_point(PointDraft(point, name, task.session, task.result, refs))


def _point_report(point: PointForm) -> dict[str, int | str]:
    return {
        "point": point.id,
        "created_at": point.created_at,
        "entries": len(point.entries),
        "items": sum(entry.items for entry in point.entries),
        "bytes": sum(entry.bytes for entry in point.entries),
    }


async def _verify(task: Task, context: TaskContext, kept: KeptRepository) -> None:
    seen = (0, 0)

    def progress(done: int, todo: int, _: int) -> None:
        nonlocal seen
        seen = (done, todo)

    told = (0, 0)

    async def tell() -> None:
        nonlocal told
        if seen != told:
            told = seen
            await context.emit("progress", done=seen[0], todo=seen[1])

    async with reporting(tell):
        report = await asyncio.to_thread(kept.repository.verify, task.verify_level, progress)
    await context.emit(
        "finished",
        result="success" if report.ok else "failed",
        error_code="" if report.ok else "repository-damaged",
        error="" if report.ok else _problems(report),
        report=_verify_report(report),
    )


def _verify_report(report: VerifyReport) -> dict[str, int | str]:
    members = asdict(report)
    counts = {name: value for name, value in members.items() if isinstance(value, int | str)}
    return {**counts, "problems": len(report.problems), "affected": len(report.affected)}


def _problems(report: VerifyReport) -> str:
    named = "; ".join(f"{p.name}: {p.code}" for p in report.problems[:PROBLEMS_NAMED_MAX])
    return f"{len(report.problems)} problems found ({named}). Run `strongroom repo verify`."
