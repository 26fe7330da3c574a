"""
Backup copy: restore points of one repository in another (docs/decisions/0018).

Every restore point is a commit of its own, oldest first, with the id, name, time and result of the original. Its entries follow
the copies before them, so that only what changed is read and written. A run that was cut off is gone on with by the next one,
from what the copy itself says.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from engine.catalog import SCHEMA, removed_row
from engine.errors import BackupError, Corruption, Fenced, NotFound
from engine.manifest import PointEntry, PointForm
from repository.ambient import cores
from repository.copying_entries import CopiedEntries, Ground, Rank, not_whole
from repository.copying_parts import Copied, KnownParts, PartCopier, windows_of
from repository.copying_plan import Plan
from repository.copying_rows import Difference, difference, live_rows
from repository.entries import Entry
from repository.points import PointDraft
from repository.slices import Slice

if TYPE_CHECKING:
    from repository.repository import Repository
    from repository.session import WriteSession

PREPARED_MAX = 4  # entries that are compared ahead of the one whose contents are copied
ROWS_HELD_MAX = 500_000  # of catalogs that wait for a commit
ENTRIES_HELD_MAX = 256  # that wait for a commit
TURNS_LOST_MAX = 5  # to collections on the target that had waited long enough
PROBLEMS_MAX = 10_000  # that are kept
WARNING = "warning"


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """When what was copied so far is committed: bytes read, rows, seconds."""

    commit_bytes: int = 1024**3
    commit_rows: int = 65_536
    commit_s: float = 120.0


@dataclass(frozen=True, slots=True)
class CopyProblem:
    """What is not in the copy as it is in the original. `name` of the item, empty for all of the object."""

    point: str
    object: str
    workload: str
    name: str
    code: str
    reason: str


@dataclass(slots=True)
class CopyReport:
    """
    What a copy did.

    Attributes:
        points: restore points of the copy, oldest first. unsealed: ids of those of which nothing could be copied.
        rows: items and containers written. bytes_read: content read from the original. bytes_stored: of packs.
        problems: the first PROBLEMS_MAX.
    """

    points: list[PointForm] = field(default_factory=list)
    unsealed: list[str] = field(default_factory=list)
    rows: int = 0
    removed: int = 0
    bytes_read: int = 0
    bytes_stored: int = 0
    seconds: float = 0.0
    problems: list[CopyProblem] = field(default_factory=list)


@dataclass(slots=True)
class CopyProgress:
    """How far a copy is; bytes and items of the restore points, also those that needed no reading."""

    points: int = 0
    points_total: int = 0
    items: int = 0
    items_total: int = 0
    bytes: int = 0
    bytes_total: int = 0
    bytes_read: int = 0


ShowProgress = Callable[[CopyProgress], None]


def copy_points(
    source: "Repository",
    target: "Repository",
    plan: Plan,
    *,
    limits: CopyLimits | None = None,
    show: ShowProgress | None = None,
    identity: str | None = None,
) -> CopyReport:
    """
    Copy what a plan wants. Without anything wanted nothing is written, not even a turn.

    What is damaged in the original is named and left out; its restore point becomes a `warning`.

    Raises: errors of either store; Fenced if collections on the target took the turn again and again. What was committed
        stays, and the next run goes on from it.
    """
    begun = time.monotonic()
    report = CopyReport()
    items, size = _sums(plan.wanted)
    progress = CopyProgress(0, len(plan.wanted), 0, items, 0, size)
    left = deque(plan.wanted)
    lost = 0
    while left:
        with target.write_session(identity, plan.scopes.get(left[0].id)) as session:
            run = _Run(source, target, session, report, progress, limits or CopyLimits(), show)
            try:
                run.copy(left, plan.scopes)
            except Fenced as error:
                lost += 1
                if error.code != "turn-revoked" or lost > TURNS_LOST_MAX:
                    raise
                _go_back(report, progress, left)
            finally:
                run.close()
                report.bytes_stored += session.bytes_stored
    report.seconds = time.monotonic() - begun
    return report


def _go_back(report: CopyReport, progress: CopyProgress, left: Collection[PointForm]) -> None:
    """What is said of restore points that are begun again."""
    ids = {point.id for point in left}
    report.problems = [problem for problem in report.problems if problem.point not in ids]
    items, size = _sums(left)
    progress.items, progress.bytes = progress.items_total - items, progress.bytes_total - size


def _sums(points: Iterable[PointForm]) -> tuple[int, int]:
    """Items and bytes of restore points."""
    entries = [entry for point in points for entry in point.entries]
    return sum(entry.items for entry in entries), sum(entry.bytes for entry in entries)


@dataclass(slots=True)
class _Work:
    """The copy of one entry that is under way."""

    wanted: PointEntry
    slice: Slice
    difference: Difference
    checkpoint: bytes | None
    whole: bool = True
    rows_held: int = 0


class _Run:
    """All that is copied in one write session."""

    def __init__(
        self,
        source: "Repository",
        target: "Repository",
        session: "WriteSession",
        report: CopyReport,
        progress: CopyProgress,
        limits: CopyLimits,
        show: ShowProgress | None,
    ) -> None:
        self._source = source
        self._target = target
        self._session = session
        self._report = report
        self._progress = progress
        self._limits = limits
        self._show = show or (lambda progress: None)
        self._copied = CopiedEntries(source, target)
        self._parts = PartCopier(source.reader, session, KnownParts())
        self._prepare = ThreadPoolExecutor(PREPARED_MAX, "compare")
        self._threads = ThreadPoolExecutor(cores(), "copy")
        self._lock = threading.Lock()  # of problems and progress, from threads that compare
        self._under_way: deque[tuple[_Work, Future[Copied] | None]] = deque()
        self._finished: list[_Work] = []
        self._point: PointForm | None = None
        self._is_whole = True  # the restore point that is being copied
        self._begin_turn()

    def close(self) -> None:
        """Stop the threads."""
        self._prepare.shutdown(cancel_futures=True)
        self._threads.shutdown(cancel_futures=True)
        self._parts.close()

    def copy(self, points: "deque[PointForm]", scopes: Mapping[str, str]) -> None:
        """Copy restore points, up to one of another scope than the first one; each leaves `points` when it is durable."""
        scope = scopes.get(points[0].id)
        while points and scopes.get(points[0].id) == scope:
            point = points[0]
            self._copy_point(point)
            points.popleft()
            self._progress.points += 1
            self._show(self._progress)

    # -- restore points --------------------------------------------------------------------------

    def _copy_point(self, point: PointForm) -> None:
        self._point, self._is_whole = point, True
        rank = point.created_at, point.id
        todo = list(not_whole(self._copied, point.entries))
        done = {entry.entry for entry in point.entries} - {entry.entry for entry in todo}
        self._count_done([entry for entry in point.entries if entry.entry in done])
        for work in self._prepared(todo, rank):
            self._submit(work, rank)
            if self._is_commit_due():
                self._commit(rank)
        self._commit(rank)
        self._seal(point)

    def _seal(self, point: PointForm) -> None:
        known = [self._copied.get(entry.entry) for entry in point.entries]
        refs = tuple(one.copy for one in known if one is not None)
        whole = self._is_whole and len(refs) == len(known)
        if not whole:
            self._require_still_there(point)
        if point.entries and not refs:
            self._report.unsealed.append(point.id)
            return
        result = point.result if whole else WARNING
        draft = PointDraft(point.id, point.name, point.session, result, refs, point.created_at)
        self._report.points.append(self._session.seal_point(draft))

    def _require_still_there(self, point: PointForm) -> None:
        """What a collection took away meanwhile is not damaged. NotFound."""
        self._source.refresh()
        if point.id not in {other.id for other in self._source.points({})}:
            raise NotFound(
                f"restore point {point.id} was forgotten while it was copied: run the command again",
                code="point-not-found",
            )

    def _problem(self, entry: PointEntry, name: str, error: BackupError) -> None:
        assert self._point is not None
        problem = CopyProblem(
            self._point.id, entry.object.name, entry.workload, name, error.code, error.message
        )
        with self._lock:
            self._is_whole = False
            if len(self._report.problems) < PROBLEMS_MAX:
                self._report.problems.append(problem)

    def _count_done(self, entries: list[PointEntry]) -> None:
        self._count(sum(entry.items for entry in entries), sum(entry.bytes for entry in entries))

    def _count(self, items: int, size: int, read: int = 0) -> None:
        with self._lock:
            self._progress.items += items
            self._progress.bytes += size
            self._progress.bytes_read += read
            self._report.bytes_read += read

    # -- entries ---------------------------------------------------------------------------------

    def _prepared(self, todo: list[PointEntry], rank: Rank) -> Iterator[_Work]:
        """Entries with what is to be copied of them, some compared ahead."""
        ahead: deque[Future[_Work | None]] = deque()
        rest = iter(todo)
        while True:
            while len(ahead) < PREPARED_MAX and (wanted := next(rest, None)) is not None:
                ahead.append(self._prepare.submit(self._prepare_one, wanted, rank))
            if not ahead:
                return
            work = ahead.popleft().result()
            if work is not None:
                yield work

    def _prepare_one(self, wanted: PointEntry, rank: Rank) -> _Work | None:
        """Compare an entry with what the copy has; None if nothing is to be written."""
        try:
            entry = self._source.named_entry(wanted.entry)
            original = live_rows(
                self._source.catalog(entry), self._target.state.generation.items_from_ns
            )
        except (Corruption, NotFound) as error:
            self._problem(wanted, "", error)
            self._count_done([wanted])
            return None
        assert self._point is not None
        with self._lock:
            ground = self._copied.ground(entry, self._point.name, rank)
        if ground.copied is not None and ground.copied.form.scope != self._session.scope.id:
            ground = Ground(None, None, False, ground.parents)  # its rows are under other keys
        made = self._compare(original, ground)
        self._count(made.unchanged.items, made.unchanged.bytes)
        if not made and ground.copied is not None and self._is_copy(entry, ground):
            with self._lock:
                self._copied.add(wanted, ground.copied.ref, True, rank)
            return None
        return self._open(wanted, entry, ground, made)

    def _is_copy(self, entry: Entry, ground: Ground) -> bool:
        """Whether what is copied is the whole copy of an entry, given that their rows are the same."""
        assert ground.copied is not None
        same = ground.base is not None and ground.base.ref == entry.ref
        resumed = ground.resumed and ground.copied.form.session == entry.form.session
        if not ground.copied.form.complete or not (same or resumed):
            return False
        try:
            return self._source.checkpoint(entry) == self._target.checkpoint(ground.copied)
        except Corruption:
            return False

    def _compare(self, original: pa.Table, ground: Ground) -> Difference:
        copied, base = SCHEMA.empty_table(), None
        if ground.copied is not None:
            copied = live_rows(self._target.catalog(ground.copied))
        if ground.base is not None:
            try:
                base = live_rows(self._source.catalog(ground.base))
            except Corruption:
                base = None  # then contents are read that need not be
        return difference(original, copied, base, resumed=ground.resumed)

    def _open(self, wanted: PointEntry, entry: Entry, ground: Ground, made: Difference) -> _Work:
        checkpoint, whole = None, True
        try:
            checkpoint = self._source.checkpoint(entry)
        except Corruption as error:
            self._problem(wanted, "", error)
            whole = False
        form = entry.form
        slice_ = self._session.open_slice(
            form.object,
            form.workload,
            form.session,
            previous=ground.copied,
            parents=ground.parents,
            walk=True,
        )
        held = made.rows.num_rows + (ground.copied.form.items if ground.copied else 0)
        return _Work(wanted, slice_, made, checkpoint, whole, held)

    # -- contents --------------------------------------------------------------------------------

    def _submit(self, work: _Work, rank: Rank) -> None:
        """Queue the contents of an entry; threads copy them, and what they did is taken over in order."""
        rows, known = work.difference.rows, work.difference.known
        for window in windows_of(rows, self._source.reader):
            numbers = pa.array(window, pa.uint64())
            copied = self._threads.submit(self._parts.copy, rows.take(numbers), known.take(numbers))
            self._under_way.append((work, copied))
            self._take(2 * cores())
            if self._is_commit_due():
                self._commit(rank)
        self._under_way.append((work, None))
        self._take(2 * cores())

    def _take(self, most: int) -> None:
        """Take over what was copied until at most so many windows are under way."""
        while len(self._under_way) > most:
            work, copied = self._under_way.popleft()
            if copied is None:
                self._finish(work)
            else:
                self._add(work, copied.result())
            self._show(self._progress)

    def _add(self, work: _Work, copied: Copied) -> None:
        if copied.table.num_rows:
            work.slice.advance_table(copied.table)
        for name, error in copied.failed:
            self._problem(work.wanted, name, error)
        work.whole = work.whole and not copied.failed
        self._report.rows += copied.table.num_rows
        self._turn_bytes += copied.bytes_read
        self._count(copied.totals.items, copied.totals.bytes, copied.bytes_read)

    def _finish(self, work: _Work) -> None:
        """The last rows of an entry and its checkpoint; from now on it is complete."""
        removed = [removed_row(row_id) for row_id in work.difference.removed]
        if work.checkpoint is None:
            work.slice.checkpoint = None  # that of the copy before it is of other rows
        work.slice.advance(removed, work.checkpoint)
        work.slice.finish()
        self._report.removed += len(removed)
        self._finished.append(work)

    # -- commits ---------------------------------------------------------------------------------

    def _begin_turn(self) -> None:
        self._turn_bytes = 0
        self._turn_began = time.monotonic()

    def _is_commit_due(self) -> bool:
        return (
            self._turn_bytes >= self._limits.commit_bytes
            or self._session.pending_rows >= self._limits.commit_rows
            or len(self._finished) >= ENTRIES_HELD_MAX
            or sum(work.rows_held for work in self._finished) >= ROWS_HELD_MAX
            or time.monotonic() - self._turn_began >= self._limits.commit_s
        )

    def _commit(self, rank: Rank) -> None:
        """Make durable what was copied, entries that end with it become known."""
        self._take(0)
        self._session.commit()
        with self._lock:
            for work in self._finished:
                assert work.slice.entry is not None, "a finished slice is always committed"
                self._copied.add(work.wanted, work.slice.entry, work.whole, rank)
        self._finished = []
        self._begin_turn()
