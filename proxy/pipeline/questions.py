"""
Read-only questions about a repository: restore points, browsing, downloads. Synchronous: asked in threads.

Answers are JSON objects with `items` and `next` (what to give as `after` for the next page, or null).
"""

import mimetypes
import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

import msgspec

from engine.catalog import Row
from engine.errors import NotFound, UsageError
from engine.manifest import PointForm
from proxy.contract import BrowseRequest, TaskSecrets
from proxy.converters.names import safe_name
from proxy.keeper import RepositoryKeeper
from proxy.pipeline.archive import zip_chunks
from proxy.pipeline.context import Download
from proxy.pipeline.exported import Exported, Problem, walk
from proxy.pipeline.rendering import item_chunks, item_name
from proxy.workloads.moments import iso_text
from repository import Repository
from repository.browse import Browser, Listed, is_tree

__all__ = ["Questions"]

BROWSERS_MAX = 4  # restore points whose catalogs stay in memory
MEDIA_TYPES = {
    "eml": "message/rfc822",
    "mbox": "application/mbox",
    "ics": "text/calendar",
    "vcf": "text/vcard",
}
ITS_OWN = frozenset({"native", "eml"})  # an item as it is
SINGLE = frozenset({"mbox", "ics", "vcf", "html", "json", "csv"})  # no archive around one file
DETAILS = frozenset(
    {
        *("from", "received", "attachments", "isRead", "draft", "note", "hidden"),
        *("start", "end", "all_day", "recurring", "cancelled", "organizer"),
        *("email", "company", "photo", "status", "due"),
    }
)


class Questions:
    """Answers over the keeper's open repositories. Safe from several threads."""

    def __init__(self, keeper: RepositoryKeeper) -> None:
        self._keeper = keeper
        self._lock = threading.Lock()
        self._browsers: OrderedDict[tuple[str, str], Browser] = OrderedDict()

    def answer(self, operation: str, request: BrowseRequest, secrets: TaskSecrets) -> bytes:
        """
        JSON of `points` or `browse`.

        Raises:
            UsageError: no such operation. NotFound: no such point or path.
        """
        repository = self._repository(request, secrets)
        if operation == "points":
            points = [_point_document(point) for point in reversed(repository.points())]
            return msgspec.json.encode({"items": points, "next": None})
        if operation == "browse":
            return msgspec.json.encode(_browse(self._browser(repository, request.point), request))
        raise UsageError("A proxy answers points, browse and ticket.", code="question-invalid")

    def open_download(self, request: BrowseRequest, secrets: TaskSecrets) -> Download:
        """
        The bytes at a path: one item as it is, one file of a format if that is all, anything else as a zip archive.

        Raises:
            NotFound: no such point or path. UsageError: the format does not fit.
        """
        repository = self._repository(request, secrets)
        browser = self._browser(repository, request.point)
        if is_tree(browser.point):
            raise UsageError(
                "Restore points of directory trees are exported with `strongroom export`.",
                code="format-unfit",
            )
        row = browser.find(request.path).row
        if row is not None and row.kind != "container" and request.format in ITS_OWN:
            return _item_download(repository, row)

        def plan(problem: Problem | None = None) -> Iterator[Exported]:
            return walk(repository, browser, request.path, request.format, problem)

        files = list(islice((one for one in plan() if one.chunks is not None), 2))
        if not files and request.format != "native":
            raise NotFound(
                f"Nothing there can be exported as {request.format}.", code="export-nothing"
            )
        if len(files) == 1 and request.format in SINGLE:
            return _file_download(files[0])
        segments = [segment for segment in request.path.split("/") if segment]
        name = safe_name((segments or [browser.point.name])[-1], extension=".zip")
        return Download(name, "application/zip", None, zip_chunks(plan))

    def _repository(self, request: BrowseRequest, secrets: TaskSecrets) -> Repository:
        if secrets.passphrase is None:
            raise UsageError("The repository has no passphrase.", code="passphrase-missing")
        repository = self._keeper.repository(request.repository_url, secrets.passphrase)
        repository.refresh()
        return repository

    def _browser(self, repository: Repository, text: str) -> Browser:
        """A few stay, because loading a catalog takes longer than reading a page of it."""
        point = repository.point(text)
        key = (repository.id, point.id)
        with self._lock:
            browser = self._browsers.pop(key, None) or Browser(repository, point)
            self._browsers[key] = browser
            while len(self._browsers) > BROWSERS_MAX:
                self._browsers.popitem(last=False)
        return browser


def _item_download(repository: Repository, row: Row) -> Download:
    name = item_name(row)
    as_stored = any(part.role in ("mime", "content") for part in row.parts)
    chunks = item_chunks(repository, row)
    return Download(name, _media_type(name), row.size if as_stored else None, chunks)


def _file_download(one: Exported) -> Download:
    name = one.path[-1]
    chunks = one.chunks() if one.chunks is not None else iter(())
    return Download(name, _media_type(name), None, chunks)


def _media_type(name: str) -> str:
    if (known := MEDIA_TYPES.get(name.rpartition(".")[2])) is not None:
        return known
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _browse(browser: Browser, request: BrowseRequest) -> dict[str, object]:
    listed: Iterator[Listed] = browser.list(request.path)
    if request.after:
        for one in listed:
            if one.name == request.after:
                break
    page = list(islice(listed, request.limit))
    more = next(listed, None)
    items = [_document(one) for one in page]
    return {"items": items, "next": page[-1].name if page and more is not None else None}


def _document(one: Listed) -> dict[str, object]:
    document: dict[str, object] = {
        "name": one.name,
        "path": one.path,
        "kind": one.kind,
        "size": one.size,
        "modified_at": iso_text(one.modified_ns) or None,
    }
    if one.row is None:
        document["items"] = one.items
        return document
    document["id"] = one.row.id.decode("utf-8", "replace")
    document["title"] = one.row.name.decode("utf-8", "replace")
    meta = msgspec.json.decode(one.row.meta or b"{}")
    document.update((key, value) for key, value in meta.items() if key in DETAILS)
    return document


def _point_document(point: PointForm) -> dict[str, object]:
    entries = [
        {
            "object": entry.object.name,
            "object_kind": entry.object.kind,
            "object_id": entry.object.id,
            "display_name": entry.object.display_name,
            "workload": entry.workload,
            "items": entry.items,
            "bytes": entry.bytes,
        }
        for entry in point.entries
    ]
    return {
        "id": point.id,
        "name": point.name,
        "created_at": point.created_at,
        "session": point.session,
        "result": point.result,
        "objects": len({entry.object.id for entry in point.entries}),
        "items": sum(entry.items for entry in point.entries),
        "bytes": sum(entry.bytes for entry in point.entries),
        "entries": entries,
    }
