"""
Scrub: stored bytes against the names that hash them, key rings against their checksums, other sealed objects against their
parity. Needs no key, only the store.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from blake3 import blake3

from engine.parity import unprotected
from repository import ambient
from repository.blobstore.ahead import ahead
from repository.blobstore.protocol import BlobInfo, BlobStore
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
from repository.ledger import Ledger, Rolling

BY_PARITY = (POINTS, CELLS, GENERATIONS, FORGETS)  # objects whose names say nothing of their bytes
PIECE_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class ScrubReport:
    """
    Objects looked at, bytes read, names of objects whose bytes are not what they were.

    Attributes:
        oldest: the earliest time (RFC 3339) at which a pack was last found sound; empty if one never was.
    """

    objects: int = 0
    bytes_read: int = 0
    packs: int = 0
    packs_looked_into: int = 0
    oldest: str | None = None
    damaged: list[str] = field(default_factory=list)


def is_named_by_hash(name: str) -> bool:
    """Whether an object's name is the BLAKE3 of its bytes."""
    return name.startswith((PACKS, RUNS, MANIFESTS))


def is_sound(name: str, stored: bytes) -> bool:
    """Whether these are the bytes that were stored under a name (no key ring), as far as can be told without a key."""
    if is_named_by_hash(name):
        return blake3(stored).hexdigest() == name.rpartition("/")[2]
    return unprotected(stored) is not None


def intact(store: BlobStore, blob: BlobInfo) -> bool:
    """Whether an object that is named by hash still has the bytes of its name."""
    found = blake3()
    for offset in range(0, blob.size, PIECE_BYTES):
        found.update(store.get_range(blob.name, offset, PIECE_BYTES))
    return found.hexdigest() == blob.name.rpartition("/")[2]


def scrub(
    store: BlobStore,
    progress: Callable[[int, int], None] | None = None,
    ledger: Ledger | None = None,
    rolling: Rolling | None = None,
) -> ScrubReport:
    """
    Read every object that can be checked; `progress` gets objects done and in all.

    Args:
        ledger: takes in when which pack was looked at. rolling: of packs those alone whose turn it is, by the ledger.
    """
    listed = list(store.list(""))
    blobs = [blob for blob in listed if is_named_by_hash(blob.name)]
    rings = [blob.name for blob in listed if blob.name.startswith(KEYS)]
    sealed = [blob.name for blob in listed if blob.name.startswith(BY_PARITY)]
    packs = {blob.name: blob.size for blob in blobs if blob.name.startswith(PACKS)}
    others = len(rings) + len(sealed)
    report = ScrubReport(objects=others, packs=len(packs), packs_looked_into=len(packs))
    report.damaged += [name for name, _ in ring_problems(store, rings)]
    for name, take in ahead(store, store.get, sealed):
        report.damaged += [] if is_sound(name, take()) else [name]
    if ledger is not None and rolling is not None:
        due = set(ledger.due(packs, "scrub", rolling, ambient.now()))
        blobs = [blob for blob in blobs if blob.name in due or blob.name not in packs]
        report.packs_looked_into = len(due)

    for blob, look in ahead(store, lambda blob: intact(store, blob), blobs):
        if not look():
            report.damaged.append(blob.name)
        report.objects += 1
        report.bytes_read += blob.size
        if progress is not None:
            progress(report.objects, others + len(blobs))
    if ledger is not None:
        sound = {b.name for b in blobs if b.name in packs}.difference(report.damaged)
        ledger.note(sound, report.damaged, "scrub", ambient.now())
        report.oldest = ledger.oldest(packs, "scrub")
        with contextlib.suppress(OSError):  # advice alone
            ledger.keep(packs)
    return report
