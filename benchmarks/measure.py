"""One command as a whole process: wall, processor, memory."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.datasets import PIECE_BYTES, sorted_files

POLL_S = 0.01
CHILDREN_EVERY = 10  # polls between two looks for new child processes


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one step.

    `peak_mb`: memory that the processes hold themselves (anonymous and shared; files on tmpfs that they map count
    as shared), polled; `file_mb`: pages of files that they map, polled; `rss_max_mb`: what wait4 says, all together.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    file_mb: float
    rss_max_mb: float

    def __add__(self, other: "Figures") -> "Figures":
        """A step of two commands, one after the other."""
        return Figures(
            self.wall_s + other.wall_s,
            self.cpu_s + other.cpu_s,
            max(self.peak_mb, other.peak_mb),
            max(self.file_mb, other.file_mb),
            max(self.rss_max_mb, other.rss_max_mb),
        )


@dataclass(slots=True)
class _Memory:
    """Follows a process and its children until told to stop."""

    pid: int
    own_kb: int = 0
    file_kb: int = 0
    _done: threading.Event = field(default_factory=threading.Event)

    def follow(self) -> None:
        pids = [self.pid]
        polls = 0
        while not self._done.wait(POLL_S):
            if polls % CHILDREN_EVERY == 0:
                pids = _with_children(self.pid)
            polls += 1
            sums = [_resident_kb(pid) for pid in pids]
            self.own_kb = max(self.own_kb, sum(own for own, _ in sums))
            self.file_kb = max(self.file_kb, sum(mapped for _, mapped in sums))

    def stop(self) -> None:
        self._done.set()


def _resident_kb(pid: int) -> tuple[int, int]:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = dict(line.split(b":", 1) for line in file.read().splitlines() if b":" in line)
    except OSError:
        return 0, 0
    own, shared, mapped = (
        int(lines.get(key, b"0 kB").split()[0]) for key in (b"RssAnon", b"RssShmem", b"RssFile")
    )
    return own + shared, mapped


def _with_children(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            tasks = os.listdir(f"/proc/{parent}/task")
            for task in tasks:
                children = Path(f"/proc/{parent}/task/{task}/children").read_text().split()
                found += map(int, children)
        except OSError:
            continue
    return found


def measured(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Figures:
    """Run a command in `folder` to its end. RuntimeError with its last words if it fails."""
    # as on a user's machine: the first step (init) leaves the byte code that the others find
    seen = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as words:
        started = time.monotonic()
        process = subprocess.Popen(
            command, env={**seen, **environment}, cwd=folder, stdout=words, stderr=words
        )
        memory = _Memory(process.pid)
        follower = threading.Thread(target=memory.follow)
        follower.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        memory.stop()
        follower.join()
        if process.returncode:
            words.seek(0)
            last = words.read().decode(errors="replace").strip()[-600:]
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {last}")
    cpu = usage.ru_utime + usage.ru_stime
    return Figures(
        wall, cpu, memory.own_kb * 1024e-6, memory.file_kb * 1024e-6, usage.ru_maxrss * 1024e-6
    )


def in_memory(folder: Path) -> bool:
    """Whether a folder lies on tmpfs: nothing there must be read to be in memory."""
    return file_system(folder) in ("tmpfs", "ramfs")


def file_system(folder: Path) -> str:
    """The type of the file system that a folder lies on; empty if /proc does not tell."""
    found = ("", "")
    try:
        for line in Path("/proc/mounts").read_text().splitlines():
            point, kind = line.split()[1:3]
            if folder.resolve().is_relative_to(point) and len(point) >= len(found[0]):
                found = (point, kind)
    except OSError:
        pass
    return found[1]


def warm(folder: Path) -> None:
    """Read every file once, so that the next step finds it in the page cache."""
    if not in_memory(folder):
        for path in sorted_files(folder):
            with path.open("rb", buffering=0) as file:
                while file.read(PIECE_BYTES):
                    pass


def touch_memory(scratch: Path, size: int) -> None:
    """Write and delete `size` bytes: a virtual machine's memory is slow at its first touch, whoever comes first."""
    with tempfile.TemporaryFile(dir=scratch) as file:
        piece = bytes(PIECE_BYTES)
        for _ in range(size // PIECE_BYTES):
            file.write(piece)
