"""
Verification, from cheap to deep.

listing    everything that the state names is there
directory  and every pack's header, trailer and directory open, and say what the runs say
scrub      and the stored bytes of every object are those its name says (needs no key)
read       and every chunk decodes to its id, every catalog and checkpoint is whole, every part has all its chunks

Nothing is changed. Problems are values: the check goes on and names every affected object.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cext import runs
from engine.catalog import decode_parts
from engine.errors import BackupError, NotFound
from engine.ids import CHUNK_ID_BYTES, ObjectId
from engine.manifest import part_from
from engine.pack import Directory
from engine.parts import Part
from repository.ambient import cores
from repository.blobstore.protocol import BlobInfo
from repository.catalogs import Catalog
from repository.entries import Entry
from repository.index import NOT_FOUND
from repository.keyring import ring_problems
from repository.layout import (
    KEYS,
    MANIFESTS,
    PACKS,
    POINTS,
    RUNS,
    manifest_name,
    pack_name,
    parse_pack_name,
    point_name,
    run_name,
)
from repository.packcheck import PackCheck, PackFindings
from repository.points import Damaged
from repository.scrub import intact

if TYPE_CHECKING:
    from repository.repository import Repository

Level = Literal["listing", "directory", "scrub", "read"]
LEVELS: tuple[Level, ...] = ("listing", "directory", "scrub", "read")
PROBLEMS_MAX = 10_000
ROWS_AT_ONCE = 4096

Progress = Callable[[int, int, int], None]  # packs done, packs in all, bytes read so far


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: the object's name, the error code, a line for people."""

    name: str
    code: str
    detail: str


@dataclass(slots=True)
class VerifyReport:
    """What was looked at and what was found."""

    level: Level
    objects: int = 0
    packs: int = 0
    chunks: int = 0
    entries: int = 0
    points: int = 0
    bytes_read: int = 0
    unreferenced: int = 0
    problems: list[Problem] = field(default_factory=list)
    affected: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """No problem found."""
        return not self.problems

    def add(self, name: str, error: BackupError) -> None:
        """Keep a finding; beyond PROBLEMS_MAX only the first ones are kept."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(name, error.code, error.message))


def verify(
    repository: "Repository", level: Level = "directory", progress: Progress | None = None
) -> VerifyReport:
    """Check the repository as its state is now. See the module head."""
    return _Verifier(repository, level, progress or (lambda done, total, read: None)).run()


class _Verifier:
    def __init__(self, repository: "Repository", level: Level, progress: Progress) -> None:
        self._repository = repository
        self._depth = LEVELS.index(level)
        self._progress = progress
        self._report = VerifyReport(level)
        self._bad_chunks: set[bytes] = set()
        self._bad_packs: set[ObjectId] = set()
        self._sizes = {blob.name: blob.size for blob in repository.store.list("")}

    def _reaches(self, level: Level) -> bool:
        return self._depth >= LEVELS.index(level)

    def run(self) -> VerifyReport:
        repository, report = self._repository, self._report
        report.objects = len(self._sizes)
        self._named_objects()
        packs = self._packs()
        if self._reaches("directory"):
            self._look_into(packs)
        if self._reaches("scrub"):
            self._scrub_unnamed(set(packs))
        self._entries()
        self._points()
        report.packs = len(packs)
        report.chunks = repository.index.count()
        return report

    def _named_objects(self) -> None:
        """Keys, runs and manifests that the state names; refresh has opened runs and manifests once already."""
        state = self._repository.state
        names = [run_name(r) for r in state.runs] + [manifest_name(m) for m in state.manifests]
        for name in names:
            if name not in self._sizes:
                self._report.add(name, NotFound("it is named and missing", code="object-missing"))
            elif self._reaches("directory"):
                self._hash(name)
        told = {problem.name for problem in self._report.problems}
        for manifest, error in self._repository.entries.damaged.items():
            if manifest_name(manifest) not in told:
                self._report.add(manifest_name(manifest), error)
        named = {*names}
        self._report.unreferenced = sum(
            1 for n in self._sizes if n.startswith((RUNS, MANIFESTS)) and n not in named
        )
        held = [name for name in self._sizes if name.startswith(KEYS)]
        for name, error in ring_problems(self._repository.store, held):
            self._report.add(name, error)

    def _hash(self, name: str) -> None:
        """Compare an object's bytes with its name."""
        try:
            if not intact(self._repository.store, BlobInfo(name, self._sizes[name]), self._count):
                error = NotFound("its bytes are not those its name says", code="object-corrupt")
                self._report.add(name, error)
        except BackupError as error:
            self._report.add(name, error)

    def _count(self, size: int) -> None:
        self._report.bytes_read += size

    def _packs(self) -> dict[str, int]:
        """Packs that the index names, with the number of chunks it expects in each."""
        counts = self._repository.index.pack_counts()
        packs = {pack_name(*key): count for key, count in counts.items()}
        for name in packs:
            if name not in self._sizes:
                self._report.add(name, NotFound("it is named and missing", code="pack-missing"))
                self._bad_packs.add(parse_pack_name(name)[1])
        held = {name for name in self._sizes if name.startswith(PACKS)}
        self._report.unreferenced += len(held - set(packs))
        return {name: count for name, count in packs.items() if name in held}

    def _look_into(self, packs: dict[str, int]) -> None:
        """Check packs side by side, one on each core."""
        check = PackCheck(self._repository.store, self._repository.keys, self._repository.uuid)
        scrub, decode = self._reaches("scrub"), self._reaches("read")

        def look(name: str) -> PackFindings:
            return check.check(name, self._sizes[name], scrub=scrub, decode=decode)

        with ThreadPoolExecutor(cores(), "verify") as threads:
            for done, findings in enumerate(threads.map(look, sorted(packs))):
                self._judge(findings, packs[findings.name])
                self._progress(done + 1, len(packs), self._report.bytes_read)

    def _judge(self, findings: PackFindings, expected: int) -> None:
        self._report.bytes_read += findings.bytes_read
        for error in findings.errors:
            self._report.add(findings.name, error)
        _, pack = parse_pack_name(findings.name)
        if findings.directory is None:
            self._bad_packs.add(pack)
        elif self._listed(pack, findings.directory) < expected:
            error = NotFound(
                "its directory lacks chunks that the index names", code="directory-corrupt"
            )
            self._report.add(findings.name, error)
            self._bad_packs.add(pack)
        for refs in findings.damaged_refs:
            self._bad_chunks |= _ids(runs.gather_ids(refs))

    def _listed(self, pack: ObjectId, directory: Directory) -> int:
        """How many chunks of a directory the index looks for in this pack."""
        refs = b"".join(frame.refs for frame in directory.frames)
        found = self._repository.index.find(runs.gather_ids(refs))
        handles = set(found.frames) - {NOT_FOUND}
        here = {handle for handle in handles if found.place(handle).pack == pack}
        return sum(handle in here for handle in found.frames)

    def _scrub_unnamed(self, named: set[str]) -> None:
        """Objects nothing names are waste, but damaged waste tells of a failing disk as well."""
        live = {run_name(r) for r in self._repository.state.runs}
        live |= {manifest_name(m) for m in self._repository.state.manifests}
        for name in self._sizes:
            if name.startswith((PACKS, RUNS, MANIFESTS)) and name not in named | live:
                self._hash(name)

    def _entries(self) -> None:
        for entry in self._repository.entries:
            self._report.entries += 1
            broken = self._broken(entry)
            if broken is not None:
                form = entry.form
                label = f"{form.object.name}/{form.workload} of {entry.created_at}"
                self._report.affected.append(f"{label}: {broken}")

    def _broken(self, entry: Entry) -> str | None:
        """Why an entry cannot be read in full, or None."""
        form = entry.form
        parts = [part_from(part.part) for part in form.catalog]
        parts += [part_from(form.checkpoint)] if form.checkpoint is not None else []
        if self._missing(parts):
            return "its catalog is damaged"
        if not self._reaches("read"):
            return None
        try:
            lost = self._lost_rows(self._repository.catalog(entry))
        except BackupError as error:
            self._report.add(manifest_name(entry.ref.manifest), error)
            return "its catalog cannot be read"
        if not lost:
            return None
        names = ", ".join(name.decode(errors="replace") for name in lost[:20])
        return f"{len(lost)} items are damaged: {names}"

    def _lost_rows(self, catalog: Catalog) -> list[bytes]:
        """Names of the rows with a part that lacks a chunk."""
        lost = []
        for table in catalog.live():
            for batch in table.select(["name", "parts"]).to_batches(max_chunksize=ROWS_AT_ONCE):
                names, packed = (column.to_pylist() for column in batch.columns)
                rows = [decode_parts(parts) for parts in packed]
                if self._missing([part for parts in rows for part in parts]):
                    lost += [
                        n for n, parts in zip(names, rows, strict=True) if self._missing(parts)
                    ]
        return lost

    def _missing(self, parts: Sequence[Part]) -> bool:
        """Whether a chunk of these parts is lost; a finding if no run has it."""
        ids = runs.gather_ids(b"".join(part.chunks for part in parts))
        found = self._repository.index.find(ids)
        handles = set(found.frames)
        if NOT_FOUND in handles:
            at = found.frames.index(NOT_FOUND) * CHUNK_ID_BYTES
            error = NotFound("a chunk that an entry names is in no run", code="chunk-missing")
            self._report.add(f"chunk {ids[at : at + 8].hex()}", error)
            return True
        if self._bad_packs and any(found.place(h).pack in self._bad_packs for h in handles):
            return True
        return bool(self._bad_chunks) and not self._bad_chunks.isdisjoint(_ids(ids))

    def _points(self) -> None:
        """Restore points open, and their entries are live."""
        repository = self._repository
        damaged: Damaged = {}
        points = repository.read_points(repository.state.points, damaged)
        self._report.points = len(points) + len(damaged)
        for name, point in points.items():
            try:
                for entry in point.entries:
                    repository.entries.get(entry.entry)
            except BackupError as error:
                damaged[point_name(name)] = error
        for name, why in damaged.items():
            self._report.add(name, why)
            self._report.affected.append(f"restore point {name.removeprefix(POINTS)}")
        held = {name for name in self._sizes if name.startswith(POINTS)}
        self._report.unreferenced += len(held - {point_name(p) for p in repository.state.points})


def _ids(joined: bytes) -> set[bytes]:
    """Chunk ids, given joined."""
    return {joined[at : at + CHUNK_ID_BYTES] for at in range(0, len(joined), CHUNK_ID_BYTES)}
