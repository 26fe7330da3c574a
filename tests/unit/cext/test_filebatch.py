"""Both kernels list, read and write many files alike, and what happens to one file stays with that file."""

import errno
import os
import random
import resource
import socket
import stat
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from typing_extensions import Buffer

from cext.reference import filebatch as reference

compiled = pytest.importorskip("cext.filebatch")

NOBODY = 65534
MTIME_NS = 1_234_567_890_123_456_789
MANY = 10_000


@pytest.fixture(params=[compiled, reference], ids=["compiled", "reference"])
def kernel(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 10,000 small files, some empty."""
    folder = tmp_path_factory.mktemp("many")
    rng = random.Random(1)
    for number in range(MANY):
        (folder / f"{rng.getrandbits(64):016x}").write_bytes(rng.randbytes(number % 97))
    return folder


@contextmanager
def plain_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Inside, root is nobody and `folder` (also the current one) is nobody's; others stay who they are."""
    monkeypatch.chdir(folder)
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def arena(paths: Sequence[bytes | Path]) -> "tuple[bytes, array[int]]":
    """Paths as the kernels take them."""
    names = [os.fsencode(path) for path in paths]
    ends = array("Q")
    for name in names:
        ends.append((ends[-1] if ends else 0) + len(name))
    return b"".join(names), ends


def rows(flat: "array[int]", fields: int) -> list[list[int]]:
    return [flat[i : i + fields].tolist() for i in range(0, len(flat), fields)]


def scan(kernel: ModuleType, folder: bytes | Path) -> dict[bytes, list[int]]:
    """Stats by name, in the order of the kernel."""
    names, ends, stats = kernel.scan(os.fsencode(folder))
    starts = [0, *ends[:-1]]
    found = [names[start:end] for start, end in zip(starts, ends, strict=False)]
    return dict(zip(found, rows(stats, kernel.STAT_FIELDS), strict=True))


def read(
    kernel: ModuleType, paths: Sequence[bytes | Path], sizes: Sequence[int]
) -> list[tuple[bytes, list[int]]]:
    """Content and row of each file."""
    buffer = bytearray(sum(sizes) + len(sizes))
    spans, after = kernel.read(*arena(paths), array("Q", sizes), buffer)
    assert spans[::2] == array("Q", [0, *spans[1:-1:2]]), "files lie one after another"
    content = [bytes(buffer[start:end]) for start, end in rows(spans, 2)]
    return list(zip(content, rows(after, kernel.READ_FIELDS), strict=True))


def write(
    kernel: ModuleType,
    root: bytes | Path,
    files: Mapping[bytes, Sequence[int]],
    pieces: Sequence[Buffer] = (),
    plan: Sequence[Sequence[int]] = (),
) -> list[int]:
    """Errno of each file; `files` are attributes by path."""
    flat = array("Q", [number for row in plan for number in row])
    attributes = array("q", [number for row in files.values() for number in row])
    errors = kernel.write(os.fsencode(root), *arena(list(files)), pieces, flat, attributes)
    result: list[int] = errors.tolist()
    return result


def attributes(kernel: ModuleType, mode: int = 0o640, flags: int | None = None) -> list[int]:
    """A new file of the current user, in one call."""
    return [mode, -1, -1, MTIME_NS, kernel.CREATE | kernel.LAST if flags is None else flags]


def expected_row(path: bytes) -> list[int]:
    s = os.lstat(path)
    return [
        s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev, s.st_nlink,
        s.st_uid, s.st_gid, s.st_blocks, 0,
    ]  # fmt: skip


def test_the_kernels_name_the_same_fields() -> None:
    """Every constant has the same value in both."""
    names = [name for name in dir(reference) if name.isupper() and not name.startswith("_")]
    assert {n: getattr(compiled, n) for n in names} == {n: getattr(reference, n) for n in names}
    assert (reference.MODE, reference.ERRNO, reference.AFTER_XATTR) == (0, 10, 5)


# scan


def test_scan_sorts_by_bytes(kernel: ModuleType, tmp_path: Path) -> None:
    """Names that are no text come as they are, in the order of their bytes, shorter before longer."""
    names = [b"a", b"ab", b"a\nb", b"a b", b"\xff\xfe", b"\x01", b"...", b"..a", b"-", b"\xc3\xa4"]
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    assert list(scan(kernel, tmp_path)) == sorted(names)


def test_scan_is_lstat(kernel: ModuleType, tmp_path: Path) -> None:
    """Files, folders, fifos, sockets and links, dangling ones too, are told as lstat tells them."""
    (tmp_path / "file").write_bytes(b"x" * 5000)
    os.link(tmp_path / "file", tmp_path / "second name")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo", 0o600)
    os.utime(tmp_path / "file", ns=(0, -1_500_000_001))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        found = scan(kernel, tmp_path)
    paths = {name: os.path.join(os.fsencode(tmp_path), name) for name in found}
    assert len(found) == 7
    assert found == {name: expected_row(path) for name, path in paths.items()}
    assert found[b"file"][kernel.MTIME_NS] == -1_500_000_001
    assert found[b"file"][kernel.NLINK] == 2
    assert stat.S_ISLNK(found[b"link"][kernel.MODE])


def test_scan_of_an_empty_folder(kernel: ModuleType, tmp_path: Path) -> None:
    """Nothing, in three empty columns; a folder that is named through a link is scanned."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    for name in ("folder", "link"):
        found = kernel.scan(os.fsencode(tmp_path / name))
        assert found == (b"", array("Q"), array("q"))


def test_scan_keeps_distant_times(kernel: ModuleType, tmp_path: Path) -> None:
    """A time beyond 64 bits of nanoseconds is the nearest end of their range."""
    for name, seconds in (("early", -(2**33) - 2**31), ("late", 2**33 + 2**32)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (seconds, seconds))
    for entry, row in scan(kernel, tmp_path).items():
        there = os.lstat(tmp_path / os.fsdecode(entry)).st_mtime_ns
        assert row[kernel.MTIME_NS] == min(max(there, -(2**63)), 2**63 - 1)


def test_scan_says_why_a_folder_fails(kernel: ModuleType, tmp_path: Path) -> None:
    """A missing folder or a file raises the OSError of the system, with errno and name."""
    (tmp_path / "file").touch()
    for name, code in (("missing", errno.ENOENT), ("file", errno.ENOTDIR)):
        folder = os.fsencode(tmp_path / name)
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            kernel.scan(folder)
        assert (caught.value.errno, caught.value.filename) == (code, folder)
    with pytest.raises(ValueError, match="zero byte"):
        kernel.scan(b"a\0b")


def test_scan_names_what_it_may_not_stat(
    kernel: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that may be listed but not entered each name has EACCES and zeros."""
    folder = tmp_path / "listed"
    folder.mkdir()
    (folder / "a").touch()
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    folder.chmod(0o400)
    with plain_user(tmp_path, monkeypatch):
        found = scan(kernel, b"listed")
        os.chmod("listed", 0o700)
    assert found == {b"a": [0] * kernel.ERRNO + [errno.EACCES]}


@pytest.mark.slow
def test_scan_of_many(many: Path) -> None:
    """Ten thousand names: both kernels say the same."""
    assert len(scan(compiled, many)) == MANY
    assert compiled.scan(os.fsencode(many)) == reference.scan(os.fsencode(many))


# read


@pytest.mark.slow
def test_read_of_many(kernel: ModuleType, many: Path) -> None:
    """Ten thousand files in batches hold what plain reads give, and are unchanged since the scan."""
    found = scan(kernel, many)
    names = list(found)
    for start in range(0, MANY, 3000):
        batch = names[start : start + 3000]
        paths = [os.path.join(os.fsencode(many), name) for name in batch]
        got = read(kernel, paths, [found[name][kernel.SIZE] for name in batch])
        for name, path, (data, row) in zip(batch, paths, got, strict=True):
            with open(path, "rb") as file:
                assert data == file.read()
            since = [found[name][i] for i in (kernel.SIZE, kernel.MTIME_NS, kernel.CTIME_NS)]
            assert row == [0, *since, found[name][kernel.INO], 0]


def test_read_shows_a_change(kernel: ModuleType, tmp_path: Path) -> None:
    """One byte more shows growth, a short span shows shrinking, and size and times are those after."""
    (tmp_path / "grown").write_bytes(b"0123456789")
    (tmp_path / "shrunk").write_bytes(b"01")
    (tmp_path / "same").write_bytes(b"01234")
    (tmp_path / "empty").touch()
    names = ["grown", "shrunk", "same", "empty"]
    got = read(kernel, [tmp_path / name for name in names], [5, 5, 5, 0])
    assert [data for data, _ in got] == [b"012345", b"01", b"01234", b""]
    for name, (_, row) in zip(names, got, strict=True):
        s = (tmp_path / name).stat()
        assert row == [0, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, 0]


def test_read_fails_file_by_file(kernel: ModuleType, tmp_path: Path) -> None:
    """What is missing, a link, a folder or a fifo without writer fails alone, at once, and takes no room."""
    (tmp_path / "a").write_bytes(b"first")
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir()
    (tmp_path / "z").write_bytes(b"last")
    names = ["a", "missing", "link", "fifo", "folder", "n" * 300, "p/" * 3000, "z"]
    got = read(kernel, [os.fsencode(tmp_path / name) for name in names], [5] * 8)
    failed = [errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.EINVAL, errno.ENAMETOOLONG]
    assert [row[0] for _, row in got] == [0, *failed, errno.ENAMETOOLONG, 0]
    assert [data for data, _ in got] == [b"first", *[b""] * 6, b"last"]
    assert all(row[1:] == [0] * 5 for _, row in got[1:-1])


def test_read_of_what_may_not_be_read(
    kernel: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed file is EACCES; one of somebody else is read, although its atime may not be spared."""
    (tmp_path / "closed").write_bytes(b"secret")
    (tmp_path / "closed").chmod(0)
    foreign = b"foreign" if os.geteuid() == 0 else b"/etc/passwd"
    (tmp_path / "foreign").write_bytes(b"free")
    (tmp_path / "foreign").chmod(0o444)
    with plain_user(tmp_path, monkeypatch):
        size = os.stat(foreign).st_size
        got = read(kernel, [b"closed", foreign], [6, size])
        assert got[0] == (b"", [errno.EACCES, 0, 0, 0, 0, 0])
        with open(foreign, "rb") as file:
            assert got[1][0] == file.read()
        assert got[1][1][0] == 0


def test_read_tells_extended_attributes(kernel: ModuleType, tmp_path: Path) -> None:
    """The flag says whether a file has any, where the system tells."""
    (tmp_path / "plain").touch()
    (tmp_path / "marked").touch()
    marked = 0
    if hasattr(os, "setxattr"):
        try:
            os.setxattr(tmp_path / "marked", "user.note", b"x")
            marked = 1
        except OSError as error:
            assert error.errno == errno.ENOTSUP  # noqa: PT017 - a file system without any
    got = read(kernel, [tmp_path / "plain", tmp_path / "marked"], [0, 0])
    assert [row[kernel.AFTER_XATTR] for _, row in got] == [0, marked]


def test_read_leaves_the_buffer_free(kernel: ModuleType, tmp_path: Path) -> None:
    """Bytes behind the last file stay as they were, and afterwards the buffer may grow again."""
    (tmp_path / "a").write_bytes(b"abc")
    buffer = bytearray(b"." * 10)
    kernel.read(*arena([tmp_path / "a"]), array("Q", [3]), buffer)
    assert buffer == b"abc" + b"." * 7
    buffer.append(0)
    with pytest.raises(ValueError, match="room"):
        kernel.read(*arena([tmp_path / "a"]), array("Q", [11]), buffer)
    buffer.append(0)


def test_read_refuses_wrong_arguments(kernel: ModuleType) -> None:
    """Numbers that do not fit are an error, not a read past an end."""
    room = bytearray(100)

    def refused(paths: bytes, ends: Sequence[int], sizes: Sequence[int], match: str) -> None:
        with pytest.raises(ValueError, match=match):
            kernel.read(paths, array("Q", ends), array("Q", sizes), room)

    refused(b"ab", [3], [1], "path_ends")
    refused(b"ab", [2, 1], [1, 1], "path_ends")
    refused(b"ab", [2**64 - 1], [1], "path_ends")
    refused(b"a\0b", [3], [1], "zero byte")
    refused(b"ab", [1, 2], [1], "one size")
    refused(b"ab", [1, 2], [49, 50], "room")
    refused(b"ab", [1, 2], [2**64 - 1, 1], "room")
    with pytest.raises(ValueError, match="room"):
        kernel.read(b"a", array("Q", [1]), array("q", [-1]), room)
    assert kernel.read(b"", array("Q"), array("Q"), bytearray()) == (array("Q"), array("q"))
    with pytest.raises((ValueError, BufferError)):
        kernel.read(b"a", array("Q", [1]), array("Q", [1]), bytes(2))


# write


def test_write_makes_files(kernel: ModuleType, tmp_path: Path) -> None:
    """Content from any kind of buffer, in any order of offsets; mode and times set whatever the umask."""
    (tmp_path / "sub").mkdir()
    files = {
        b"one": attributes(kernel, 0o444),
        b"empty": attributes(kernel, 0o4755),
        b"sub/\xff\n": attributes(kernel, 0),
    }
    pieces: list[Buffer] = [
        b"0123456789",
        bytearray(b"abcdef"),
        memoryview(b"x--yz--")[3:5],
        array("H", [1, 2]),
    ]
    plan = [
        (0, 4, 0, 2, 5), (0, 0, 1, 0, 4), (2, 0, 2, 0, 2), (2, 2, 2, 1, 0), (2, 2, 3, 0, 4),
    ]  # fmt: skip
    assert write(kernel, tmp_path, files, pieces, plan) == [0, 0, 0]
    expected = [b"abcd23456", b"", b"yz" + array("H", [1, 2]).tobytes()]
    for (name, row), data in zip(files.items(), expected, strict=True):
        path = os.path.join(os.fsencode(tmp_path), name)
        s = os.stat(path)
        assert (stat.S_IMODE(s.st_mode), s.st_mtime_ns, s.st_size) == (row[0], MTIME_NS, len(data))
        os.chmod(path, 0o600)
        with open(path, "rb") as file:
            assert file.read() == data


@pytest.mark.parametrize("mtime_ns", [0, 1, -1, -1_500_000_000, 10**9 - 1, 4 * 10**18])
def test_write_sets_any_time(kernel: ModuleType, tmp_path: Path, mtime_ns: int) -> None:
    """Times before 1970 have their nanoseconds right; atime is mtime."""
    row = [0o600, -1, -1, mtime_ns, kernel.CREATE | kernel.LAST]
    assert write(kernel, tmp_path, {b"a": row}) == [0]
    s = (tmp_path / "a").stat()
    assert (s.st_mtime_ns, s.st_atime_ns) == (mtime_ns, mtime_ns)


def test_write_goes_on_with_a_file(kernel: ModuleType, tmp_path: Path) -> None:
    """A file may be written in several calls: closed to others at first, its attributes with the last."""
    first, last = attributes(kernel, flags=kernel.CREATE), attributes(kernel, flags=kernel.LAST)
    middle = attributes(kernel, flags=0)
    assert write(kernel, tmp_path, {b"a": first}, [b"begin"], [(0, 0, 0, 0, 5)]) == [0]
    assert write(kernel, tmp_path, {b"a": middle}, [b"middle"], [(0, 5, 0, 0, 6)]) == [0]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert (tmp_path / "a").stat().st_mtime_ns != MTIME_NS
    assert write(kernel, tmp_path, {b"a": last}, [b"end"], [(0, 11, 0, 0, 3)]) == [0]
    assert (tmp_path / "a").read_bytes() == b"beginmiddleend"
    assert (tmp_path / "a").stat().st_mtime_ns == MTIME_NS
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_write_leaves_holes(kernel: ModuleType, tmp_path: Path) -> None:
    """An offset beyond 4 GiB is reached and what lies before it takes no room."""
    at = 5 * 2**30 + 1
    plan = [(0, 0, 0, 0, 1), (0, at, 0, 0, 2)]
    assert write(kernel, tmp_path, {b"sparse": attributes(kernel)}, [b"ab"], plan) == [0]
    s = (tmp_path / "sparse").stat()
    assert s.st_size == at + 2
    assert s.st_blocks * 512 < 2**20
    with (tmp_path / "sparse").open("rb") as file:
        file.seek(at - 1)
        assert file.read() == b"\0ab"


def test_write_overwrites_nothing(kernel: ModuleType, tmp_path: Path) -> None:
    """What is there already, a link or a missing folder fail that file alone and are left as they are."""
    (tmp_path / "there").write_bytes(b"old")
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "dangling").symlink_to("outside")
    names = [b"there", b"link", b"dangling", b"none/a", b"new"]
    files = {name: attributes(kernel) for name in names}
    plan = [(number, 0, 0, 0, 3) for number in range(5)]
    refused = [errno.EEXIST, errno.EEXIST, errno.EEXIST, errno.ENOENT, 0]
    assert write(kernel, tmp_path, files, [b"bad"], plan) == refused
    assert (tmp_path / "there").read_bytes() == b"old"
    assert (tmp_path / "new").read_bytes() == b"bad"
    assert not (tmp_path / "outside").exists()


def test_write_goes_on_with_files_only(kernel: ModuleType, tmp_path: Path) -> None:
    """Going on through a link, with a folder, a fifo (read or not) or nothing fails and never waits."""
    (tmp_path / "there").write_bytes(b"old")
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    os.mkfifo(tmp_path / "read fifo")
    reader = os.open(tmp_path / "read fifo", os.O_RDONLY | os.O_NONBLOCK)
    names = [b"link", b"folder", b"fifo", b"read fifo", b"missing"]
    files = {name: attributes(kernel, flags=kernel.LAST) for name in names}
    plan = [(number, 0, 0, 0, 3) for number in range(5)]
    try:
        errors = write(kernel, tmp_path, files, [b"bad"], plan)
        assert os.read(reader, 10) == b""
    finally:
        os.close(reader)
    assert errors == [errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EINVAL, errno.ENOENT]
    assert (tmp_path / "there").read_bytes() == b"old"


def test_write_sets_the_owner(
    kernel: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root gives files away; for others the owner alone is missing, said by a negative errno."""
    wanted = [0o640, 1234, 5678, MTIME_NS, kernel.CREATE | kernel.LAST]
    if os.geteuid() == 0:
        assert write(kernel, tmp_path, {b"given": wanted}) == [0]
        s = (tmp_path / "given").stat()
        assert (s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)) == (1234, 5678, 0o640)
    with plain_user(tmp_path, monkeypatch):
        own = [0o640, os.geteuid(), -1, MTIME_NS, kernel.CREATE | kernel.LAST]
        files = {b"kept": wanted, b"own": own}
        assert write(kernel, b".", files, [b"abc"], [(0, 0, 0, 0, 3)]) == [-errno.EPERM, 0]
        s = os.stat("kept")
        assert (s.st_size, s.st_mtime_ns, stat.S_IMODE(s.st_mode)) == (3, MTIME_NS, 0o640)


def test_write_tells_a_failed_write(kernel: ModuleType, tmp_path: Path) -> None:
    """A file that the system cuts short fails with the system's reason, and the others are written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    files = {name: attributes(kernel) for name in (b"a", b"big", b"z")}
    plan = [(0, 0, 0, 0, 10), (1, 0, 0, 0, 8192), (2, 0, 0, 0, 10)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (4097, hard))
    try:
        errors = write(kernel, tmp_path, files, [bytes(8192)], plan)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert errors == [0, errno.EFBIG, 0]
    assert (tmp_path / "z").read_bytes() == bytes(10)
    assert (tmp_path / "big").stat().st_size == 4097


def test_write_says_why_the_root_fails(kernel: ModuleType, tmp_path: Path) -> None:
    """A missing root raises the OSError of the system, with errno and name; its pieces are let go."""
    root = os.fsencode(tmp_path / "missing")
    piece = bytearray(b"abc")
    with pytest.raises(FileNotFoundError) as caught:
        write(kernel, root, {b"a": attributes(kernel)}, [piece])
    assert caught.value.filename == root
    piece.append(0)
    assert write(kernel, tmp_path, {}) == []


def test_write_refuses_wrong_arguments(kernel: ModuleType, tmp_path: Path) -> None:
    """Numbers that do not fit are an error before anything is made."""
    good = attributes(kernel)
    piece = bytearray(b"0123456789")

    def refused(
        match: str,
        plan: Sequence[Sequence[int]] = (),
        files: Mapping[bytes, Sequence[int]] | None = None,
    ) -> None:
        with pytest.raises(ValueError, match=match):
            write(kernel, tmp_path, files or {b"a": good, b"b": good}, [piece], plan)

    refused("outside its piece", [(0, 0, 0, 5, 6)])
    refused("outside its piece", [(0, 0, 0, 11, 0)])
    refused("outside its piece", [(0, 0, 0, 2**64 - 1, 2)])
    refused("outside its piece", [(0, 0, 0, 0, 2**64 - 1)])
    refused("piece that is not there", [(0, 0, 1, 0, 0)])
    refused("outside any file", [(0, 2**63 - 1, 0, 0, 1)])
    refused("outside any file", [(0, 2**64 - 1, 0, 0, 1)])
    refused("order of the files", [(2, 0, 0, 0, 1)])
    refused("order of the files", [(1, 0, 0, 0, 1), (0, 0, 0, 0, 1)])
    refused("five numbers", [(0, 0, 0, 1)])
    refused("five attributes", files={b"a": good[:4]})
    refused("mode", files={b"a": [0o10000, *good[1:]]})
    refused("owner", files={b"a": [0, 2**32 - 1, *good[2:]]})
    refused("owner", files={b"a": [0, 0, -2, *good[3:]]})
    refused("flag", files={b"a": [*good[:4], 4]})
    refused("leaves the root", files={b"/a": good})
    refused("zero byte", files={b"a\0b": good})
    with pytest.raises(ValueError, match="zero byte"):
        write(kernel, os.fsencode(tmp_path) + b"\0", {b"a": good})
    assert list(tmp_path.iterdir()) == []
    piece.append(0)


# both


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_compiled_equals_reference(tmp_path: Path, seed: int) -> None:
    """A generated tree written by one kernel is listed and read the same by both; so is the twin's."""
    rng = random.Random(seed)
    pieces = [rng.randbytes(rng.randint(0, 9000)) for _ in range(20)]
    files: dict[bytes, Sequence[int]] = {}
    plan: list[tuple[int, ...]] = []
    for number in range(300):
        name = bytes(rng.choice(b"abc\xff\n. ") for _ in range(rng.randint(3, 9)))
        files[b"%s%d" % (name, number)] = [
            rng.choice((0o600, 0o644, 0o755)), -1, -1, rng.randint(-(10**18), 10**18), 3,
        ]  # fmt: skip
        for _ in range(rng.randint(0, 4)):
            piece = rng.randrange(len(pieces))
            start = rng.randint(0, len(pieces[piece]))
            length = rng.randint(0, len(pieces[piece]) - start)
            plan.append((number, rng.randint(0, 20_000), piece, start, length))
    trees = []
    for writer in (compiled, reference):
        folder = tmp_path / writer.__name__
        folder.mkdir()
        assert write(writer, folder, files, pieces, plan) == [0] * 300
        assert compiled.scan(os.fsencode(folder)) == reference.scan(os.fsencode(folder))
        found = scan(compiled, folder)
        paths = [os.path.join(os.fsencode(folder), name) for name in found]
        sizes = [max(0, row[compiled.SIZE] + rng.randint(-1, 1)) for row in found.values()]
        got = read(compiled, paths, sizes)
        assert got == read(reference, paths, sizes)
        kept = (compiled.MODE, compiled.SIZE, compiled.MTIME_NS, compiled.BLOCKS)
        whole = read(compiled, paths, [row[compiled.SIZE] for row in found.values()])
        content = zip(found, whole, strict=True)
        trees.append([(name, data, [found[name][i] for i in kept]) for name, (data, _) in content])
    assert trees[0] == trees[1]


@pytest.mark.slow
@pytest.mark.parametrize("call", ["scan", "read", "write"])
def test_other_threads_run_meanwhile(kernel: ModuleType, many: Path, call: str) -> None:
    """The interpreter lock is let go: a thread goes on though the interpreter itself never switches."""
    folder = os.fsencode(many)
    found = scan(kernel, many)
    paths, ends = arena([os.path.join(folder, name) for name in found])
    relative = arena(list(found))
    sizes = kernel.scan(folder)[2][kernel.SIZE :: kernel.STAT_FIELDS]  # a column as it is
    buffer = bytearray(sum(sizes) + len(sizes))
    untouched = array("q", [0, -1, -1, 0, 0] * MANY)
    calls: dict[str, Callable[[], object]] = {
        "scan": lambda: kernel.scan(folder),
        "read": lambda: kernel.read(paths, ends, sizes, buffer),
        "write": lambda: kernel.write(folder, *relative, [], array("Q"), untouched),
    }
    go = threading.Lock()
    progress: list[bool] = []

    def other() -> None:
        with go:
            progress.append(True)

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=other)
    with go:
        thread.start()
        sys.setswitchinterval(3600)
    try:
        deadline = time.monotonic() + 60
        while not progress and time.monotonic() < deadline:
            calls[call]()
        assert progress
    finally:
        sys.setswitchinterval(interval)
        thread.join()
