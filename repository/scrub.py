"""Scrub: stored bytes against the names that hash them, key rings against their checksums. Needs no key, only the store."""

from collections.abc import Callable
from dataclasses import dataclass, field

from blake3 import blake3

from repository.blobstore.protocol import BlobInfo, BlobStore
from repository.keyring import ring_problems
from repository.layout import KEYS, MANIFESTS, PACKS, RUNS

PIECE_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class ScrubReport:
    """Objects looked at, bytes read, names of objects whose bytes are not what they were."""

    objects: int = 0
    bytes_read: int = 0
    damaged: list[str] = field(default_factory=list)


def is_named_by_hash(name: str) -> bool:
    """Whether an object's name is the BLAKE3 of its bytes."""
    return name.startswith((PACKS, RUNS, MANIFESTS))


def intact(store: BlobStore, blob: BlobInfo, count: Callable[[int], None]) -> bool:
    """Whether an object that is named by hash still has the bytes of its name."""
    found = blake3()
    for offset in range(0, blob.size, PIECE_BYTES):
        piece = store.get_range(blob.name, offset, PIECE_BYTES)
        count(len(piece))
        found.update(piece)
    return found.hexdigest() == blob.name.rpartition("/")[2]


def scrub(store: BlobStore, progress: Callable[[int, int], None] | None = None) -> ScrubReport:
    """Read every object that is named by hash or has a checksum; `progress` gets objects done and in all."""
    listed = list(store.list(""))
    blobs = [blob for blob in listed if is_named_by_hash(blob.name)]
    rings = [blob.name for blob in listed if blob.name.startswith(KEYS)]
    report = ScrubReport(objects=len(rings))
    report.damaged += [name for name, _ in ring_problems(store, rings)]

    def count(size: int) -> None:
        report.bytes_read += size

    for blob in blobs:
        if not intact(store, blob, count):
            report.damaged.append(blob.name)
        report.objects += 1
        if progress is not None:
            progress(report.objects, len(rings) + len(blobs))
    return report
