"""
Restore drill: items read in full and understood as what they are: mail, JSON, Office documents, tree rows.

What comes back byte for byte may still be useless; a parser that takes it shows that it is not. Nothing is written.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email import policy
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING

import msgspec

from engine.catalog import Row
from engine.errors import BackupError, Corruption
from engine.parts import Part

if TYPE_CHECKING:
    from repository.entries import Entry
    from repository.repository import Repository

SAMPLE_ITEMS = 100  # of each entry
ITEM_BYTES_MAX = (
    256 * 1024 * 1024
)  # of a larger one only the beginning is parsed; all of it is read
FAILURES_NAMED_MAX = 100


@dataclass(slots=True)
class KindDrill:
    """Of one kind: items read, their bytes, how many came back and could not be understood."""

    items: int = 0
    bytes: int = 0
    failed: int = 0


@dataclass(slots=True)
class DrillReport:
    """
    Attributes:
        kinds: mail, json, archive (Office documents and other zip files), file, container.
        failures: entry and item, and why; lost bytes and bytes without sense alike.
    """

    kinds: dict[str, KindDrill] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all that was tried came back as what it is."""
        return not any(kind.failed for kind in self.kinds.values())


Progress = Callable[[int, int], None]  # items done, in all


def drill(
    repository: "Repository",
    entries: Iterable["Entry"],
    *,
    everything: bool = False,
    progress: Progress = lambda done, todo: None,
) -> DrillReport:
    """Read and parse a sample of every entry's items, or all of them."""
    report = DrillReport()
    chosen = []
    for entry in entries:
        label = f"{entry.form.object.name}/{entry.form.workload}"
        try:
            rows = list(repository.catalog(entry).rows())
        except BackupError as error:
            _fail(report, "container", label, error.message)
            continue
        chosen += [(label, row) for row in (rows if everything else _sample(rows))]
    for number, (label, row) in enumerate(chosen):
        _try_row(repository, label, row, report)
        progress(number + 1, len(chosen))
    return report


def _sample(rows: list[Row]) -> list[Row]:
    """Evenly spread over the catalog, first and last included."""
    if len(rows) <= SAMPLE_ITEMS:
        return rows
    return [rows[n * (len(rows) - 1) // (SAMPLE_ITEMS - 1)] for n in range(SAMPLE_ITEMS)]


def _try_row(repository: "Repository", label: str, row: Row, report: DrillReport) -> None:
    name = f"{label}: {row.name.decode(errors='replace')}"
    try:
        msgspec.json.decode(row.meta, type=dict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        _fail(report, "container", name, "its properties are no JSON")
        return
    if not row.parts:
        report.kinds.setdefault("container", KindDrill()).items += 1
    for part in row.parts:
        kind = {"mime": "mail", "json": "json"}.get(part.role, "file")
        try:
            size, head = _read(repository, part)
            if kind == "file" and head[:4] == b"PK\x03\x04":
                kind = "archive"
            done = report.kinds.setdefault(kind, KindDrill())
            done.items += 1
            done.bytes += size
            if size <= ITEM_BYTES_MAX:
                _parse(kind, head)
        except BackupError as error:
            _fail(report, kind, name, error.message)
        except (ValueError, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            _fail(report, kind, name, f"it is no {kind} ({type(error).__name__})")


def _read(repository: "Repository", part: Part) -> tuple[int, bytes]:
    """Size of a part that was read in full, and its bytes up to ITEM_BYTES_MAX. Corruption."""
    size, head = 0, bytearray()
    for piece in repository.read(part):
        size += len(piece)
        if len(head) < ITEM_BYTES_MAX:
            head += piece
    if size != part.size:
        raise Corruption("it has another size than its catalog says", code="part-corrupt")
    return size, bytes(head)


def _parse(kind: str, data: bytes) -> None:
    """ValueError or an error of zipfile if the bytes are not of that kind."""
    if kind == "mail":
        if data and not BytesHeaderParser(policy=policy.compat32).parsebytes(data).keys():
            raise ValueError("no header field")
    elif kind == "json":
        json.loads(data)
    elif kind == "archive":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if (broken := archive.testzip()) is not None:
                raise zipfile.BadZipFile(broken)


def _fail(report: DrillReport, kind: str, name: str, why: str) -> None:
    report.kinds.setdefault(kind, KindDrill()).failed += 1
    if len(report.failures) < FAILURES_NAMED_MAX:
        report.failures.append(f"{name}: {why}")
