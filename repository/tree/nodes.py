"""One node of a directory tree as a catalog row, and back."""

import os
import stat
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from engine.catalog import Row
from engine.errors import Corruption
from engine.parts import Part
from repository.tree import ROOT

BLOCK_BYTES = 512  # unit of st_blocks
TIME_NS_MAX = (1 << 63) - 1
METAS_KEPT_MAX = 256
_CLIMBS = frozenset((b"", b".", b".."))


class NodeMeta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a row keeps besides name, size and time. Binary members base64, names of attributes too."""

    mode: int
    uid: int
    gid: int
    link: bytes | None = None  # target of a symbolic link
    same_as: bytes | None = None  # path of the first name of a hard-linked file
    sparse: bool = False
    xattrs: dict[bytes, bytes] = {}
    modified_ns: int | None = (
        None  # where the row's 64 bits do not reach (years before 1678, after 2262)
    )


@dataclass(frozen=True, slots=True)
class Node:
    """One file, folder or link found on disk."""

    path: bytes
    status: os.stat_result

    @property
    def kind(self) -> str | None:
        """The row's kind; None for what is not kept (sockets, devices)."""
        mode = self.status.st_mode
        kinds = (
            (stat.S_ISDIR, "container"),
            (stat.S_ISREG, "file"),
            (stat.S_ISLNK, "link"),
            (stat.S_ISFIFO, "fifo"),
        )
        return next((kind for is_kind, kind in kinds if is_kind(mode)), None)

    @property
    def version(self) -> str:
        """Changes whenever content or attributes may have changed: size, mtime, ctime, inode."""
        s = self.status
        return f"{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}:{s.st_ino}"

    @property
    def sparse(self) -> bool:
        """Whether the file has holes."""
        return self.status.st_blocks * BLOCK_BYTES < self.status.st_size


def node_row(
    node: Node,
    parts: tuple[Part, ...],
    *,
    link: bytes | None = None,
    same_as: bytes | None = None,
    xattrs: dict[bytes, bytes] | None = None,
) -> Row:
    """The catalog row of a node."""
    status = node.status
    kind = node.kind
    assert kind is not None
    modified_ns = min(max(status.st_mtime_ns, -TIME_NS_MAX), TIME_NS_MAX)
    meta = NodeMeta(
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        link,
        same_as,
        kind == "file" and node.sparse,
        xattrs or {},
        None if modified_ns == status.st_mtime_ns else status.st_mtime_ns,
    )
    parent, _, name = node.path.rpartition(b"/")
    at_root = node.path == ROOT
    return Row(
        id=node.path,
        container=b"" if at_root else parent or ROOT,
        name=name,
        kind=kind,
        size=status.st_size if kind == "file" else 0,
        created_ns=modified_ns,
        modified_ns=modified_ns,
        version=node.version,
        meta=msgspec.json.encode(meta),
        parts=parts,
    )


def row_meta(row: Row) -> NodeMeta:
    """What `node_row` kept. Corruption if it is not of a tree, or its path would climb out."""
    climbs = b"\0" in row.id or not _CLIMBS.isdisjoint(row.id.split(b"/"))
    if climbs and row.id != ROOT:
        raise Corruption("a stored path is impossible", code="tree-corrupt")
    return _decoded(row.meta)


@lru_cache(METAS_KEPT_MAX)
def _decoded(meta: bytes) -> NodeMeta:
    """Nodes have few different ones: owner and mode."""
    try:
        return msgspec.json.decode(meta, type=NodeMeta)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption("a row of a tree cannot be read", code="tree-corrupt") from error


def extended_attributes(path: bytes) -> dict[bytes, bytes]:
    """Extended attributes of a node; none where the file system has none."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {os.fsencode(n): os.getxattr(path, n, follow_symlinks=False) for n in names}
    except OSError:
        return {}
