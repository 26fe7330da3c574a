"""A zip archive as a stream: made while it is read, nothing on disk, one chunk in memory."""

import time
import zipfile
from collections.abc import Callable, Iterable, Iterator

from engine.errors import BackupError
from proxy.pipeline.exported import Exported, Problem

__all__ = ["zip_chunks"]

FIRST_YEAR, LAST_YEAR = 1980, 2107  # what the format can say
PROBLEMS_MAX = 10_000
PROBLEMS_NAME = "export-problems.txt"


class _Pipe:
    """A file that is only written; what was written is taken away again."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._chunks.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> Iterator[bytes]:
        taken, self._chunks = self._chunks, []
        return iter(taken)


def zip_chunks(
    plan: Callable[[Problem], Iterable[Exported]], problem: Problem | None = None
) -> Iterator[bytes]:
    """
    The bytes of an archive. Contents are stored as they are: most are compressed already.

    Items that cannot be read are named in a file of the archive, at its end.

    Args:
        plan: what is in it; tells of items that it leaves out. problem: told of each of them as well.
    """
    pipe = _Pipe()
    problems: list[str] = []

    def note(label: str, error: BackupError) -> None:
        if len(problems) < PROBLEMS_MAX:
            problems.append(f"{label}: {error.message} ({error.code})")
        if problem is not None:
            problem(label, error)

    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[call-overload]
        for one in plan(note):
            try:
                yield from _write(archive, pipe, one)
            except BackupError as error:
                note(one.label, error)
        if problems:
            archive.writestr(PROBLEMS_NAME, "\n".join(problems) + "\n")
    yield from pipe.take()


def _write(archive: zipfile.ZipFile, pipe: _Pipe, one: Exported) -> Iterator[bytes]:
    name = "/".join(one.path)
    if one.chunks is None:
        archive.writestr(zipfile.ZipInfo(name + "/", _date(one.modified_ns)), b"")
        yield from pipe.take()
        return
    info = zipfile.ZipInfo(name, _date(one.modified_ns))
    with archive.open(info, "w", force_zip64=True) as file:
        for chunk in one.chunks():
            file.write(chunk)
            yield from pipe.take()
    yield from pipe.take()


def _date(modified_ns: int) -> tuple[int, int, int, int, int, int]:
    moment = time.gmtime(max(0, modified_ns // 1_000_000_000))
    if not FIRST_YEAR <= moment.tm_year <= LAST_YEAR:
        return (FIRST_YEAR, 1, 1, 0, 0, 0)
    return (
        moment.tm_year,
        moment.tm_mon,
        moment.tm_mday,
        moment.tm_hour,
        moment.tm_min,
        moment.tm_sec,
    )
