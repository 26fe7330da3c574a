"""
Whole histories against plain dictionaries.

Two machines back up files to a few objects, make restore points, forget, hold, collect while the other one writes, crash at
any operation of the store, meet flipped bytes and repair them. After every step both are owed what they were told; at the
end a collection leaves exactly what is needed. Hypothesis chooses the steps; a failing history is shortened and printed.
STRONGROOM_HISTORIES=N plays N of them, each other ones at every run; the long lane plays many. Both print a seed, which
STRONGROOM_HISTORIES_SEED plays again.
"""

import contextlib
import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine.errors import BackupError, Fenced, Unavailable
from repository import Places, Repository
from repository import repository as opening
from repository.blobstore.memory import MemoryStore
from repository.layout import MANIFESTS, PACKS, POINTS, RUNS
from repository.repair import verify_and_repair
from repository.session import WriteSession
from tests.fixtures.crash import MODES, CrashPoint, CrashStore, Mode
from tests.fixtures.crash_promises import (
    AT_ONCE,
    TO_THE_LAST_BYTE,
    OpenFiles,
    Promises,
    needed_ids,
    open_files,
    require_tidy,
)
from tests.fixtures.repositories import CHEAP, PASSPHRASE

STEPS = 50  # of one history
HISTORIES = int(os.environ.get("STRONGROOM_HISTORIES", "0"))
SEED = int(os.environ.get("STRONGROOM_HISTORIES_SEED", "0"))
STEPS_MIN = 2500  # that the histories of every run have together
OBJECTS = ("a", "b")
WRITERS = st.sampled_from(("left", "right"))
OPERATIONS_MAX = 120  # until an armed crash point comes
PLACES_MAX = 200  # of a collection

# few names and few contents, so that chunks are shared, removed and stored again
CHANGES = st.dictionaries(
    st.sampled_from(["f", "g", "h"]), st.one_of(st.none(), st.integers(0, 7)), min_size=1, max_size=3
)  # fmt: skip


def content(number: int) -> bytes:
    """One of eight: mostly of one chunk, some of several, one empty."""
    size = (0, 700, 700, 5_000, 5_000, 20_000, 60_000, 200_000)[number]
    return random.Random(number).randbytes(size)


@dataclass
class Machine:
    """One of the two: its folders, its open repository and session, and what it has begun."""

    name: str
    places: Places
    store: CrashStore
    repository: Repository | None = None
    session: WriteSession | None = None
    work: dict[str, OpenFiles] = field(default_factory=dict)
    may_be_refused: bool = False  # somebody collected since its turn began

    def drop(self) -> None:
        """The process is gone, or gives up its session."""
        session, repository = self.session, self.repository
        self.session, self.repository, self.work = None, None, {}
        with contextlib.suppress(BackupError):
            if session is not None:
                session.close()
        if repository is not None:
            repository.close()


class Histories(RuleBasedStateMachine):
    """See the module head. `played`: steps of all of them."""

    played = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="histories-"))
        self.store = MemoryStore()
        self.promises = Promises()
        self.armed: CrashPoint | None = None
        self.machines: dict[str, Machine] = {}
        self.watcher: Repository | None = None

    @initialize()
    def begin(self) -> None:
        """An empty repository with parity, and two machines."""
        opening.initialize(self.store, PASSPHRASE, CHEAP, padding="none", parity="on")
        for name in ("left", "right"):
            home = self.folder / name
            places = Places(home / "cache", home / "state")
            self.machines[name] = Machine(name, places, CrashStore(self.store))
        places = Places(self.folder / "watcher" / "cache", self.folder / "watcher" / "state")
        self.watcher = opening.open_on(self.store, PASSPHRASE, places)

    # -- how anything is done ----------------------------------------------------------------------

    def do(self, name: str, action: Callable[[Machine, Repository], object]) -> None:
        """
        Let a machine do something, with the armed crash point if there is one.

        It ends well; or the machine crashes, loses an answer or is refused, gives up, and looks what came of it.
        """
        machine = self.machines[name]
        if machine.repository is None:
            machine.store = CrashStore(self.store)
            machine.repository = opening.open_on(machine.store, PASSPHRASE, machine.places)
        if self.armed is not None:
            machine.store.arm()
            machine.store.schedule(self.armed)
        try:
            action(machine, machine.repository)
        except Fenced as error:
            if self.armed is None and not (machine.may_be_refused and error.code == "turn-revoked"):
                raise
            self.give_up(machine)
        except Unavailable:
            if self.armed is None:
                raise
            self.give_up(machine)
        if machine.store.dead:
            self.give_up(machine)
        if self.armed is not None:
            machine.store.schedule(None)
            machine.store.deliver()
            self.armed = None

    def give_up(self, machine: Machine) -> None:
        machine.drop()
        self.look(self.promises.settle)

    def look(self, at: Callable[[Repository], object]) -> None:
        """A third machine that has seen nothing."""
        home = Path(tempfile.mkdtemp(dir=self.folder))
        with opening.open_on(self.store, PASSPHRASE, Places(home / "c", home / "s")) as repository:
            at(repository)
        shutil.rmtree(home)

    def session(self, machine: Machine, repository: Repository) -> WriteSession:
        if machine.session is None:
            machine.may_be_refused = False
            machine.session = repository.write_session(machine.name)
        return machine.session

    # -- writing -----------------------------------------------------------------------------------

    @rule(name=WRITERS, key=st.sampled_from(OBJECTS), changes=CHANGES, last=st.booleans())
    def write(self, name: str, key: str, changes: dict[str, int | None], *, last: bool) -> None:
        """Rows for an object, stored and not committed."""

        def action(machine: Machine, repository: Repository) -> None:
            session = self.session(machine, repository)
            work = machine.work.get(key)
            if work is None:
                work = machine.work[key] = open_files(session, repository, key)
            if not work.slice.finished:
                known = {n: None if c is None else content(c) for n, c in changes.items()}
                work.write(known, last=last)

        self.do(name, action)

    @rule(name=WRITERS)
    def commit(self, name: str) -> None:
        """What was begun is committed, finished or not."""

        def action(machine: Machine, repository: Repository) -> None:
            if machine.session is not None:
                if self.promises.commit(machine.session, machine.work.values()):
                    machine.may_be_refused = False
                machine.work = {n: w for n, w in machine.work.items() if not w.slice.finished}

        self.do(name, action)

    @rule(name=WRITERS, key=st.sampled_from(OBJECTS), changes=CHANGES)
    def back_up(self, name: str, key: str, changes: dict[str, int | None]) -> None:
        """Write, commit, restore point: the whole of a small job."""
        self.write(name, key, changes, last=True)
        self.commit(name)
        self.seal(name)

    @rule(name=WRITERS)
    def seal(self, name: str) -> None:
        """A restore point of the newest complete entries."""

        def action(machine: Machine, repository: Repository) -> None:
            session = self.session(machine, repository)
            repository.refresh()
            self.promises.seal(session, repository, OBJECTS)
            machine.may_be_refused = False

        self.do(name, action)

    @rule(name=WRITERS)
    def rest(self, name: str) -> None:
        """End the session; what was not committed is given up."""

        def action(machine: Machine, repository: Repository) -> None:
            session, machine.session, machine.work = machine.session, None, {}
            if session is not None:
                session.close()

        self.do(name, action)

    @rule(name=WRITERS)
    def restart(self, name: str) -> None:
        """A process that is killed between two operations."""
        machine = self.machines[name]
        machine.store.dead = True
        machine.drop()

    # -- what goes ---------------------------------------------------------------------------------

    def some_point(self, number: int, *, held: bool | None = None) -> str | None:
        promises = self.promises
        points = sorted(promises.points.keys() - promises.forgotten)
        if held is not None:
            points = [point for point in points if (point in promises.held) == held]
        return points[number % len(points)] if points else None

    @rule(name=WRITERS, kept=st.integers(0, 2))
    def forget(self, name: str, kept: int) -> None:
        """Ask all points to go but some, and those that are held."""
        promises = self.promises
        points = sorted(promises.points.keys() - promises.forgotten - promises.held)[kept:]
        if points:
            self.do(name, lambda machine, repository: promises.forget(repository, points))

    @rule(name=WRITERS, number=st.integers(0, 20))
    def hold(self, name: str, number: int) -> None:
        """Hold a point."""
        point = self.some_point(number)
        if point is not None:
            self.do(name, lambda machine, repository: self.promises.hold(repository, point))

    @rule(name=WRITERS, number=st.integers(0, 20))
    def release(self, name: str, number: int) -> None:
        """End a hold."""
        point = self.some_point(number, held=True)
        if point is not None:
            self.do(name, lambda machine, repository: self.promises.release(repository, point))

    @rule(name=WRITERS, thorough=st.booleans())
    def collect(self, name: str, *, thorough: bool) -> None:
        """Collect without waiting: whoever has a turn open is refused."""
        limits = TO_THE_LAST_BYTE if thorough else AT_ONCE
        for machine in self.machines.values():
            machine.may_be_refused = True
        self.do(name, lambda machine, repository: self.promises.collect(repository, limits))

    @precondition(lambda self: self.armed is None)
    @rule(
        name=WRITERS,
        key=st.sampled_from(OBJECTS),
        changes=CHANGES,
        place=st.integers(0, PLACES_MAX),
    )
    def collect_meanwhile(
        self, name: str, key: str, changes: dict[str, int | None], place: int
    ) -> None:
        """One collects; at one of its operations the other one does a whole backup."""
        other = "right" if name == "left" else "left"
        asked = itertools.count()

        def meanwhile(operation: str, blob: str) -> None:
            if next(asked) == place:
                self.back_up(other, key, changes)

        def action(machine: Machine, repository: Repository) -> None:
            machine.store.on_operation = meanwhile
            try:
                self.promises.collect(repository, AT_ONCE)
            finally:
                machine.store.on_operation = lambda operation, blob: None

        for machine in self.machines.values():
            machine.may_be_refused = True
        self.do(name, action)
        for machine in self.machines.values():
            machine.may_be_refused = True

    # -- what goes wrong ---------------------------------------------------------------------------

    @precondition(lambda self: self.armed is None)
    @rule(
        mode=st.sampled_from(MODES),
        ordinal=st.integers(0, OPERATIONS_MAX),
        delay=st.sampled_from((0, 2, 20)),
    )
    def arm(self, mode: Mode, ordinal: int, delay: int) -> None:
        """The next thing that is done meets a crash point, if it asks so many operations."""
        self.armed = CrashPoint(mode, ordinal, delay if mode == "doubled" else 0)

    @rule(number=st.integers(0, 10**6), place=st.integers(0, 10**6))
    def flip(self, number: int, place: int) -> None:
        """A byte goes bad; parity puts it back."""
        names = sorted(
            n for n in self.store.objects if n.startswith((PACKS, RUNS, MANIFESTS, POINTS))
        )
        if not names:
            return
        name = names[number % len(names)]
        sound = self.store.objects[name]
        at = place % len(sound)
        self.store.objects[name] = sound[:at] + bytes([sound[at] ^ 0x40]) + sound[at + 1 :]
        home = Path(tempfile.mkdtemp(dir=self.folder))
        places = Places(home / "c", home / "s")
        _, found = verify_and_repair(self.store, PASSPHRASE, places, "scrub")
        assert found is not None
        assert found.problems == []
        assert self.store.objects[name] == sound
        shutil.rmtree(home)

    @rule()
    def verify(self) -> None:
        """Nothing is wrong with it, and all that is owed is there."""

        def whole(repository: Repository) -> None:
            assert repository.verify("read").problems == []
            self.promises.check(repository)

        self.look(whole)

    # -- always ------------------------------------------------------------------------------------

    @invariant()
    def owed(self) -> None:
        """Who watches all the time finds everything."""
        Histories.played += 1
        if self.watcher is not None:
            self.watcher.refresh()
            self.promises.check(self.watcher)

    def teardown(self) -> None:
        """With nobody writing, a collection leaves exactly what is needed."""
        try:
            if self.watcher is not None:
                self.watcher.close()
                for machine in self.machines.values():
                    machine.drop()
                self.look(self.last_collection)
        finally:
            shutil.rmtree(self.folder)

    def last_collection(self, repository: Repository) -> None:
        self.promises.settle(repository)
        self.promises.collect(repository, TO_THE_LAST_BYTE)
        self.promises.check(repository)
        require_tidy(repository, self.store)
        assert repository.index.count() == len(needed_ids(repository))
        assert repository.verify("read").problems == []


def play(monkeypatch: pytest.MonkeyPatch, count: int, *, again: bool) -> int:
    """Number of steps. `again`: the same histories at every run; else by a seed that is printed."""
    monkeypatch.setattr("repository.compaction.FRAME_SHARE_MIN", 1.0)  # no chunk comes along
    chosen = None if again else SEED or random.SystemRandom().getrandbits(32)
    if chosen is not None:
        print(f"histories: STRONGROOM_HISTORIES={count} STRONGROOM_HISTORIES_SEED={chosen}")
    monkeypatch.setattr(Histories, "_hypothesis_internal_use_seed", chosen, raising=False)
    monkeypatch.setattr(Histories, "played", 0)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Histories,
        settings=settings(
            max_examples=count,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=again,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return Histories.played


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of steps, the same at every run."""
    steps = play(monkeypatch, HISTORIES or 70, again=not HISTORIES)
    assert HISTORIES or steps >= STEPS_MIN, steps


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many, others at every run; Hypothesis prints how to play a failing one again."""
    play(monkeypatch, HISTORIES or 800, again=False)
