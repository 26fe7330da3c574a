"""The tasks of a session, built from rows. Pure: ids come from the caller."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from proxy.contract import EntryRef, ObjectRef, Selection, Task, Workload

WORKLOADS: tuple[str, ...] = get_args(Workload)

Row = Mapping[str, Any]


def _members(session: Row, repository: Row) -> dict[str, Any]:
    return {
        "session": session["id"],
        "job": session["job"] or "",
        "job_name": session["job_name"],
        "pool": session["pool"],
        "organization": session["organization"] or "",
        "repository": repository["id"],
        "repository_url": repository["url"],
    }


def discover_task(
    task: str, session: Row, repository: Row, whom: tuple[str, list[str], Selection]
) -> Task:
    """First task of a backup. `whom`: the organization's name, the users and the rest that the job selects."""
    organization_name, users, selection = whom
    return Task(
        id=task,
        kind="discover",
        organization_name=organization_name,
        workloads=list(session["workloads"]),
        users=users,
        selection=selection,
        **_members(session, repository),
    )


def backup_task(task: str, discover: Task, found: ObjectRef, workload: Workload) -> Task:
    """One object and workload of what `discover` found."""
    return Task(
        id=task,
        session=discover.session,
        job=discover.job,
        job_name=discover.job_name,
        pool=discover.pool,
        kind="backup",
        organization=discover.organization,
        organization_name=discover.organization_name,
        repository=discover.repository,
        repository_url=discover.repository_url,
        object=found,
        workload=workload,
        selection=discover.selection,
    )


def seal_task(
    task: str,
    discover: Task,
    point: str,
    entries: list[EntryRef],
    result: Literal["success", "warning"],
) -> Task:
    """Last task of a backup: the restore point `point` names `entries`."""
    return Task(
        id=task,
        session=discover.session,
        job=discover.job,
        job_name=discover.job_name,
        pool=discover.pool,
        kind="seal-point",
        organization=discover.organization,
        organization_name=discover.organization_name,
        repository=discover.repository,
        repository_url=discover.repository_url,
        workloads=discover.workloads,
        entries=entries,
        point=point,
        result=result,
    )


def verify_task(task: str, session: Row, repository: Row, level: str) -> Task:
    """The only task of a verification."""
    if level not in ("listing", "directory", "read"):
        raise ValueError(level)
    members = _members(session, repository)
    return Task(id=task, kind="verify", verify_level=level, **members)  # type: ignore[arg-type]
