"""
Many small files in one call: list a folder, read whole files, create files.

No object for each file: paths are an arena of bytes with the end of each, numbers are flat rows of 64 bits. What happens to
a single file is a value in its row (an errno, 0 for all well) and never stops the others; only wrong arguments raise.
"""

import errno
import os
import stat
from array import array
from collections.abc import Sequence
from contextlib import ExitStack

from typing_extensions import Buffer

STAT_FIELDS = 11
MODE, SIZE, MTIME_NS, CTIME_NS, INO, DEV, NLINK, UID, GID, BLOCKS, ERRNO = range(STAT_FIELDS)

READ_FIELDS = 6
AFTER_ERRNO, AFTER_SIZE, AFTER_MTIME_NS, AFTER_CTIME_NS, AFTER_INO, AFTER_XATTR = range(READ_FIELDS)

PLAN_FIELDS = 5  # file number, file offset, piece number, start, length
ATTRIBUTE_FIELDS = 5  # mode, uid, gid, mtime_ns, flags
CREATE = 1  # flag: the file must not be there yet
LAST = 2  # flag: this call ends the file, set its attributes

_OWNER_MAX = 2**32 - 2  # one more is -1, "leave as it is"


def scan(folder: bytes) -> "tuple[bytes, array[int], array[int]]":
    """
    Names of all entries of `folder` in the order of their bytes, and the lstat of each.

    Returns `names` (all joined), `ends` (uint64, the end of each in `names`) and `stats` (int64, STAT_FIELDS a name; times
    saturated, inode and device as signed numbers). An entry whose lstat failed has its errno at ERRNO and zeros else.

    Raises: OSError with errno and filename when the folder itself cannot be read; ValueError for a zero byte in its name.
    """
    if b"\0" in folder:
        raise ValueError("a path holds a zero byte")
    names = sorted(os.listdir(folder))
    ends, stats = array("Q"), array("q")
    end = 0
    for name in names:
        end += len(name)
        ends.append(end)
        try:
            s = os.lstat(os.path.join(folder, name))
        except OSError as error:
            stats.extend([0] * ERRNO + [error.errno or 0])
            continue
        stats.extend(
            (s.st_mode, s.st_size, _saturated(s.st_mtime_ns), _saturated(s.st_ctime_ns),
             _signed(s.st_ino), _signed(s.st_dev), s.st_nlink, s.st_uid, s.st_gid, s.st_blocks, 0)
        )  # fmt: skip
    return b"".join(names), ends, stats


def read(
    paths: Buffer, path_ends: Buffer, sizes: Buffer, buffer: Buffer
) -> "tuple[array[int], array[int]]":
    """
    Read whole small files, one after another into the writable `buffer`.

    `path_ends` (uint64) and `sizes` (64 bits, signed or not) have one number a path: where it ends in `paths`, and the size
    that its file is expected to have. Up to one byte more is read, so that growth shows. Links are not followed, a fifo is
    not waited for, atime is left alone where permitted.

    Returns `spans` (uint64, start and end in `buffer` of what was read of each file) and `after` (int64, READ_FIELDS a file:
    errno, then size, mtime_ns, ctime_ns and inode once it was read, and whether it has extended attributes, 0 or 1; only
    Linux tells). A failed file has an empty span and zeros behind its errno; what is no regular file fails with EINVAL.

    Raises: ValueError if the paths or sizes do not fit, a path holds a zero byte, or `buffer` is smaller than all sizes and
        one byte more a file.
    """
    names = _split(paths, path_ends)
    expected = memoryview(sizes).cast("B").cast("Q").tolist()
    if len(expected) != len(names):
        raise ValueError("each path has one size")
    spans, after = array("Q"), array("q")
    with memoryview(buffer).cast("B") as view:
        if view.readonly:
            raise ValueError("the buffer is read-only")
        if len(view) < sum(expected) + len(expected):
            raise ValueError("the buffer has room for all sizes and one byte more a file")
        at = 0
        for name, size in zip(names, expected, strict=True):
            try:
                data, row = _read_one(name, size)
            except OSError as error:
                data, row = b"", (error.errno or 0, 0, 0, 0, 0, 0)
            view[at : at + len(data)] = data
            spans.extend((at, at + len(data)))
            after.extend(row)
            at += len(data)
    return spans, after


def write(
    root: bytes,
    paths: Buffer,
    path_ends: Buffer,
    pieces: Sequence[Buffer],
    plan: Buffer,
    attributes: Buffer,
) -> "array[int]":
    """
    Create many files below the folder `root`, or go on with them.

    `path_ends` (uint64) tells where each path ends in `paths`. `plan` (uint64, PLAN_FIELDS a row, in the order of the files)
    says what goes where: file number, offset in the file, piece number, start and length in the piece; what no row
    covers is a hole, a file without rows is empty. `attributes` (int64, ATTRIBUTE_FIELDS a file): mode 0..0o7777, uid and gid
    (-1 leaves it), mtime_ns (becomes atime too), flags. CREATE makes a new file and refuses any that is there; without it
    the file must be there. Owner, mode and times are set with LAST only. No link is followed in the last name of a path.

    Returns one int64 a file: 0, an errno (the file may be there in part), or a negative errno: the owner could not be set,
    all else is done. What is no regular file fails with EINVAL, a fifo without reader with ENXIO.

    Raises: ValueError for numbers that do not fit together, a path with a zero byte or one that begins with a slash; OSError
        with errno and filename when `root` cannot be opened.
    """
    names = _split(paths, path_ends)
    if b"\0" in root:
        raise ValueError("a path holds a zero byte")
    if any(name.startswith(b"/") for name in names):
        raise ValueError("a path leaves the root")
    wanted = _attribute_rows(attributes, len(names))
    errors = array("q")
    with ExitStack() as held:
        views = [held.enter_context(memoryview(piece).cast("B")) for piece in pieces]
        rows = _plan_rows(plan, len(names), views)
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        held.callback(os.close, folder)
        for number, name in enumerate(names):
            try:
                errors.append(_write_one(folder, name, views, rows[number], wanted[number]))
            except OSError as error:
                errors.append(error.errno or 0)
    return errors


def _read_one(name: bytes, size: int) -> tuple[bytes, tuple[int, ...]]:
    file = _open_quietly(name)
    try:
        _check_regular(os.fstat(file))
        data = b""
        while len(data) <= size and (more := os.read(file, size + 1 - len(data))):
            data += more
        s = os.fstat(file)
        times = (_saturated(s.st_mtime_ns), _saturated(s.st_ctime_ns))
        return data, (0, s.st_size, *times, _signed(s.st_ino), _has_xattr(file))
    finally:
        os.close(file)


def _open_quietly(name: bytes) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        return os.open(name, flags | getattr(os, "O_NOATIME", 0))
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        return os.open(name, flags)


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def _has_xattr(file: int) -> int:
    try:
        return int(hasattr(os, "listxattr") and bool(os.listxattr(file)))
    except OSError:
        return 0


def _write_one(
    root: int,
    name: bytes,
    views: list[memoryview],
    rows: list[tuple[int, ...]],
    attributes: tuple[int, ...],
) -> int:
    mode, uid, gid, mtime_ns, flags = attributes
    # O_NONBLOCK: a fifo that took the place of a file is an error, not a wait
    how = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    if flags & CREATE:
        how |= os.O_CREAT | os.O_EXCL
    file = os.open(name, how, 0o600, dir_fd=root)
    try:
        status = os.fstat(file)
        _check_regular(status)
        for _, offset, piece, start, length in rows:
            _pwrite(file, views[piece][start : start + length], offset)
        if not flags & LAST:
            return 0
        # owner, mode, times: in this order none undoes another
        owner_error = _set_owner(file, status, uid, gid)
        os.fchmod(file, mode)
        os.utime(file, ns=(mtime_ns, mtime_ns))
        return -owner_error
    finally:
        os.close(file)


def _pwrite(file: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.pwrite(file, data, offset)
        if count == 0:
            raise OSError(errno.EIO, "no progress and no reason: going on would never end")
        data = data[count:]
        offset += count


def _set_owner(file: int, status: os.stat_result, uid: int, gid: int) -> int:
    """Errno of the change, 0 if it went well or was not needed."""
    if uid in (-1, status.st_uid) and gid in (-1, status.st_gid):
        return 0
    try:
        os.fchown(file, uid, gid)
    except OSError as error:
        return error.errno or 0
    return 0


def _split(paths: Buffer, path_ends: Buffer) -> list[bytes]:
    arena = bytes(paths)
    names = []
    start = 0
    for end in memoryview(path_ends).cast("B").cast("Q").tolist():
        if not start <= end <= len(arena):
            raise ValueError("path_ends does not fit the paths")
        names.append(arena[start:end])
        start = end
    if b"\0" in arena[:start]:
        raise ValueError("a path holds a zero byte")
    return names


def _attribute_rows(attributes: Buffer, count: int) -> list[tuple[int, ...]]:
    flat = memoryview(attributes).cast("B").cast("q").tolist()
    if len(flat) != count * ATTRIBUTE_FIELDS:
        raise ValueError("each file has five attributes")
    rows = [tuple(flat[i : i + ATTRIBUTE_FIELDS]) for i in range(0, len(flat), ATTRIBUTE_FIELDS)]
    for mode, uid, gid, _, flags in rows:
        if not 0 <= mode <= 0o7777:
            raise ValueError("a mode lies outside 0..0o7777")
        if not (-1 <= uid <= _OWNER_MAX and -1 <= gid <= _OWNER_MAX):
            raise ValueError("an owner lies outside -1..2**32-2")
        if flags & ~(CREATE | LAST):
            raise ValueError("an unknown flag")
    return rows


def _plan_rows(plan: Buffer, count: int, views: list[memoryview]) -> list[list[tuple[int, ...]]]:
    """The rows of each file."""
    flat = memoryview(plan).cast("B").cast("Q").tolist()
    if len(flat) % PLAN_FIELDS:
        raise ValueError("each row of the plan has five numbers")
    rows: list[list[tuple[int, ...]]] = [[] for _ in range(count)]
    last = 0
    for i in range(0, len(flat), PLAN_FIELDS):
        file, offset, piece, start, length = flat[i : i + PLAN_FIELDS]
        if not last <= file < count:
            raise ValueError("the plan is not in the order of the files")
        if piece >= len(views):
            raise ValueError("the plan names a piece that is not there")
        if start + length > len(views[piece]):
            raise ValueError("a row of the plan lies outside its piece")
        if offset + length > 2**63 - 1:
            raise ValueError("a row of the plan lies outside any file")
        rows[file].append((file, offset, piece, start, length))
        last = file
    return rows


def _saturated(time_ns: int) -> int:
    return min(max(time_ns, -(2**63)), 2**63 - 1)


def _signed(number: int) -> int:
    """The 64 bits of an inode or device number as a signed one."""
    return number - 2**64 if number >= 2**63 else number
