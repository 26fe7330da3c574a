"""`strongroom rebuild`: jobs as restore points tell of them, and an installation that has repository, organization and jobs."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.manifest import EntryRef, ObjectKey, PointEntry, PointForm
from repository import Places, PointDraft, Repository, new_point_id, open_repository
from server.sealing import SecretBox
from tests.fixtures.repositories import PASSPHRASE, TREE, commit_files
from tests.fixtures.trees import CommandLine, one_line
from tools.installation.database import database_of
from tools.installation.rebuild import RebuiltJob, rebuilt_jobs

pytestmark = pytest.mark.slow

ORG = """
[organization]
tenant_id = "contoso.onmicrosoft.com"
client_id = "client"
client_secret = "the client secret"
cloud = "china"
"""


def held(kind: str, name: str, workload: str) -> PointEntry:
    return PointEntry(ObjectKey(kind, f"id of {name}", name), workload, EntryRef("0" * 64, 0), 1, 1)


def point(number: int, name: str, *entries: PointEntry) -> PointForm:
    at = f"2027-01-{number:02}T00:00:00Z"
    return PointForm(1, "r", f"{number:016x}", name, at, "s", "success", entries, "0" * 64)


def test_jobs_are_what_their_newest_restore_points_hold() -> None:
    """Users and workloads of the newest one, whatever the order of the list; trees and other workloads make no job."""
    ann, bob = held("user", "ann", "mail"), held("user", "bob", "mail")
    points = [
        point(3, "mail", ann, bob, held("user", "ann", "calendar")),
        point(1, "mail", held("user", "left", "tasks")),
        point(2, "drives", held("user", "bob", "drives")),
        point(4, "documents", held("tree", "documents", "files")),
    ]
    made = [
        RebuiltJob("drives", ("drives",), ("bob",), 1, points[2].created_at),
        RebuiltJob("mail", ("mail", "calendar"), ("ann", "bob"), 2, points[0].created_at),
    ]
    assert rebuilt_jobs(points) == made
    assert rebuilt_jobs([]) == []


def test_more_users_than_a_job_may_name_are_everybody() -> None:
    """The only job that covers them."""
    users = [held("user", f"user{number}", "mail") for number in range(10_001)]
    assert rebuilt_jobs([point(1, "j", *users)])[0].users == ()
    assert len(rebuilt_jobs([point(1, "j", *users[1:])])[0].users) == 10_000


def back_up(repository: Repository, name: str, users: tuple[str, ...]) -> None:
    """A restore point of empty mailboxes, or of a tree."""
    with repository.write_session("w") as session:
        entries = [commit_files(repository, session, {}, TREE).ref] if not users else []
        for user in users:
            slice_ = session.open_slice(ObjectKey("user", user, user), "mail", "s", previous=None)
            slice_.advance([], b"mark")
            slice_.finish()
            commit = session.commit()
            assert commit is not None
            entries.append(commit.entries[slice_])
        session.seal_point(PointDraft(new_point_id(), name, "s", "success", tuple(entries)))


@pytest.fixture
def filled(repo: Path, command: CommandLine) -> Path:
    """Restore points of two jobs, one of which the server cannot take, and of a tree."""
    with open_repository(
        str(repo), PASSPHRASE, Places(command.cache_dir, command.state_dir)
    ) as opened:
        back_up(opened, "Nightly", ("ann@example.com", "bob@example.com"))
        back_up(opened, "x" * 201, ("ann@example.com",))
        back_up(opened, "documents", ())
    return repo


def test_an_installation_from_a_repository(
    filled: Path, tmp_path: Path, command: CommandLine
) -> None:
    """The plan changes nothing; then the database has the repository with its passphrase, the tenant, and the jobs it took."""
    org, data = tmp_path / "org.toml", tmp_path / "data"
    org.write_text(ORG)
    planned = command("rebuild", filled, "--dry-run", "--json")
    assert planned.code == 0
    assert [job["name"] for job in planned.document["jobs"]] == ["Nightly", "x" * 201]
    assert not data.exists()

    answer = command("rebuild", filled, "--data-dir", data, "--org", org, "--json")
    assert (answer.code, answer.document["made"]) == (3, ["Nightly"]), answer
    assert answer.document["refused"].keys() == {"x" * 201}
    again = command("rebuild", filled, "--data-dir", data, "--org", org)
    assert (again.code, one_line(again)) == (2, True)
    assert "(data-dir-not-empty)" in again.err

    [place], [whose], [job], plain = asyncio.run(rows(data))
    assert (place["url"], plain) == (str(filled), [PASSPHRASE, "the client secret"])
    assert (whose["tenant_id"], whose["cloud"]) == ("contoso.onmicrosoft.com", "china")
    assert (job["name"], job["workloads"]) == ("Nightly", ["mail"])
    assert job["users"] == ["ann@example.com", "bob@example.com"]
    assert (job["organization"], job["repository"]) == (whose["id"], place["id"])


async def rows(data: Path) -> tuple[Any, Any, Any, list[str]]:
    """Repositories, organizations and jobs of an installation, and the secrets of the first two."""
    async with database_of(data) as (database, _):
        names = ("repositories", "organizations", "jobs")
        found = [await database.rows(f"{name}.page", after="", count=10) for name in names]
        box = SecretBox.from_file(data / "secrets.key")
        keys = [found[0][0]["secret"], found[1][0]["secret"]]
        plain = [box.open(k, await database.value("secrets.get", id=k)) for k in keys]
    return *found, [plain[0].decode(), msgspec.json.decode(plain[1])["client_secret"]]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), "rebuild-options"),
        (("--dry-run", "--org", "none.toml"), "organization-settings"),
        (("--data-dir", __file__), "data-dir-not-empty"),
    ],
)
def test_wrong_calls(repo: Path, command: CommandLine, words: tuple[str, ...], code: str) -> None:
    """One line that says what to do."""
    answer = command("rebuild", repo, *words)
    assert (answer.code, one_line(answer)) == (2, True), answer
    assert f"({code})" in answer.err
