"""
Verification, from cheap to deep.

listing    everything that the state names is there
directory  and every pack's header, trailer and directory open, and say what the runs say
scrub      and the stored bytes of every object are those its name says (needs no key)
read       and every chunk decodes to its id, every catalog and checkpoint is whole, every part has all its chunks

Nothing is changed. Problems are values: the check goes on and names every affected object.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from engine.chunker import chunk_id
from engine.errors import BackupError, NotFound
from engine.frame import open_frame
from engine.ids import ChunkId
from engine.keys import check_wrapped
from engine.manifest import part_from
from engine.pack import TRAILER_BYTES, Directory, directory_position, open_directory
from engine.parts import Part
from engine.seal import HEADER_BYTES, frame_cipher
from repository.blobstore.protocol import BlobInfo
from repository.catalogs import Catalog
from repository.entries import Entry
from repository.layout import (
    KEYS,
    MANIFESTS,
    PACKS,
    POINTS,
    RUNS,
    manifest_name,
    pack_name,
    parse_pack_name,
    run_name,
)
from repository.points import read_point
from repository.scrub import intact

if TYPE_CHECKING:
    from repository.repository import Repository

Level = Literal["listing", "directory", "scrub", "read"]
LEVELS: tuple[Level, ...] = ("listing", "directory", "scrub", "read")
PROBLEMS_MAX = 10_000

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
        self._bad_chunks: set[ChunkId] = set()
        self._sizes = {blob.name: blob.size for blob in repository.store.list("")}

    def _reaches(self, level: Level) -> bool:
        return self._depth >= LEVELS.index(level)

    def run(self) -> VerifyReport:
        repository, report = self._repository, self._report
        report.objects = len(self._sizes)
        self._named_objects()
        packs = self._packs()
        if self._reaches("directory"):
            for done, (name, chunks) in enumerate(sorted(packs.items())):
                self._pack(name, chunks)
                self._progress(done + 1, len(packs), report.bytes_read)
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
        for name in self._sizes:
            if name.startswith(KEYS):
                try:
                    check_wrapped(self._repository.store.get(name))
                except BackupError as error:
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

    def _packs(self) -> dict[str, set[ChunkId]]:
        """Packs that the index names, with the chunks it expects in each."""
        packs: dict[str, set[ChunkId]] = {}
        for chunk, location in self._repository.index.locations():
            name = pack_name(location.object_class, location.pack)
            packs.setdefault(name, set()).add(chunk)
        for name in packs:
            if name not in self._sizes:
                self._report.add(name, NotFound("it is named and missing", code="pack-missing"))
                self._bad_chunks |= packs[name]
        held = {name for name in self._sizes if name.startswith(PACKS)}
        self._report.unreferenced += len(held - set(packs))
        return {name: chunks for name, chunks in packs.items() if name in held}

    def _pack(self, name: str, chunks: set[ChunkId]) -> None:
        try:
            directory = self._directory(name)
            listed = {chunk for frame in directory.frames for chunk, _ in frame.chunks}
            if chunks - listed:
                raise NotFound(
                    "its directory lacks chunks that the index names", code="directory-corrupt"
                )
            if self._reaches("scrub"):
                self._hash(name)
            if self._reaches("read"):
                self._frames(name, directory)
        except BackupError as error:
            self._report.add(name, error)
            self._bad_chunks |= chunks

    def _directory(self, name: str) -> Directory:
        repository = self._repository
        object_class, _ = parse_pack_name(name)
        head = repository.store.get_range(name, 0, HEADER_BYTES)
        trailer = repository.store.get_range(name, -TRAILER_BYTES, TRAILER_BYTES)
        header, offset, size = directory_position(
            repository.keys, object_class, repository.uuid, head, trailer
        )
        sealed = repository.store.get_range(name, offset, size)
        self._report.bytes_read += len(sealed) + HEADER_BYTES + TRAILER_BYTES
        return open_directory(repository.keys, header, sealed)

    def _frames(self, name: str, directory: Directory) -> None:
        """Open every frame, hash every chunk; each damaged one is a finding of its own."""
        repository = self._repository
        object_class, _ = parse_pack_name(name)
        for frame in directory.frames:
            info = frame.info
            try:
                stored = repository.store.get_range(name, info.offset, info.stored_bytes)
                self._report.bytes_read += len(stored)
                cipher = frame_cipher(repository.keys, object_class, info.epoch, info.salt)
                plain = open_frame(cipher, stored, info, repository.uuid, object_class)
                at = 0
                for chunk, length in frame.chunks:
                    if chunk_id(plain[at : at + length], repository.keys.id_key) != chunk:
                        raise NotFound("a chunk is not what its id says", code="chunk-corrupt")
                    at += length
            except BackupError as error:
                self._report.add(name, error)
                self._bad_chunks |= {chunk for chunk, _ in frame.chunks}

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
            catalog = Catalog.load(form.catalog, self._repository.reader)
            lost = [row for row in catalog.rows() if self._missing(row.parts)]
        except BackupError as error:
            self._report.add(manifest_name(entry.ref.manifest), error)
            return "its catalog cannot be read"
        if not lost:
            return None
        names = ", ".join(row.name.decode(errors="replace") for row in lost[:20])
        return f"{len(lost)} items are damaged: {names}"

    def _missing(self, parts: Sequence[Part]) -> bool:
        for part in parts:
            for chunk, _ in part.references():
                if chunk in self._bad_chunks:
                    return True
                if self._repository.index.locate(chunk) is None:
                    error = NotFound(
                        "a chunk that an entry names is in no run", code="chunk-missing"
                    )
                    self._report.add(f"chunk {chunk.hex()[:16]}", error)
                    return True
        return False

    def _points(self) -> None:
        """Restore points open, and their entries are live."""
        repository = self._repository
        for name in self._sizes:
            if not name.startswith(POINTS):
                continue
            self._report.points += 1
            try:
                point = read_point(
                    repository.store, repository.keys, repository.id, repository.uuid, name
                )
                for entry in point.entries:
                    repository.entries.get(entry.entry)
            except BackupError as error:
                self._report.add(name, error)
                self._report.affected.append(f"restore point {name.removeprefix(POINTS)}")
