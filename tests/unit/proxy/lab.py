"""An emulated tenant, a repository on disk and the data plane between them, for tests."""

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.catalog import Row
from engine.keys import KdfCost
from engine.manifest import PointForm
from proxy.contract import EntryRef, Event, ObjectRef, Selection, Task, TaskSecrets, Workload
from proxy.graph.budget import BudgetLimits
from proxy.graph.clock import Clock
from proxy.graph.settings import OrganizationSettings, parse_organization
from proxy.keeper import KeeperLimits
from proxy.pipeline.plane import DataPlane
from proxy.pipeline.standalone import SessionResult, backup_organization
from proxy.restore.destination import parse_destination
from proxy.restore.protocol import Collision
from proxy.restore.session import RestoreAsked, RestoreResult, restore_point
from proxy.restore.setting_rows import parse_settings
from repository import Places, Repository, create_repository, open_repository
from repository.catalogs import Catalog
from tools.emulator import Emulator
from tools.emulator.oracle import oracle

PASSPHRASE = "correct horse battery staple"
CHEAP = KdfCost(memory_kib=64, iterations=1, lanes=1)
QUICK = KeeperLimits(gather_s=0.02, idle_s=0.2)


def mime(number: int, body: str = "Hello.", *, subject: str = "") -> bytes:
    """A small message."""
    return (
        f"From: Ann <ann@example.com>\r\nTo: bob@example.com\r\n"
        f"Subject: {subject or f'Letter {number}'}\r\n"
        f"Date: Mon, 02 Nov 2026 10:{number // 60 % 60:02}:{number % 60:02} +0000\r\n"
        f"Message-ID: <{number}@example.com>\r\n\r\n{body} {number}\r\n"
    ).encode()


def add_user(emulator: Emulator, name: str, *, mail: bool = True, files: bool = True) -> str:
    """A user with an empty mailbox and drive; the principal name."""
    upn = f"{name}@{emulator.tenant.domain}"
    profile = {"displayName": name.title(), "userType": "Member"}
    emulator.tenant.add_user(upn, profile, mail=mail, files=files, at=emulator.clock.now())
    return upn


@dataclass(slots=True)
class RecordingContext:
    """A TaskContext that keeps what was emitted."""

    task: Task
    secrets_given: TaskSecrets
    delivery: int = 1
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    events: list[Event] = field(default_factory=list)
    on_event: Any = None

    async def emit(self, kind: Any, **members: Any) -> None:
        event = Event(
            id=uuid.uuid4().hex,
            session=self.task.session,
            task=self.task.id,
            proxy="p",
            kind=kind,
            at="2026-11-23T00:00:00Z",
            **members,
        )
        self.events.append(event)
        if self.on_event is not None:
            await self.on_event(event)

    async def secrets(self, organization: str | None, repository: str | None) -> TaskSecrets:
        return self.secrets_given

    def of(self, kind: str) -> list[Event]:
        """Events of one kind."""
        return [event for event in self.events if event.kind == kind]

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """Result and cause of every outcome told."""
        return [(o.result, o.cause) for event in self.of("outcome") for o in event.outcomes]


class Lab:
    """One tenant and one repository."""

    def __init__(self, emulator: Emulator, folder: Path, **overrides: str) -> None:
        self.emulator = emulator
        self.tenant = emulator.tenant
        self.ledger = emulator.ledger
        self.folder = folder
        self.url = str(folder / "repository")
        self.places = Places(folder / "cache", folder / "state")
        self.org = {**emulator.org, "item_patience_s": "1", "page_patience_s": "5", **overrides}
        self.repository: Repository = create_repository(
            self.url, PASSPHRASE, places=self.places, cost=CHEAP
        )

    @property
    def settings(self) -> OrganizationSettings:
        """How to reach the tenant."""
        return parse_organization(self.org)

    def reopened(self) -> Repository:
        """The repository opened anew, as another process would."""
        self.repository.close()
        self.repository = open_repository(self.url, PASSPHRASE, self.places)
        return self.repository

    async def backup(
        self,
        *users: str,
        workloads: Sequence[Workload] = ("mail", "drives"),
        limits: BudgetLimits | None = None,
        selection: Selection | None = None,
        clock: Clock | None = None,
        scope: str | None = None,
    ) -> SessionResult:
        """A session without a server."""
        return await backup_organization(
            self.settings,
            self.repository,
            users=users,
            selection=selection,
            workloads=workloads,
            version="test",
            limits=limits,
            clock=clock,
            scope=scope,
        )

    async def restore(
        self,
        point: PointForm | None,
        to: str = "original",
        *,
        path: str = "",
        collision: Collision = "skip",
        dry_run: bool = False,
        confirm: Callable[[RestoreResult], bool] | None = None,
        limits: BudgetLimits | None = None,
        clock: Clock | None = None,
        settings: str = "",
        items: bool = True,
        selection: Selection | None = None,
    ) -> RestoreResult:
        """A restore as the command makes one, signed in as the application of restores."""
        assert point is not None
        org = {name: value for name, value in self.emulator.restore_org.items() if name in self.org}
        return await restore_point(
            parse_organization({**self.org, **org}),
            self.repository,
            point,
            RestoreAsked(
                parse_destination(to),
                path,
                collision,
                dry_run,
                parse_settings(settings),
                items,
                selection or Selection(),
            ),
            state_dir=self.places.state_dir,
            confirm=confirm,
            version="test",
            limits=limits,
            clock=clock,
        )

    def plane(self, limits: KeeperLimits = QUICK) -> DataPlane:
        """A data plane as a proxy has one."""
        return DataPlane("proxy-1", self.places, "test", limits)

    def task(self, kind: Any, user: str = "", **members: Any) -> RecordingContext:
        """A task as the server hands it out, with the context of its delivery."""
        if user and kind == "backup":
            found = self.tenant.user(user)
            members["object"] = ObjectRef("user", found.key, found.upn)
        task = Task(
            id=uuid.uuid4().hex,
            session=members.pop("session", "session-1"),
            job="job",
            job_name="Nightly",
            pool="default",
            kind=kind,
            organization="org",
            repository="repo",
            repository_url=self.url,
            **members,
        )
        return RecordingContext(task, TaskSecrets(graph=self.org, passphrase=PASSPHRASE))

    def after_request(self, number: int, action: Callable[[], object]) -> Callable[[], bool]:
        """
        Do `action` when the service has answered `number` more requests, before it sees the next one.

        Returns a question: whether that moment came.
        """
        ledger, real, left = self.ledger, self.ledger.finish, number

        def finish(*arguments: Any) -> None:
            nonlocal left
            real(*arguments)
            left -= 1
            if left == 0:
                action()

        ledger.finish = finish  # type: ignore[method-assign]

        def came() -> bool:
            ledger.finish = real  # type: ignore[method-assign]
            return left <= 0

        return came

    def mail_ids(self, point: PointForm | None) -> list[str]:
        """Ids of all messages of a restore point."""
        assert point is not None
        return sorted(row.id.decode() for row in self.rows(point) if row.kind == "message")

    def rows(self, point: PointForm | None, workload: str = "mail") -> list[Row]:
        """All rows of a restore point."""
        assert point is not None
        entries = [entry for entry in point.entries if entry.workload == workload]
        found = (self.repository.catalog(self.repository.entries.get(e.entry)) for e in entries)
        return [row for catalog in found for row in catalog.rows()]

    # -- comparison ------------------------------------------------------------------------------

    def state(self, point: PointForm | None) -> dict[str, Any]:
        """What a restore point holds, in the form of the oracle: hashes of every content byte."""
        assert point is not None
        found: dict[str, Any] = {}
        for entry in point.entries:
            user = found.setdefault(entry.object.name, {"mail": {}, "drive": {}, "folders": set()})
            catalog = self.repository.catalog(self.repository.entries.get(entry.entry))
            if entry.workload == "mail":
                user["mail"] = self._mail(catalog)
            else:
                user["drive"], user["folders"] = self._drive(catalog)
        return found

    def expected(self, *users: str) -> dict[str, Any]:
        """The tenant's state in the same form."""
        truth: dict[str, Any] = {}
        for user, state in oracle(self.tenant).items():
            if users and user not in users:
                continue
            truth[user] = {
                "mail": state["mail"],
                "drive": {path: facts["sha256"] for path, facts in state["drive"].items()},
                "folders": set(state["drive_folders"]),
            }
        return truth

    def _mail(self, catalog: Catalog) -> dict[str, dict[str, str]]:
        rows = {row.id: row for row in catalog.rows()}
        found: dict[str, dict[str, str]] = {
            _path(rows, row): {} for row in rows.values() if row.kind == "container"
        }
        for row in rows.values():
            if row.kind == "message":
                folder = _path(rows, rows[row.container])
                found[folder][row.id.decode()] = self.digest(row, "mime")
        return found

    def _drive(self, catalog: Catalog) -> tuple[dict[str, str], set[str]]:
        rows = {row.id: row for row in catalog.rows()}
        files = {
            _path(rows, row).partition("/")[2]: self.digest(row, "content")
            for row in rows.values()
            if row.kind == "file"
        }
        folders = {
            _path(rows, row).partition("/")[2]
            for row in rows.values()
            if row.kind == "container" and row.container
        }
        return files, folders

    def digest(self, row: Row, role: str) -> str:
        """SHA-256 of a stored part."""
        part = next(part for part in row.parts if part.role == role)
        digest = hashlib.sha256()
        for chunk in self.repository.read(part):
            digest.update(chunk)
        return digest.hexdigest()

    def content_reads(self) -> int:
        """Requests for content of messages and files since the ledger was cleared."""
        return self.ledger.requests(
            "/users/{user}/messages/{message}/$value"
        ) + self.ledger.requests("(pre-authenticated download)")

    def assert_no_breach(self) -> None:
        """The rules of the service were kept."""
        assert not self.ledger.breaches, self.ledger.breaches[:10]


def _path(rows: dict[bytes, Row], row: Row) -> str:
    names = [row.name.decode()]
    while row.container in rows:
        row = rows[row.container]
        names.append(row.name.decode())
    return "/".join(reversed(names))


def newest_entry(context: RecordingContext) -> EntryRef:
    """The entry of the newest commit told."""
    entry = context.of("committed")[-1].entry
    assert entry is not None
    return entry
