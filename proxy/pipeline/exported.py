"""
What an export of a restore point consists of: folders and files with their names, times and bytes.

`walk` plans; `export` writes the plan to a folder, `questions` streams it as an archive. Names are decided here, for
both alike.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from engine.catalog import Row
from engine.errors import NotFound, UsageError
from engine.manifest import PointEntry
from engine.parts import Part
from proxy.converters.eml import eml_from_json
from proxy.converters.mbox import mboxrd
from proxy.converters.names import clash_suffix, distinct_names, safe_name
from repository import Repository
from repository.browse import Browser, Found

__all__ = ["FORMATS", "Exported", "Format", "item_chunks", "item_name", "walk"]

Format = Literal["native", "eml", "mbox"]
FORMATS: tuple[Format, ...] = ("native", "eml", "mbox")
DEPTH_MAX = 500
Chunks = Callable[[], Iterator[bytes]]


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


class _Meta(msgspec.Struct):
    sender: str = msgspec.field(default="", name="from")


class _Link(msgspec.Struct):
    remote: dict[str, object] = msgspec.field(default_factory=dict, name="remoteItem")


def walk(repository: Repository, browser: Browser, path: str, form: Format) -> Iterator[Exported]:
    """
    Everything at or below `path`, folders before what is in them.

    Raises:
        NotFound: there is nothing at `path`. UsageError: `form` does not fit.
    """
    if form not in FORMATS:
        raise UsageError(
            f"A tenant's data is exported as {', '.join(FORMATS)}, not as {form}.",
            code="format-unfit",
        )
    found = browser.find(path)
    segments = [segment for segment in path.split("/") if segment]
    for entry in _entries(browser, found, segments):
        if form != "native" and entry.workload != "mail":
            continue  # eml and mbox are forms of mail
        walker = _Walker(repository, browser, entry, form)
        yield from walker.walk(found.row if found.entry is not None else None)


def _entries(browser: Browser, found: Found, segments: Sequence[str]) -> list[PointEntry]:
    if found.entry is not None:
        return [found.entry]
    names = segments[:1]
    return [e for e in browser.point.entries if not names or e.object.name == names[0]]


def item_name(row: Row) -> str:
    """File name of one item."""
    name = row.name.decode("utf-8", "replace")
    if row.kind == "message":
        suffix = clash_suffix(row.id)
        return safe_name(name or "(no subject)", extension=suffix + ".eml")
    if row.kind == "link":
        return safe_name(name, extension=".url")
    return safe_name(name)


def item_chunks(repository: Repository, row: Row) -> Chunks:
    """
    The bytes of one item: a message as MIME, a file as it was.

    Raises:
        NotFound: the row has no bytes.
    """
    if row.kind == "message":
        return _message_chunks(repository, row)
    if row.kind == "link":
        return _link_chunks(row)
    part = _part(row, "content")
    if part is None:
        raise NotFound("The item has no content.", code="item-empty")
    return lambda: repository.read(part)


def _message_chunks(repository: Repository, row: Row) -> Chunks:
    mime = _part(row, "mime")
    if mime is not None:
        return lambda: repository.read(mime)
    json = _part(row, "json")
    if json is None:
        raise NotFound("The message has no content.", code="item-empty")
    attachments = _part(row, "attachments")

    def rebuilt() -> Iterator[bytes]:
        listing = repository.read_all(attachments) if attachments else None
        yield eml_from_json(repository.read_all(json), listing)

    return rebuilt


def _link_chunks(row: Row) -> Chunks:
    target = msgspec.json.decode(row.meta, type=_Link).remote.get("webUrl")
    text = f"[InternetShortcut]\r\nURL={target or ''}\r\n"
    return lambda: iter([text.encode()])


def _part(row: Row, role: str) -> Part | None:
    return next((part for part in row.parts if part.role == role), None)


class _Walker:
    """One object and workload."""

    def __init__(
        self, repository: Repository, browser: Browser, entry: PointEntry, form: Format
    ) -> None:
        self._repository = repository
        self._browser = browser
        self._entry = entry
        self._mbox = form == "mbox"
        self._top = (safe_name(entry.object.name), safe_name(entry.workload))

    def walk(self, start: Row | None) -> Iterator[Exported]:
        """From `start`, or everything."""
        if start is None:
            rows = self._browser.top_containers(self._entry)
            yield from self._container(self._top, rows, None)
            return
        path = (*self._top, *self._names_above(start))
        if start.kind == "container":
            name = self._name_of(start)
            rows = self._browser.rows_in(self._entry, start.id)
            yield from self._container((*path, name), rows, start)
        elif self._mbox:
            name = item_name(start).removesuffix(".eml") + ".mbox"
            yield self._folder_mbox((*path, name), [start])
        else:
            yield self._item((*path, self._name_of(start)), start)

    def _names_above(self, row: Row) -> list[str]:
        names: list[str] = []
        catalog = self._browser.catalog(self._entry)
        above = catalog.get(row.container)
        while above is not None and len(names) < DEPTH_MAX:
            names.append(self._name_of(above))
            above = catalog.get(above.container)
        return names[::-1]

    def _name_of(self, row: Row) -> str:
        known = row.container in self._browser.catalog(self._entry)
        siblings = (
            self._browser.rows_in(self._entry, row.container)
            if known
            else self._browser.top_containers(self._entry)
        )
        return distinct_names({r.id: item_name(r) for r in siblings})[row.id]

    def _container(
        self, path: tuple[str, ...], rows: Sequence[Row], self_row: Row | None
    ) -> Iterator[Exported]:
        modified_ns = self_row.modified_ns if self_row is not None else 0
        yield Exported(path, None, modified_ns, None, "/".join(path))
        if len(path) > DEPTH_MAX:
            return
        messages = [row for row in rows if row.kind == "message"] if self._mbox else []
        if messages:
            yield self._folder_mbox((*path[:-1], path[-1] + ".mbox"), messages)
        names = distinct_names({row.id: item_name(row) for row in rows})
        for row in sorted(rows, key=lambda row: (row.kind != "container", names[row.id])):
            below = (*path, names[row.id])
            if row.kind == "container":
                inner = self._browser.rows_in(self._entry, row.id)
                yield from self._container(below, inner, row)
            elif not self._mbox:
                yield self._item(below, row)

    def _item(self, path: tuple[str, ...], row: Row) -> Exported:
        modified_ns = row.created_ns if row.kind == "message" else row.modified_ns
        repository = self._repository

        def chunks() -> Iterator[bytes]:
            return item_chunks(repository, row)()  # an item without bytes is that item's problem

        return Exported(path, chunks, modified_ns, row.size, "/".join(path))

    def _folder_mbox(self, path: tuple[str, ...], rows: Sequence[Row]) -> Exported:
        ordered = sorted(rows, key=lambda row: (row.created_ns, row.id))

        def messages() -> Iterator[tuple[str, int, bytes]]:
            for row in ordered:
                sender = msgspec.json.decode(row.meta, type=_Meta).sender
                mime = b"".join(_message_chunks(self._repository, row)())
                yield sender, row.created_ns, mime

        return Exported(path, lambda: mboxrd(messages()), 0, None, "/".join(path))
