"""
One pack from cheap to deep: its directory, its stored bytes, every chunk in it; in one pass over its bytes.

Findings are values: a damaged frame does not hide the next one.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

from blake3 import blake3

from cext import digest, runs, spans
from engine.errors import BackupError, Corruption, NotFound, ScopeClosed, Unsupported
from engine.frame import open_frame
from engine.keys import KeySet
from engine.pack import (
    TRAILER_BYTES,
    Directory,
    DirectoryFrame,
    directory_position,
    open_directory,
    salvage_frames,
)
from engine.seal import HEADER_BYTES, ObjectClass, decode_header, frame_cipher
from repository.blobstore.protocol import BlobStore
from repository.layout import parse_pack_name

PIECE_BYTES = 4 * 1024 * 1024  # read and decoded at once


@dataclass(slots=True)
class PackFindings:
    """
    What a look at a pack found.

    Attributes:
        directory: None if it cannot be opened. errors: of the pack as a whole and of single frames.
        damaged_refs: references of the chunks in damaged frames.
        closed_frames: how many were not decoded, because the key of their scope is not here.
    """

    name: str
    directory: Directory | None = None
    errors: list[BackupError] = field(default_factory=list)
    damaged_refs: list[bytes] = field(default_factory=list)
    bytes_read: int = 0
    closed_frames: int = 0


class PackCheck:
    """
    Looks at packs of one repository. Thread-safe: each call has its own state.

    Args:
        threads: of a store behind a network: each pack has its next piece under way while one is decoded.
    """

    def __init__(
        self, store: BlobStore, keys: KeySet, repository: bytes, threads: Executor | None = None
    ) -> None:
        self._threads = threads
        self._store = store
        self._keys = keys
        self._repository = repository

    def check(self, name: str, size: int, *, scrub: bool, decode: bool) -> PackFindings:
        """
        Open the directory of a pack, and read the rest.

        Args:
            size: stored bytes, as listed. scrub: compare all bytes with the name. decode: compare all chunks with ids.
        """
        findings = PackFindings(name)
        try:
            findings.directory = self._directory(name, findings)
        except BackupError as error:
            findings.errors.append(error)
        if not scrub and not decode:
            return findings
        try:
            self._read(name, size, findings, decode=decode)
        except BackupError as error:
            findings.errors.append(error)
        return findings

    def salvage(self, name: str) -> tuple[DirectoryFrame, ...]:
        """
        The sound frames that salvage points list, of a pack whose directory does not open; none if its header is damaged.

        Those of a closed scope are taken as they are listed: whoever opens them sees.
        """
        object_class, _ = parse_pack_name(name)
        try:
            stored = memoryview(self._store.get(name))
            header = decode_header(bytes(stored[:HEADER_BYTES]), object_class, self._repository)
            listed = list(salvage_frames(self._keys, header, stored))
        except (Corruption, NotFound, Unsupported):
            return ()
        return tuple(frame for frame in listed if self._is_sound(frame, stored, object_class))

    def _is_sound(
        self, frame: DirectoryFrame, stored: memoryview, object_class: ObjectClass
    ) -> bool:
        start = frame.info.offset
        try:
            self._frame(frame, stored[start : start + frame.info.stored_bytes], object_class)
        except ScopeClosed:
            return True
        except (Corruption, Unsupported):
            return False
        return True

    def _directory(self, name: str, findings: PackFindings) -> Directory:
        object_class, _ = parse_pack_name(name)
        head = self._store.get_range(name, 0, HEADER_BYTES)
        trailer = self._store.get_range(name, -TRAILER_BYTES, TRAILER_BYTES)
        header, offset, size = directory_position(
            self._keys, object_class, self._repository, head, trailer
        )
        sealed = self._store.get_range(name, offset, size)
        findings.bytes_read += len(sealed) + HEADER_BYTES + TRAILER_BYTES
        directory = open_directory(self._keys, header, sealed)
        end = HEADER_BYTES
        for frame in directory.frames:
            if frame.info.offset < end:
                raise Corruption("frames of a pack overlap", code="directory-corrupt")
            end = frame.info.offset + frame.info.stored_bytes
        if end > offset:
            raise Corruption("frames reach into the directory", code="directory-corrupt")
        return directory

    def _read(self, name: str, size: int, findings: PackFindings, *, decode: bool) -> None:
        """All stored bytes once, in order: hashed, and the frames among them decoded."""
        found, at = blake3(), 0
        object_class, pack = parse_pack_name(name)
        frames = findings.directory.frames if decode and findings.directory else ()
        for end, inside, take in self._ahead(name, frames, size):
            piece = memoryview(take())
            if len(piece) != end - at:
                raise Corruption("it is shorter than listed", code="object-corrupt")
            found.update(piece)
            findings.bytes_read += len(piece)
            for frame in inside:
                start = frame.info.offset - at
                stored = piece[start : start + frame.info.stored_bytes]
                try:
                    self._frame(frame, stored, object_class)
                except ScopeClosed:
                    findings.closed_frames += 1
                except BackupError as error:
                    findings.errors.append(error)
                    findings.damaged_refs.append(frame.refs)
            at = end
        if found.hexdigest() != pack:
            findings.errors.append(
                NotFound("its bytes are not those its name says", code="object-corrupt")
            )

    def _ahead(
        self, name: str, frames: tuple[DirectoryFrame, ...], size: int
    ) -> Iterator[tuple[int, list[DirectoryFrame], Callable[[], bytes]]]:
        """The pieces of a pack, with what gives the bytes of each."""
        at, before = 0, None
        for end, inside in _pieces(frames, size):
            get = partial(self._store.get_range, name, at, end - at)
            now = end, inside, get if self._threads is None else self._threads.submit(get).result
            if before is not None:
                yield before
            at, before = end, now
        if before is not None:
            yield before

    def _frame(self, frame: DirectoryFrame, stored: memoryview, object_class: ObjectClass) -> None:
        """Open a frame and compare every chunk with its id. Corruption, ScopeClosed."""
        info = frame.info
        cipher = frame_cipher(self._keys, object_class, info.epoch, info.salt)
        plain = open_frame(cipher, stored, info, self._repository, object_class)
        ids = digest.keyed(plain, spans.of_references(frame.refs), self._keys.id_key_of(info.epoch))
        if ids != runs.gather_ids(frame.refs):
            raise Corruption("a chunk is not what its id says", code="chunk-corrupt")


def _pieces(
    frames: tuple[DirectoryFrame, ...], size: int
) -> Iterator[tuple[int, list[DirectoryFrame]]]:
    """Ends of the pieces that cover `size` bytes, with the frames wholly inside each."""
    start, inside = 0, list[DirectoryFrame]()
    for frame in frames:
        end = frame.info.offset + frame.info.stored_bytes
        if inside and end - start > PIECE_BYTES:
            start = inside[-1].info.offset + inside[-1].info.stored_bytes
            yield start, inside
            inside = []
        inside.append(frame)
    if inside:
        start = inside[-1].info.offset + inside[-1].info.stored_bytes
        yield start, inside
    while start < size:
        start = min(size, start + PIECE_BYTES)
        yield start, []
