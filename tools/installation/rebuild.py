"""An installation anew from a repository: what its restore points say of the jobs that made them, and how it is set up."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from engine.errors import BackupError
from engine.manifest import PointForm
from proxy.graph.settings import OrganizationSettings
from server.api.jobs import USERS_MAX, JobWorkload
from tools.installation.api import Api
from tools.installation.running import running
from tools.installation.supervisor import InstallationOptions

WORKLOADS: tuple[str, ...] = get_args(JobWorkload)


@dataclass(frozen=True, slots=True)
class RebuiltJob:
    """
    A job as its newest restore point shows it.

    `users` are names; none: everybody, where there are more than a job may name. `points` counts its restore points.
    """

    name: str
    workloads: tuple[str, ...]
    users: tuple[str, ...]
    points: int
    newest: str

    @property
    def form(self) -> dict[str, Any]:
        """What the server takes; organization and repository are still missing."""
        return {"name": self.name, "workloads": self.workloads, "users": self.users}


def rebuilt_jobs(points: Sequence[PointForm]) -> list[RebuiltJob]:
    """
    The jobs that made these restore points, by name.

    What a job did not store is not known: groups, filters and folders of its selection, users without anything, its times.
    Restore points without users (of directory trees) are no job's.
    """
    newest = {point.name: point for point in sorted(points, key=lambda p: (p.created_at, p.id))}
    jobs = []
    for name, point in sorted(newest.items()):
        held = [e for e in point.entries if e.object.kind == "user" and e.workload in WORKLOADS]
        if held:
            workloads = {entry.workload for entry in held}
            users = sorted({entry.object.name for entry in held})
            jobs.append(
                RebuiltJob(
                    name,
                    tuple(w for w in WORKLOADS if w in workloads),
                    tuple(users) if len(users) <= USERS_MAX else (),
                    sum(1 for other in points if other.name == name),
                    point.created_at,
                )
            )
    return jobs


def organization_form(settings: OrganizationSettings) -> dict[str, Any]:
    """What the server takes of `--org FILE`."""
    members = ("client_secret", "certificate", "authority", "graph_endpoint", "ca", "proxy_url")
    given = {name: value for name in members if (value := getattr(settings, name))}
    return {
        "name": settings.name or settings.tenant_id,
        "tenant_id": settings.tenant_id,
        "client_id": settings.client_id,
        "cloud": settings.cloud,
        **given,
    }


async def set_up(
    data_dir: Path,
    repository: dict[str, Any],
    organization: OrganizationSettings | None,
    jobs: Sequence[RebuiltJob],
) -> dict[str, BackupError]:
    """
    Make an installation in `data_dir`, register the repository, the organization and its jobs, stop it.

    Returns the jobs that the server refused, with why.
    """
    refused: dict[str, BackupError] = {}
    async with (
        running(InstallationOptions(data_dir, port=0, proxies=0)) as info,
        Api(info.url, str(info.ca_file), info.administrator, info.administrator_password) as api,
    ):
        where = await api.post("/repositories", repository)
        if organization is None:
            return refused
        whose = await api.post("/organizations", organization_form(organization))
        places = {"organization": whose["id"], "repository": where["id"]}
        for job in jobs:
            try:
                await api.post("/jobs", {**job.form, **places})
            except BackupError as error:
                refused[job.name] = error
    return refused
