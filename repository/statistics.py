"""Sizes of a repository, and what deduplication and compression make of its items."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from repository.layout import PACKS

if TYPE_CHECKING:
    from repository.repository import Repository


@dataclass(frozen=True, slots=True)
class Statistics:
    """
    Counts and bytes.

    Attributes:
        items, item_bytes: over the newest complete entry of every object and workload.
        chunk_bytes: plain bytes of distinct chunks. pack_bytes: stored bytes of packs.
        deduplication: item bytes a byte of distinct chunks; compression: chunk bytes a byte of packs.
    """

    points: int
    items: int
    item_bytes: int
    chunks: int
    chunk_bytes: int
    packs: int
    pack_bytes: int
    objects: int
    stored_bytes: int
    deduplication: float
    compression: float


def statistics(repository: "Repository") -> Statistics:
    """Count what is stored; reads the listing and the local index, no data."""
    blobs = list(repository.store.list(""))
    packs = [blob.size for blob in blobs if blob.name.startswith(PACKS)]
    keys = {(e.form.object.kind, e.form.object.id, e.form.workload) for e in repository.entries}
    newest = [e for key in keys if (e := repository.entries.newest_complete(*key)) is not None]
    item_bytes = sum(entry.form.bytes for entry in newest)
    chunk_bytes = repository.index.chunk_bytes()
    pack_bytes = sum(packs)
    return Statistics(
        points=len(repository.points()),
        items=sum(entry.form.items for entry in newest),
        item_bytes=item_bytes,
        chunks=repository.index.count(),
        chunk_bytes=chunk_bytes,
        packs=len(packs),
        pack_bytes=pack_bytes,
        objects=len(blobs),
        stored_bytes=sum(blob.size for blob in blobs),
        deduplication=item_bytes / chunk_bytes if chunk_bytes else 1.0,
        compression=chunk_bytes / pack_bytes if pack_bytes else 1.0,
    )
