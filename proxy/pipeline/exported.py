"""
What an export of a restore point consists of: folders and files with their names, times and bytes.

`walk` plans; `export` writes the plan to a folder, `archive` into a zip, `questions` streams it. Names are decided here,
for all alike.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from engine.catalog import Row
from engine.errors import BackupError, UsageError
from engine.manifest import PointEntry
from proxy.contract import ExportFormat, Selection
from proxy.converters.names import distinct_names, safe_name
from proxy.converters.sheets import Entry, sheet_chunks
from proxy.pipeline.rendering import FORMATS, Chunks, Form, gathered, item_files, item_name
from proxy.pipeline.stored_item import StoredItem
from proxy.workloads.moments import iso_text
from proxy.workloads.selection import ItemSelection
from repository import Repository
from repository.browse import Browser, Found

__all__ = ["Exported", "Problem", "walk"]

DEPTH_MAX = 500
GATHERED = b"\x00gathered"  # no id ends so: the file of a folder beside the folder, when names are made distinct
FOLDER_DOCUMENT = b"\x00folder"  # ... and what a folder itself is like, within it
Problem = Callable[[str, BackupError], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """
    A folder or file of the export.

    Attributes:
        path: names below the destination. chunks: its bytes, None for a folder.
        modified_ns: nanoseconds since 1970 UTC, 0: none. size: bytes, if known before.
        label: path as `browse` has it, for messages.
    """

    path: tuple[str, ...]
    chunks: Chunks | None
    modified_ns: int
    size: int | None
    label: str


def walk(
    repository: Repository,
    browser: Browser,
    path: str,
    form: ExportFormat,
    problem: Problem | None = None,
    selection: Selection | None = None,
) -> Iterator[Exported]:
    """
    Everything at or below `path` that the format can express, folders before what is in them.

    Args:
        problem: told of an item in a file of several that cannot be read; it is left out. None: the file ends there.
        selection: only what its folders and dates cover.

    Raises:
        NotFound: there is nothing at `path`. UsageError: there is no such format.
    """
    if form not in FORMATS:
        raise UsageError(
            f"A tenant's data is exported as {', '.join(FORMATS)}, not as {form}.",
            code="format-unfit",
        )
    chosen = FORMATS[form]
    found = browser.find(path)
    segments = [segment for segment in path.split("/") if segment]
    for entry in _entries(browser, found, segments):
        # The catalogs of one entry at a time are in memory.
        own = browser if found.entry is not None else Browser(repository, browser.point)
        covers = ItemSelection(selection or Selection(), entry.workload)
        walker = _Walker(repository, own, entry, chosen, problem, covers)
        yield from walker.walk(found.row if found.entry is not None else None)


def _entries(browser: Browser, found: Found, segments: Sequence[str]) -> list[PointEntry]:
    if found.entry is not None:
        return [found.entry]
    names = segments[:1]
    return [e for e in browser.point.entries if not names or e.object.name == names[0]]


class _Sibling(NamedTuple):
    """What is kept of a row while its folder is written: a folder may hold a million."""

    id: bytes
    container: bool
    created_ns: int
    name: str
    covered: bool  # the others have a say in the names alone, which are those of the whole export


class _Walker:
    """One object and workload."""

    def __init__(
        self,
        repository: Repository,
        browser: Browser,
        entry: PointEntry,
        form: Form,
        problem: Problem | None,
        covers: ItemSelection,
    ) -> None:
        self._covers = covers
        self._folders: tuple[set[bytes], set[bytes]] | None = None
        self._repository = repository
        self._browser = browser
        self._entry = entry
        self._form = form
        self._problem = problem
        self._top = (safe_name(entry.object.name), safe_name(entry.workload))

    def walk(self, start: Row | None) -> Iterator[Exported]:
        """From `start`, or everything. A workload that the format has no form for gives nothing."""
        if not any(self._form.takes(row) for row in self._browser.catalog(self._entry).rows()):
            return
        if self._form.name == "csv":
            yield self._sheet(start)
            return
        if start is not None and not self._is_covered(start):
            return
        if start is None:
            file = self._top[-1] + self._form.ending
            yield from self._container(self._top, file, None)
            return
        above = (*self._top, *self._names_above(start))
        # A message's name holds its id: no need to look at what else is in its folder.
        alone = start.kind == "message"
        names = {start.id: item_name(start, self._form)} if alone else self._names_beside(start)
        if start.kind == "container":
            file = names.get(start.id + GATHERED, "")
            yield from self._container((*above, names[start.id]), file, start)
        elif self._form.ending and self._form.takes(start):
            name = item_name(start).rpartition(".")[0] + self._form.ending
            yield self._file((*above, name), [start.id])
        else:
            yield from self._item(above, names[start.id], start)

    def _within(self, container: Row | None) -> list[_Sibling]:
        """What is directly in a container; None: at the top."""
        ids = (
            self._browser.ids_in(self._entry, container.id)
            if container is not None
            else self._browser.top_ids(self._entry)
        )
        return [
            _Sibling(
                row.id,
                row.kind == "container",
                row.created_ns,
                item_name(row, self._form),
                self._is_covered(row),
            )
            for row in self._browser.rows(self._entry, ids)
        ]

    def _is_covered(self, row: Row) -> bool:
        """Whether the selection covers an item, or anything in a container."""
        if not self._covers.restricts:
            return True
        if self._folders is None:
            rows = self._browser.catalog(self._entry).rows()
            containers = [one for one in rows if one.kind == "container"]
            shown = {one.id for one in self._covers.kept(containers)}
            self._folders = self._covers.covered(containers), shown
        covered, shown = self._folders
        if row.kind == "container":
            return row.id in shown
        return row.container in covered and self._covers.covers(row)

    def _names(self, siblings: Sequence[_Sibling]) -> dict[bytes, str]:
        """Of siblings, and of files that stand beside or in them."""
        names = {one.id: one.name for one in siblings}
        if self._form.ending:
            for one in siblings:
                if one.container:
                    names[one.id + GATHERED] = safe_name(one.name, extension=self._form.ending)
        if self._form.name == "json":
            names[FOLDER_DOCUMENT] = "folder.json"
        return distinct_names(names)

    def _names_above(self, row: Row) -> list[str]:
        names: list[str] = []
        catalog = self._browser.catalog(self._entry)
        above = catalog.get(row.container)
        while above is not None and len(names) < DEPTH_MAX:
            names.append(self._names_beside(above)[above.id])
            above = catalog.get(above.container)
        return names[::-1]

    def _names_beside(self, row: Row) -> dict[bytes, str]:
        return self._names(self._within(self._browser.catalog(self._entry).get(row.container)))

    def _container(
        self, path: tuple[str, ...], file: str, self_row: Row | None
    ) -> Iterator[Exported]:
        modified_ns = self_row.modified_ns if self_row is not None else 0
        yield Exported(path, None, modified_ns, None, "/".join(path))
        if len(path) > DEPTH_MAX:
            return
        siblings = self._within(self_row)
        names = self._names(siblings)
        siblings = [one for one in siblings if one.covered]
        if self._form.ending:
            ordered = sorted((one.created_ns, one.id) for one in siblings if not one.container)
            ids = [row_id for _, row_id in ordered]
            if any(self._form.takes(row) for row in self._browser.rows(self._entry, ids)):
                yield self._file((*path[:-1], file), ids)
        if self_row is not None and self._form.name == "json":
            yield self._folder_document((*path, names[FOLDER_DOCUMENT]), self_row)
        siblings.sort(key=lambda one: (not one.container, names[one.id]))
        for row in self._browser.rows(self._entry, (one.id for one in siblings)):
            if row.kind == "container":
                below = (*path, names[row.id])
                yield from self._container(below, names.get(row.id + GATHERED, ""), row)
            elif not self._form.ending:
                yield from self._item(path, names[row.id], row)

    def _item(self, above: tuple[str, ...], name: str, row: Row) -> Iterator[Exported]:
        if not self._form.takes(row):
            return
        modified_ns = row.created_ns if row.kind == "message" else row.modified_ns
        label = "/".join((*above, name))
        try:
            for one in item_files(self._repository, row, self._form, name):
                yield Exported((*above, one.name), one.chunks, modified_ns, one.size, label)
        except BackupError as error:
            if self._problem is None:
                raise
            self._problem(label, error)

    def _folder_document(self, path: tuple[str, ...], row: Row) -> Exported:
        def document() -> Iterator[bytes]:
            members: dict[str, Any] = msgspec.json.decode(row.meta)
            for part in row.parts:  # what a folder carries: settings of the mailbox
                members[part.role] = msgspec.json.decode(self._repository.read_all(part))
            yield msgspec.json.format(msgspec.json.encode(members), indent=1) + b"\n"

        return Exported(path, document, row.modified_ns, None, "/".join(path))

    def _file(self, path: tuple[str, ...], ids: Sequence[bytes]) -> Exported:
        problem = self._problem

        def note(row: Row, error: BackupError) -> None:
            if problem is not None:
                problem("/".join((*path, item_name(row))), error)

        def chunks() -> Iterator[bytes]:
            title = path[-1].removesuffix(self._form.ending)
            rows = (row for row in self._browser.rows(self._entry, ids) if self._form.takes(row))
            return gathered(self._repository, rows, self._form, title, note if problem else None)

        return Exported(path, chunks, 0, None, "/".join(path))

    def _sheet(self, start: Row | None) -> Exported:
        path = (self._top[0], self._top[1] + ".csv")

        def chunks() -> Iterator[bytes]:
            if start is not None and start.kind != "container":
                lines = self._line("/".join(self._names_above(start)), start)
            else:
                above = self._names_above(start) if start is not None else []
                lines = self._lines("/".join(above), start)
            return sheet_chunks(self._entry.workload, lines)

        return Exported(path, chunks, 0, None, "/".join(path))

    def _lines(self, above: str, container: Row | None) -> Iterator[Entry]:
        """Every item in a container, then those of the containers in it."""
        name = container.name.decode("utf-8", "replace") if container is not None else ""
        folder = f"{above}/{name}".strip("/")
        siblings = [one for one in self._within(container) if one.covered]
        siblings.sort(key=lambda one: (one.container, one.created_ns, one.id))
        for row in self._browser.rows(self._entry, (one.id for one in siblings)):
            if row.kind == "container":
                yield from self._lines(folder, row)
            else:
                yield from self._line(folder, row)

    def _line(self, folder: str, row: Row) -> Iterator[Entry]:
        try:
            item = StoredItem(self._repository, row)
            members = item.members() if item.part("json") is not None else {}
        except BackupError as error:
            if self._problem is None:
                raise
            self._problem("/".join((*self._top, folder, item_name(row))), error)
            return
        yield Entry(
            folder,
            row.name.decode("utf-8", "replace"),
            row.size,
            iso_text(row.created_ns),
            iso_text(row.modified_ns),
            row.id.decode("utf-8", "replace"),
            members,
        )
