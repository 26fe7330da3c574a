"""Collectors: mark, condemn, wait, judge, delete, as `repository.collector` and `repository.marking` do it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from engine import commit as protocol
from engine.collection import (
    Live,
    Needs,
    Verdict,
    View,
    has_ended,
    judge,
    kept_points,
    next_generation,
    turns_to_wait_for,
)
from engine.commit import cells_behind
from engine.liveness import live_entries
from repository.entries import Entries
from repository.marking import _live
from tests.protocol.explore import Broken
from tests.protocol.world import (
    Request,
    State,
    Step,
    World,
    at,
    delete,
    put,
    sent,
    swap,
)
from tests.protocol.writers import At, Turn, Writer

Wait = tuple[tuple[str, int], ...]
ANY_NUMBER = 1 << 30


class Made(NamedTuple):
    """A generation to be: its number, form, the merged runs before it, and what may be deleted once it exists."""

    number: int
    form: int
    merged: int
    deleted: int


class Where(NamedTuple):
    """
    Where a collector is.

    Attributes:
        step: copy, sweep, forgets, cells, generation, list, merge, create, delete, newest, turns, wait, end.
        left: collections after this one. judging: the second half. through: the generation that may be judged.
    """

    step: str
    left: int = 0
    judging: bool = False
    through: int = 0
    forgets: int = 0
    cells: tuple[int, ...] = ()
    gen: int = 0
    wait: Wait = ()
    made: Made | None = None
    todo: int = 0
    copying: At | None = None
    first: tuple[int, tuple[int, ...]] | None = (
        None  # forgets and cells of the first half, for a weakening
    )
    copied: tuple[str, ...] = ()  # runs that no session committed, for a weakening


class Collector:
    """
    One collector.

    Args:
        rounds: collections. copies: chunks that are copied before the first one, in a turn of cell `cell`.
        merges_all: every verdict makes one run of all, else only those that mention dead packs are written anew.
        prefers: which of several locations is kept: "usable" (not in a condemned pack) or "newest" (what an index merged on
            disk has left).
        fine: listing and each deletion are steps of their own. sweeps: begins with deleting what another one left.
    """

    def __init__(
        self,
        name: str,
        *,
        rounds: int = 1,
        copies: str = "",
        cell: str = "",
        merges_all: bool = False,
        prefers: str = "usable",
        fine: bool = False,
        sweeps: bool = False,
    ) -> None:
        self.name = name
        self._rounds = rounds
        self._copies = copies
        self._cell = cell
        self._copier = Writer(name, (Turn(copies=copies),), cell=cell or name) if copies else None
        self._merges_all = merges_all
        self._prefers = prefers
        self._fine = fine
        self._sweeps = sweeps

    def start(self, world: World) -> int:
        if self._copier is None:
            return world.forms.number(self._first(self._rounds - 1))
        copying = world.forms[self._copier.start(world)]
        assert isinstance(copying, At)
        return world.forms.number(Where("copy", left=self._rounds - 1, copying=copying))

    def _first(self, left: int) -> Where:
        return Where("sweep" if self._sweeps else "forgets", left=left)

    def steps(self, world: World, state: State, here: int) -> Iterator[Step]:
        now = world.forms[here]
        assert isinstance(now, Where)
        if now.step != "end":
            yield from getattr(self, f"_step_{now.step}")(world, state, now)

    def _to(self, world: World, state: State, now: Where, label: str) -> Step:
        return f"{self.name} {label}", at(state, world.forms.number(now))

    # -- copying, reading ------------------------------------------------------------------------

    def _step_copy(self, world: World, state: State, now: Where) -> Iterator[Step]:
        """An ordinary turn of an ordinary writer."""
        assert self._copier is not None
        here = world.forms.number(now.copying)
        for label, after in self._copier.steps(world, state, here):
            copying = world.forms[after.here]
            assert isinstance(copying, At)
            if world.rules.copies_without_session and copying.step == "commit":
                assert copying.plan is not None
                copied = copying.plan.made.runs
                yield (
                    label,
                    at(after, world.forms.number(self._first(now.left)._replace(copied=copied))),
                )
                continue
            then = now._replace(copying=copying)
            if copying.step == "end":
                then = self._first(now.left)
            yield label, at(after, world.forms.number(then))

    def _step_sweep(self, world: World, state: State, now: Where) -> Iterator[Step]:
        dead = world.bits(world.generation(state.gens[-1]).dead)
        then = now._replace(step="forgets")
        yield self._to(world, delete(state, dead), then, "deletes what is dead")

    def _step_forgets(self, world: World, state: State, now: Where) -> Iterator[Step]:
        if world.rules.reads_forgets_late:
            yield from self._step_cells(world, state, now)
            return
        found = state.objects & world.bits(world.forgets)
        then = now._replace(step="cells", forgets=found)
        if not world.forgets:
            yield from self._step_cells(world, state, then)
            return
        yield self._to(world, state, then, "reads forgets")

    def _step_cells(self, world: World, state: State, now: Where) -> Iterator[Step]:
        then = now._replace(step="generation", cells=state.cells)
        if world.rules.lists_turns_first and not now.judging:
            then = then._replace(wait=self._turns(world, state))
        yield self._to(world, state, then, "reads cells")

    def _step_generation(self, world: World, state: State, now: Where) -> Iterator[Step]:
        if world.rules.reads_forgets_late:
            now = now._replace(forgets=state.objects & world.bits(world.forgets))
        newest = state.gens[-1]
        then = now._replace(step="list", gen=newest)
        folded = world.generation(newest).watermarks
        if cells_behind(world.cells_of(state.cells), folded):
            then = Where("forgets", now.left, now.judging, now.through, wait=now.wait)
            yield self._to(world, state, then, "finds a cell lost")
        elif world.needed_objects(world.named(now.cells, newest)) & ~state.objects:
            then = Where("forgets", now.left, now.judging, now.through, wait=now.wait)
            yield self._to(world, state, then, "reads again")
        elif self._fine:
            yield self._to(world, state, then, f"reads gc/{len(state.gens)}")
        else:
            yield from self._step_list(world, state, then)

    def _step_list(self, world: World, state: State, now: Where) -> Iterator[Step]:
        made = self._make(world, now, state.objects)
        then = now._replace(
            step="merge" if made.merged else "create",
            forgets=now.forgets if world.rules.marks_once else 0,
            cells=now.cells if world.rules.marks_once else (),
            gen=0,
            made=made,
        )
        if world.rules.deletes_before_verdict and now.judging:
            known = {*world.runs, *world.manifests, *world.points, *world.forgets}
            packs = set(world.names_of(made.deleted)) - known
            state = delete(state, world.bits(sorted(packs)))
        form = world.generation(made.form)
        label = f"lists and marks: condemned {form.condemned}, dead {form.dead}, runs {form.runs}"
        yield self._to(world, state, then, label)

    # -- what is decided -------------------------------------------------------------------------

    def _make(self, world: World, now: Where, stored: int) -> Made:
        key = (self.name, "made", now, stored)
        if key not in world.memo:
            world.memo[key] = self._next(world, now, stored)
        made = world.memo[key]
        assert isinstance(made, Made)
        return made

    def _view(self, world: World, now: Where, stored: int) -> View:
        forgets = {name: world.forgets[name] for name in world.names_of(now.forgets)}
        listed = [n for n in world.names_of(stored) if n not in world.forgets]
        return View(forgets, world.cells_of(now.cells), world.generation(now.gen), listed)

    def _next(self, world: World, now: Where, stored: int) -> Made:
        rules = world.rules
        view = self._view(world, now, stored)
        runs = [*self._in_order(view), *(run for run in now.copied if run not in view.runs)]
        if rules.lists_index:
            runs = [name for name in view.listed if name in world.runs]
        live, needs = self._mark(world, view, runs)
        if rules.marks_once and now.judging:
            assert now.first is not None
            earlier = now._replace(forgets=now.first[0], cells=now.first[1])
            old = self._view(world, earlier, stored)
            needs = self._mark(world, old, list(old.runs))[1]
            needs = Needs(needs.kept, needs.kept)
            view_needs = needs
        else:
            view_needs = needs
        through = now.through if now.judging else None
        if rules.condemns_without_number and through is not None:
            through = ANY_NUMBER
        verdict = judge(view, view_needs, through)
        replaced: list[str] = []
        merged: list[str] = []
        if now.judging and not rules.forgets_dead:
            runs, merged, replaced = self._merge(world, view, runs, verdict)
        made = next_generation(view, live, verdict, tuple(runs), tuple(replaced))
        if rules.folds_without_watermark:
            made = msgspec.structs.replace(made, watermarks={})
        deleted = world.bits(made.dead) | now.forgets
        if rules.lists_index:
            made = msgspec.structs.replace(made, runs=())
        if rules.forgets_dead:
            made = msgspec.structs.replace(made, dead=())
        return Made(made.number, world.forms.number(made), world.bits(merged), deleted)

    def _in_order(self, view: View) -> list[str]:
        """Own copies last (`Collector._in_order`)."""
        runs = list(view.runs)
        own = [r for r in runs if r.startswith(f"run-{self.name}")]
        return [r for r in runs if r not in own] + own

    def _mark(self, world: World, view: View, runs: Sequence[str]) -> tuple[Live, Needs]:
        """`repository.marking.Marker`, without bytes."""
        kept = kept_points(view)
        named = {ref for point in kept for ref in world.points[point]}
        entries = Entries(view.generation, restored=named)
        manifests = dict.fromkeys(view.generation.manifests)
        manifests.update((c.manifest, None) for c in view.commits if c.manifest is not None)
        manifests.update((ref.manifest, None) for ref in sorted(named, key=lambda r: r.manifest))
        for manifest in manifests:
            entries.add(manifest, world.manifests[manifest])
        everything = list(entries)
        links = entries.links(everything)
        live_refs = live_entries(links, named)
        live = _live(entries, live_refs, links, kept)
        after = {c for e in everything if e.ref in live_refs for c in world.chunks[e.ref]}
        before = {c for e in everything for c in world.chunks[e.ref]} - after
        places = world.locations(runs)
        condemned = view.generation.condemned
        held = set(view.runs) | self._find(places, after, condemned)
        held |= {*live.manifests, *kept, *runs}
        earlier = held | self._find(places, before, condemned)
        earlier |= {e.ref.manifest for e in everything} | set(view.points)
        if (world.rules.forgets_at_once and view.forgets) or world.rules.drops_at_once:
            earlier = held
        return live, Needs(held, earlier)

    def _find(
        self, places: Sequence[tuple[str, str]], chunks: set[str], condemned: dict[str, int]
    ) -> set[str]:
        """One location of each chunk, the newest, not in a condemned pack if there is another."""
        found = set()
        for chunk in chunks:
            packs = [pack for c, pack in places if c == chunk]
            if not packs:
                raise Broken(f"{self.name} marks and finds {chunk} in no run")
            usable = [pack for pack in packs if pack not in condemned]
            found.add((usable or packs)[-1] if self._prefers == "usable" else packs[-1])
        return found

    def _merge(
        self, world: World, view: View, named: list[str], verdict: Verdict
    ) -> tuple[list[str], list[str], list[str]]:
        """The index from now on, what is new in it, and what it stands for (`Collector._merged_runs`)."""
        dead = {*verdict.dead, *view.generation.dead}
        apart = set() if world.rules.merges_condemned else set(verdict.condemned)
        mentions = {run: {pack for _, pack in world.runs[run]} for run in named}
        dying = [run for run in named if mentions[run] & dead]
        alone = [run for run in dying if mentions[run] & apart]
        together = [r for r in named if r in dying or self._merges_all]
        together = [r for r in together if not mentions[r] & apart]
        if together == named and len(named) == 1 and not dying:
            together = []
        chosen = [*together, *alone]
        merged = []
        for group in ([together] if together else []) + [[run] for run in alone]:
            places: dict[str, str] = {}
            for run in reversed(group):
                for chunk, pack in world.runs[run]:
                    if pack not in dead:
                        places.setdefault(chunk, pack)
            if places:
                text = ",".join(f"{c}>{p}" for c, p in sorted(places.items()))
                name = f"merged-{self.name}{view.generation.number + 1}[{text}]"
                world.runs[name] = tuple(sorted(places.items()))
                merged.append(name)
        return [*(run for run in named if run not in chosen), *merged], merged, chosen

    # -- publishing ------------------------------------------------------------------------------

    def _step_merge(self, world: World, state: State, now: Where) -> Iterator[Step]:
        assert now.made is not None
        new = now.made.merged
        after = put(state, new)
        label = f"stores {' '.join(world.names_of(new))}"
        done = self._to(world, after, now._replace(step="create"), label)
        yield from sent(state, Request("put", new), done)

    def _step_create(self, world: World, state: State, now: Where) -> Iterator[Step]:
        made = now.made
        assert made is not None
        number = made.number
        again = Where("forgets", now.left, now.judging, now.through, wait=now.wait, first=now.first)
        again = again._replace(copied=now.copied)
        then = now._replace(
            step="delete",
            todo=made.deleted,
            made=None,
            first=(now.forgets, now.cells)
            if not now.judging and world.rules.marks_once
            else now.first,
            forgets=0,
            cells=(),
        )
        if number == len(state.gens) + 1:
            after = state._replace(gens=(*state.gens, made.form))
            yield self._to(world, after, then, f"creates gc/{number}")
            if state.spare:
                request = Request("generation", number, form=made.form)
                late = tuple(sorted((*state.late, request)))
                lost = state._replace(late=late, spare=state.spare - 1)
                if world.rules.deletes_unknown:
                    lost = delete(lost, made.merged)
                stop = self._first(now.left - 1) if now.left else Where("end")
                yield self._to(world, lost, stop, f"gets no answer to gc/{number}")
        elif world.rules.deletes_generations:
            yield self._to(world, state, then, f"creates gc/{number} anew")
        elif world.rules.carries_result:
            number = len(state.gens) + 1
            form = msgspec.structs.replace(world.generation(made.form), number=number)
            after = state._replace(gens=(*state.gens, world.forms.number(form)))
            yield self._to(world, after, then, f"creates gc/{number} with the old result")
        else:
            yield self._to(world, state, again, f"finds gc/{number} taken")

    def _step_delete(self, world: World, state: State, now: Where) -> Iterator[Step]:
        todo = now.todo & state.objects
        some = todo & -todo if self._fine else todo
        left = todo & ~some
        if left:
            then = now._replace(todo=left)
        elif not now.judging:
            then = Where("newest", now.left, wait=now.wait, first=now.first)
        elif now.left:
            then = self._first(now.left - 1)
        else:
            then = Where("end")
        after = delete(state, some)
        label = f"deletes {' '.join(world.names_of(some))}"
        if not some:
            yield from self._after_nothing(world, state, then)
            return
        yield from sent(state, Request("delete", some), self._to(world, after, then, label))

    def _after_nothing(self, world: World, state: State, then: Where) -> Iterator[Step]:
        """Go on at once: there was nothing to delete."""
        if then.step == "newest":
            yield from self._step_newest(world, state, then)
        else:
            yield self._to(world, state, then, "has nothing to delete")

    # -- waiting ---------------------------------------------------------------------------------

    def _step_newest(self, world: World, state: State, now: Where) -> Iterator[Step]:
        then = now._replace(step="turns", through=len(state.gens))
        if world.rules.lists_turns_first:
            then = then._replace(step="wait")
        yield self._to(world, state, then, f"finds gc/{len(state.gens)} the newest")

    def _turns(self, world: World, state: State) -> Wait:
        if world.rules.drains_not:
            return ()
        turns = turns_to_wait_for(world.cells_of(state.cells))
        own = self._cell if world.rules.skips_own else ""
        return tuple(sorted((w, turn) for w, turn in turns.items() if w != own))

    def _step_turns(self, world: World, state: State, now: Where) -> Iterator[Step]:
        wait = self._turns(world, state)
        then = now._replace(step="wait", wait=wait)
        if not wait:
            then = self._judging(then)
        yield self._to(world, state, then, f"waits for {dict(wait)}")

    def _judging(self, now: Where) -> Where:
        return Where("forgets", now.left, judging=True, through=now.through, first=now.first)

    def _step_wait(self, world: World, state: State, now: Where) -> Iterator[Step]:
        """Each turn ends, or is revoked at any time: no clock is asked."""
        if not now.wait:
            yield self._to(world, state, self._judging(now), "waits for nobody")
        for writer, turn in now.wait:
            place = world.writers.index(writer)
            cell = world.cell(state.cells[place])
            assert cell is not None
            left = tuple(w for w in now.wait if w[0] != writer)
            then = now._replace(wait=left) if left else self._judging(now)
            if has_ended(cell, turn):
                yield self._to(world, state, then, f"sees turn {turn} of {writer} ended")
                continue
            form = world.forms.number(protocol.revoke(cell))
            request = Request("swap", place, state.cells[place], form)
            after = swap(state, place, form)
            yield from sent(
                state, request, self._to(world, after, then, f"revokes turn {turn} of {writer}")
            )
