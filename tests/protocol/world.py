"""The store of the model, what its objects hold, and the promises that every state must keep."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from engine.collection import point_id
from engine.commit import CellForm, ForgetForm, GenerationForm, encode
from engine.liveness import live_entries
from engine.manifest import EntryForm, EntryRef, ManifestForm, ObjectKey
from repository.entries import Entries
from repository.state import state_of
from tests.protocol.explore import Broken, Explored, explore
from tests.protocol.rules import Rules

Locations = tuple[tuple[str, str], ...]  # chunk, pack


class State(NamedTuple):
    """
    The store and what was promised, as one process sees it: forms are numbers of `World.forms`, sets of objects are bits.

    Attributes:
        gens: every generation, gc/1 first. objects: what is stored. cells: 0 where there is none. here: all that the process
            knows whose step it is.
        committed, forgotten, held: what was promised so far: manifests and points; forgets; points.
        late: requests that may still arrive. spare: how many more requests may be late.
    """

    gens: tuple[int, ...]
    objects: int
    cells: tuple[int, ...]
    here: int = 0
    committed: int = 0
    forgotten: int = 0
    held: int = 0
    late: tuple["Request", ...] = ()
    spare: int = 0


class Request(NamedTuple):
    """A request on its way. what: put, delete (number: a bit), swap (of cell `number` from `before` to `form`), generation."""

    what: str
    number: int
    before: int = 0
    form: int = 0
    commits: int = 0


class Process(Protocol):
    """One process; a number of `World.forms` is all it knows."""

    name: str

    def start(self, world: "World") -> int:
        """Where it begins."""

    def steps(self, world: "World", state: State, here: int) -> Iterator["Step"]:
        """All that it can do next; `here` is where it is."""


Step = tuple[str, State]
Point = tuple[int, ...]  # of the whole case: number of the store, then where each process is


class Numbered:
    """Values and small numbers for them; 0 is None."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self._values: list[object] = [None]

    def number(self, value: object) -> int:
        key = encode(value) if isinstance(value, GenerationForm) else value  # dicts have no hash
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self._values)
            self._values.append(value)
        return found

    def __getitem__(self, number: int) -> object:
        return self._values[number]


@dataclass(frozen=True, eq=False)
class Named:
    """What a state of cells and generation names, entries and locations put together."""

    generation: GenerationForm
    manifests: tuple[str, ...]
    runs: tuple[str, ...]
    points: tuple[str, ...]
    entries: frozenset[EntryRef]
    of_points: frozenset[EntryRef]
    locations: Locations

    def is_usable(self, pack: str) -> bool:
        return pack not in self.generation.condemned and pack not in self.generation.dead


class World:
    """One case: who takes part, what is there at the beginning, and everything that objects hold."""

    def __init__(
        self, processes: Sequence[Process], writers: Sequence[str], rules: Rules, *, late: int = 0
    ) -> None:
        self.processes = processes
        self.writers = writers  # names of the cells, in the order of State.cells
        self.rules = rules
        self.late = late
        self.forms = Numbered()
        self.memo: dict[object, object] = {}
        self._bits: dict[str, int] = {}
        self._names: list[str] = []
        self.runs: dict[str, Locations] = {}
        self.packs: dict[str, str] = {}  # chunks in each
        self.manifests: dict[str, ManifestForm] = {}
        self.chunks: dict[EntryRef, str] = {}
        self.points: dict[str, tuple[EntryRef, ...]] = {}
        self.forgets: dict[str, ForgetForm] = {}
        self.unfollowed: set[str] = set()  # manifests whose entries no other can follow: they stay
        self.stores = Numbered()
        self._goals: dict[int, tuple[str, ...]] = {}
        self._steps: dict[tuple[int, int, int], tuple[tuple[str, int, int], ...]] = {}

    # -- objects ---------------------------------------------------------------------------------

    def bit(self, name: str) -> int:
        found = self._bits.get(name)
        if found is None:
            found = self._bits[name] = 1 << len(self._names)
            self._names.append(name)
        return found

    def bits(self, names: Iterable[str]) -> int:
        made = 0
        for name in names:
            made |= self.bit(name)
        return made

    def names_of(self, bits: int) -> tuple[str, ...]:
        found = self.memo.get(("names", bits))
        if found is None:
            found = tuple(n for i, n in enumerate(self._names) if bits >> i & 1)
            self.memo["names", bits] = found
        return found  # type: ignore[return-value]

    def put_manifest(
        self, name: str, chunks: str, parents: tuple[EntryRef, ...], *, complete: bool, obj: str
    ) -> EntryRef:
        """Note what a manifest with one entry holds."""
        key = ObjectKey("user", obj, obj)
        entry = EntryForm(key, "mail", "s", complete, 0, 0, (), None, parents)
        self.manifests[name] = ManifestForm(1, "", "", 0, "", (), (), (entry,), "", "")
        ref = EntryRef(name, 0)
        self.chunks[ref] = chunks
        self.unfollowed.add(name)
        self.unfollowed.difference_update(parent.manifest for parent in parents)
        return ref

    def generation(self, number: int) -> GenerationForm:
        found = self.forms[number]
        assert isinstance(found, GenerationForm)
        return found

    def cell(self, number: int) -> CellForm | None:
        found = self.forms[number]
        assert found is None or isinstance(found, CellForm)
        return found

    def cells_of(self, cells: Sequence[int]) -> dict[str, CellForm]:
        found = {}
        for writer, number in zip(self.writers, cells, strict=True):
            cell = self.cell(number)
            if cell is not None:
                found[writer] = cell
        return found

    def named(self, cells: tuple[int, ...], generation: int) -> Named:
        """What cells and a generation say together."""
        key = ("named", cells, generation)
        found = self.memo.get(key)
        if found is None:
            found = self.memo[key] = self._named(cells, generation)
        assert isinstance(found, Named)
        return found

    def _named(self, cells: tuple[int, ...], generation: int) -> Named:
        form = self.generation(generation)
        state = state_of(self.cells_of(cells), form, frozenset())
        of_points = frozenset(ref for point in state.points for ref in self.points[point])
        entries = Entries(form)
        for manifest in state.manifests:
            entries.add(manifest, self.manifests[manifest])
        return Named(
            form,
            state.manifests,
            state.runs,
            state.points,
            frozenset(entry.ref for entry in entries),
            of_points,
            self.locations(state.runs),
        )

    def locations(self, runs: Iterable[str]) -> Locations:
        return tuple(place for run in runs for place in self.runs[run])

    def needed_objects(self, named: Named) -> int:
        """Runs, manifests and points that must be stored where these are named."""
        manifests = {*named.manifests, *(ref.manifest for ref in named.of_points)}
        runs = () if self.rules.lists_index else named.runs
        return self.bits((*runs, *manifests, *named.points))

    # -- promises --------------------------------------------------------------------------------

    def check(self, point: "Point") -> Iterable[str]:
        """Raise Broken where a promise does not hold; the goals that are met."""
        store = point[0]
        if store not in self._goals:
            state = self.stores[store]
            assert isinstance(state, State)
            self._goals[store] = tuple(self._check(state))
        return self._goals[store]

    def _check(self, state: State) -> Iterator[str]:
        named = self.named(state.cells, state.gens[-1])
        generation = named.generation
        missing = self.needed_objects(named) & ~state.objects
        if missing:
            raise Broken(f"named and not stored: {' '.join(self.names_of(missing))}")
        dead = self.bits(generation.dead)
        if dead & self.needed_objects(named):
            raise Broken("something named is dead")
        held: dict[str, list[str]] = {}
        locations = named.locations
        if self.rules.lists_index:
            stored = [name for name in self.names_of(state.objects) if name in self.runs]
            locations = self.locations(stored)
        for chunk, pack in locations:
            if not self.bit(pack) & state.objects or pack in generation.dead:
                rules = self.rules
                if rules.lists_index or rules.forgets_dead or rules.deletes_before_verdict:
                    continue  # what is needed is looked at below
                raise Broken(f"a named run finds {chunk} in {pack}, which is dead or gone")
            held.setdefault(chunk, []).append(pack)
        for ref in {*named.entries, *named.of_points}:
            for chunk in self.chunks[ref]:
                if chunk not in held:
                    raise Broken(f"entry {ref.manifest} needs {chunk}, which no named run has")
        self._check_promised(state, named)
        if generation.dead:
            yield "a verdict"
        if dead & ~state.objects:
            yield "space reclaimed"

    def _check_promised(self, state: State, named: Named) -> None:
        committed = self.names_of(state.committed)
        asked = {
            p for f in self.names_of(state.forgotten) for p in self.forgets[f].points
        } - named.generation.holds.keys()
        points = [name for name in committed if name in self.points]
        for point in points:
            if point_id(point) not in asked and point not in named.points:
                raise Broken(f"restore point {point} vanished")
        kept = {ref for p in points if point_id(p) not in asked for ref in self.points[p]}
        links = Entries()
        for name in committed:
            if name in self.manifests:
                links.add(name, self.manifests[name])
        must = live_entries(links.links(links), kept)
        vanished = must - named.entries - named.of_points
        if vanished:
            raise Broken(f"entry {min(ref.manifest for ref in vanished)} vanished")
        for forget in self.names_of(state.forgotten & ~state.objects):
            left = set(map(point_id, named.points)) & set(self.forgets[forget].points)
            if left - named.generation.holds.keys():
                raise Broken(f"{forget} is lost")
        for point in self.names_of(state.held):
            if point not in named.points:
                raise Broken(f"held point {point} vanished")

    # -- exploring -------------------------------------------------------------------------------

    def successors(self, point: "Point") -> Iterator[tuple[str, "Point"]]:
        """Steps of every process and of late requests. What a process does depends on the store and on itself alone."""
        store, *procs = point
        for mine, here in enumerate(procs):
            key = (mine, here, store)
            steps = self._steps.get(key)
            if steps is None:
                steps = self._steps[key] = tuple(self._moves(mine, here, store))
            for label, following, there in steps:
                yield label, (following, *point[1 : mine + 1], there, *point[mine + 2 :])
        state = self.stores[store]
        assert isinstance(state, State)
        for at, request in enumerate(state.late):
            left = state.late[:at] + state.late[at + 1 :]
            label, after = self._arrive(state._replace(late=left), request)
            yield label, (self.stores.number(after), *procs)

    def _moves(self, mine: int, here: int, store: int) -> Iterator[tuple[str, int, int]]:
        """Label, store and place of the process after each of its steps."""
        state = self.stores[store]
        assert isinstance(state, State)
        process = self.processes[mine]
        for label, after in process.steps(self, state._replace(here=here), here):
            yield label, self.stores.number(after._replace(here=0)), after.here

    def _arrive(self, state: State, request: Request) -> Step:
        """A late request reaches the store."""
        what, number, before, form, commits = request
        if what == "put":
            return f"late put of {self.names_of(number)}", put(state, number)
        if what == "delete":
            return f"late delete of {self.names_of(number)}", delete(state, number)
        if what == "swap":
            if state.cells[number] != before:
                return f"late swap of {self.writers[number]} is refused", state
            swapped = swap(state, number, form)
            return (
                f"late swap of {self.writers[number]}",
                swapped._replace(committed=state.committed | commits),
            )
        if number != len(state.gens) + 1:
            return f"late gc/{number} is refused", state
        return f"late gc/{number}", state._replace(gens=(*state.gens, form))

    def explore(self, start: State, states_max: int = 20_000_000) -> Explored:
        procs = tuple(process.start(self) for process in self.processes)
        first = self.stores.number(start._replace(spare=self.late))
        return explore((first, *procs), self.successors, self.check, states_max)


def put(state: State, bits: int) -> State:
    return state._replace(objects=state.objects | bits)


def delete(state: State, bits: int) -> State:
    return state._replace(objects=state.objects & ~bits)


def swap(state: State, cell: int, form: int) -> State:
    return state._replace(cells=(*state.cells[:cell], form, *state.cells[cell + 1 :]))


def at(state: State, here: int) -> State:
    """The state with the process elsewhere."""
    return state._replace(here=here)


def sent(state: State, request: Request, done: Step) -> Iterator[Step]:
    """
    A request was done and answered; or, where the case allows late ones, a second one of it is on the way.
    """
    yield done
    if state.spare and request not in state.late:
        label, after = done
        late = tuple(sorted((*after.late, request)))
        yield f"{label} (again, later)", after._replace(late=late, spare=state.spare - 1)
