"""Readers, and those who ask for restore points to go or to stay."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from engine.collection import Live, Verdict, View, next_generation, point_id
from engine.commit import ForgetForm
from engine.manifest import EntryRef
from tests.protocol.explore import Broken
from tests.protocol.world import Request, State, Step, World, at, put, sent


class Looking(NamedTuple):
    """Where one of them is. seen: what was promised when it began. cells, gen: what it read."""

    step: str
    seen: int = 0
    cells: tuple[int, ...] = ()
    gen: int = 0


class Reader:
    """Reads the state and everything that it names, once."""

    def __init__(self, name: str = "R", *, one_by_one: bool = False) -> None:
        self.name = name
        self._one_by_one = one_by_one

    def start(self, world: World) -> int:
        return world.forms.number(Looking("cells"))

    def steps(self, world: World, state: State, here: int) -> Iterator[Step]:
        now = world.forms[here]
        assert isinstance(now, Looking)
        first_generation = world.rules.reads_generation_first
        if now.step == "cells":
            seen = now.seen or state.committed
            if first_generation and not now.gen:
                then = now._replace(seen=seen, gen=state.gens[-1])
                label = f"reads gc/{len(state.gens)}"
            else:
                read = (*now.cells, state.cells[len(now.cells)])
                if not self._one_by_one:
                    read = state.cells
                label = "reads cells"
                done = len(read) == len(state.cells)
                step = ("use" if first_generation else "generation") if done else "cells"
                then = now._replace(step=step, seen=seen, cells=read)
        elif now.step == "generation":
            then = now._replace(step="use", gen=state.gens[-1])
            label = f"reads gc/{len(state.gens)}"
        elif now.step == "use":
            then, label = self._use(world, state, now)
        else:
            return
        yield f"{self.name} {label}", at(state, world.forms.number(then))

    def _use(self, world: World, state: State, now: Looking) -> tuple[Looking, str]:
        """Load everything; what is missing is asked for again, and is damage if the state is as it was."""
        named = world.named(now.cells, now.gen)
        packs = {pack for _, pack in named.locations}
        if (world.needed_objects(named) | world.bits(packs)) & ~state.objects:
            if (now.cells, now.gen) == (state.cells, state.gens[-1]):
                raise Broken(f"{self.name} finds what is named missing")
            return Looking("cells"), "finds something missing and reads again"
        entries = named.entries if world.rules.hides_dropped else named.entries | named.of_points
        if not named.of_points <= entries:
            raise Broken(f"{self.name} does not find an entry that a restore point names")
        found = {chunk for chunk, _ in named.locations}
        for ref in entries:
            if not set(world.chunks[ref]) <= found:
                raise Broken(f"{self.name} finds no run for {ref.manifest}")
        asked = {p for f in world.names_of(state.forgotten) for p in world.forgets[f].points}
        for name in world.names_of(now.seen):
            if name in world.points and point_id(name) not in asked and name not in named.points:
                raise Broken(f"{self.name} misses {name}")
            if name in world.unfollowed and EntryRef(name, 0) not in entries:
                raise Broken(f"{self.name} misses {name}")
        return Looking("end"), "reads everything"


class Forgetter:
    """Asks for a restore point to go as soon as it is there (`Repository.forget`)."""

    def __init__(self, point: str, name: str = "F") -> None:
        self.name = name
        self._point = point
        self._forget = f"forget-{name}-{point}"

    def start(self, world: World) -> int:
        world.forgets[self._forget] = ForgetForm((self._point,))
        world.bit(self._forget)
        return world.forms.number(Looking("look"))

    def steps(self, world: World, state: State, here: int) -> Iterator[Step]:
        now = world.forms[here]
        assert isinstance(now, Looking)
        if now.step == "look":
            named = world.named(state.cells, state.gens[-1])
            known = {point_id(point) for point in named.points}
            if self._point in known and self._point not in named.generation.holds:
                then = at(state, world.forms.number(Looking("put")))
                yield f"{self.name} sees point {self._point}", then
        elif now.step == "put":
            bit = world.bit(self._forget)
            after = put(at(state, world.forms.number(Looking("end"))), bit)
            after = after._replace(forgotten=after.forgotten | bit)
            done = f"{self.name} asks for point {self._point} to go", after
            yield from sent(state, Request("put", bit), done)


class Holder:
    """Puts a hold on a restore point that is there (`Repository.hold`)."""

    def __init__(self, point: str, name: str = "H") -> None:
        self.name = name
        self._point = point

    def start(self, world: World) -> int:
        return world.forms.number(Looking("cells"))

    def steps(self, world: World, state: State, here: int) -> Iterator[Step]:
        now = world.forms[here]
        assert isinstance(now, Looking)
        if now.step == "cells":
            then = Looking("generation", cells=state.cells)
            yield f"{self.name} reads cells", at(state, world.forms.number(then))
        elif now.step == "generation":
            named = world.named(now.cells, state.gens[-1])
            there = self._point in {point_id(point) for point in named.points}
            then = Looking("create" if there else "end", cells=now.cells, gen=state.gens[-1])
            label = f"{self.name} reads gc/{len(state.gens)}"
            yield label, at(state, world.forms.number(then))
        elif now.step == "create":
            yield self._create(world, state, now)

    def _create(self, world: World, state: State, now: Looking) -> Step:
        form = world.generation(now.gen)
        number = form.number + 1
        if world.rules.stale_hold:
            number = len(state.gens) + 1
        if number != len(state.gens) + 1:
            again = world.forms.number(Looking("cells"))
            return f"{self.name} finds gc/{number} taken", at(state, again)
        holds = {**form.holds, self._point: "why"}
        made = world.forms.number(msgspec.structs.replace(form, number=number, holds=holds))
        points = world.named(now.cells, now.gen).points
        held = world.bits(p for p in points if point_id(p) == self._point)
        after = at(state, world.forms.number(Looking("end")))
        after = after._replace(gens=(*state.gens, made), held=state.held | held)
        return f"{self.name} creates gc/{number} with a hold", after


class Mender:
    """Makes a run of every pack that is stored and not dead, and names it (`repository.repair`)."""

    def __init__(self, name: str = "M") -> None:
        self.name = name

    def start(self, world: World) -> int:
        return world.forms.number(Looking("state"))

    def steps(self, world: World, state: State, here: int) -> Iterator[Step]:
        now = world.forms[here]
        assert isinstance(now, Looking)
        if now.step == "state":
            then = Looking("list", gen=state.gens[-1])
            yield f"{self.name} reads gc/{len(state.gens)}", at(state, world.forms.number(then))
        elif now.step == "list":
            yield self._store(world, state, now)
        elif now.step == "cells":
            then = now._replace(step="generation", cells=state.cells)
            yield f"{self.name} reads cells", at(state, world.forms.number(then))
        elif now.step == "generation":
            moved = state.gens[-1] != now.gen
            then = now._replace(step="create", gen=state.gens[-1])
            if moved and not world.rules.names_old_listing:
                then = Looking("state")
            yield f"{self.name} reads gc/{len(state.gens)}", at(state, world.forms.number(then))
        elif now.step == "create":
            yield self._create(world, state, now)

    def _store(self, world: World, state: State, now: Looking) -> Step:
        dead = world.generation(now.gen).dead
        packs = [n for n in world.names_of(state.objects) if n in world.packs and n not in dead]
        places = tuple(sorted((chunk, pack) for pack in packs for chunk in world.packs[pack]))
        text = ",".join(f"{chunk}>{pack}" for chunk, pack in places)
        run = f"run-{self.name}{world.generation(now.gen).number}[{text}]"
        world.runs[run] = places
        then = Looking("cells", seen=world.bit(run), gen=now.gen)
        after = put(at(state, world.forms.number(then)), world.bit(run))
        return f"{self.name} stores {run}", after

    def _create(self, world: World, state: State, now: Looking) -> Step:
        form = world.generation(now.gen)
        number = form.number + 1
        if number != len(state.gens) + 1:
            again = now._replace(step="cells", cells=())
            if not world.rules.names_old_listing:
                again = Looking("state")
            return f"{self.name} finds gc/{number} taken", at(state, world.forms.number(again))
        named = world.named(now.cells, now.gen)
        live = Live(named.manifests, dict(form.dropped), form.lineage, named.points)
        view = View({}, world.cells_of(now.cells), form, form.dead)
        verdict = Verdict(dict(form.condemned), ())
        made = next_generation(view, live, verdict, (*named.runs, *world.names_of(now.seen)))
        after = at(state, world.forms.number(Looking("end")))
        after = after._replace(gens=(*state.gens, world.forms.number(made)))
        return f"{self.name} creates gc/{number}", after
