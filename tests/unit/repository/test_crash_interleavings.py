"""
Two programs at once, one of them stopped at every operation while the other one does all of its work.

Whoever is refused begins anew, as programs do; then nothing that either was told is done is missing, and no waste stays.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.errors import Fenced
from repository import Repository
from repository.repository import open_on
from tests.fixtures.crash import CrashStore
from tests.fixtures.crash_promises import AT_ONCE, open_files
from tests.fixtures.repositories import PASSPHRASE, contents
from tests.unit.repository.test_crash_points import (
    FILES,
    SEED,
    Machines,
    World,
    check_after,
    machines,
    noise,
    start,
)

__all__ = ["machines"]
SAMPLE = 3  # places of each pair outside the long lane
BEGUN_AGAIN_MAX = 3

Work = Callable[[World, Repository], None]


def begun_again(work: Work) -> Work:
    """As a program does: what was refused is done anew, from the last commit."""

    def repeated(world: World, repository: Repository) -> None:
        for _ in range(BEGUN_AGAIN_MAX):
            try:
                return work(world, repository)
            except Fenced as error:
                assert error.code == "turn-revoked"  # noqa: PT017
                repository.refresh()
                world.promises.settle(repository)
        return work(world, repository)

    return repeated


def back_up_old_content(world: World, repository: Repository, name: str = "c") -> None:
    """Two commits of content that the forgotten point alone has, and a point."""
    promises = world.promises
    with repository.write_session(name) as session:
        work = open_files(session, repository, name)
        work.write({"one": FILES["f1"], "two": FILES["f2"]})
        promises.commit(session, [work])
        work.write({"three": FILES["f3"], "new": noise(5)}, last=True)
        promises.commit(session, [work])
        promises.seal(session, repository, [name, "a"])


def back_up_elsewhere(world: World, repository: Repository) -> None:
    """The same content into another object."""
    back_up_old_content(world, repository, "d")


def collect(world: World, repository: Repository) -> None:
    """Collect; one that others overtake all the time gives up."""
    repository.collect(limits=AT_ONCE)


def forget_and_collect(world: World, repository: Repository) -> None:
    """Forget everything that is not held, and collect."""
    kept = world.promises.held | world.promises.forgotten | set(world.trees)
    world.promises.forget(repository, sorted(world.promises.points.keys() - kept)[:1])
    repository.collect(limits=AT_ONCE)


def hold(world: World, repository: Repository) -> None:
    """Hold the newer point."""
    promises = world.promises
    promises.hold(repository, min(promises.points.keys() - promises.forgotten - {world.removed}))


def restore(world: World, repository: Repository) -> None:
    """Read every head and every tree."""
    for name, held in world.promises.heads.items():
        for ref, files in list(held.items()):
            assert contents(repository, repository.entries.get(ref)) == files, name
    for point, owed in world.trees.items():
        entries = repository.point(point).entries
        assert [contents(repository, repository.entries.get(e.entry)) for e in entries] == owed


@dataclass(frozen=True, slots=True)
class Pair:
    """What is stopped at every operation, and what is done meanwhile."""

    outer: Work
    inner: Work


PAIRS = {
    f"{outer.__name__}-{inner.__name__}": Pair(outer, inner)
    for outer, inner in (
        (collect, back_up_old_content),
        (back_up_old_content, collect),
        (collect, forget_and_collect),
        (back_up_old_content, back_up_elsewhere),
        (back_up_old_content, forget_and_collect),
        (restore, forget_and_collect),
        (collect, hold),
        (hold, collect),
    )
}


def play(pair: Pair, base: World, machines: Machines, place: int | None) -> int:
    """Play a pair with the inner work at one operation of the outer; how many operations that asks."""
    world = base.copy()
    store = CrashStore(world.store)
    asked = False

    def meanwhile(operation: str, name: str) -> None:
        nonlocal asked
        if place is not None and len(store.trace) > place and not asked:
            asked = True
            with machines.open(world.store) as other:
                begun_again(pair.inner)(world, other)

    with open_on(store, PASSPHRASE, machines.places()) as repository:
        store.arm()
        store.on_operation = meanwhile
        begun_again(pair.outer)(world, repository)
        count = len(store.trace)
    assert asked == (place is not None), "the other one did not get its turn"
    store.on_operation = lambda operation, name: None
    check_after(world, world.store, machines, store)
    machines.clear()
    return count


def play_all(name: str, folder: Path, machines: Machines, most: int | None) -> None:
    base, pair = start(machines, folder), PAIRS[name]
    with machines.open(base.store) as repository:
        base.promises.forget(repository, [base.removed])
    count = play(pair, base, machines, None)
    places = list(range(count))
    if most is not None and count > most:
        places = sorted(random.Random(f"{SEED} {name}").sample(places, most))
    print(f"seed {SEED}: {name}: {len(places)} places of {count} operations")
    for place in places:
        print(place)
        play(pair, base, machines, place)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_interleavings(name: str, tmp_path: Path, machines: Machines) -> None:
    """A sample of the operations at which the other one does its work."""
    play_all(name, tmp_path, machines, SAMPLE)


@pytest.mark.long
@pytest.mark.parametrize("name", PAIRS)
def test_every_interleaving(name: str, tmp_path: Path, machines: Machines) -> None:
    """All of them."""
    play_all(name, tmp_path, machines, None)
