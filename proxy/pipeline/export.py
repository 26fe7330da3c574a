"""Export of a restore point of Microsoft 365 data into a folder, or into one zip file. Nothing is overwritten."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import BackupError, Conflict, InternalError, NotFound
from engine.manifest import PointForm
from proxy.contract import ExportFormat, Selection
from proxy.pipeline.archive import PROBLEMS_MAX, zip_chunks
from proxy.pipeline.exported import Exported, Problem, walk
from repository import Repository
from repository.browse import Browser
from repository.tree.exporter import prepare_destination, translated_destination

__all__ = ["ExportProblem", "ExportProgress", "ExportResult", "export_point"]

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
    format: ExportFormat = "native",
    progress: Callable[[ExportProgress], None] | None = None,
    *,
    selection: Selection | None = None,
) -> ExportResult:
    """
    Write what `point` holds at or below `path` into `destination`: a new or empty folder; with zip a new file.

    Layout: object/workload/folders. native: messages as .eml (the stored MIME, byte for byte), events and tasks as
    .ics, contacts as .vcf, files with their bytes and times. mbox, ics, vcf: one file per folder, beside the folder of
    its subfolders. html: a page beside each .eml. json: one document per item, its other parts beside it. csv: one
    table per object and workload. `selection`: only what its folders and dates cover.

    Raises:
        NotFound: nothing is at `path`. Conflict: the destination is not empty. UsageError: the format does not fit.
        Unavailable: the destination's disk fails. Single items that cannot be read are problems in the result.
    """
    writer = _Writer(destination, point, progress)

    def plan(problem: Problem) -> Iterator[Exported]:
        browser = Browser(repository, point)
        return walk(repository, browser, path, format, problem, selection)

    # A wrong path fails before anything is made.
    if next(plan(writer.problem), None) is None and format not in ("native", "zip"):
        raise NotFound(f"Nothing there can be exported as {format}.", code="export-nothing")
    if format == "zip":
        writer.write_archive(plan)
        return writer.result
    prepare_destination(destination)
    for one in plan(writer.problem):
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
                self.problem(one.label, made)
                return
            raise made from error
        except BackupError as error:
            self.problem(one.label, error)
        self._show()

    def _write_file(self, target: Path, one: Exported) -> None:
        if one.chunks is None:
            raise InternalError("A folder was written as a file.")
        target.parent.mkdir(parents=True, exist_ok=True)
        self.result.bytes += _write_new(target, one.chunks())
        _set_time(target, one.modified_ns)
        self.result.files += 1

    def write_archive(self, plan: Callable[[Problem], Iterable[Exported]]) -> None:
        """Write one zip file."""

        def counted(problem: Problem) -> Iterator[Exported]:
            for one in plan(problem):
                yield one
                if one.chunks is None:
                    self.result.folders += 1
                else:
                    self.result.files += 1
                self._show()

        target = self._destination
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.result.bytes = _write_new(target, zip_chunks(counted, self.problem))
        except FileExistsError as error:
            message = f"{target} is there already: choose a new file; nothing was written"
            raise Conflict(message, code="destination-not-empty") from error
        except OSError as error:
            raise translated_destination(error, target) from error

    def _show(self) -> None:
        if self._progress is not None:
            result = self.result
            self._progress(ExportProgress(result.files, result.bytes, *self._totals))

    def problem(self, label: str, error: BackupError) -> None:
        """Note an item that could not be written as it should be."""
        if len(self.result.problems) < PROBLEMS_MAX:
            self.result.problems.append(ExportProblem(label, error.code, error.message))

    def finish(self) -> None:
        """Times of folders last, the deepest first: writing into them had changed them."""
        for folder, modified_ns in reversed(self._times):
            _set_time(folder, modified_ns)


def _write_new(target: Path, chunks: Iterator[bytes]) -> int:
    """Write a file that was not there; its bytes. Nothing is left of one that could not be written whole."""
    size = 0
    with target.open("xb") as file:
        try:
            for chunk in chunks:
                file.write(chunk)
                size += len(chunk)
        except BaseException:
            with contextlib.suppress(OSError):
                target.unlink()
            raise
    return size


def _set_time(target: Path, modified_ns: int) -> None:
    if modified_ns > 0:
        with contextlib.suppress(OSError, OverflowError):
            os.utime(target, ns=(modified_ns, modified_ns))
