"""Files of several folders in one batch: what a path gives does not depend on the one before it."""

import errno
import os
from array import array
from itertools import accumulate
from pathlib import Path
from types import ModuleType

import pytest

from cext.reference import filebatch as reference

compiled = pytest.importorskip("cext.filebatch")


@pytest.fixture(params=[compiled, reference], ids=["compiled", "reference"])
def kernel(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


def _read(kernel: ModuleType, paths: list[bytes]) -> list[tuple[bytes, int]]:
    """Content and errno of each, read together; at most nine bytes."""
    buffer = bytearray(10 * len(paths))
    ends = array("Q", accumulate(map(len, paths)))
    spans, after = kernel.read(b"".join(paths), ends, array("Q", [8] * len(paths)), buffer)
    data = [bytes(buffer[s:e]) for s, e in zip(spans[::2], spans[1::2], strict=True)]
    return list(zip(data, after[kernel.AFTER_ERRNO :: kernel.READ_FIELDS], strict=True))


def _plainly(path: Path) -> tuple[bytes, int]:
    """Content and errno of one file, read by its path."""
    try:
        return path.read_bytes(), 0
    except OSError as error:
        return b"", error.errno or 0


def test_read_goes_from_folder_to_folder(
    kernel: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders of equally long names, missing ones, links to them, files in their place; no file stays open."""
    names = [*("one", "two"), "two/deep", "gone", "file", "link"]
    for name in names[:3]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(name.encode())
    (tmp_path / "file").write_bytes(b"no folder")
    (tmp_path / "link").symlink_to("one")
    paths = [tmp_path / name / file for name in (*names, *reversed(names)) for file in "xyx"]
    held = len(os.listdir("/proc/self/fd"))
    assert _read(kernel, [os.fsencode(path) for path in paths]) == [_plainly(p) for p in paths]
    monkeypatch.chdir(tmp_path)
    relative = [b"x", b"one/x", b"file/x", b"two/x"]
    wanted = [(b"", errno.ENOENT), (b"one", 0), (b"", errno.ENOTDIR), (b"two", 0)]
    assert _read(kernel, relative) == wanted
    assert len(os.listdir("/proc/self/fd")) == held
