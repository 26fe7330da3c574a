"""
Checking a backup copy: every row of the original is in the copy, and its content, read from both, is the same.

What is equal in two restore points of one run is read once.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from engine.catalog import decode_parts
from engine.errors import Corruption, NotFound
from engine.manifest import PointEntry, PointForm
from engine.parts import Part
from repository.ambient import cores
from repository.copying import CopyProblem
from repository.copying_entries import key_of
from repository.copying_parts import WHOLE_BYTES_MAX, contents, row_name, windows_of
from repository.copying_rows import aligned, alike, live_rows, totals_of

if TYPE_CHECKING:
    from repository.repository import Repository

PAIRS_SEEN_MAX = 500_000

Pair = tuple[tuple[Part, ...], tuple[Part, ...]]  # parts of a row in the original and in the copy
CheckProgress = Callable[[int, int, int], None]  # restore points done, in all, bytes compared


@dataclass(slots=True)
class CheckReport:
    """What was compared: restore points, their items, bytes of content read from each side."""

    points: int = 0
    items: int = 0
    bytes: int = 0
    problems: list[CopyProblem] = field(default_factory=list)


def check_copy(
    source: "Repository",
    target: "Repository",
    points: Sequence[str],
    progress: CheckProgress | None = None,
) -> CheckReport:
    """Compare restore points, given by id, with their copies. What differs is named; errors of the stores are raised."""
    source.refresh()
    target.refresh()
    return _Check(source, target, progress or (lambda done, total, size: None)).run(points)


class _Check:
    def __init__(self, source: "Repository", target: "Repository", progress: CheckProgress) -> None:
        self._source = source
        self._target = target
        self._progress = progress
        self._report = CheckReport()
        self._seen: set[bytes] = set()
        self._point = ""
        self._todo = 0

    def run(self, points: Sequence[str]) -> CheckReport:
        originals = {point.id: point for point in self._source.points({})}
        copies = {point.id: point for point in self._target.points({})}
        self._todo = len(points)
        with ThreadPoolExecutor(cores(), "compare") as threads:
            for point in points:
                self._point = point
                if point in originals and point in copies:
                    self._check_point(originals[point], copies[point], threads)
                else:
                    where = "the copy" if point in originals else "the original"
                    self._problem("", "", "", f"{where} has no such restore point")
                self._report.points += 1
                self._show()
        return self._report

    def _show(self) -> None:
        self._progress(self._report.points, self._todo, self._report.bytes)

    def _problem(self, name: str, workload: str, item: str, reason: str) -> None:
        self._report.problems.append(
            CopyProblem(self._point, name, workload, item, code="copy-differs", reason=reason)
        )

    def _check_point(
        self, original: PointForm, copy: PointForm, threads: ThreadPoolExecutor
    ) -> None:
        facts = [(p.name, p.created_at, p.session) for p in (original, copy)]
        if facts[0] != facts[1]:
            self._problem("", "", "", "name, time or session differ")
        copies = {key_of(entry): entry for entry in copy.entries}
        for entry in original.entries:
            there = copies.get(key_of(entry))
            if there is None:
                self._differs(entry, "", "the copy has nothing of it")
                continue
            try:
                self._check_entry(entry, there, threads)
            except (Corruption, NotFound) as error:
                self._differs(entry, "", error.message)

    def _differs(self, entry: PointEntry, item: str, reason: str) -> None:
        self._problem(entry.object.name, entry.workload, item, reason)

    def _check_entry(
        self, original: PointEntry, copy: PointEntry, threads: ThreadPoolExecutor
    ) -> None:
        entries = self._source.named_entry(original.entry), self._target.named_entry(copy.entry)
        if self._source.checkpoint(entries[0]) != self._target.checkpoint(entries[1]):
            self._differs(original, "", "the checkpoint differs")
        from_ns = self._target.state.generation.items_from_ns
        rows = live_rows(self._source.catalog(entries[0]), from_ns)
        held = live_rows(self._target.catalog(entries[1]))
        copies = aligned(rows["id"], held)
        same = alike(rows, copies)
        for number in pc.indices_nonzero(pc.invert(same)).to_pylist():
            there = copies["id"][number].is_valid
            reason = "it differs in the copy" if there else "it is not in the copy"
            self._differs(original, row_name(rows, number), reason)
        more = held.num_rows - pc.sum(pc.is_in(held["id"], rows["id"].combine_chunks())).as_py()
        if held.num_rows and more:
            self._differs(original, "", f"the copy has {more} more rows")
        self._report.items += totals_of(rows).items
        self._compare_contents(original, rows.filter(same), copies.filter(same)["parts"], threads)

    def _compare_contents(
        self,
        entry: PointEntry,
        rows: pa.Table,
        parts: pa.ChunkedArray,
        threads: ThreadPoolExecutor,
    ) -> None:
        fresh = self._fresh(rows["parts"].to_pylist(), parts.to_pylist())
        rows, parts = rows.take(fresh), parts.take(fresh)
        under_way: deque[Future[tuple[int, list[tuple[str, str]]]]] = deque()

        def take(most: int) -> None:
            while len(under_way) > most:
                size, problems = under_way.popleft().result()
                self._report.bytes += size
                for item, reason in problems:
                    self._differs(entry, item, reason)
                self._show()

        for window in windows_of(rows, self._source.reader):
            numbers = pa.array(window, pa.uint64())
            under_way.append(threads.submit(self._window, rows.take(numbers), parts.take(numbers)))
            take(2 * cores())
        take(0)

    def _fresh(self, originals: list[bytes], copies: list[bytes]) -> pa.Array:
        """Numbers of the rows whose contents were not compared in this run."""
        fresh = array("q")
        for number, (original, copy) in enumerate(zip(originals, copies, strict=True)):
            if not original and not copy:
                continue
            pair = blake3(original + copy).digest(16)
            if pair not in self._seen:
                fresh.append(number)
                if len(self._seen) < PAIRS_SEEN_MAX:
                    self._seen.add(pair)
        return pa.array(fresh, pa.int64())

    def _window(self, rows: pa.Table, copies: pa.ChunkedArray) -> tuple[int, list[tuple[str, str]]]:
        """Bytes compared, and names of the rows whose contents differ with the reasons."""
        problems: list[tuple[str, str]] = []
        pairs: dict[int, Pair] = {}
        packed = zip(rows["parts"].to_pylist(), copies.to_pylist(), strict=True)
        for number, (original, copy) in enumerate(packed):
            try:
                pairs[number] = decode_parts(original), decode_parts(copy)
            except Corruption as error:
                problems.append((row_name(rows, number), error.message))
        small = {
            number: pair
            for number, pair in pairs.items()
            if all(part.size <= WHOLE_BYTES_MAX for part in chain(*pair))
        }
        if small and not self._all_equal(small.values()):
            small = {}
        for number, (original_parts, copied_parts) in pairs.items():
            reason = None if number in small else self._reason(original_parts, copied_parts)
            if reason is not None:
                problems.append((row_name(rows, number), reason))
        return sum(p.size for parts, _ in pairs.values() for p in parts), problems

    def _all_equal(self, pairs: Iterable[Pair]) -> bool:
        """Whether contents are equal, all read together; false also if one cannot be read."""
        originals, copies = zip(*pairs, strict=True)
        sides = list(chain(*originals)), list(chain(*copies))
        if [_shape(parts) for parts in originals] != [_shape(parts) for parts in copies]:
            return False
        try:
            there, here = (
                contents(repository.reader, parts)[0]
                for repository, parts in zip((self._source, self._target), sides, strict=True)
            )
        except Corruption:
            return False
        return b"".join(there) == b"".join(here)

    def _reason(self, originals: Sequence[Part], copies: Sequence[Part]) -> str | None:
        """Why one row's contents are not equal, or None."""
        if _shape(originals) != _shape(copies):
            return "it has other parts in the copy"
        for original, copy in zip(originals, copies, strict=True):
            try:
                if _digest(self._source, original) != _digest(self._target, copy):
                    return "its content differs in the copy"
            except Corruption as error:
                return error.message
        return None


def _shape(parts: Sequence[Part]) -> list[tuple[str, int]]:
    return [(part.role, part.size) for part in parts]


def _digest(repository: "Repository", part: Part) -> bytes:
    digest = blake3()
    for piece in repository.read(part):
        digest.update(piece)
    return digest.digest()
