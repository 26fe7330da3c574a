"""
A restore from its words to its end: what is wanted, the plan of each entry, then the writes.

Entries go side by side, a few at once; a journal in the state folder makes the same words go on where they stopped.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engine.errors import BackupError, UsageError
from engine.manifest import PointEntry, PointForm
from proxy.contract import ItemOutcome, Selection
from proxy.graph.budget import BudgetLimits
from proxy.graph.clock import Clock
from proxy.graph.service import GraphService
from proxy.graph.settings import OrganizationSettings
from proxy.restore.contents import Contents
from proxy.restore.destination import Destination, find_target
from proxy.restore.entry import EntryRestore, Way
from proxy.restore.journal import Journal, journal_name
from proxy.restore.mail import MailRestorer
from proxy.restore.plan import Cost, EntryPlan
from proxy.restore.protocol import Collision
from proxy.restore.room import Room
from proxy.restore.setting_rows import SettingPart
from proxy.restore.settings import Folders, SettingsRestorer
from proxy.restore.target import Target
from proxy.restore.wanted import Wanted, wanted_of
from proxy.restore.workloads import RESTORERS
from proxy.workloads.together import together
from repository import Repository

__all__ = ["RestoreAsked", "RestoreProgress", "RestoreResult", "restore_point"]

ENTRIES_AT_ONCE = 4
EVERYTHING = Selection()
SETTINGS = "settings"  # as if it were a workload of its own
BYTES_AT_ONCE_MAX = 256 * 1024 * 1024
JOURNAL_AGE_S_MAX = 7 * 86_400.0  # what was done so long ago may have changed: begin anew


@dataclass(frozen=True, slots=True)
class RestoreAsked:
    """
    What to restore, where to, and how.

    `path`: as `browse` has it, "" for everything; `dry_run`: plan only, write nothing; `settings`: what of the mailbox's
    settings; `items`: False for settings alone; `selection`: folders and dates, its other members say nothing here.
    """

    destination: Destination
    path: str = ""
    collision: Collision = "skip"
    dry_run: bool = False
    settings: tuple[SettingPart, ...] = ()
    items: bool = True
    selection: Selection = EVERYTHING


@dataclass(slots=True)
class EntryResult:
    """One object and workload: its plan, what was done by action, what was not, and the error if it failed as a whole."""

    label: str
    plan: EntryPlan | None = None
    done: dict[str, int] = field(default_factory=dict)
    outcomes: list[ItemOutcome] = field(default_factory=list)
    error_code: str = ""
    error: str = ""


@dataclass(slots=True)
class RestoreResult:
    """What a restore did, or would do."""

    dry_run: bool
    resumed: bool = False
    entries: list[EntryResult] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # object/workload that no restore writes yet
    requests: int = 0

    @property
    def cost(self) -> Cost:
        """Of all entries."""
        plans = [entry.plan.cost for entry in self.entries if entry.plan is not None]
        return Cost(sum(c.requests for c in plans), sum(c.upload_bytes for c in plans))

    @property
    def seconds_min(self) -> float:
        """Mailboxes go side by side; the slowest decides, or all of them a few at once."""
        each: dict[str, float] = defaultdict(float)
        for entry in self.entries:
            if entry.plan is not None:
                each[entry.plan.target] += entry.plan.cost.seconds_min
        return max([*each.values(), sum(each.values()) / ENTRIES_AT_ONCE], default=0.0)

    @property
    def failed(self) -> bool:
        """Nothing could be restored."""
        return bool(self.entries) and all(entry.error_code for entry in self.entries)

    @property
    def wants_another(self) -> bool:
        """Something failed: the same words try it again, and must know what was made."""
        outcomes = [outcome for entry in self.entries for outcome in entry.outcomes]
        return any(e.error_code for e in self.entries) or any(
            o.result == "failed" for o in outcomes
        )

    @property
    def warned(self) -> bool:
        """Something is missing."""
        return bool(self.left_out) or any(e.error_code or e.outcomes for e in self.entries)


@dataclass(frozen=True, slots=True)
class RestoreProgress:
    """Items so far, of those that the plan writes."""

    items: int
    items_total: int
    requests: int


Progress = Callable[[RestoreProgress], None]
Confirm = Callable[[RestoreResult], bool]


async def restore_point(
    organization: OrganizationSettings,
    repository: Repository,
    point: PointForm,
    asked: RestoreAsked,
    *,
    state_dir: Path,
    confirm: Confirm | None = None,
    progress: Progress | None = None,
    version: str = "0",
    limits: BudgetLimits | None = None,
    clock: Clock | None = None,
) -> RestoreResult:
    """
    Restore what `asked` names of `point` into `organization`.

    Args:
        state_dir: where journals are kept.
        confirm: shown the plan before the first write; False ends it there.
        clock: what is waited by; None: the machine's.

    Raises:
        NotFound: nothing is at the path. UsageError: it cannot be restored. Conflict(restore-running).
        BackupError: nothing could be begun. Later failures are in the result.
    """
    wanted, left_out = wanted_of(repository, point, asked.path, asked.selection)
    settings = organization.for_restore()
    path = state_dir / "restores" / journal_name(_words(repository, point, asked, settings))
    async with GraphService(settings, version, clock=clock, limits=limits) as service:
        with _journal(path) as held:
            session = _Session(service, repository, held.journal, asked)
            session.result.left_out = left_out
            await session.plan(wanted)
            session.result.resumed = held.journal.resumed
            if asked.dry_run or (confirm is not None and not confirm(session.result)):
                session.foretell()
                session.result.dry_run = True
                return session.result
            held.ended = False
            await session.run(progress)
            held.ended = not session.result.wants_another
    return session.result


def _words(
    repository: Repository, point: PointForm, asked: RestoreAsked, settings: OrganizationSettings
) -> list[str]:
    where = [asked.destination.user, *asked.destination.folder]
    tenant = [settings.graph_endpoint, settings.tenant_id]
    chosen = msgspec.json.encode(asked.selection).decode()
    what = [asked.collision, ",".join(asked.settings), str(asked.items), chosen]
    return [repository.id, point.id, asked.path, *what, *tenant, *where]


@dataclass(slots=True)
class _Held:
    journal: Journal
    ended: bool


@contextmanager
def _journal(path: Path) -> Iterator[_Held]:
    """The journal for the block; it goes when it says nothing that another run needs."""
    if path.exists() and time.time() - path.stat().st_mtime > JOURNAL_AGE_S_MAX:
        path.unlink(missing_ok=True)
    journal = Journal(path)
    held = _Held(journal, ended=not journal.resumed)
    try:
        yield held
    finally:
        journal.close(ended=held.ended)


class _Session:
    def __init__(
        self, service: GraphService, repository: Repository, journal: Journal, asked: RestoreAsked
    ) -> None:
        self._writer = service.writer()
        self._contents = Contents(repository)
        self._journal = journal
        self._asked = asked
        room = Room(BYTES_AT_ONCE_MAX)
        self._way = Way(asked.destination.folder, asked.collision, room)
        self._restores: list[tuple[EntryResult, EntryRestore]] = []
        self.result = RestoreResult(asked.dry_run)

    async def plan(self, wanted: list[tuple[PointEntry, Wanted]]) -> None:
        """Plan all entries; one that cannot be planned has its error."""
        places = asyncio.Semaphore(ENTRIES_AT_ONCE)

        async def one(entry: PointEntry, workload: str, rows: Wanted) -> None:
            result = EntryResult(f"{entry.object.name}/{workload}")
            self.result.entries.append(result)
            async with places:
                try:
                    target = await find_target(
                        self._writer, self._asked.destination, entry.object.id, entry.object.name
                    )
                    if workload == SETTINGS:
                        restore = await self._settings(target, entry, rows)
                    else:
                        restorer = RESTORERS[workload](target, self._contents)
                        restore = EntryRestore(rows, restorer, self._journal, self._way)
                    result.plan = await restore.plan(target.name)
                except BackupError as error:
                    result.error_code, result.error = error.code, error.message
                    return
            self._restores.append((result, restore))

        jobs = [(entry, entry.workload, rows) for entry, rows in wanted if self._asked.items]
        if self._asked.settings:
            carriers = [one for one in wanted if one[1].settings is not None]
            if not carriers:
                raise UsageError(
                    "Nothing at this path has settings of a mailbox: they are kept with its mail.",
                    code="restore-unfit",
                )
            jobs += [(entry, SETTINGS, rows) for entry, rows in carriers]
        await together(one(*job) for job in jobs)
        self.result.requests = self._writer.meter.requests

    async def _settings(self, target: Target, entry: PointEntry, rows: Wanted) -> EntryRestore:
        """The restore of the settings that the inbox of a mail entry carries."""
        base, collision = self._way.base, self._way.collision
        coming = [row.id for row in rows.containers] if self._asked.items else []
        folders = Folders(MailRestorer(target, self._contents), rows.folders, base, coming)
        await folders.plan()
        restorer = SettingsRestorer(target, folders, self._asked.settings)
        bearer = rows.settings
        kept = {} if bearer is None else await self._contents.parts(bearer)
        wanted = restorer.wanted(f"{entry.object.id}/{SETTINGS}", kept)
        # A second category of one name cannot be, and a second rule would do everything twice.
        way = Way((), "skip" if collision == "copy" else collision, self._way.room)
        return EntryRestore(wanted, restorer, self._journal, way)

    def foretell(self) -> None:
        """Nothing is going to be written: what the plans say of single items are the outcomes."""
        for result, restore in self._restores:
            result.outcomes = restore.foreseen

    async def run(self, progress: Progress | None) -> None:
        """Write all entries; one that fails does not cost the others."""
        places = asyncio.Semaphore(ENTRIES_AT_ONCE)
        plans = [result.plan for result, _ in self._restores if result.plan is not None]
        total = sum(plan.counts[action] for plan in plans for action in plan.counts)
        done = 0

        def tell() -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(RestoreProgress(done, total, self._writer.meter.requests))

        # Entries that go to the same place go one after the other: of two equal items at once nobody could tell whose
        # answer was lost.
        turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

        async def one(result: EntryResult, restore: EntryRestore) -> None:
            async with turns[restore.goes_to], places:
                try:
                    await restore.run(tell)
                except BackupError as error:
                    result.error_code, result.error = error.code, error.message
                result.done = dict(restore.done)
                result.outcomes = restore.outcomes

        # Settings last: rules move mail to folders that may have to be made.
        settings = [one for one in self._restores if one[1].goes_to.endswith(f"/{SETTINGS}")]
        items = [one for one in self._restores if one not in settings]
        for group in (items, settings):
            await together(one(result, restore) for result, restore in group)
        self.result.requests = self._writer.meter.requests
