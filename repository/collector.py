"""
Collection: space of what nothing needs comes back (docs/format.md, "Collection").

copy     live chunks of sparse packs go to new packs, in a write session of their own
condemn  generation n+1 folds commits, takes forgets in, condemns what is not needed
drain    every turn that was active is waited for, or revoked after `wait_s`
judge    everything is marked again; generation m+1 calls dead what is still not needed; runs that mention it are merged anew
delete   what a published generation calls dead

`engine.collection` decides, `repository.marking` finds what is needed; this module reads and writes. It may stop anywhere, any
number may run at once: only the creation of `gc/<n+1>` counts, and a step that lost the number is computed again.
"""

import itertools
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine import commit as protocol
from engine.collection import (
    Verdict,
    View,
    has_ended,
    judge,
    next_generation,
    turns_to_wait_for,
)
from engine.commit import GenerationForm
from engine.errors import Conflict, Corruption, Fenced, Locked, NotFound, Unavailable
from engine.ids import ObjectId, WriterId
from engine.keys import SALT_BYTES
from engine.limits import RUN_MERGED_CHUNKS_MAX
from engine.run import Run, decode_run, merge_runs, runs_to_merge
from engine.seal import ObjectClass, seal_object
from repository import ambient
from repository.compaction import Compaction, sparse_packs
from repository.forgets import PUBLISH_ATTEMPTS_MAX, publish
from repository.immutability import extend_locks
from repository.index import Index
from repository.layout import (
    GENERATIONS,
    MANIFESTS,
    PACKS,
    POINTS,
    RUNS,
    cell_name,
    generation_number,
    parse_pack_name,
    run_name,
)
from repository.marking import Marker, Marks
from repository.state import (
    missing_generations,
    read_cell,
    read_cells,
    read_forgets,
)

if TYPE_CHECKING:
    from repository.repository import Repository

STORE_CALLS_AT_ONCE = 16
GENERATIONS_KEPT = 16  # whole ones behind the newest: a turn that spans them need not store again
GAPS_CLOSED_MAX = 1000  # stubs that one collection puts in the place of deleted generations
STUB_BYTES_MAX = 512  # a generation that is larger is not a stub


@dataclass(frozen=True, slots=True)
class CollectLimits:
    """
    Attributes:
        wait_s: how long an active turn is waited for before it is revoked. It decides when, never whether something is safe.
        poll_s: how often its cell is looked at.
        unused_share_max: a pack of which more is not needed is copied; 1 copies none.
    """

    wait_s: float = 600.0
    poll_s: float = 1.0
    unused_share_max: float = 0.2


@dataclass(slots=True)
class CollectReport:
    """What a collection did, or would do. Bytes are stored ones."""

    dry_run: bool = False
    generation: int = 0
    points: int = 0
    points_forgotten: int = 0
    entries_dropped: int = 0
    packs: int = 0
    pack_bytes: int = 0
    needed_bytes: int = 0
    chunks: int = 0
    chunk_bytes: int = 0
    copied_packs: int = 0
    copied_bytes: int = 0
    condemned: int = 0
    condemned_bytes: int = 0
    deleted: int = 0
    deleted_bytes: int = 0
    turns_waited_for: int = 0
    turns_revoked: int = 0
    locked: int = 0  # dead, and kept by the store until their locks end
    locks_extended: int = 0
    would_forget: list[str] = field(default_factory=list)


CollectProgress = Callable[[str, int, int], None]  # step, done, in all


@dataclass(frozen=True, slots=True)
class _RunFacts:
    """What is asked of a run before it is merged: how many chunks it has, and the packs that it mentions."""

    chunks: int
    packs: frozenset[ObjectId]


class Collector:
    """One collection. See the module head."""

    def __init__(
        self,
        repository: "Repository",
        limits: CollectLimits | None = None,
        progress: CollectProgress | None = None,
    ) -> None:
        self._repository = repository
        self._store = repository.store
        self._limits = limits or CollectLimits()
        self._progress = progress or (lambda step, done, todo: None)
        self._sizes: dict[str, int] = {}
        self._report = CollectReport()
        self._locked: set[str] = set()
        self._copies: tuple[str, ...] = ()  # runs of what this collection copied
        self._known_runs: dict[str, _RunFacts] = {}

    def run(self, *, dry_run: bool = False) -> CollectReport:
        """
        Collect.

        Raises:
            Corruption(collect-blocked): something of the state cannot be read, so that it is not known what is needed.
            Unavailable, Denied: of the store; run again, nothing is lost.
        """
        self._report.dry_run = dry_run
        folder = self._repository.scratch / f"collect-{ambient.random_bytes(8).hex()}"
        try:
            self._run(folder, dry_run=dry_run)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return self._report

    def _run(self, folder: Path, *, dry_run: bool) -> None:
        marker = Marker(
            self._repository,
            Index(folder, in_order=True),
            lambda done, todo: self._progress("mark", done, todo),
            self._load_runs,
        )
        if not dry_run:
            self._require_swaps()
            self._delete(self._repository.state.generation.dead)  # of a collector that stopped
        view, marks = self._marked(marker)
        self._note(view, marks)
        chosen = self._sparse(view, marks)
        if dry_run:
            self._foresee(view, marks, chosen)
            return
        if chosen:
            self._copy_unless_overtaken(chosen, view, marks)
            self._publish(marker, None)
        else:
            self._publish(marker, None, (view, marks))
        judged_through = self._drain()
        self._publish(marker, judged_through)
        self._stub_old_generations()
        self._repository.refresh()
        if self._repository.immutability:
            self._report.locks_extended = extend_locks(self._repository).extended

    def _require_swaps(self) -> None:
        """Without compare-and-swap a commit cannot be told from a revoked one: nobody may write meanwhile."""
        repository = self._repository
        if repository.config.compare_and_swap:
            return
        cells = read_cells(repository.store, repository.keys, repository.uuid)
        if turns_to_wait_for(cells):
            raise Conflict(
                "this storage lacks compare-and-swap and a writer is active: collect when no backup runs",
                code="writer-active",
            )

    # -- reading ---------------------------------------------------------------------------------

    def _view(self) -> View:
        """Forgets, cells, the newest generation, the listing: in this order."""
        repository = self._repository
        forgets = read_forgets(repository.store, repository.keys, repository.uuid)
        state = repository.refresh()  # catalogs are read through its index as well
        self._sizes = {
            blob.name: blob.size
            for blob in repository.store.list("")
            if blob.name.startswith((PACKS, RUNS, MANIFESTS, POINTS))
        }
        return View(forgets, state.cells, state.generation, self._sizes.keys())

    def _marked(self, marker: Marker) -> tuple[View, Marks]:
        """Fresh reads and what they need; anew if what was read was overtaken, so that something of it seemed missing."""
        for attempt in range(1, PUBLISH_ATTEMPTS_MAX + 1):
            view = self._view()
            try:
                return view, marker.mark(view, self._in_order(view))
            except Corruption:
                now = self._repository.refresh()
                moved_on = (now.generation, now.cells) != (view.generation, view.cells)
                if not moved_on or attempt == PUBLISH_ATTEMPTS_MAX:
                    raise
        raise _contended()

    def _is_overtaken(self, view: View) -> bool:
        """Whether another collector published since: what is missing was deleted, not lost."""
        return self._repository.newest_generation().number != view.generation.number

    # -- copying ---------------------------------------------------------------------------------

    def _sparse(self, view: View, marks: Marks) -> list[str]:
        """Packs that hold so much besides what is needed that the needed part is copied."""
        chosen = sparse_packs(
            marks,
            self._sizes,
            view.generation.condemned.keys() | self._repository.state.damaged,
            self._limits.unused_share_max,
        )
        held = self._repository.immutability
        locked = held.still_locked(chosen) if held else ()  # a copy would give nothing back
        return [name for name in chosen if name not in locked]

    def _copy_unless_overtaken(self, chosen: Sequence[str], view: View, marks: Marks) -> None:
        """Copy; if another collector revokes the turn or deletes a pack meanwhile, what was copied is left alone."""
        try:
            self._copy(chosen, marks)
        except (Fenced, NotFound, Corruption):
            if not self._is_overtaken(view):
                raise

    def _copy(self, chosen: Sequence[str], marks: Marks) -> None:
        with self._repository.write_session() as session:
            compaction = Compaction(self._repository, session)
            needed = marks.needed_in(set(chosen))
            for number, name in enumerate(chosen):
                compaction.copy(name, self._sizes[name], needed[name])
                self._progress("copy", number + 1, len(chosen))
            self._copies = session.commit_copies()
            self._report.copied_bytes = session.bytes_stored
        self._report.copied_packs = len(chosen)

    # -- generations -----------------------------------------------------------------------------

    def _publish(
        self, marker: Marker, judged_through: int | None, marked: tuple[View, Marks] | None = None
    ) -> GenerationForm:
        """
        Create the next generation from fresh reads, as often as another one comes first; then delete what it calls dead.

        Args:
            marked: what was read and marked a moment ago, good for the number after the generation in it and no other.
        """
        for _ in range(PUBLISH_ATTEMPTS_MAX):
            view, marks = marked or self._marked(marker)
            marked = None
            runs, replaced = self._in_order(view), list[str]()
            verdict = judge(view, marks.needs, judged_through)
            if judged_through is not None:
                dead = {*verdict.dead, *view.generation.dead}
                try:
                    runs, replaced = self._merged_runs(runs, dead, verdict.condemned)
                except NotFound:
                    if self._is_overtaken(view):
                        continue
                    raise
            generation = next_generation(
                view, marks.live, verdict, tuple(runs), tuple(run_name(run) for run in replaced)
            )
            if publish(self._repository, generation):
                self._published(view, marks, generation, verdict)
                return generation
        raise _contended()

    def _published(
        self, view: View, marks: Marks, generation: GenerationForm, verdict: Verdict
    ) -> None:
        report = self._report
        report.generation = generation.number
        report.points_forgotten += len(view.points) - len(marks.live.points)
        report.entries_dropped += marks.entries_dropped
        report.condemned = len(verdict.condemned)
        report.condemned_bytes = sum(self._sizes.get(name, 0) for name in verdict.condemned)
        report.deleted += len(verdict.dead)
        report.deleted_bytes += sum(self._sizes.get(name, 0) for name in verdict.dead)
        self._delete(generation.dead)
        self._delete(view.forgets)
        kept = self._locked.intersection(verdict.dead)
        report.deleted -= len(kept)
        report.deleted_bytes -= sum(self._sizes.get(name, 0) for name in kept)

    def _in_order(self, view: View) -> list[str]:
        """Runs of the state, those of this collection's copies last: their locations are preferred."""
        return [r for r in view.runs if r not in self._copies] + [
            r for r in self._copies if r in view.runs
        ]

    def _merged_runs(
        self, named: Sequence[str], dead_names: Collection[str], condemned: Collection[str]
    ) -> tuple[list[str], list[str]]:
        """
        The index without dead packs, small runs made one; and the runs that it stands for.

        A merged run keeps one location of a chunk. One in a condemned pack must not stand for one in a usable pack, to which
        a writer may refer that nobody waits for: so runs that mention condemned packs are not merged with others.
        """
        dead, doomed = _pack_ids(dead_names), _pack_ids(condemned)
        known = {run: self._facts_of(run) for run in named}
        dying = [run for run in named if known[run].packs & dead]
        alone = [run for run in named if known[run].packs & doomed]
        others = [run for run in named if run not in alone]
        small = {others[n] for n in runs_to_merge([known[r].chunks for r in others])}
        groups = _groups([run for run in others if run in small or run in dying], known)
        groups += [[run] for run in alone if run in dying]
        chosen = [run for group in groups for run in group]
        if not chosen:
            return list(named), []
        merged = [
            self._store_run(
                [decode_run(self._repository.load_run(run)) for run in reversed(group)], dead
            )
            for group in groups
        ]
        kept = [run for run in named if run not in chosen]
        return [*kept, *(run for run in merged if run is not None)], chosen

    def _load_runs(self, names: Sequence[str]) -> Iterator[bytes]:
        """Plain bytes of runs for marking; what merging asks of each is kept, so that it is not read again for that."""
        for run, plain in zip(names, self._repository.load_runs(names), strict=True):
            decoded = decode_run(plain)
            packs = frozenset(pack for pack, _ in decoded.packs)
            self._known_runs[run] = _RunFacts(decoded.chunk_count, packs)
            yield plain

    def _facts_of(self, run: str) -> _RunFacts:
        if run not in self._known_runs:
            list(self._load_runs([run]))
        return self._known_runs[run]

    def _store_run(self, sources: Sequence[Run], dead: Collection[ObjectId]) -> str | None:
        """Store runs, newest first, as one; None if nothing is left of them."""
        plain = merge_runs(sources, dead)
        if not decode_run(plain).chunk_count:
            return None
        return self._repository.store_sealed(ObjectClass.RUN, plain, run_name)

    # -- waiting ---------------------------------------------------------------------------------

    def _drain(self) -> int:
        """Wait until every turn that was active after condemning has ended; the generation that it makes judgeable."""
        repository = self._repository
        store, keys, uuid = repository.store, repository.keys, repository.uuid
        newest = self._repository.newest_generation().number
        turns = turns_to_wait_for(read_cells(store, keys, uuid))
        self._report.turns_waited_for = len(turns)
        deadline = time.monotonic() + self._limits.wait_s
        todo = len(turns)
        while turns:
            for writer, turn in list(turns.items()):
                if self._has_ended(writer, turn, late=time.monotonic() >= deadline):
                    del turns[writer]
            self._progress("wait", todo - len(turns), todo)
            if turns:
                time.sleep(self._limits.poll_s)
        return newest

    def _has_ended(self, writer: str, turn: int, *, late: bool) -> bool:
        """Look at a turn; revoke it if it is late or nobody is there to go on with it."""
        repository = self._repository
        cell, tag = read_cell(repository.store, repository.keys, repository.uuid, WriterId(writer))
        if has_ended(cell, turn):
            return True
        if not late and not repository.is_abandoned(writer):
            return False
        name = cell_name(WriterId(writer))
        salt = ambient.random_bytes(SALT_BYTES)
        plain = protocol.encode(protocol.revoke(cell))
        stored = seal_object(repository.keys, ObjectClass.CELL, repository.uuid, salt, plain, name)
        try:
            repository.store.replace(name, stored, tag)
        except Conflict:
            return False  # it went on: look again
        except Unavailable:
            now, _ = read_cell(repository.store, repository.keys, repository.uuid, WriterId(writer))
            if not has_ended(now, turn):
                raise  # not written, as on a full disk; the next collection goes on
        self._report.turns_revoked += 1
        return True

    # -- deleting --------------------------------------------------------------------------------

    def _delete(self, names: Iterable[str]) -> None:
        """Delete what a published generation allows to. What a lock keeps stays dead. Repeating it does no harm."""
        todo = [name for name in names if name not in self._locked]
        with ThreadPoolExecutor(STORE_CALLS_AT_ONCE, "delete") as threads:
            for number, gone in enumerate(threads.map(self._delete_one, todo)):
                if not gone:
                    self._locked.add(todo[number])
                self._progress("delete", number + 1, len(todo))
        self._report.locked = len(self._locked)

    def _delete_one(self, name: str) -> bool:
        try:
            self._store.delete(name)
        except Locked:
            return False
        return True

    def _stub_old_generations(self) -> None:
        """
        Take the content of generations that nobody needs any more; their numbers stay taken.

        Those that somebody deleted get a stub as well: else whoever stopped before one of them would create it anew.
        """
        repository = self._repository
        blobs = [(generation_number(b.name), b) for b in self._store.list(GENERATIONS)]
        gaps = missing_generations(blob.name for _, blob in blobs)
        for number in itertools.islice(itertools.chain.from_iterable(gaps), GAPS_CLOSED_MAX):
            publish(repository, GenerationForm(number, stub=True))
        newest = max(number for number, _ in blobs)
        for number, blob in blobs:
            if number > newest - GENERATIONS_KEPT or blob.size <= STUB_BYTES_MAX:
                continue
            _, tag = self._store.get_tagged(blob.name)
            plain = protocol.encode(GenerationForm(number, stub=True))
            salt = ambient.random_bytes(SALT_BYTES)
            stored = seal_object(
                repository.keys, ObjectClass.GENERATION, repository.uuid, salt, plain, blob.name
            )
            try:
                self._store.replace(blob.name, stored, tag)
            except (Conflict, NotFound):
                continue  # another collector was faster

    # -- what is told ----------------------------------------------------------------------------

    def _note(self, view: View, marks: Marks) -> None:
        report = self._report
        packs = [name for name in self._sizes if name.startswith(PACKS)]
        report.points = len(marks.live.points)
        report.packs, report.pack_bytes = len(packs), sum(self._sizes[name] for name in packs)
        report.needed_bytes = sum(marks.needed_bytes.values())
        report.chunks, report.chunk_bytes = len(marks.found.frames), sum(marks.found.lengths)
        report.generation = view.generation.number
        gone = set(view.points) - set(marks.live.points)
        report.would_forget = sorted(point.partition("-")[0] for point in gone)

    def _foresee(self, view: View, marks: Marks, chosen: Sequence[str]) -> None:
        report = self._report
        verdict = judge(view, marks.needs, None)
        report.points_forgotten = len(report.would_forget)
        report.entries_dropped = marks.entries_dropped
        going = {*verdict.condemned, *chosen}
        report.condemned = len(going)
        report.condemned_bytes = sum(self._sizes.get(name, 0) for name in going)
        report.copied_packs = len(chosen)
        report.copied_bytes = sum(marks.needed_bytes[name] for name in chosen)


def _pack_ids(names: Iterable[str]) -> set[ObjectId]:
    return {parse_pack_name(name)[1] for name in names if name.startswith(PACKS)}


def _contended() -> Unavailable:
    return Unavailable(
        "other collectors publish all the time: run again later", code="generation-contended"
    )


def _groups(chosen: Sequence[str], known: dict[str, _RunFacts]) -> list[list[str]]:
    """Runs in groups that one sealed object can hold."""
    groups: list[list[str]] = []
    count = 0
    for run in chosen:
        chunks = known[run].chunks
        if not groups or count + chunks > RUN_MERGED_CHUNKS_MAX:
            groups.append([])
            count = 0
        groups[-1].append(run)
        count += chunks
    return groups
