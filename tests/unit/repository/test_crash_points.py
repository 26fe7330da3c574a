"""
Every crash point of every operation.

A scenario is played once for each operation that it asks of the store, and at that operation the program dies before or
after it, does not learn its answer, or sends it twice (`tests.fixtures.crash`). Then another machine finds everything that
was acknowledged, goes on writing, collects, and nothing is left that no one needs. The fast lane takes a sample of the
operations, the long lane all of them.
"""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from engine.errors import Fenced, Unavailable
from repository import Places, Repository
from repository.blobstore.memory import MemoryStore
from repository.blobstore.protocol import BlobStore
from repository.copying import CopyLimits
from repository.repository import initialize, open_on
from repository.tree.importer import import_tree
from tests.fixtures.copies import Files, History, copied, held
from tests.fixtures.crash import CHANGES, MODES, CrashPoint, CrashStore, Mode, clone
from tests.fixtures.crash_promises import Promises, open_files, require_tidy
from tests.fixtures.repositories import CHEAP, PASSPHRASE, contents

SEED = 20261124
SAMPLE: dict[Mode, int] = {
    "before": 2,
    "after": 3,
    "lost": 4,
    "doubled": 4,
}  # crash points of each scenario outside the long lane
DELAYS = (0, 3, 12, 10**6)
OFTEN = CopyLimits(commit_bytes=1, commit_rows=1)  # a commit after each window
COPIED = "copied"  # name of the restore points of the original
FILES = {f"f{n}": random.Random(n).randbytes(6_000) for n in range(8)}


def noise(seed: int, size: int = 6_000) -> bytes:
    return random.Random(seed).randbytes(size)


class Machines:
    """Opens stores, each time as another machine, and takes its folders away afterwards."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def places(self) -> Places:
        self._count += 1
        folder = self._folder / str(self._count)
        return Places(folder / "cache", folder / "state")

    def open(self, store: BlobStore) -> Repository:
        return open_on(store, PASSPHRASE, self.places())

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path / "machines")


@dataclass
class Original:
    """
    A repository that is copied.

    Attributes:
        points: its restore points: id -> object -> files. owed: those that a copy acknowledged; None: none began.
    """

    store: MemoryStore
    points: dict[str, dict[str, Files]]
    owed: set[str] | None = None


@dataclass
class World:
    """A store, what it owes, a folder of this machine that the scenario uses, and another repository."""

    store: MemoryStore
    promises: Promises
    folder: Path
    original: Original
    removed: str = ""  # a point with content that no other needs
    trees: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)  # of imported points

    def copy(self) -> "World":
        """The same, to be changed."""
        return World(
            clone(self.store),
            self.promises.copy(),
            self.folder,
            replace(self.original, owed=None),
            self.removed,
            dict(self.trees),
        )


Scenario = Callable[[World, Repository], None]


def start(machines: Machines, folder: Path) -> World:
    """Two objects; two points: one of six files, one after five of them were changed."""
    store = MemoryStore()
    initialize(store, PASSPHRASE, CHEAP, parity="on")
    promises = Promises()
    with machines.open(store) as repository, repository.write_session("w") as session:
        promises.backup(repository, session, "a", FILES)
        promises.backup(repository, session, "b", {"x": noise(100), "y": noise(101)})
        removed = promises.seal(session, repository, ["a", "b"])
        promises.backup(repository, session, "a", {f"f{n}": noise(200 + n) for n in range(6)})
        promises.seal(session, repository, ["a", "b"])
    (folder / "tree").mkdir(parents=True)
    for number in range(4):
        (folder / "tree" / f"f{number}").write_bytes(noise(300 + number))
    world = World(store, promises, folder, original(machines), removed)
    with machines.open(store) as repository:
        import_folder(world, repository)
    (folder / "tree" / "f1").write_bytes(noise(310))
    (folder / "tree" / "f2").unlink()
    return world


def original(machines: Machines) -> Original:
    """Two objects in two points, the second after changes."""
    store = MemoryStore()
    initialize(store, PASSPHRASE, CHEAP)
    with machines.open(store) as repository:
        history = History(repository, COPIED)
        history.backup({"one": {f"f{n}": noise(400 + n) for n in range(3)}, "two": {"x": noise(1)}})
        history.backup({"one": {"f0": noise(410), "f1": None}})
    return Original(store, history.expected)


def import_folder(world: World, repository: Repository) -> None:
    """Import the folder; with the answer its point is owed."""
    point = import_tree(repository, world.folder / "tree", "tree", identity="w").point
    assert point is not None
    files = {path.name: path.read_bytes() for path in (world.folder / "tree").iterdir()}
    world.trees[point.id] = [{".": b"", **files}]


# -- scenarios ----------------------------------------------------------------------------------


def back_up(world: World, repository: Repository) -> None:
    """Two objects, two commits, the first with half of one of them; a point."""
    promises = world.promises
    with repository.write_session("w") as session:
        one, two = (open_files(session, repository, name) for name in ("a", "new"))
        one.write({"f0": noise(1), "f6": None})
        two.write({"n0": noise(2), "n1": FILES["f3"]})
        promises.commit(session, [one, two])
        one.write({"f7": noise(3)}, last=True)
        two.write({"n2": noise(1)}, last=True)
        promises.commit(session, [one, two])
        promises.seal(session, repository, ["a", "b", "new"])


def forget_and_collect(world: World, repository: Repository) -> None:
    """Forget the older point; what it alone needs goes, its sparse packs are copied."""
    world.promises.forget(repository, [world.removed])
    report = world.promises.collect(repository)
    assert report.copied_packs > 0
    assert report.deleted > 0


def hold_and_release(world: World, repository: Repository) -> None:
    """Hold both, release one."""
    promises = world.promises
    for point in sorted(promises.points):
        promises.hold(repository, point)
    promises.release(repository, world.removed)


def rotate_and_back_up(world: World, repository: Repository) -> None:
    """A new epoch, then an entry under it."""
    repository.keyring.rotate()
    with repository.write_session("w") as session:
        world.promises.backup(repository, session, "b", {"y": noise(4)})


def import_again(world: World, repository: Repository) -> None:
    """A changed tree over a point of it."""
    import_folder(world, repository)


def copy_other(world: World, repository: Repository) -> None:
    """A backup copy of another repository, with many commits; then once more, with nothing to do."""
    if world.original.owed is None:
        world.original.owed = set()
    places = Places(world.folder / "original-cache", world.folder / "original-state")
    with open_on(world.original.store, PASSPHRASE, places) as source:
        copied(source, repository, limits=OFTEN)
        world.original.owed |= world.original.points.keys()
        assert copied(source, repository).points == []


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        back_up,
        forget_and_collect,
        hold_and_release,
        rotate_and_back_up,
        import_again,
        copy_other,
    )
}


# -- playing them -------------------------------------------------------------------------------


def check_after(world: World, store: MemoryStore, machines: Machines, late: CrashStore) -> None:
    """Whatever happened: all is there that was acknowledged, the work goes on, and no waste stays."""
    promises = world.promises
    with machines.open(store) as repository:
        if problems := repository.verify("read").problems:
            # a change of keys that was cut off: the ring counts, its second copy comes with the next change
            assert [(p.name[:5], p.name[-2:], p.code) for p in problems] == [
                ("keys/", "-b", "object-missing")
            ]
            repository.keyring.rotate()
        promises.settle(repository)
        promises.check(repository)
        check_copies(world, repository)
        assert {p: trees_of(repository, p) for p in world.trees} == world.trees
        if world.original.owed is not None:
            copy_other(world, repository)
        with repository.write_session("other") as session:
            promises.backup(repository, session, "a", {"after": noise(9), "f0": FILES["f0"]})
        promises.collect(repository)
    with machines.open(store) as repository:
        late.deliver()
        with repository.write_session("w") as session:
            promises.backup(repository, session, "b", {"after": noise(8), "f1": FILES["f1"]})
        promises.collect(repository)
        promises.check(repository)
        check_copies(world, repository)
        assert {p: trees_of(repository, p) for p in world.trees} == world.trees
        require_tidy(repository, store)
        assert repository.verify("read").problems == []


def check_copies(world: World, repository: Repository) -> None:
    """Every copy that is there is whole, and all that are owed are there."""
    found = {p.id: held(repository, p) for p in repository.points() if p.name == COPIED}
    assert found == {point: world.original.points[point] for point in found}
    assert found.keys() >= (world.original.owed or set())


def trees_of(repository: Repository, point: str) -> list[dict[str, bytes]]:
    entries = repository.point(point).entries
    return [contents(repository, repository.entries.get(e.entry)) for e in entries]


def play(
    scenario: Scenario, base: World, machines: Machines, point: CrashPoint | None
) -> list[tuple[str, str]]:
    """Play a scenario with one crash point, and look at what is left; the operations it asked."""
    world = base.copy()
    store = CrashStore(world.store, point)
    try:
        with open_on(store, PASSPHRASE, machines.places()) as repository:
            scenario(world, repository)
    except (Unavailable, Fenced):  # what a lost answer or a late copy may come to; no other error
        if point is None or point.mode == "doubled":
            raise
    store.dead = True
    if point is None or point.delay < DELAYS[-1]:
        store.deliver()
    asked = list(store.trace)
    check_after(world, world.store, machines, store)
    machines.clear()
    return asked


def crash_points(asked: list[tuple[str, str]], mode: Mode) -> list[CrashPoint]:
    """Where to crash: at changes, where nothing is read only; an answer may be lost anywhere."""
    changes = [n for n, (operation, _) in enumerate(asked) if operation in CHANGES]
    if mode == "lost":
        return [CrashPoint(mode, n) for n in range(len(asked))]
    if mode == "doubled":
        return [CrashPoint(mode, n, delay) for n in changes for delay in DELAYS]
    return [CrashPoint(mode, n) for n in changes]


def play_all(name: str, mode: Mode, tmp_path: Path, machines: Machines, most: int | None) -> None:
    scenario, base = SCENARIOS[name], start(machines, tmp_path)
    asked = play(scenario, base, machines, None)
    rng = random.Random(f"{SEED} {name} {mode}")
    points = crash_points(asked, mode)
    if most is not None and len(points) > most:
        points = sorted(rng.sample(points, most), key=lambda point: point.ordinal)
    print(f"seed {SEED}: {name}, {mode}: {len(points)} crash points of {len(asked)} operations")
    for point in points:
        print(point, asked[point.ordinal])
        play(scenario, base, machines, point)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_crash_points(name: str, mode: Mode, tmp_path: Path, machines: Machines) -> None:
    """A sample of the crash points of each scenario; before a change is mostly as after the one before it."""
    play_all(name, mode, tmp_path, machines, SAMPLE[mode])


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_crash_point(name: str, mode: Mode, tmp_path: Path, machines: Machines) -> None:
    """All of them."""
    play_all(name, mode, tmp_path, machines, None)
