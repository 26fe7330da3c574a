"""Directory trees: rows -> folders, files, links, pipes, with modes, times, hard links and attributes."""

import base64
import os
from collections.abc import Callable, Iterable

from tools.reader.catalog import Row
from tools.reader.content import Content
from tools.reader.folder import Damage
from tools.reader.output import printable, write_part
from tools.reader.state import Complain

PROBLEMS = (Damage, OSError, OverflowError, ValueError, KeyError, TypeError)


class TreeWriter:
    """
    Writes one tree below a folder that is there. Symbolic links come last, so that nothing is ever written through one;
    folders get their mode and times at the very end.
    """

    def __init__(self, content: Content, base: bytes, complain: Complain) -> None:
        self._content = content
        self._base = base
        self._complain = complain
        self._names: list[Row] = []
        self._links: list[Row] = []
        self._folders: list[Row] = []

    def write(self, rows: Iterable[Row]) -> None:
        """All rows of a tree; what fails is named, the rest goes on."""
        for row in rows:
            if row.kind == "link":
                self._links.append(row)
            elif "same_as" in row.meta:
                self._names.append(row)
            else:
                self._attempt(row, self._make)
        for row in self._names:
            self._attempt(row, self._make)
        for row in [row for row in self._links if self._attempt(row, _make_parents)]:
            self._attempt(row, self._make)
        deepest_first = sorted(self._folders, key=_depth, reverse=True)
        for row in deepest_first:
            self._attempt(row, set_marks)

    def _attempt(self, row: Row, do: Callable[[Row, bytes], None]) -> bool:
        """Whether it went well; else it is named."""
        try:
            do(row, self._path(row.id))
        except PROBLEMS as error:
            self._complain(f"{printable(row.id)}: {error}")
            return False
        return True

    def _path(self, row_id: bytes) -> bytes:
        """Where a row belongs; Damage if it would lead out of the tree."""
        if row_id == b".":
            return self._base
        names = row_id.split(b"/")
        if any(name in (b"", b".", b"..") or b"\0" in name for name in names):
            raise Damage("is no path below the root")
        return os.path.join(self._base, *names)

    def _make(self, row: Row, path: bytes) -> None:
        if row.kind == "container":
            os.makedirs(path, exist_ok=True)
            self._folders.append(row)
            return
        _make_parents(row, path)
        if row.kind == "link":
            os.symlink(base64.b64decode(row.meta["link"]), path)
        elif "same_as" in row.meta and self._join(row, path):
            return
        elif row.kind == "fifo":
            os.mkfifo(path, 0o600)
        elif row.kind == "file":
            if len(row.parts) != 1:
                raise Damage(f"has {len(row.parts)} parts")
            write_part(self._content, row.parts[0], path, sparse=row.meta.get("sparse", False))
        else:
            raise Damage(f"is of the unknown kind {row.kind}")
        set_marks(row, path)

    def _join(self, row: Row, path: bytes) -> bool:
        """Make a hard link; False if the other name did not come back: then the row's own parts do."""
        first = self._path(base64.b64decode(row.meta["same_as"]))
        if not os.path.lexists(first):
            return False
        os.link(first, path, follow_symlinks=False)
        return True


def _depth(row: Row) -> int:
    return 0 if row.id == b"." else 1 + row.id.count(b"/")


def _make_parents(_: Row, path: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)


def set_marks(row: Row, path: bytes) -> None:
    """Attributes, owner (root only), mode and time of a node."""
    meta = row.meta
    for name, value in meta.get("xattrs", {}).items():
        attribute = base64.b64decode(name)
        os.setxattr(path, attribute, base64.b64decode(value), follow_symlinks=False)
    if os.geteuid() == 0 and "uid" in meta:
        os.chown(path, meta["uid"], meta["gid"], follow_symlinks=False)
    if row.kind != "link" and "mode" in meta:
        os.chmod(path, meta["mode"])
    modified_ns = meta.get("modified_ns", row.modified_ns)
    os.utime(path, ns=(modified_ns, modified_ns), follow_symlinks=False)
