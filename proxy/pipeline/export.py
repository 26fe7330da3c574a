"""Export of a restore point of Microsoft 365 data into a folder. Nothing is overwritten."""

import contextlib
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import BackupError, InternalError
from engine.manifest import PointForm
from proxy.pipeline.exported import Exported, Format, walk
from repository import Repository
from repository.browse import Browser
from repository.tree.exporter import prepare_destination, translated_destination

__all__ = ["ExportProblem", "ExportProgress", "ExportResult", "export_point"]

PROBLEMS_MAX = 10_000
PATH_TROUBLE = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR})


@dataclass(frozen=True, slots=True)
class ExportProblem:
    """An item that could not be written, or not as it should be."""

    path: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """So far. `items_total` counts the whole point, also when only a path of it is exported."""

    items: int
    bytes: int
    items_total: int
    bytes_total: int


@dataclass(slots=True)
class ExportResult:
    """What was written."""

    files: int = 0
    folders: int = 0
    bytes: int = 0
    problems: list[ExportProblem] = field(default_factory=list)


def export_point(
    repository: Repository,
    point: PointForm,
    destination: Path,
    path: str = "",
    format: Format = "native",
    progress: Callable[[ExportProgress], None] | None = None,
) -> ExportResult:
    """
    Write what `point` holds at or below `path` into `destination`, a new or empty folder.

    Layout: object/workload/folders; messages as .eml (the stored MIME, byte for byte), files with their bytes and
    times. Format mbox: one mboxrd file per mail folder, beside the folder of its subfolders.

    Raises:
        NotFound: nothing is at `path`. Conflict: the destination is not empty. UsageError: the format does not fit.
        Unavailable: the destination's disk fails. Single items that cannot be read are problems in the result.
    """
    plan = walk(repository, Browser(repository, point), path, format)
    first = next(plan, None)  # a wrong path fails before anything is made
    prepare_destination(destination)
    writer = _Writer(destination, point, progress)
    if first is not None:
        writer.write(first)
    for one in plan:
        writer.write(one)
    writer.finish()
    return writer.result


class _Writer:
    def __init__(
        self,
        destination: Path,
        point: PointForm,
        progress: Callable[[ExportProgress], None] | None,
    ) -> None:
        self.result = ExportResult()
        self._destination = destination
        self._progress = progress
        self._totals = (sum(e.items for e in point.entries), sum(e.bytes for e in point.entries))
        self._times: list[tuple[Path, int]] = []

    def write(self, one: Exported) -> None:
        """Write one folder or file; an item that cannot be read becomes a problem."""
        target = self._destination.joinpath(*one.path)
        try:
            if one.chunks is None:
                target.mkdir(parents=True, exist_ok=True)
                self.result.folders += 1
                self._times.append((target, one.modified_ns))
            else:
                self._write_file(target, one)
        except OSError as error:
            made = translated_destination(error, target)
            if isinstance(error, FileExistsError) or error.errno in PATH_TROUBLE:
                self._note(one, made)
                return
            raise made from error
        except BackupError as error:
            self._note(one, error)
        if self._progress is not None:
            result = self.result
            self._progress(ExportProgress(result.files, result.bytes, *self._totals))

    def _write_file(self, target: Path, one: Exported) -> None:
        if one.chunks is None:
            raise InternalError("A folder was written as a file.")
        target.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        try:
            with target.open("xb") as file:
                for chunk in one.chunks():
                    file.write(chunk)
                    size += len(chunk)
        except FileExistsError:
            raise
        except BaseException:
            with contextlib.suppress(OSError):
                target.unlink()
            raise
        _set_time(target, one.modified_ns)
        self.result.files += 1
        self.result.bytes += size

    def _note(self, one: Exported, error: BackupError) -> None:
        if len(self.result.problems) < PROBLEMS_MAX:
            self.result.problems.append(ExportProblem(one.label, error.code, error.message))

    def finish(self) -> None:
        """Times of folders last, the deepest first: writing into them had changed them."""
        for folder, modified_ns in reversed(self._times):
            _set_time(folder, modified_ns)


def _set_time(target: Path, modified_ns: int) -> None:
    if modified_ns > 0:
        with contextlib.suppress(OSError, OverflowError):
            os.utime(target, ns=(modified_ns, modified_ns))
