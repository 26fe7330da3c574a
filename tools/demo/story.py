"""
What `strongroom demo` does, step by step, and the table it ends with.

Two processes of proxies work on a full backup; one is killed with -9 in the middle and the session ends all the same. Then a
day of changes, an incremental backup, verification of every byte, an export of one mailbox and one drive, and their
comparison with what the tenant holds.
"""

import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import BackupError, Corruption, Unavailable
from repository import Places, create_repository, open_repository
from tools.cli.errors import leaves
from tools.cli.output import DONE, FAILED, complain, facts, progress_bar, say, size_text, table
from tools.demo.compare import Comparison, compare_drive, compare_mailbox, compare_records
from tools.demo.tenant import EmulatedTenant, emulated_tenant
from tools.installation.api import Api
from tools.installation.running import running
from tools.installation.supervisor import InstallationInfo, InstallationOptions

if TYPE_CHECKING:
    from proxy.contract import ExportFormat

SESSION_S = 420.0  # a session that takes longer hangs: the demo fails and says so
KILL_AFTER_TASKS = 30  # of 200: in the middle of the full backup
REPOSITORY_NAME = "Demo repository"
RECORDS = {
    "calendar": "calendars",
    "contacts": "contacts",
    "tasks": "tasks",
}  # and their names in the oracle


@dataclass(frozen=True, slots=True)
class Measured:
    """One session as the table shows it."""

    title: str
    session: dict[str, Any]
    seconds: float

    @property
    def totals(self) -> dict[str, int]:
        """Sums of the session's tasks."""
        totals: dict[str, int] = self.session["totals"]
        return totals


def run_demo(*, keep: bool) -> int:
    """Run the story in a temporary folder; exit code."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="strongroom-demo-"))
    try:
        code = asyncio.run(_Story(folder, keep=keep).run())
    except asyncio.CancelledError:
        complain("strongroom: stopped; nothing of the demo is left")
        code = FAILED
    except BaseExceptionGroup as errors:
        known, others = errors.split(BackupError)
        if known is None or others is not None:
            raise
        complain(f"strongroom: {next(leaves(known))}")
        code = FAILED
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"{'done' if code == DONE else 'FAILED'} in {time.monotonic() - started:.0f} s")
    return code


class _Story:
    def __init__(self, folder: Path, *, keep: bool) -> None:
        self._folder = folder
        self._keep = keep
        self._passphrase = secrets.token_urlsafe(24)
        self._url = str(folder / "repository")
        self._places = Places(folder / "cache", folder / "state")
        self._measured: list[Measured] = []
        self._started = time.monotonic()

    def _step(self, text: str) -> None:
        say(f"[{time.monotonic() - self._started:5.1f} s] {text}")
        sys.stdout.flush()

    async def run(self) -> int:
        """The whole story; Ctrl-C cancels it, and everything that was started is stopped."""
        this, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert this is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, this.cancel)
        self._step("starting an emulated tenant, PostgreSQL, NATS, server and two proxies")
        async with (
            emulated_tenant(self._folder / "emulator") as tenant,
            running(InstallationOptions(self._folder / "data", port=0)) as info,
            Api(
                info.url, str(info.ca_file), info.administrator, info.administrator_password
            ) as api,
        ):
            create_repository(self._url, self._passphrase, places=self._places).close()
            job = await self._configure(api, tenant)
            await self._backup(api, job, "full", kill=info)
            changed = await tenant.call("churn")
            what = ", ".join(f"{count} {name}" for name, count in changed.items() if count)
            self._step(f"a day passes in the tenant: {what}")
            await self._backup(api, job, "incremental")
            problems = await self._verify(api)
            comparisons = await self._export(tenant)
            ledger = await tenant.call("ledger")
            self._show(comparisons, ledger)
            good = not problems and not any(c.differences for c in comparisons)
            good = good and not ledger["breaches"]
            if self._keep:
                await self._stay(info)
        return DONE if good else FAILED

    async def _configure(self, api: Api, tenant: EmulatedTenant) -> str:
        """Organization, repository and job over REST; the job's id."""
        members = tenant.organization
        authority = members["authority"].removesuffix(f"/{members['tenant_id']}")
        organization = await api.post(
            "/organizations",
            {
                "name": "Demo tenant",
                "tenant_id": members["tenant_id"],
                "client_id": members["client_id"],
                "client_secret": members["client_secret"],
                "authority": authority,
                "graph_endpoint": members["graph_endpoint"],
                "ca": Path(members["ca_file"]).read_text(),
            },
        )
        repository = await api.post(
            "/repositories",
            {"name": REPOSITORY_NAME, "url": self._url, "passphrase": self._passphrase},
        )
        self._repository_id = repository["id"]
        job = await api.post(
            "/jobs",
            {
                "name": "Everybody",
                "organization": organization["id"],
                "repository": repository["id"],
                "workloads": ["mail", *RECORDS, "drives"],
            },
        )
        return str(job["id"])

    async def _backup(
        self, api: Api, job: str, title: str, kill: InstallationInfo | None = None
    ) -> None:
        """Start the job and follow its session; with `kill` one proxy is killed in the middle."""
        session = await api.post(f"/jobs/{job}/start")
        self._step(f"{title} backup started")
        begun = time.monotonic()
        victim = kill
        with progress_bar(f"{title} backup") as bar:
            async for state in api.watch(session["id"], within_s=SESSION_S):
                totals = state["totals"]
                note = f"{totals['items_stored']} items, {size_text(totals['bytes_read'])}"
                bar.update(totals["tasks_ended"], totals["tasks"], note)
                if victim is not None and totals["tasks_ended"] >= KILL_AFTER_TASKS:
                    _kill_proxy(victim)
                    self._step("killed one proxy with -9 while it was working")
                    victim = None
        self._measured.append(Measured(title, state, time.monotonic() - begun))
        self._step(f"{title} backup ended: {state['state']}")
        if state["state"] != "success" or victim is not None:
            raise Unavailable(
                f"the {title} backup ended as {state['state']}: {state['error'] or 'see its outcomes'}",
                code="demo-backup",
            )

    async def _verify(self, api: Api) -> int:
        """Read every stored byte back through a proxy; how many problems there are."""
        session = await api.post(f"/repositories/{self._repository_id}/verify", {"level": "read"})
        state: dict[str, Any] = {}
        with progress_bar("verification") as bar:
            async for state in api.watch(session["id"], within_s=SESSION_S):
                bar.update(state["totals"]["tasks_ended"], max(1, state["totals"]["tasks"]))
        self._step(f"verification of every stored byte ended: {state['state']}")
        return 0 if state["state"] == "success" else 1

    async def _export(self, tenant: EmulatedTenant) -> list[Comparison]:
        """All that one user has to open files, each byte and each member compared with the tenant's."""
        oracle = await tenant.call("oracle")
        name = max(oracle, key=lambda upn: len(oracle[upn]["drive"]))
        expected = oracle[name]
        exported = self._folder / "export"
        await asyncio.to_thread(self._export_user, name, exported, "native")
        documents = self._folder / "documents"
        for workload in RECORDS:
            await asyncio.to_thread(
                self._export_user, f"{name}/{workload}", documents / workload, "json"
            )
        found = {
            "mailbox": compare_mailbox(exported / name / "mail", expected["mail"]),
            "drive": compare_drive(exported / name / "drives" / "OneDrive", expected["drive"]),
        } | {
            workload: compare_records(documents / workload, expected[named])
            for workload, named in RECORDS.items()
        }
        for title, compared in found.items():
            same = "every member" if title in RECORDS else "every byte"
            self._step(
                f"exported the {title} of {name}: {compared.files} files, {size_text(compared.bytes)}, "
                + ("DIFFERENT" if compared.differences else f"{same} as in the tenant")
            )
        return list(found.values())

    def _export_user(self, path: str, destination: Path, form: "ExportFormat") -> None:
        from proxy.pipeline.export import export_point

        with open_repository(self._url, self._passphrase, self._places) as repository:
            result = export_point(repository, repository.point("latest"), destination, path, form)
            if result.problems:
                raise Corruption("the export has problems", code="demo-export")

    def _show(self, comparisons: list[Comparison], ledger: dict[str, Any]) -> None:
        say()
        rows = []
        for measured in self._measured:
            totals = measured.totals
            read, stored = totals["bytes_read"], totals["bytes_stored"]
            rows.append(
                [
                    measured.title,
                    str(totals["tasks"] - 2),
                    str(totals["items_stored"]),
                    str(totals["items_unchanged"]),
                    str(totals["items_removed"]),
                    size_text(read),
                    size_text(stored),
                    f"{read / stored:.2f}" if stored else "-",
                    str(totals["requests"]),
                    str(totals["resource_units"]),
                    f"{measured.seconds:.1f}",
                ]
            )
        head = ["backup", "objects", "stored", "unchanged", "removed", "read", "kept", "ratio"]
        table([*head, "requests", "RU", "seconds"], rows, right=range(1, 11))
        say()
        for comparison in comparisons:
            for difference in comparison.differences:
                complain(f"different: {difference}")
        for breach in ledger["breaches"][:20]:
            complain(f"broken rule of Microsoft Graph: {breach}")

    async def _stay(self, info: InstallationInfo) -> None:
        facts(
            {
                "console": f"{info.url}/console/",
                "portal": f"{info.url}/portal/",
                "user": info.administrator,
                "password": info.administrator_password,
                "CA file": str(info.ca_file),
                "repository": self._url,
            }
        )
        say("Ctrl-C ends it and removes everything")
        sys.stdout.flush()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            this = asyncio.current_task()
            assert this is not None
            this.uncancel()  # asked for: the demo itself went well


def _kill_proxy(info: InstallationInfo) -> None:
    name = next(name for name in sorted(info.pids) if name.startswith("proxy"))
    os.kill(info.pids[name], signal.SIGKILL)
