"""
Mending of single objects: what makes one as it was again, and the proof that it is.

In this order: it is read again, made good by its parity, taken from another repository (a copy of this one). The proof is
the name where that is the hash of the bytes, else the parity, and for what comes from elsewhere the seal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from engine.errors import Conflict, Corruption, Denied, NotFound, Unsupported
from engine.keys import KeySet
from engine.pack import TRAILER_BYTES
from engine.parity import repaired
from engine.seal import ObjectClass, open_object
from repository.blobstore.protocol import BlobStore
from repository.keyring import ring_problems
from repository.layout import (
    CELLS,
    FORGETS,
    GENERATIONS,
    KEYS,
    MANIFESTS,
    PACKS,
    POINTS,
    RUNS,
)
from repository.scrub import is_named_by_hash, is_sound

SMALL = (RUNS, MANIFESTS, POINTS, CELLS, GENERATIONS, FORGETS)  # sealed objects of one frame
FOUND_AGAIN, PARITY, COPY = "reading it again", "its parity", "another repository"
TWIN = "its second copy"

Progress = Callable[[int, int], None]  # objects done, in all


@dataclass(frozen=True, slots=True)
class Repaired:
    """An object that is as it was, and what made it so."""

    name: str
    by: str


@dataclass(slots=True)
class RepairReport:
    """
    What a repair did, or would do.

    Attributes:
        runs_lost, runs_made: index runs that were made again from pack directories, and what stands for them.
        marked, unmarked: packs marked as damaged, and those that are sound again.
        lost: names of other objects that nothing brings back.
    """

    dry_run: bool = False
    repaired: list[Repaired] = field(default_factory=list)
    runs_lost: list[str] = field(default_factory=list)
    runs_made: list[str] = field(default_factory=list)
    marked: list[str] = field(default_factory=list)
    unmarked: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether something was, or would be, written."""
        return bool(self.repaired or self.runs_lost or self.marked or self.unmarked)


Opens = Callable[
    [str, bytes], bool
]  # whether what is stored under a name opens there under its seal
_SEALED = {
    POINTS: ObjectClass.POINT,
    GENERATIONS: ObjectClass.GENERATION,
    FORGETS: ObjectClass.FORGET,
}


def opens_with(keys: KeySet, repository: bytes) -> Opens:
    """Proof of the objects whose names say nothing of their bytes, cells apart."""

    def opens(name: str, stored: bytes) -> bool:
        object_class = _SEALED[name.partition("/")[0] + "/"]
        try:
            open_object(keys, object_class, repository, stored, name)
        except (Corruption, Unsupported):
            return False
        return True

    return opens


class Mender:
    """
    Puts single objects back.

    Args:
        opens: proof of what comes from another repository and is not named by its hash; without it nothing of that kind does.
    """

    def __init__(
        self,
        store: BlobStore,
        others: Sequence[BlobStore],
        report: RepairReport,
        opens: Opens = lambda name, stored: False,
    ) -> None:
        self._store = store
        self._others = others
        self._opens = opens
        self.report = report

    def small_objects(self, progress: Progress) -> list[str]:
        """Look at every object but packs and configuration, and put back what is damaged; names of what stays so."""
        names = [b.name for prefix in SMALL for b in self._store.list(prefix)]
        left = []
        for number, name in enumerate(names):
            if not self.mend(name):
                left.append(name)
            progress(number + 1, len(names))
        return left + [name for name in self._bad_rings() if not self._mend_ring(name)]

    def _bad_rings(self) -> list[str]:
        held = [blob.name for blob in self._store.list(KEYS)]
        return [name for name, _ in ring_problems(self._store, held)]

    def _mend_ring(self, name: str) -> bool:
        """A key ring is there twice."""
        twin = name[:-1] + ("b" if name.endswith("a") else "a")
        stored, _ = self._read(twin)
        _, tag = self._read(name)
        if stored is None or twin in self._bad_rings():
            return False
        if not self.report.dry_run and not self._put(name, stored, tag):
            return False
        self.report.repaired.append(Repaired(name, TWIN))
        return True

    def mend(self, name: str) -> bool:
        """Make sure that an object is sound; False if it is not and nothing helps."""
        stored, tag = self._read(name)
        if stored is not None and is_sound(name, stored):
            return True
        again, tag = self._read(name)
        if again is not None and is_sound(name, again):
            self.report.repaired.append(Repaired(name, FOUND_AGAIN))
            return True
        made, by = self._made(name, again)
        if made is None:
            return False
        if not self.report.dry_run and not self._put(name, made, tag):
            now, _ = self._read(name)
            return now is not None and is_sound(name, now)
        self.report.repaired.append(Repaired(name, by))
        return True

    def _put(self, name: str, made: bytes, tag: str | None) -> bool:
        """Put an object back where nobody changed it meanwhile; False if somebody did, or a lock forbids it."""
        try:
            self._store.replace(name, made, tag)
        except (Conflict, Denied):
            return False
        return True

    def _read(self, name: str) -> tuple[bytes | None, str | None]:
        try:
            return self._store.get_tagged(name)
        except NotFound:
            return None, None

    def _made(self, name: str, stored: bytes | None) -> tuple[bytes | None, str]:
        if stored is not None:
            end = TRAILER_BYTES if name.startswith(PACKS) else 0
            proof = partial(is_sound, name) if is_named_by_hash(name) else None
            made = repaired(stored, end, proof)
            if made is not None:
                return made, PARITY
        if name.startswith(CELLS):
            return None, ""  # another repository may have an older one
        for other in self._others:
            try:
                found = other.get(name)
            except NotFound:
                continue
            if is_sound(name, found) and (is_named_by_hash(name) or self._opens(name, found)):
                return found, COPY
        return None, ""
