"""
What damage leaves: whether chunks can be read all the same, or come back with a repair, or are lost.

A damaged pack is judged frame by frame, by the places that the index names, whatever became of its directory. What does not
open comes back if the parity of the pack makes good the whole of it, and what no run names if the directory of a stored
pack lists it. Sound packs are not touched.
"""

from collections.abc import Collection
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from cext import runs
from engine.errors import BackupError
from engine.ids import CHUNK_ID_BYTES, ObjectId
from engine.seal import ObjectClass
from repository.index import NOT_FOUND, Found, FramePlace
from repository.layout import PACKS, pack_name
from repository.mending import Mender, RepairReport
from repository.packcheck import PackCheck

if TYPE_CHECKING:
    from repository.repository import Repository

OPEN_FRAMES_MAX = 65536  # whose fate is kept


class Fate(IntEnum):
    """Of chunks, from best to worst. What is repairable cannot be read now."""

    WHOLE = 0
    REPAIRABLE = 1
    LOST = 2


class Remains:
    """
    Looks at one repository as it is now.

    Args:
        stored: names of all objects. dead packs among them help nobody.
    """

    def __init__(self, repository: "Repository", stored: "frozenset[str]") -> None:
        self._repository = repository
        self._stored = stored - set(repository.state.generation.dead)
        self._mender = Mender(repository.store, (), RepairReport(dry_run=True))
        self._suspects: set[ObjectId] = set()
        self._bad: dict[ObjectId, set[bytes]] = {}  # chunks that are not what their ids say
        self._fates: dict[tuple[ObjectId, int], Fate] = {}
        self._mendable: dict[str, bool] = {}
        self._pack_fates: dict[ObjectId, Fate] = {}
        self._beside: Any = None  # an IdTable
        self.look_beside = bool(repository.lost_runs)  # for chunks that no run names
        self.lossy: set[str] = (
            set()
        )  # names of packs of which something that was asked for cannot be read

    @property
    def is_whole(self) -> bool:
        """Whether no damage is known: then whatever the index names can be read."""
        return not self._suspects and not self._repository.lost_runs

    def suspect(self, pack: ObjectId, bad: bytes = b"") -> None:
        """Take note of a damaged or missing pack; `bad`: ids of chunks that were found damaged in it, joined."""
        self._suspects.add(pack)
        held = self._bad.setdefault(pack, set())
        held.update(bad[at : at + CHUNK_ID_BYTES] for at in range(0, len(bad), CHUNK_ID_BYTES))

    def mendable(self, name: str) -> bool:
        """Whether a stored object that is damaged comes back by a repair with nothing but this repository."""
        if name not in self._mendable:
            mended = name in self._stored and self._mender.mend(name)
            self._mendable[name] = mended and self._mender.report.repaired[-1:] != []
            self._mender.report.repaired.clear()
        return self._mendable[name]

    def absent(self, ids: bytes) -> bytes:
        """The first of these ids that no run names, or nothing."""
        for number in self._repository.index.absent(ids, None)[:1]:
            return ids[number * CHUNK_ID_BYTES : (number + 1) * CHUNK_ID_BYTES]
        return b""

    def fate(self, refs: bytes) -> Fate:
        """The worst fate among the chunks of these references."""
        ids = runs.gather_ids(refs)
        found = self._repository.index.find(ids, self._is_good if self._suspects else None)
        handles = set(found.frames)
        worst = Fate.WHOLE
        if NOT_FOUND in handles:
            handles.discard(NOT_FOUND)
            worst = self._unnamed(ids, found)
        if not self._suspects:
            return worst
        places = {handle: found.place(handle) for handle in handles}
        damaged = {h: place for h, place in places.items() if place.pack in self._suspects}
        for place in damaged.values():
            worst = max(worst, self._frame(place))
        for number, handle in enumerate(found.frames if self._bad and damaged else ()):
            if handle in damaged:
                place, at = damaged[handle], number * CHUNK_ID_BYTES
                if ids[at : at + CHUNK_ID_BYTES] in self._bad.get(place.pack, ()):
                    worst = max(worst, self._of_pack(place))
        return worst

    def fate_unopened(self, refs: bytes) -> Fate:
        """The same where no frame can be opened here: whether runs name the chunks."""
        ids = runs.gather_ids(refs)
        found = self._repository.index.find(ids)
        return self._unnamed(ids, found) if NOT_FOUND in set(found.frames) else Fate.WHOLE

    def fate_of_packs(self, packs: Collection[ObjectId]) -> Fate:
        """The worst fate among the known damaged ones of some packs, of which no frame can be opened here."""
        return max(
            (self._of_whole_pack(pack) for pack in self._suspects & set(packs)), default=Fate.WHOLE
        )

    def _of_whole_pack(self, pack: ObjectId) -> Fate:
        if pack not in self._pack_fates:
            classes = (ObjectClass.DATA_PACK, ObjectClass.METADATA_PACK)
            names = {pack_name(one, pack) for one in classes} & self._stored
            self.lossy |= names
            fates = [self._of_stored(name) for name in names]
            self._pack_fates[pack] = max(fates, default=Fate.LOST)
        return self._pack_fates[pack]

    def _of_stored(self, name: str) -> Fate:
        if self.mendable(name):
            return Fate.REPAIRABLE
        return Fate.WHOLE if self._mender.mend(name) else Fate.LOST

    def _is_good(self, object_class: ObjectClass, pack: ObjectId) -> bool:
        """Of a chunk in several packs the one in a good pack counts."""
        return pack not in self._suspects

    def _frame(self, place: FramePlace) -> Fate:
        key = place.pack, place.info.offset
        if key not in self._fates:
            if len(self._fates) >= OPEN_FRAMES_MAX:
                self._fates.clear()
            self._fates[key] = Fate.WHOLE if self._opens(place) else self._of_pack(place)
        return self._fates[key]

    def _opens(self, place: FramePlace) -> bool:
        name = pack_name(place.object_class, place.pack)
        if name not in self._stored:
            return False
        try:
            stored = self._repository.store.get_range(
                name, place.info.offset, place.info.stored_bytes
            )
            self._repository.reader.open(place, memoryview(stored))
        except BackupError:
            return False
        return True

    def _of_pack(self, place: FramePlace) -> Fate:
        """Of what cannot be read in a pack."""
        name = pack_name(place.object_class, place.pack)
        self.lossy.add(name)
        return Fate.REPAIRABLE if self.mendable(name) else Fate.LOST

    def _unnamed(self, ids: bytes, found: Found) -> Fate:
        """Of chunks in no run: a repair, or a salvage, makes runs again from the packs that no other run names."""
        if not self.look_beside:
            return Fate.LOST
        if self._beside is None:
            self._beside = self._listed_beside()
        missing = b"".join(
            ids[number * CHUNK_ID_BYTES : (number + 1) * CHUNK_ID_BYTES]
            for number, handle in enumerate(found.frames)
            if handle == NOT_FOUND
        )
        return Fate.LOST if self._beside.absent(missing) else Fate.REPAIRABLE

    def _listed_beside(self) -> Any:
        """Ids of the chunks in stored packs that no run names, as a repair would find them."""
        repository, table = self._repository, runs.IdTable()
        check = PackCheck(repository.store, repository.keys, repository.uuid)
        named = {pack_name(*key) for key in repository.index.pack_counts()}
        for name in sorted(n for n in self._stored - named if n.startswith(PACKS)):
            directory = check.check(name, 0, scrub=False, decode=False).directory
            frames = check.salvage(name) if directory is None else directory.frames
            table.add(runs.gather_ids(b"".join(frame.refs for frame in frames)))
        return table
