"""
Power failures on the local disk: whatever a file system may keep of what was not synced, nothing that was promised is missing.

Every prefix of the file operations, with none, each, all but one, all and some random ones of the unsynced ones lost, is
made into a folder (`tests.fixtures.crash_disk`), opened by another machine, checked, written to and collected.
"""

import os
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.errors import BackupError
from repository import Places
from repository.blobstore import local
from repository.blobstore.local import LocalStore
from repository.repository import initialize, open_on
from tests.fixtures.crash_disk import DiskTrace, Promised, read_files, write_files
from tests.fixtures.crash_promises import AT_ONCE, Promises
from tests.fixtures.repositories import CHEAP, PASSPHRASE
from tests.unit.repository.test_crash_points import SEED, Machines, machines, noise

__all__ = ["machines"]
RANDOM_STATES = 2  # for each crash point

Files = dict[str, bytes]
Scenario = Callable[[LocalStore, Places, Promises], None]


def found_and_back_up(store: LocalStore, places: Places, promises: Promises) -> None:
    """A new repository; its first commit and point."""
    initialize(store, PASSPHRASE, CHEAP, parity="off")
    promises.note()
    with open_on(store, PASSPHRASE, places) as repository, repository.write_session("w") as session:
        promises.backup(repository, session, "a", {"f": noise(1), "g": noise(2)})
        promises.seal(session, repository, ["a"])


def change_and_collect(store: LocalStore, places: Places, promises: Promises) -> None:
    """A change of the keys, a commit, a point; the older point is forgotten, a collection takes what it needed."""
    with open_on(store, PASSPHRASE, places) as repository:
        repository.keyring.rotate()
        with repository.write_session("w") as session:
            older = min(promises.points)
            promises.backup(repository, session, "a", {"f": noise(3), "g": None})
            newer = promises.seal(session, repository, ["a"])
        promises.hold(repository, newer)
        promises.forget(repository, [older])
        promises.collect(repository)


SCENARIOS: dict[str, tuple[Scenario, ...]] = {
    "found_and_back_up": (found_and_back_up,),
    "change_and_collect": (found_and_back_up, change_and_collect),
}


def traced(name: str, folder: Path, machines: Machines) -> tuple[DiskTrace, Files]:
    """Play the last scenario of a line under the recorder; the trace, and the files that it began with."""
    root = folder / "traced"
    promises = Promises()
    *before, last = SCENARIOS[name]
    store = LocalStore.create(root)
    for scenario in before:
        scenario(store, machines.places(), promises)
    start = read_files(root)
    trace = DiskTrace(root)
    promises.note = lambda: trace.acknowledge(promises.copy())
    if before:
        promises.note()
    with pytest.MonkeyPatch.context() as monkeypatch:
        trace.install(monkeypatch)
        last(store, machines.places(), promises)
    trace.acknowledge(promises.copy())
    return trace, start


def crash_states(trace: DiskTrace, start: Files) -> Iterator[tuple[str, Files, Promises | None]]:
    """Distinct states with what was promised by then; None: not even the repository."""
    seen = set()
    for crash in range(1 if start else 0, len(trace.steps) + 1):
        rng = random.Random(f"{SEED} {crash}")
        unsure = trace.unsure(crash)
        losses = [frozenset[int](), frozenset(unsure)]
        losses += [frozenset([one]) for one in unsure]
        losses += [frozenset(unsure) - {one} for one in unsure]
        losses += [frozenset(n for n in unsure if rng.random() < 0.5) for _ in range(RANDOM_STATES)]
        promised = trace.promised(crash)
        for lost in losses:
            files = trace.left(crash, lost, start, rng)
            state = (len(promised), frozenset(files.items()))
            if state not in seen:
                seen.add(state)
                yield f"{crash} without {sorted(lost)}", files, promised[-1] if promised else None


def check_state(root: Path, machines: Machines, files: Files, owed: Promises | None) -> None:
    """Open what is left; everything promised is there, and the work goes on."""
    write_files(root, files)
    if owed is None and "config" not in files:
        return
    promises = Promises() if owed is None else owed.copy()
    with machines.open(LocalStore(root)) as repository:
        problems = [p for p in repository.verify("read").problems if not p.name.endswith("-b")]
        assert problems == []
        promises.settle(repository)
        promises.check(repository)
        with repository.write_session("w") as session:
            promises.backup(repository, session, "a", {"after": noise(9)})
        repository.collect(limits=AT_ONCE)
        promises.check(repository)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_power_failures(name: str, tmp_path: Path, machines: Machines) -> None:
    """Each distinct state that may be left."""
    trace, start = traced(name, tmp_path, machines)
    states = list(crash_states(trace, start))
    print(f"seed {SEED}: {len(states)} states of {len(trace.steps)} steps")
    assert len(states) > 20
    for number, (label, files, owed) in enumerate(states):
        print(label)
        check_state(tmp_path / str(number), machines, files, owed)
        machines.clear()


@pytest.mark.slow
def test_a_store_that_does_not_sync_is_noticed(
    tmp_path: Path, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check has teeth: without syncs of folders promised things are missing in some state."""
    monkeypatch.setattr("repository.blobstore.local._sync_folder", lambda folder: None)
    trace, start = traced("found_and_back_up", tmp_path, machines)
    worst = trace.left(
        len(trace.steps), frozenset(trace.unsure(len(trace.steps))), start, random.Random(1)
    )
    assert any(isinstance(step, Promised) for step in trace.steps)
    assert "config" not in worst


class CarelessSystem:
    """The module `os` with an fsync that leaves files out."""

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)


@pytest.mark.slow
def test_a_store_that_does_not_sync_files_is_noticed(
    tmp_path: Path, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without syncs of files every name may be there, and what was promised does not read."""
    monkeypatch.setattr(local, "os", CarelessSystem())
    trace, start = traced("found_and_back_up", tmp_path, machines)
    end = len(trace.steps)
    left = trace.left(end, frozenset(), start, random.Random(1))
    whole = read_files(tmp_path / "traced")
    assert {path for path in whole if whole[path]} <= left.keys()
    with pytest.raises((BackupError, AssertionError)):
        check_state(tmp_path / "left", machines, left, trace.promised(end)[-1])
    check_state(tmp_path / "whole", machines, whole, trace.promised(end)[-1])
