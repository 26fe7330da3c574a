"""The cases: who takes part, and what is stored before anybody moves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.commit import CellForm, GenerationForm
from engine.manifest import EntryRef
from tests.protocol.collectors import Collector
from tests.protocol.explore import Explored
from tests.protocol.others import Forgetter, Holder, Mender, Reader
from tests.protocol.rules import AS_BUILT, Rules
from tests.protocol.world import Process, State, World
from tests.protocol.writers import Turn, Writer

OLD, NEW = EntryRef("manifest-0", 0), EntryRef("manifest-1", 0)  # NEW follows OLD
FIRST = EntryRef("manifest-V1[c]", 0)  # the first entry of a writer V
HALF = EntryRef("manifest-W1[c]", 0)


@dataclass
class Case:
    """
    Attributes:
        entries: of `manifest-0`, `manifest-1`, ...: their chunks; each follows the one before.
        points: ids of points that name the entries, in order; "" for none.
        runs: chunks and packs, as "c>P d>P". condemned: packs.
        cells: that are there already. folded: watermarks of the first generation.
    """

    processes: Sequence[Process]
    writers: Sequence[str]
    entries: Sequence[str] = ("",)
    points: Sequence[str] = ()
    runs: Sequence[str] = ()
    condemned: Sequence[str] = ()
    late: int = 0
    cells: Sequence[CellForm] = ()
    folded: Mapping[str, int] = field(default_factory=dict)

    def explore(self, rules: Rules = AS_BUILT, states_max: int = 20_000_000) -> Explored:
        world = World(self.processes, self.writers, rules, late=self.late)
        return world.explore(self._start(world), states_max)

    def _start(self, world: World) -> State:
        manifests: list[str] = []
        for number, chunks in enumerate(self.entries):
            parents = (EntryRef(manifests[-1], 0),) if manifests else ()
            manifests.append(f"manifest-{number}")
            world.put_manifest(manifests[-1], chunks, parents, complete=True, obj="o")
        points = []
        for number, point in enumerate(self.points):
            if point:
                points.append(f"{point}-{number}")
                world.points[points[-1]] = (EntryRef(f"manifest-{number}", 0),)
        packs = set(self.condemned)
        runs = []
        for number, text in enumerate(self.runs):
            runs.append(f"run-0{number}")
            places = [place.split(">") for place in text.split()]
            world.runs[runs[-1]] = tuple((chunk, pack) for chunk, pack in places)
            for chunk, pack in places:
                packs.add(pack)
                world.packs[pack] = world.packs.get(pack, "") + chunk
        form = GenerationForm(
            1,
            manifests=tuple(manifests),
            points=tuple(points),
            runs=tuple(runs),
            condemned=dict.fromkeys(self.condemned, 1),
            watermarks=dict(self.folded),
        )
        there = {cell.writer: cell for cell in self.cells}
        cells = tuple(world.forms.number(there[w]) if w in there else 0 for w in self.writers)
        stored = world.bits((*manifests, *points, *runs, *sorted(packs)))
        promised = world.bits((*manifests, *points))
        return State((world.forms.number(form),), stored, cells, 0, promised)


Beginning = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]

# chunks of OLD and NEW, points that name them, runs, condemned packs
BEGINNINGS: dict[str, Beginning] = {
    "nothing": (("",), (), (), ()),
    "c unused": (("",), (), ("c>P",), ()),
    "c beside d": (("d",), (), ("c>P d>P",), ()),
    "c apart from d": (("c", "d"), ("", "b"), ("c>P d>D",), ()),
    "c forgotten later": (("c", ""), ("a", "b"), ("c>P",), ()),
    "two places": (("cd", "d"), ("a", "b"), ("c>P d>P", "c>Q"), ()),
    "a condemned place of c": (("c",), (), ("c>P", "c>Q"), ("Q",)),
    "a condemned place": (("d",), (), ("c>P d>P", "c>Q"), ("Q",)),
}


def _case(beginning: str, *processes: Process, cells: str = "W", late: int = 0) -> Case:
    """A case with a cell for each letter."""
    return Case(processes, tuple(cells), *BEGINNINGS[beginning], late)


def _writer(name: str, *turns: Turn, **how: object) -> Writer:
    return Writer(name, turns, **how)  # type: ignore[arg-type]


K, L = Collector("K"), Collector("L")
TWICE = Collector("K", rounds=2)
MERGING = Collector("K", merges_all=True), Collector("L", merges_all=True)
W, V = _writer("W", Turn("c")), _writer("V", Turn("c"))
AGAIN = _writer("W", Turn("c"), repeats=1)
FOLLOWED = Turn("c"), Turn("", follows=FIRST)
WAITING = Turn(later="c", point=NEW), Turn(point=NEW), Turn("")

# name: states when every rule is as built, and the case
CASES: dict[str, tuple[int, Case]] = {
    "1 writer, 1 collector": (232, _case("c unused", W, K)),
    "1 writer that repeats, 1 collector": (493, _case("c unused", AGAIN, K)),
    "1 writer, 1 collector, nothing there": (568, _case("nothing", AGAIN, K)),
    "1 writer, 1 collector twice": (4_490, _case("c unused", AGAIN, TWICE)),
    "1 writer, 1 collector three times": (
        63_700,
        _case("c unused", _writer("W", Turn("c"), repeats=2), Collector("K", rounds=3)),
    ),
    "2 collectors": (301, _case("c unused", K, L, cells="")),
    "2 collectors, one late request": (6_164, _case("c apart from d", K, L, cells="", late=1)),
    "1 writer, 2 collectors": (23_294, _case("c unused", W, K, L)),
    "1 writer, 2 collectors, nothing there": (22_680, _case("nothing", W, K, L)),
    "1 writer whose cache misses, 2 collectors": (
        32_371,
        _case("c unused", _writer("W", Turn("c"), misses=True), K, L),
    ),
    "1 writer, 2 collectors, each listing and deletion a step": (
        59_327,
        _case(
            "c unused",
            W,
            Collector("K", fine=True, sweeps=True),
            Collector("L", fine=True, sweeps=True),
        ),
    ),
    "2 writers, 2 collectors": (2_281_480, _case("c unused", W, V, K, L, cells="WV")),
    "3 writers, 1 collector": (
        538_486,
        _case("c unused", W, V, _writer("U", Turn("c")), K, cells="WVU"),
    ),
    "2 writers, 1 collector twice, one late request": (
        996_935,
        _case("nothing", W, V, TWICE, cells="WV", late=1),
    ),
    "2 writers, cells read one by one": (
        10_993,
        _case(
            "c unused",
            _writer("W", Turn("c"), one_by_one=True),
            _writer("V", Turn("c"), one_by_one=True),
            K,
            cells="WV",
        ),
    ),
    "2 writers with one cell": (
        178_676,
        _case("c unused", AGAIN, _writer("V", Turn("c"), cell="W", repeats=1), K),
    ),
    "a writer leaves for ever, another one has its cell": (
        12_326,
        _case(
            "c unused", _writer("W", Turn("c"), leaves=True), _writer("V", Turn("c"), cell="W"), K
        ),
    ),
    "the same over two turns and collections": (
        707_949,
        _case(
            "c unused",
            _writer("W", Turn("c"), Turn("d"), leaves=True),
            _writer("V", Turn("c"), cell="W"),
            TWICE,
        ),
    ),
    "a cell that is behind what was folded of it": (
        1_165,
        replace(
            _case("c unused", _writer("W", Turn("c"), Turn("d")), K),
            cells=(CellForm("W", 1, "idle", ()),),
            folded={"W": 2},
        ),
    ),
    "a cell that is gone, one late request": (
        4_124,
        replace(_case("c unused", AGAIN, K, late=1), folded={"W": 3}),
    ),
    "two turns": (1_187, _case("c unused", _writer("W", Turn("c"), Turn("d"), chained=False), K)),
    "two turns, 1 collector twice": (
        44_957,
        _case("c unused", _writer("W", Turn("c"), Turn("d"), chained=False, repeats=1), TWICE),
    ),
    "two turns chained, 1 collector twice": (
        46_594,
        _case("c unused", _writer("W", Turn("d"), Turn("c"), repeats=1), TWICE),
    ),
    "two turns, 1 collector twice, one late request": (
        86_790,
        _case("c unused", _writer("W", Turn("c"), Turn("d"), chained=False), TWICE, late=1),
    ),
    "1 writer, 1 collector twice, one late request": (
        57_518,
        _case("c unused", AGAIN, TWICE, late=1),
    ),
    "1 writer, 1 collector twice, two late requests": (
        388_203,
        _case("nothing", AGAIN, TWICE, late=2),
    ),
    "1 writer, 2 collectors, one late request": (
        924_730,
        _case("c apart from d", W, *MERGING, late=1),
    ),
    "references that wait for the next turn": (
        810,
        _case("c unused", _writer("W", Turn("d", later="c"), Turn("")), K),
    ),
    "packs that wait for the next turn": (
        803,
        _case("nothing", _writer("W", Turn("", later="c"), Turn("")), K),
    ),
    "both, 1 collector twice": (
        48_885,
        _case("c unused", _writer("W", Turn("c", later="d"), Turn("e"), repeats=1), TWICE),
    ),
    "references that wait while restore points are sealed": (
        1_938,
        _case("c apart from d", _writer("W", *WAITING), K),
    ),
    "the same, repeated, 1 collector twice": (
        81_957,
        _case("c apart from d", _writer("W", *WAITING, repeats=1), TWICE),
    ),
    "2 collectors that copy": (
        3_387,
        _case("c beside d", Collector("K", copies="d"), Collector("L", copies="d"), cells="KL"),
    ),
    "1 collector that copies, 1 that does not": (
        1_649,
        _case("c beside d", Collector("K", copies="d"), L, cells="K"),
    ),
    "2 collectors that copy, 1 writer": (
        268_324,
        _case(
            "c beside d",
            _writer("W", Turn("cd")),
            Collector("K", copies="d"),
            Collector("L", copies="d"),
            cells="WKL",
        ),
    ),
    "2 collectors that merge, one copies, 1 writer": (
        277_530,
        _case(
            "c beside d",
            Collector("K", copies="d", merges_all=True),
            Collector("L", merges_all=True),
            W,
            cells="KW",
        ),
    ),
    "a writer with the cell that was copied with": (
        685,
        _case("c beside d", Collector("K", copies="d", cell="W"), W),
    ),
    "the same, 2 collectors": (
        164_932,
        _case("c beside d", Collector("K", copies="d", cell="W"), W, L),
    ),
    "two places of a chunk, runs merged": (
        672_946,
        _case("two places", W, *MERGING, Forgetter("a")),
    ),
    "two places, kept by the order of runs": (
        328_120,
        _case(
            "two places",
            W,
            Collector("K", merges_all=True, prefers="newest"),
            L,
            Forgetter("a"),
        ),
    ),
    "2 collectors that keep different places": (
        400,
        _case("a condemned place of c", Collector("K", prefers="newest"), L, cells=""),
    ),
    "the same, 1 writer": (
        18_285,
        _case("a condemned place of c", Collector("K", prefers="newest"), L, W),
    ),
    "a condemned place, runs merged": (57_749, _case("a condemned place", W, *MERGING)),
    "an entry is referred to and forgotten": (
        966,
        _case("c forgotten later", _writer("W", Turn("", previous=OLD)), K, Forgetter("a")),
    ),
    "the same, repeated, 2 collectors": (
        502_296,
        _case(
            "c forgotten later",
            _writer("W", Turn("", previous=OLD), repeats=1),
            K,
            L,
            Forgetter("a"),
        ),
    ),
    "forgets of two points, 1 collector twice": (
        157_661,
        _case(
            "c forgotten later",
            _writer("W", Turn("c", previous=OLD), Turn("", point=NEW)),
            TWICE,
            Forgetter("a"),
            Forgetter("b", "G"),
        ),
    ),
    "a point is committed and forgotten": (
        315,
        _case("c unused", _writer("W", Turn(point=OLD)), K, Forgetter("W1")),
    ),
    "an entry not yet seen is referred to and forgotten": (
        51_033,
        _case(
            "nothing",
            _writer("V", Turn("c"), Turn("", follows=FIRST, point=FIRST)),
            _writer("W", Turn("", previous=FIRST)),
            K,
            Forgetter("V2"),
            cells="VW",
        ),
    ),
    "an entry not yet seen is referred to and overtaken": (
        36_316,
        _case(
            "nothing",
            _writer("V", *FOLLOWED),
            _writer("W", Turn("", previous=FIRST)),
            K,
            cells="VW",
        ),
    ),
    "a half-finished entry is followed": (
        42_845,
        _case(
            "c unused",
            _writer("W", Turn("c", complete=False), Turn("d", previous=HALF)),
            V,
            K,
            cells="WV",
        ),
    ),
    "a point names an entry that goes by lineage": (
        2_089,
        _case("c apart from d", _writer("W", Turn(point=OLD)), K, Reader()),
    ),
    "the same, two turns, 1 collector twice": (
        84_763,
        _case("c apart from d", _writer("W", Turn(point=OLD), Turn("c")), TWICE, Reader()),
    ),
    "a hold against a forget": (
        11_341,
        _case("c forgotten later", W, K, Forgetter("a"), Holder("a")),
    ),
    "a hold, a forget, a writer by entry, a reader": (
        116_180,
        _case(
            "c forgotten later",
            _writer("W", Turn("", previous=OLD)),
            K,
            Forgetter("a"),
            Holder("a"),
            Reader(),
        ),
    ),
    "a hold of another point": (
        345,
        _case("c forgotten later", K, Forgetter("a"), Holder("b"), cells=""),
    ),
    "a repair of runs": (28_304, _case("c apart from d", W, K, Mender())),
    "a reader, two turns": (
        17_453,
        _case("c unused", Reader(), _writer("W", Turn("c"), Turn("d"), chained=False), K),
    ),
    "a reader of cells one by one, two turns, 1 collector twice": (
        150_383,
        _case(
            "c unused",
            Reader(one_by_one=True),
            _writer("W", Turn("c"), Turn("d"), chained=False),
            TWICE,
        ),
    ),
}
