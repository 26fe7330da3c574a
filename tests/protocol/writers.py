"""Writers: one cell, one turn after the other, as `repository.session` does it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from engine import commit as protocol
from engine.commit import CommitForm
from engine.errors import Fenced
from engine.manifest import EntryRef
from tests.protocol.explore import Broken
from tests.protocol.world import Locations, Named, Request, State, Step, World, at, put, sent, swap

Carried = tuple[tuple[str, str], ...]  # chunk, own pack that no run names yet or ""


@dataclass(frozen=True)
class Turn:
    """
    What one turn commits.

    Attributes:
        chunks: of its entry, one letter each; each is referred to or uploaded. None: no entry.
        previous: an entry that the new one goes on from and whose chunks it takes over, if it is live.
        follows: an entry that the new one names as parent without taking anything over.
        later: chunks met in this turn that the next entry is going to have.
        point: a restore point is committed that names this entry, or the newest of its object.
        complete: of the entry. copies: chunks stored once more, for a collector; no entry.
    """

    chunks: str | None = None
    previous: EntryRef | None = None
    follows: EntryRef | None = None
    later: str = ""
    point: EntryRef | None = None
    complete: bool = True
    copies: str = ""


class Plan(NamedTuple):
    """What a turn stores and commits, as bits and names; and what waits for the next one."""

    packs: int
    objects: int
    commits: int  # of the objects those that are promised
    made: CommitForm
    waiting: Carried


class At(NamedTuple):
    """
    Where a writer is.

    Attributes:
        step: begin, cells, generation, packs, objects, commit, end. turn: place of the turn in its list. left: repeats left.
        cell: own cell as written. seen: newest generation known. read: cells read. begun, begun_before: generations that
            the turn and the one before were begun with. decided: the same for what waits. waiting, plan: see Plan.
    """

    step: str
    turn: int = 0
    left: int = 0
    cell: int = 0
    seen: int = 0
    read: tuple[int, ...] = ()
    begun: int = 0
    begun_before: int = 0
    decided: int = 0
    waiting: Carried = ()
    plan: Plan | None = None
    refused: int = 0  # packs of a revoked turn, for weakenings
    fresh: bool = True  # the first turn of a session
    cached: Locations = ()  # of runs named in earlier turns, for a weakening


class Writer:
    """
    A process with a cell.

    Args:
        cell: name of the cell; two processes may have one. chained: commit and next begin are one swap.
        repeats: how often it begins again after a refusal. one_by_one: cells are read one by one. leaves: closes its cell at
            the end. misses: its cache may miss, so that it stores what is there.
    """

    def __init__(
        self,
        name: str,
        turns: tuple[Turn, ...],
        *,
        cell: str = "",
        chained: bool = True,
        repeats: int = 0,
        one_by_one: bool = False,
        leaves: bool = False,
        misses: bool = False,
    ) -> None:
        self.name = name
        self.cell = cell or name
        self._turns = turns
        self._chained = chained
        self._repeats = repeats
        self._one_by_one = one_by_one
        self._leaves = leaves
        self._misses = misses

    def start(self, world: World) -> int:
        first = "cells" if world.rules.reads_before_begin else "begin"
        return world.forms.number(At(first, left=self._repeats))

    def steps(self, world: World, state: State, here: int) -> Iterator[Step]:
        now = world.forms[here]
        assert isinstance(now, At)
        if now.step != "end":
            yield from getattr(self, f"_step_{now.step}")(world, state, now)

    def _to(self, world: World, state: State, now: At, label: str) -> Step:
        return f"{self.name} {label}", at(state, world.forms.number(now))

    # -- begin -----------------------------------------------------------------------------------

    def _step_begin(self, world: World, state: State, now: At) -> Iterator[Step]:
        place = world.writers.index(self.cell)
        before = world.cell(state.cells[place])
        watermark = 0
        if now.seen:
            watermark = world.generation(now.seen).watermarks.get(self.cell, 0)
        if world.rules.drops_commits and before is not None:
            before = msgspec.structs.replace(before, commits=())
        try:
            begun = world.forms.number(protocol.begin(before, self.cell, watermark))
        except Fenced:
            yield self._to(world, state, At("end"), "finds its cell closed")
            return
        request = Request("swap", place, state.cells[place], begun)
        after = swap(state, place, begun)
        if world.rules.reads_before_begin:
            then = now._replace(step="generation", cell=begun)
        else:
            then = now._replace(step="cells", cell=begun, fresh=True)
        yield from sent(state, request, self._to(world, after, then, "begins"))

    def _step_cells(self, world: World, state: State, now: At) -> Iterator[Step]:
        read = (*now.read, state.cells[len(now.read)]) if self._one_by_one else state.cells
        step = "cells" if len(read) < len(state.cells) else "generation"
        if world.rules.reads_before_begin and not now.cell:
            then = now._replace(read=state.cells, seen=state.gens[-1], step="begin")
            yield self._to(world, state, then, "reads before it begins")
            return
        yield self._to(world, state, now._replace(step=step, read=read), "reads cells")

    def _step_generation(self, world: World, state: State, now: At) -> Iterator[Step]:
        """Read the newest generation and what is named; if something is missing read again."""
        newest = now.seen if world.rules.reads_before_begin else state.gens[-1]
        named = world.named(now.read, newest)
        if world.needed_objects(named) & ~state.objects:
            if state.gens[-1] == newest and state.cells == now.read:
                raise Broken(f"{self.name} finds named objects missing")
            yield self._to(world, state, now._replace(step="cells", read=()), "reads again")
            return
        number = named.generation.number
        begun = world.cell(now.cell)
        assert begun is not None
        is_behind = named.generation.watermarks.get(self.cell, 0) >= begun.turn
        if now.fresh and is_behind and not world.rules.begins_behind:
            again = At("begin", now.turn, now.left, seen=newest)
            yield self._to(world, state, again, f"finds its turn folded in gc/{number}")
            return
        if now.fresh:
            then = now._replace(begun=number, begun_before=number, decided=number, fresh=False)
        else:
            then = now._replace(begun=number, begun_before=now.begun)
        then = then._replace(seen=newest, read=())
        if world.rules.caches_without_purging:
            cached = dict.fromkeys((*now.cached, *named.locations))
            then = then._replace(cached=tuple(cached))
        refused = self._refusal(world, state, named, then)
        if refused:
            yield self._give_up(world, state, then, refused)
            return
        turn = world.cell(now.cell)
        assert turn is not None
        for misses in (False, True) if self._misses else (False,):
            plan = self._plan(world, state, named, then, turn.turn, misses=misses)
            if plan is None:
                after = At("rest", cell=now.cell)
                yield self._to(world, state, after, f"reads gc/{number}: nothing to commit")
                continue
            step = "packs" if plan.packs else "objects"
            after = then._replace(step=step, plan=plan, refused=0)
            yield self._to(world, state, after, f"reads gc/{number} and decides {_text(plan)}")

    # -- deciding --------------------------------------------------------------------------------

    def _refusal(self, world: World, state: State, named: Named, now: At) -> str:
        """Why what waits from earlier turns does not hold (`_confirm_pending`, `_flush_runs`)."""
        rules = world.rules
        since = now.begun_before if rules.confirms_last_turn_only else now.decided
        takes = self._turns[now.turn].chunks is not None
        if takes and now.begun != since and not rules.keeps_references:
            for chunk, own in now.waiting:
                if not own and _usable(named, chunk) is None:
                    return f"finds that {chunk} was taken away"
        names = {own for _, own in now.waiting if own}
        if names and not rules.names_late_packs:
            for number in range(now.begun_before + 1, now.begun + 1):
                passed = world.generation(state.gens[number - 1])
                if not names.isdisjoint({*passed.condemned, *passed.dead}):
                    return "finds that its pack was condemned"
        return ""

    def _plan(
        self, world: World, state: State, named: Named, now: At, turn: int, *, misses: bool
    ) -> Plan | None:
        looks = world.rules.lists_index or world.rules.reuses_stored_packs
        key = (self.name, "plan", named, now, turn, misses, state.objects if looks else 0)
        if key not in world.memo:
            world.memo[key] = self._decide(world, state, named, now, turn, misses)
        return world.memo[key]  # type: ignore[return-value]

    def _decide(
        self, world: World, state: State, named: Named, now: At, turn: int, misses: bool
    ) -> Plan | None:
        task = self._turns[now.turn]
        chunks, previous = task.chunks, task.previous
        if previous not in named.entries and not world.rules.keeps_entries:
            previous = None
        new: dict[str, str] = {}
        runs: dict[str, str] = {c: own for c, own in now.waiting if own}
        for chunk in (chunks or "") + task.later + task.copies:
            if chunk in runs:
                continue
            found = self._find(world, state, named, chunk, now)
            if chunk in task.copies or found is None or misses:
                reused = self._refused_pack(world, state, named, chunk, now)
                new[chunk] = reused or f"pack-{self.name}{turn}{chunk}"
                world.packs[new[chunk]] = chunk
        entry = (chunks or "") + (world.chunks[previous] if previous is not None else "")
        if chunks is not None:
            entry += "".join(chunk for chunk, _ in now.waiting)
        runs |= {c: p for c, p in new.items() if c not in task.later or c in (chunks or "")}
        waiting = tuple((c, new.get(c, "")) for c in task.later)
        if chunks is None:
            waiting = (*((c, "") for c, _ in now.waiting), *waiting)
        packs = world.bits(new.values()) & ~now.refused
        return self._objects(world, named, task, turn, previous, entry, runs, packs, waiting)

    def _objects(
        self,
        world: World,
        named: Named,
        task: Turn,
        turn: int,
        previous: EntryRef | None,
        entry: str,
        places: dict[str, str],
        packs: int,
        waiting: Carried,
    ) -> Plan | None:
        """The objects of a turn; their names say what they hold."""
        run: tuple[str, ...] = ()
        points: tuple[str, ...] = ()
        manifest = None
        if places:
            locations = tuple(sorted(places.items()))
            text = ",".join(f"{c}>{p}" for c, p in locations)
            run = (f"run-{self.name}{turn}[{text}]",)
            world.runs[run[0]] = locations
        if task.chunks is not None:
            letters = "".join(sorted(set(entry)))
            parents = tuple(ref for ref in (previous, task.follows) if ref is not None)
            manifest = f"manifest-{self.name}{turn}[{letters}]"
            manifest += "".join(f"<{ref.manifest}" for ref in parents)
            earlier = task.previous or task.follows
            obj = self.cell if earlier is None else _object_of(world, earlier)
            world.put_manifest(manifest, letters, parents, complete=task.complete, obj=obj)
        if task.point is not None:
            ref = _newest(world, named, task.point)
            if ref is None:
                return None
            points = (f"{self.name}{turn}-{ref.manifest}",)
            world.points[points[0]] = (ref,)
        if not (run or manifest or points):
            return None
        promised = (*((manifest,) if manifest else ()), *points)
        return Plan(
            packs,
            world.bits((*run, *promised)),
            world.bits(promised),
            CommitForm(turn, manifest, run, points),
            waiting,
        )

    def _find(self, world: World, state: State, named: Named, chunk: str, now: At) -> str | None:
        if world.rules.lists_index:
            stored = [run for run in world.names_of(state.objects) if run in world.runs]
            places = world.locations(stored)
        elif world.rules.caches_without_purging:
            places = now.cached
        else:
            places = named.locations
        for found, pack in places:
            if found == chunk and named.is_usable(pack):
                return pack
        return None

    def _refused_pack(
        self, world: World, state: State, named: Named, chunk: str, now: At
    ) -> str | None:
        """What weakenings do with the packs of a revoked turn."""
        for pack in world.names_of(now.refused):
            if pack.endswith(chunk):
                if world.rules.reuses_refused_packs:
                    return pack
                stored = world.bit(pack) & state.objects
                if world.rules.reuses_stored_packs and stored and named.is_usable(pack):
                    return pack
        return None

    # -- storing and committing ------------------------------------------------------------------

    def _step_packs(self, world: World, state: State, now: At) -> Iterator[Step]:
        assert now.plan is not None
        new = now.plan.packs
        label = f"stores {' '.join(world.names_of(new))}"
        then = now._replace(step="objects")
        yield from sent(state, Request("put", new), self._to(world, put(state, new), then, label))
        if state.spare:
            lost = state._replace(
                late=tuple(sorted((*state.late, Request("put", new)))), spare=state.spare - 1
            )
            yield self._give_up(world, lost, now, "gets no answer to its pack")

    def _step_objects(self, world: World, state: State, now: At) -> Iterator[Step]:
        assert now.plan is not None
        new = now.plan.objects
        label = f"stores {' '.join(world.names_of(new))}"
        then = now._replace(step="commit")
        yield from sent(state, Request("put", new), self._to(world, put(state, new), then, label))

    def _step_commit(self, world: World, state: State, now: At) -> Iterator[Step]:
        plan = now.plan
        assert plan is not None
        place = world.writers.index(self.cell)
        if state.cells[place] != now.cell and not world.rules.commits_without_swap:
            if world.rules.follows_commit_blindly:
                state = state._replace(committed=state.committed | plan.commits)
            yield self._give_up(world, state, now, "is refused", plan.packs)
            return
        held = world.cell(now.cell)
        assert held is not None
        last = now.turn + 1 == len(self._turns)
        watermark = world.generation(now.seen).watermarks.get(self.cell, 0)
        form = protocol.commit(held, plan.made, watermark, go_on=self._chained and not last)
        number = world.forms.number(form)
        after = swap(state, place, number)
        after = after._replace(committed=state.committed | plan.commits)
        request = Request("swap", place, state.cells[place], number, plan.commits)
        done = self._to(world, after, self._next(now, number, last=last), "commits")
        yield from sent(state, request, done)
        if state.spare:
            lost = state._replace(late=tuple(sorted((*state.late, request))), spare=state.spare - 1)
            yield self._to(world, lost, At("end"), "stops, its commit on the way")

    def _next(self, now: At, cell: int, *, last: bool) -> At:
        """Where a writer is after a commit."""
        assert now.plan is not None
        if last:
            return At("close", cell=cell) if self._leaves else At("end")
        if not self._chained:
            return At("begin", now.turn + 1, now.left, seen=now.seen)
        takes = self._turns[now.turn].chunks is not None
        return now._replace(
            step="cells",
            turn=now.turn + 1,
            cell=cell,
            decided=now.begun if takes else now.decided,
            waiting=now.plan.waiting,
            plan=None,
        )

    def _step_rest(self, world: World, state: State, now: At) -> Iterator[Step]:
        place = world.writers.index(self.cell)
        held = world.cell(now.cell)
        assert held is not None
        if state.cells[place] == now.cell:
            state = swap(state, place, world.forms.number(protocol.rest(held)))
        yield self._to(world, state, At("end"), "ends its turn without a commit")

    def _step_close(self, world: World, state: State, now: At) -> Iterator[Step]:
        place = world.writers.index(self.cell)
        held = world.cell(state.cells[place])
        if held is not None and state.cells[place] == now.cell:
            closed = msgspec.structs.replace(
                held, state="closed"
            )  # nothing in the product does it yet
            state = swap(state, place, world.forms.number(closed))
        yield self._to(world, state, At("end"), "leaves for ever")

    def _give_up(self, world: World, state: State, now: At, why: str, refused: int = 0) -> Step:
        """The session is broken: its turn stays as it is, another one begins where repeats are left."""
        then = At("end")
        if now.left:
            keeps = world.rules.reuses_refused_packs or world.rules.reuses_stored_packs
            first = "cells" if world.rules.reads_before_begin else "begin"
            then = At(first, now.turn, now.left - 1, seen=now.seen, refused=refused if keeps else 0)
        return self._to(world, state, then, why)


def _usable(named: Named, chunk: str) -> str | None:
    for found, pack in named.locations:
        if found == chunk and named.is_usable(pack):
            return pack
    return None


def _object_of(world: World, ref: EntryRef) -> str:
    return world.manifests[ref.manifest].entries[ref.index].object.id


def _newest(world: World, named: Named, ref: EntryRef) -> EntryRef | None:
    """The entry if it is live, else the newest of its object (`WriteSession._live`)."""
    if ref in named.entries:
        return ref
    same = [e for e in named.entries if _object_of(world, e) == _object_of(world, ref)]
    return max(same, key=lambda e: e.manifest, default=None)


def _text(plan: Plan) -> str:
    made = plan.made
    return " ".join((*made.runs, *((made.manifest,) if made.manifest else ()), *made.points))
