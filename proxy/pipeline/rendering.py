"""
In which files an item is written, by format: as it was stored where that is an open format, else converted.

Formats with one file an item: native, eml, html, json. Formats with one file a folder (`gathered`): mbox, ics, vcf; the
items follow each other in it as they are read, so one item is in memory. csv is one file a workload.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

import msgspec

from engine.catalog import Row
from engine.errors import BackupError, NotFound
from proxy.contract import ExportFormat
from proxy.converters.eml import rebuilt_mime, rendered_item
from proxy.converters.graph_json import entries, line, member, text
from proxy.converters.html_page import message_page
from proxy.converters.ics import Component, calendar_chunks, event_component
from proxy.converters.ics_task import task_component
from proxy.converters.letter import letter_of_json, letter_of_mime
from proxy.converters.mbox import mboxrd
from proxy.converters.names import clash_suffix, safe_name
from proxy.converters.vcf import vcard
from proxy.pipeline.stored_item import StoredItem
from repository import Repository

__all__ = [
    "FORMATS",
    "Chunks",
    "Form",
    "ItemFile",
    "gathered",
    "item_chunks",
    "item_files",
    "item_name",
]

T = TypeVar("T")
Chunks = Callable[[], Iterator[bytes]]
Note = Callable[[Row, BackupError], None]
ENDINGS = {"message": ".eml", "event": ".ics", "task": ".ics", "contact": ".vcf", "link": ".url"}
NAMELESS = {
    "message": "(no subject)",
    "event": "(no subject)",
    "task": "(no title)",
    "contact": "(no name)",
}
PART_ENDINGS = {"mime": ".eml", "photo": ".jpg", "fts": ".fts"}


@dataclass(frozen=True, slots=True)
class Form:
    """
    Attributes:
        kinds: of items it can express; None: all.
        ending: of the file of a folder; "" where each item has files of its own.
    """

    name: ExportFormat
    kinds: frozenset[str] | None = None
    ending: str = ""

    def takes(self, row: Row) -> bool:
        """Whether the format has a form for such an item."""
        return self.kinds is None or row.kind in self.kinds


_FORMS = (
    Form("native"),
    Form("eml", frozenset({"message"})),
    Form("mbox", frozenset({"message"}), ".mbox"),
    Form("ics", frozenset({"event", "task"}), ".ics"),
    Form("vcf", frozenset({"contact"}), ".vcf"),
    Form("html", frozenset({"message"})),
    Form("json"),
    Form("csv"),
    Form("zip"),  # native, in one file
)
FORMATS: dict[ExportFormat, Form] = {form.name: form for form in _FORMS}


@dataclass(frozen=True, slots=True)
class ItemFile:
    """One file of an item. `size`: bytes, if known before."""

    name: str
    chunks: Chunks
    size: int | None = None


def item_name(row: Row, form: Form = FORMATS["native"]) -> str:
    """
    The name of an item's first file, safe everywhere. Siblings may still clash, but messages never do.
    """
    name = row.name.decode("utf-8", "replace")
    if row.kind == "container":
        return safe_name(name)
    ending = ".json" if form.name == "json" or _is_record(row) else ENDINGS.get(row.kind, "")
    suffix = clash_suffix(row.id) if row.kind == "message" else ""
    if not ending:
        return safe_name(name)
    return safe_name(name or NAMELESS.get(row.kind, ""), extension=suffix + ending)


def item_files(repository: Repository, row: Row, form: Form, name: str) -> Iterator[ItemFile]:
    """
    The files of one item.

    Args:
        name: `item_name`, made distinct from its siblings'.

    Raises:
        BackupError: it cannot be read. Errors of contents come with the chunks.
    """
    item = StoredItem(repository, row)
    if form.name == "json":
        yield from _documents(item, name)
        return
    if form.name == "html":
        page = name.removesuffix(".eml") + ".html"
        yield ItemFile(page, lambda: iter([_page(item, name)]))
    yield ItemFile(name, lambda: item_chunks(repository, row), row.size)


def item_chunks(repository: Repository, row: Row) -> Iterator[bytes]:
    """
    The bytes of one item in its own open format.

    Raises:
        NotFound: the row has no bytes.
    """
    item = StoredItem(repository, row)
    if row.kind == "link":
        return iter([_link(row)])
    if row.kind in CONVERTERS:
        return CONVERTERS[row.kind](item)
    if _is_record(row):
        return iter([item.document() + b"\n"])
    part = item.part("content")
    if part is None:
        raise NotFound("The item has no content.", code="item-empty")
    return item.chunks(part)


def _is_record(row: Row) -> bool:
    """Whether it is of a kind that has no open format but its JSON (rules, settings)."""
    roles = {part.role for part in row.parts}
    return row.kind not in CONVERTERS and "json" in roles and "content" not in roles


def gathered(
    repository: Repository, rows: Iterable[Row], form: Form, title: str, note: Note | None
) -> Iterator[bytes]:
    """
    One file of several items.

    Args:
        rows: in their order. title: the folder's name.
        note: told of an item that cannot be read, which is left out; None: the file ends there.
    """

    def each(convert: Callable[[StoredItem], T]) -> Iterator[tuple[Row, T]]:
        for row in rows:
            try:
                yield row, convert(StoredItem(repository, row))
            except BackupError as error:
                if note is None:
                    raise
                note(row, error)

    if form.name == "mbox":
        return mboxrd((_sender(row), row.created_ns, mime) for row, mime in each(_whole_mime))
    if form.name == "ics":
        return calendar_chunks((made for _, made in each(_component)), name=title)
    return (card for _, card in each(_vcard))


def _mime(item: StoredItem) -> Iterator[bytes]:
    mime = item.part("mime")
    if mime is not None:
        return item.chunks(mime)
    if item.part("json") is None:
        raise NotFound("The message has no content.", code="item-empty")
    return iter([rebuilt_mime(item.members(), item.attachments())])


def _whole_mime(item: StoredItem) -> bytes:
    mime = item.part("mime")
    return item.content(mime) if mime is not None else b"".join(_mime(item))


def _component(item: StoredItem) -> Component:
    convert = task_component if item.row.kind == "task" else event_component
    return convert(item.members(), [rendered_item(one) for one in item.attachments()])


def _calendar(item: StoredItem) -> Iterator[bytes]:
    return calendar_chunks([_component(item)])


def _vcard(item: StoredItem) -> bytes:
    photo = item.part("photo")
    return vcard(item.members(), item.content(photo) if photo is not None else None)


CONVERTERS: dict[str, Callable[[StoredItem], Iterator[bytes]]] = {
    "message": _mime,
    "event": _calendar,
    "task": _calendar,
    "contact": lambda item: iter([_vcard(item)]),
}


def _page(item: StoredItem, whole: str) -> bytes:
    mime = item.part("mime")
    if mime is not None:
        return message_page(letter_of_mime(item.content(mime)), whole)
    return message_page(letter_of_json(item.members(), item.attachments()), whole)


def _documents(item: StoredItem, name: str) -> Iterator[ItemFile]:
    """The JSON object of an item, and each part that is no JSON as a file that it names."""
    stem = name.removesuffix(".json")
    names = _attachment_names(item)
    files: list[dict[str, Any]] = []
    for part in item.row.parts:
        if part.role in ("json", "attachments", "content"):
            continue
        ending = PART_ENDINGS.get(
            part.role, PurePosixPath(safe_name(names.get(part.role, ""))).suffix
        )
        role = "" if part.role in PART_ENDINGS else f".{part.role}"
        file = safe_name(stem, extension=role + ending)
        files.append({"role": part.role, "file": file, "size": part.size})
        yield ItemFile(file, lambda part=part: item.chunks(part), part.size)  # type: ignore[misc]
    yield ItemFile(name, lambda: iter([_document(item, files)]))


def _document(item: StoredItem, files: list[dict[str, Any]]) -> bytes:
    row = item.row
    about: dict[str, object] = {
        "id": row.id.decode("utf-8", "replace"),
        "kind": row.kind,
        "files": files,
    }
    if (listing := item.attachment_listing()) is not None:
        about["attachments"] = listing
    pairs = (b'"item":' + item.document(), b'"strongroom":' + msgspec.json.encode(about))
    return msgspec.json.format(b"{" + b",".join(pairs) + b"}", indent=1) + b"\n"


def _attachment_names(item: StoredItem) -> dict[str, str]:
    listing = item.attachment_listing()
    return {
        text(entry.get("content")): text(member(entry, "members", "name"))
        for entry in entries(listing)
    }


def _sender(row: Row) -> str:
    return msgspec.json.decode(row.meta, type=_Meta).sender


def _link(row: Row) -> bytes:
    target = line(msgspec.json.decode(row.meta, type=_Link).remote.get("webUrl"))
    return f"[InternetShortcut]\r\nURL={target}\r\n".encode()


class _Meta(msgspec.Struct):
    sender: str = msgspec.field(default="", name="from")


class _Link(msgspec.Struct):
    remote: dict[str, object] = msgspec.field(default_factory=dict, name="remoteItem")
