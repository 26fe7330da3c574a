"""
The restore of one entry: what one object and workload of a restore point has, to one user.

`plan` decides and counts; `run` writes. Before each create its intent is in the journal; a create whose answer is lost
is looked for, and only if it is not there done again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from engine.catalog import Row
from engine.errors import BackupError
from proxy.contract import ItemOutcome
from proxy.graph.errors import (
    GraphAnswerLost,
    GraphDenied,
    GraphError,
    GraphExists,
    GraphItemFault,
)
from proxy.pipeline.outcome import failed, skipped
from proxy.restore.journal import Intent, Journal
from proxy.restore.places import Matched, find_path, flat, matched, parents_first
from proxy.restore.plan import EntryPlan, Step, decided
from proxy.restore.protocol import Collision, Place, Present, Restorer
from proxy.restore.room import Room
from proxy.restore.wanted import Wanted
from proxy.workloads.protocol import FailureRun
from proxy.workloads.together import together

__all__ = ["EntryRestore", "Way"]

ITEMS_AT_ONCE = 4  # the mailbox answers no more than four calls at once
TRIES_MAX = 5
LOOKS = 3
WRITTEN = ("create", "copy", "replace")


@dataclass(frozen=True, slots=True)
class Way:
    """
    How it is restored.

    Attributes:
        base: names of the folder that everything goes under; empty: to where it was.
        room: of all entries together.
    """

    base: tuple[str, ...]
    collision: Collision
    room: Room


@dataclass(slots=True)
class _Run:
    steps: dict[bytes, list[Step]] = field(default_factory=dict)  # by source container
    places: Matched = field(default_factory=dict)


class EntryRestore:
    """`plan` once, then `run` once."""

    def __init__(self, wanted: Wanted, restorer: Restorer, journal: Journal, way: Way) -> None:
        self._wanted = wanted
        self._restorer = restorer
        self._journal = journal
        self._section = journal.section(wanted.label)
        self._base = way.base
        self._way = way
        self._failures = FailureRun()
        places = [restorer.source_place(row) for row in wanted.containers]
        self._source = parents_first([place for place in places if place is not None])
        if self._base and not restorer.nested:
            self._source = [flat(place, self._base) for place in self._source]
            self._base = ()
        self._by_name = bool(way.base)
        self._run = _Run()
        self.foreseen: list[ItemOutcome] = []  # by the plan
        self.outcomes: list[ItemOutcome] = []
        self.done: dict[str, int] = defaultdict(int)
        self.goes_to = f"{restorer.target.id}/{wanted.label.rpartition('/')[2]}"

    # -- the plan --------------------------------------------------------------------------------

    async def plan(self, target: str) -> EntryPlan:
        """Look at the target and decide; `target`: its name, for people."""
        plan = EntryPlan(self._wanted.label, target)
        target_places = await self._restorer.places()
        base = find_path(target_places, self._base)
        self._run.places = matched(self._source, target_places, below=base, by_name=self._by_name)
        plan.places_made = sum(place is None for place in self._run.places.values())
        plan.places_made += base is None
        for container, rows in self._wanted.items.items():
            if container.decode() not in self._run.places:
                continue  # not of a kind that is restored
            steps = await self._decide(container, rows)
            self._run.steps[container] = steps
            for step in steps:
                plan.add(step, self._restorer.requests(step.row))
                if step.action in WRITTEN:
                    self._note_lessened(step, self.foreseen)
        return plan

    async def _decide(self, container: bytes, rows: Sequence[Row]) -> list[Step]:
        place = self._run.places[container.decode()]
        present = await self._restorer.present(place) if place is not None else []
        if place is not None:
            await self._settle_intents(place, present, rows)
        made, done = self._section.made, self._section.done
        ours = self._journal.ours
        wanted = [(row, self._restorer.key(row)) for row in rows if row.id.decode() not in made]
        strangers = [one for one in present if one.id not in ours]
        half = [row for row in rows if row.id.decode() in made.keys() - done]
        steps = [Step(row, "", "create", (), self._old(row)) for row in half]
        replacing = bool(strangers) and self._way.collision == "replace"
        over = await self._restorer.overwrites(row for row, _ in wanted) if replacing else ()
        return steps + decided(wanted, strangers, self._way.collision, over)

    def _old(self, row: Row) -> str:
        """What an earlier run had still to take away for an item that it made."""
        intent = self._section.intents.get(row.id.decode())
        return intent.old if intent is not None else ""

    async def _settle_intents(
        self, place: str, present: Sequence[Present], rows: Sequence[Row]
    ) -> None:
        """What an earlier run left open: it is there, or it is made now."""
        own = {row.id.decode() for row in rows}
        left = {i: self._section.intents[i] for i in self._section.unsettled if i in own}
        for item in await self._look(left, place, present):
            self._journal.withdraw(self._wanted.label, item)

    # -- the writes ------------------------------------------------------------------------------

    async def run(self, tell: Callable[[], None]) -> None:
        """
        Write what was planned; `tell` is called after each item.

        Raises:
            GraphError: too many items in a row failed: the service is not there.
        """
        places = await self._make_places()
        for container, steps in self._run.steps.items():
            place = places.get(container.decode())
            if place is None:
                continue  # its container could not be made, and has its outcome
            await self._run_place(place, container, steps, tell)

    async def _make_places(self) -> dict[str, str]:
        base = ""
        for name in self._base:
            base = await self._make_place(Place("", base, name), base)
        made: dict[str, str] = {}
        for place in self._source:
            there = self._run.places[place.id]
            if there is None:
                parent = made.get(place.parent, base)
                try:
                    there = await self._make_place(place, parent)
                except GraphError as error:
                    self._heed(error)
                    self.outcomes.append(failed(place.id, place.name, error))
                    continue
            made[place.id] = there
        return made

    async def _make_place(self, place: Place, parent: str) -> str:
        """Make a place, or find the one of its name that is there."""
        for attempt in range(1, TRIES_MAX + 1):
            try:
                return await self._restorer.make_place(place, parent)
            except (GraphAnswerLost, GraphExists):
                found = await self._restorer.find_place(place, parent)
                if found is not None:
                    return found
                if attempt == TRIES_MAX:
                    raise
        raise AssertionError("unreachable")

    async def _run_place(
        self, place: str, container: bytes, steps: Sequence[Step], tell: Callable[[], None]
    ) -> None:
        # Equal items one after the other: of two at once nobody could tell whose answer was lost.
        groups: dict[str, list[Step]] = defaultdict(list)
        for step in steps:
            groups[step.key or step.row.id.decode()].append(step)
        waiting = iter(groups.values())

        async def work(groups: Iterator[list[Step]]) -> None:
            for group in groups:
                for step in group:
                    async with self._way.room.hold(step.row.size):
                        await self._do(step, place)
                    tell()

        await together(work(waiting) for _ in range(ITEMS_AT_ONCE))
        made = self._section.made
        rows = {row.id.decode(): row for row in self._wanted.items[container]}
        ours = {made[item]: row for item, row in rows.items() if item in made}
        if not ours:
            return
        try:
            await self._restorer.settle(place, ours)
        except GraphError as error:
            self._heed(error)
            self.outcomes.append(failed(place, "", error))

    async def _do(self, step: Step, place: str) -> None:
        item = step.row.id.decode()
        if step.action == "refuse":
            self._refuse(step)
            return
        if step.action in ("skip", "unchanged"):
            self.done[step.action] += 1
            return
        try:
            over = bool(step.version) and await self._overwrite(step, place)
            if step.tells_others and not over:
                self._refuse(step)
                return
            new = self._section.made.get(item) or await self._create(step, place)
            await self._restorer.complete(step.row, new, place)
            if step.old and not over:
                await self._restorer.remove(step.old, place)
        except GraphError as error:
            self._heed(error)
            self._note(step, error)
            return
        except BackupError as error:  # what is stored of it cannot be read
            self._note(step, error)
            return
        self._failures.succeeded()
        self._note_lessened(step, self.outcomes)
        self._journal.done(self._wanted.label, item)
        self.done[step.action] += 1

    def _heed(self, error: GraphError) -> None:
        """Raise an error that is not the item's: no right to write at all, or a service that is not there."""
        written = sum(self.done.get(action, 0) for action in WRITTEN)
        if isinstance(error, GraphDenied) and not written:
            raise error
        if not isinstance(error, GraphItemFault):
            self._failures.failed(error)

    def _note(self, step: Step, error: BackupError) -> None:
        name = step.row.name.decode("utf-8", "replace")
        self.done["failed"] += 1
        self.outcomes.append(failed(step.row.id.decode(), name, error))

    def _note_lessened(self, step: Step, told: list[ItemOutcome]) -> None:
        if cause := self._restorer.lessened(step.row):
            name = step.row.name.decode("utf-8", "replace")
            told.append(skipped(step.row.id.decode(), name, cause))

    def _refuse(self, step: Step) -> None:
        """Leave what is there as it is: replacing it would write to other people."""
        name = step.row.name.decode("utf-8", "replace")
        self.outcomes.append(skipped(step.row.id.decode(), name, "would-send-mail"))
        self.done["refuse"] += 1

    async def _overwrite(self, step: Step, place: str) -> bool:
        """Whether the item that is there became that of the row."""
        if not await self._restorer.overwrite(step.row, step.old, step.version, place):
            return False
        self._journal.made(self._wanted.label, step.row.id.decode(), step.old)
        return True

    async def _create(self, step: Step, place: str) -> str:
        label, item = self._wanted.label, step.row.id.decode()
        intent = Intent(place, step.key, step.there, step.old)
        await asyncio.to_thread(self._journal.intend, label, item, intent)
        for attempt in range(1, TRIES_MAX + 1):
            try:
                new = await self._restorer.make(step.row, place)
            except GraphAnswerLost:
                if not await self._look({item: intent}, place):
                    return self._section.made[item]
                if attempt == TRIES_MAX:
                    raise
            except BackupError:
                self._journal.withdraw(label, item)
                raise
            else:
                self._journal.made(label, item, new)
                return new
        raise AssertionError("unreachable")

    async def _look(
        self, intents: Mapping[str, Intent], place: str, present: Sequence[Present] | None = None
    ) -> list[str]:
        """Which of these items are not there after all; those that are, are ours from then on."""
        missing = list(intents)
        for look in range(LOOKS):
            if not missing:
                break
            if present is None:
                present = await self._restorer.present(place)
            missing = [item for item in missing if not self._claim(item, intents[item], present)]
            present = None
            if missing and look + 1 < LOOKS:
                # A write whose answer was cut off may show late.
                writer = self._restorer.target.writer
                await writer.clock.sleep(writer.settings.item_patience_s / LOOKS)
        return missing

    def _claim(self, item: str, intent: Intent, present: Sequence[Present]) -> bool:
        others = {*intent.there, *self._journal.ours}
        found = [one.id for one in present if one.key == intent.key and one.id not in others]
        if found:
            self._journal.made(self._wanted.label, item, found[0])
        return bool(found)
