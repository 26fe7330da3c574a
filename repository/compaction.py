"""Copying what is needed out of packs that hold little of it: sealed frames as they are, or their needed chunks."""

from array import array
from collections.abc import Collection, Mapping, Sequence, Set
from typing import TYPE_CHECKING

from cext import spans
from engine.errors import Corruption
from engine.pack import Directory, DirectoryFrame
from engine.parts import REFERENCE_BYTES
from repository.blobstore.ahead import ahead
from repository.index import FramePlace
from repository.layout import parse_pack_name
from repository.marking import Marks
from repository.packcheck import PackCheck
from repository.reader import near_frames

if TYPE_CHECKING:
    from repository.repository import Repository
    from repository.session import WriteSession

FRAME_SHARE_MIN = 0.9  # a frame of which less is needed is taken apart
SMALL_PACK_BYTES = 4 * 1024 * 1024
SMALL_PACKS_MAX = 8  # of a class; more of them are made one


def sparse_packs(
    marks: Marks,
    sizes: Mapping[str, int],
    condemned: Collection[str],
    unused_share_max: float,
) -> list[str]:
    """
    Names of the packs whose needed part is worth copying: much of the rest is not needed, or there are many small ones.

    A pack of which nothing is needed, or that is condemned already, needs no copying.

    Args:
        sizes: of the stored objects, bytes.
    """
    if unused_share_max >= 1:
        return []
    candidates = [n for n in marks.needed_bytes if n in sizes and n not in condemned]
    needed, held = marks.needed_bytes, marks.frame_bytes
    chosen = {n for n in candidates if needed[n] < (1 - unused_share_max) * held[n]}
    for letter in ("d", "m"):
        prefix = f"pack/{letter}/"
        small = [n for n in candidates if n.startswith(prefix) and sizes[n] < SMALL_PACK_BYTES]
        if len(small) > SMALL_PACKS_MAX:
            chosen.update(small)
    return sorted(chosen)


class Compaction:
    """Copies out of the packs of one repository into a write session."""

    def __init__(self, repository: "Repository", session: "WriteSession") -> None:
        self._store = repository.store
        self._reader = repository.reader
        self._check = PackCheck(repository.store, repository.keys, repository.uuid)
        self._session = session
        self._keyring = repository.keyring
        self._keys = repository.keys

    def copy(self, name: str, size: int, needed: Mapping[int, Set[bytes]]) -> None:
        """
        Queue what is needed of a pack.

        Args:
            size: of the pack, bytes. needed: offset of each frame with needed chunks -> their ids.

        Raises: Corruption if the pack is damaged: it is repaired, not copied.
        """
        object_class, pack = parse_pack_name(name)
        frames = {
            frame.info.offset: frame
            for frame in self._directory(name, size).frames
            if needed.get(frame.info.offset)
        }
        if any(map(self._is_closed, frames.values())):
            self._require_intact(name, size)
        places = [FramePlace(pack, object_class, frame.info) for frame in frames.values()]

        def read(near: Sequence[FramePlace]) -> memoryview:
            first, last = near[0].info, near[-1].info
            length = last.offset + last.stored_bytes - first.offset
            return memoryview(self._store.get_range(name, first.offset, length))

        for near, take in ahead(self._store, read, near_frames(places)):
            stored = take()
            for place in near:
                at = place.info.offset - near[0].info.offset
                one = bytes(stored[at : at + place.info.stored_bytes])
                self._copy_frame(frames[place.info.offset], place, one, needed[place.info.offset])

    def _is_closed(self, frame: DirectoryFrame) -> bool:
        scope = self._keys.scope_of(frame.info.epoch)
        return scope is not None and not self._keyring.is_scope_open(scope.id)

    def _require_intact(self, name: str, size: int) -> None:
        """Corruption if the bytes of a pack are not those its name says."""
        for error in self._check.check(name, size, scrub=True, decode=False).errors:
            raise Corruption(f"{name}: {error.message}", code="pack-corrupt")

    def _directory(self, name: str, size: int) -> Directory:
        findings = self._check.check(name, size, scrub=False, decode=False)
        if findings.directory is None:
            raise findings.errors[0]
        return findings.directory

    def _copy_frame(
        self, frame: DirectoryFrame, place: FramePlace, stored: bytes, needed: Set[bytes]
    ) -> None:
        """
        What is damaged must not be spread: the frame is opened, or the hash of its pack was right.

        One of a scope is copied as it is, whatever share of it is needed: its chunks must not come under other keys.
        """
        is_scoped = self._keys.scope_of(frame.info.epoch) is not None
        plain = b"" if self._is_closed(frame) else self._reader.open(place, memoryview(stored))
        if is_scoped:
            self._session.copy_frame(place.object_class, frame, stored)
            return
        refs = [
            frame.refs[at : at + REFERENCE_BYTES]
            for at in range(0, len(frame.refs), REFERENCE_BYTES)
        ]
        places = array("I", (n for n, ref in enumerate(refs) if ref[:32] in needed))
        if len(places) < len(needed):
            raise Corruption(
                f"the directory of pack {place.pack[:16]} lacks chunks", code="directory-corrupt"
            )
        inside = spans.of_references(frame.refs)
        some = spans.select(inside, places)
        share = sum(end - start for start, end in zip(some[::2], some[1::2], strict=True))
        if share >= FRAME_SHARE_MIN * len(plain):
            self._session.copy_frame(place.object_class, frame, stored)
        else:
            self._session.copy_chunks(
                place.object_class, plain, some, spans.take(frame.refs, places)
            )
