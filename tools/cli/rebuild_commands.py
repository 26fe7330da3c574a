"""`strongroom rebuild`: an installation from a repository and its passphrase."""

from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import BackupError, UsageError
from tools.cli import arguments
from tools.cli.errors import flat
from tools.cli.output import DONE, WARNINGS, complain, print_json, say, table

if TYPE_CHECKING:
    from tools.installation.rebuild import RebuiltJob


def rebuild(
    repo: str,
    data_dir: Path | None,
    org: Path | None,
    dry_run: bool,
    passphrase_file: Path | None,
    cache_dir: Path | None,
    state_dir: Path | None,
    json: bool,
) -> int:
    """An installation from a repository and its passphrase."""
    from proxy.graph.settings import load_organization
    from repository import open_repository
    from repository.blobstore.addresses import open_store
    from tools.installation.rebuild import rebuilt_jobs, set_up

    _require_fit(data_dir, dry_run=dry_run)
    organization = None if org is None else load_organization(org)
    open_store(repo)  # before the passphrase is asked for
    secret = arguments.credential(passphrase_file)
    if not dry_run and not isinstance(secret, str):
        raise UsageError(
            "an installation needs a passphrase of its own: give it one with `repo key add`",
            code="rebuild-options",
        )
    damaged: dict[str, BackupError] = {}
    with open_repository(repo, secret, arguments.places(cache_dir, state_dir)) as opened:
        identity, points = opened.id, opened.points(damaged)
    jobs = rebuilt_jobs(points)
    refused: dict[str, BackupError] = {}
    if not dry_run and data_dir is not None:
        url = repo if "://" in repo else str(Path(repo).expanduser().absolute())
        members = {"name": f"Repository {identity[:8]}", "url": url, "passphrase": secret}
        refused = flat(set_up(data_dir.absolute(), members, organization, jobs))
    made = [] if dry_run or org is None else [job for job in jobs if job.name not in refused]
    for point, error in damaged.items():
        complain(f"restore point {point} is damaged: {error.message} ({error.code})")
    for name, error in refused.items():
        complain(f"job {name} was not made: {error.message} ({error.code})")
    if json:
        print_json(
            {
                "repository": identity,
                "points": len(points),
                "jobs": jobs,
                "made": [job.name for job in made],
                "refused": {name: error.message for name, error in refused.items()},
            }
        )
    else:
        _tell(jobs, made, data_dir, dry_run=dry_run)
    left = not dry_run and len(made) < len(jobs)
    return WARNINGS if damaged or left else DONE


def _require_fit(data_dir: Path | None, *, dry_run: bool) -> None:
    if data_dir is None and not dry_run:
        raise UsageError(
            "give --data-dir DIR for the new installation, or --dry-run to see what is known",
            code="rebuild-options",
        )
    if data_dir is not None and data_dir.exists() and not _is_empty_folder(data_dir):
        raise UsageError(
            f"{data_dir} is no empty folder: name a new folder (what a rebuild that failed left may be deleted)",
            code="data-dir-not-empty",
        )


def _is_empty_folder(path: Path) -> bool:
    try:
        return not any(path.iterdir())
    except OSError:
        return False


def _tell(
    jobs: "list[RebuiltJob]", made: "list[RebuiltJob]", data_dir: Path | None, *, dry_run: bool
) -> None:
    head = ["job", "workloads", "users", "points", "newest (UTC)", ""]
    rows = [
        [
            job.name,
            ", ".join(job.workloads),
            str(len(job.users)) if job.users else "everybody",
            str(job.points),
            job.newest[:19].replace("T", " "),
            "" if dry_run or job in made else "not made",
        ]
        for job in jobs
    ]
    if rows:
        table(head, rows, right=(2, 3))
    else:
        say("no restore point of a tenant: there are no jobs to make")
    if dry_run:
        say("nothing was changed")
        return
    if len(made) < len(jobs):
        complain(
            "jobs need the tenant's application: give it with --org, or make them in the console"
        )
    say(f"start it with: strongroom up --data-dir {data_dir}")
    say(
        f"the administrator's password is in {data_dir}/installation.json; look at each job before its first run"
    )
