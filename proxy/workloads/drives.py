"""
Drives: one change feed per drive, one download per new or changed file.

The feed is a stream of states: the same item may come several times and the last word counts, folders mostly come
before what is in them, a renamed folder comes alone and a deleted one mostly with its contents. Rows name their
folder by id, so a move is one row, and an item may be stored before its folder is known. What cannot be seen page by
page (contents of deleted folders, folders that never came) is settled at the end of a round.
"""

from collections.abc import Iterable

import msgspec

from engine.catalog import Row, removed_row
from proxy.contract import ItemOutcome, ObjectRef
from proxy.graph.budget import SITES
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import GraphNotFound, GraphResync, GraphServiceMissing
from proxy.graph.paging import LinkMachine, Page, decode_as
from proxy.pipeline.outcome import SkipCause, skipped
from proxy.workloads.drive_checkpoint import DriveBook
from proxy.workloads.drive_files import DriveFiles
from proxy.workloads.drive_item import (
    ITEM_MEMBERS,
    DriveItem,
    ItemKind,
    container_row,
    decode_item,
    is_notebook,
    link_row,
)
from proxy.workloads.protocol import Shelf
from proxy.workloads.together import together

__all__ = ["Drives"]

ROUNDS_MAX = 4
FRESH_STARTS_MAX = 3
PAGE_ITEMS = 200
FILES_PER_STEP = 48  # files between two steps of the shelf within a page
PARENTS_DEPTH_MAX = 400


class Drives:
    """The drives workload: all drives of a user."""

    async def backup(self, client: GraphClient, target: ObjectRef, shelf: Shelf) -> None:
        """Bring the shelf up to date with the drives of `target`."""
        book = DriveBook(shelf.checkpoint)
        try:
            names = await _list_drives(client, target.id)
        except GraphServiceMissing:
            shelf.note(skipped(target.id, target.name, "service-not-provisioned"))
            names = {}
        for drive, name in names.items():
            await _Drive(client, drive, name, shelf, book).backup()
        for drive in book.drives.keys() - names.keys():
            await _Drive(client, drive, "", shelf, book).remove()
        await shelf.advance([], book.encode())


async def _list_drives(client: GraphClient, user: str) -> dict[str, str]:
    url = client.url(f"/users/{segment(user)}/drives", {"$select": "id,name,driveType"})
    call = Call(url, SITES, "List drives", units=2.0)
    drives: dict[str, str] = {}
    async for page in client.pages(call):
        for raw in page.items:
            drive = decode_as(_DRIVE, raw)
            drives[drive.id] = drive.name or "Drive"
    return drives


class _DriveHead(msgspec.Struct):
    id: str
    name: str | None = None


_DRIVE = msgspec.json.Decoder(_DriveHead)


class _Drive:
    def __init__(
        self, client: GraphClient, drive: str, name: str, shelf: Shelf, book: DriveBook
    ) -> None:
        self._client = client
        self._drive = drive
        self._name = name
        self._shelf = shelf
        self._book = book
        self._feed = book.feed(drive)
        self._files = DriveFiles(client, drive, shelf, self._feed)
        self._changes = 0

    async def backup(self) -> None:
        await self._retry_failed()
        for _ in range(ROUNDS_MAX):
            self._changes = 0
            await self._read_round()
            if not self._changes:
                break

    async def remove(self) -> None:
        """The drive is gone: so is everything that was in it."""
        rows = [
            removed_row(row_id) for row_id in await self._shelf.ids() if self._feed.owns(row_id)
        ]
        self._shelf.count(removed=len(rows))
        del self._book.drives[self._drive]
        await self._shelf.advance(rows, self._book.encode())

    # -- one round -------------------------------------------------------------------------------

    async def _read_round(self) -> None:
        for attempt in range(FRESH_STARTS_MAX):
            try:
                return await self._read_feed()
            except GraphResync:
                if attempt + 1 == FRESH_STARTS_MAX:
                    raise
                self._feed.begin_afresh()
        return None

    async def _read_feed(self) -> None:
        machine = LinkMachine(self._client.settings.graph_endpoint, delta=True)
        call = self._first_call()
        if self._feed.link:
            call = Call(
                self._feed.link, SITES, call.what, prefer=call.prefer, units=1.0, follows_link=True
            )
        while True:
            page = await self._client.page(call, machine)
            rows = await self._take_page(page)
            self._feed.link = page.delta_link or page.next_link or ""
            if page.delta_link is not None:
                await self._shelf.advance(rows, self._book.encode())
                return await self._end_round()
            await self._shelf.advance(rows, self._book.encode())
            call = call.to(self._feed.link)

    def _first_call(self) -> Call:
        path = f"/drives/{segment(self._drive)}/root/delta"
        query = {"$select": ITEM_MEMBERS, "$top": str(PAGE_ITEMS)}
        return Call(
            self._client.url(path, query),
            SITES,
            "Read the changes of a drive",
            prefer=("deltashowremovedasdeleted",),
            units=2.0,
        )

    async def _take_page(self, page: Page) -> list[Row]:
        newest: dict[str, tuple[DriveItem, bytes]] = {}
        for raw in page.items:
            item = self._decode(bytes(raw))
            if item is not None:
                newest.pop(item.id, None)  # the last word counts, and its place in the order
                newest[item.id] = (item, bytes(raw))
        rows = [row for item, raw in newest.values() for row in self._place(item, raw)]
        fresh = {row.id: row for row in rows}
        files = [
            (item, raw, self._in_notebook(item, fresh))
            for item, raw in newest.values()
            if item.kind is ItemKind.FILE
        ]
        for start in range(0, len(files), FILES_PER_STEP):
            if start:
                await self._shelf.advance(rows, self._book.encode())
                rows = []
            rows += await self._read_files(files[start : start + FILES_PER_STEP])
        self._changes += len(rows)
        return rows

    async def _read_files(self, files: Iterable[tuple[DriveItem, bytes, bool]]) -> list[Row]:
        found = await together(
            self._files.take(item, raw, notebook=notebook) for item, raw, notebook in files
        )
        return [row for row in found if row is not None]

    def _decode(self, raw: bytes) -> DriveItem | None:
        try:
            return decode_item(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            outcome = ItemOutcome(
                self._drive, "", "failed", "graph-bad-answer", "an entry of the feed"
            )
            self._shelf.note(outcome)
            return None

    # -- entries that need no content ------------------------------------------------------------

    def _place(self, item: DriveItem, raw: bytes) -> list[Row]:
        """Rows of everything but files; notes what the end of the round has to look at."""
        feed = self._feed
        row_id = feed.row_id(item.id)
        known = self._shelf.row(row_id)
        if item.kind is ItemKind.DELETED:
            return self._deleted(item, known)
        if feed.seen is not None:
            feed.seen.add(row_id)
        feed.missing.discard(item.id)
        if item.parent and self._shelf.row(feed.row_id(item.parent)) is None:
            feed.missing.add(item.parent)
        if item.kind is ItemKind.CONTAINER:
            row = self._container(item, raw)
        elif item.kind is ItemKind.LINK:
            row = link_row(row_id, feed.row_id(item.parent), item, raw)
        else:
            if item.kind is not ItemKind.FILE:
                self._leave_out(item)
            return []
        return [] if row == known else [row]

    def _deleted(self, item: DriveItem, known: Row | None) -> list[Row]:
        self._feed.retry.discard(item.id)
        if known is None:
            return []
        if known.kind == "container":
            self._feed.deleted.add(item.id)
        else:
            self._shelf.count(removed=1)
        return [removed_row(known.id)]

    def _container(self, item: DriveItem, raw: bytes) -> Row:
        feed = self._feed
        if item.root is not None:
            feed.root = item.id
            return container_row(feed.row_id(item.id), b"", self._name, item, raw, notebook=False)
        parent = feed.row_id(item.parent)
        notebook = item.package is not None or is_notebook(self._shelf.row(parent))
        name = item.name or ""
        return container_row(feed.row_id(item.id), parent, name, item, raw, notebook=notebook)

    def _leave_out(self, item: DriveItem) -> None:
        cause: SkipCause = "malware" if item.kind is ItemKind.INFECTED else "unknown-kind"
        self._shelf.note(skipped(item.id, item.name or "", cause))

    def _in_notebook(self, item: DriveItem, fresh: dict[bytes, Row]) -> bool:
        parent = self._feed.row_id(item.parent)
        return is_notebook(fresh.get(parent) or self._shelf.row(parent))

    # -- the end of a round ----------------------------------------------------------------------

    async def _end_round(self) -> None:
        feed = self._feed
        rows: list[Row] = []
        if feed.seen is not None:
            gone = [r for r in await self._shelf.ids() if feed.owns(r) and r not in feed.seen]
            rows += [removed_row(row_id) for row_id in gone]
            feed.seen, feed.fresh = None, False
        for folder in sorted(feed.deleted):
            if self._shelf.row(feed.row_id(folder)) is None:
                rows += await self._contents(feed.row_id(folder))
        self._shelf.count(removed=len(rows))
        for folder in sorted(feed.missing):
            rows += await self._missing_folder(folder)
        feed.deleted.clear()
        feed.missing.clear()
        if rows:
            self._changes += 1
            await self._shelf.advance(rows, self._book.encode())

    async def _contents(self, container: bytes) -> list[Row]:
        """Rows that remove everything below a folder that is gone."""
        rows: list[Row] = []
        waiting = [container]
        while waiting:
            for row in await self._shelf.children(waiting.pop()):
                rows.append(removed_row(row.id))
                if row.kind == "container":
                    waiting.append(row.id)
        return rows

    async def _missing_folder(self, folder: str) -> list[Row]:
        """Rows of a folder that the feed did not show, and of those above it; or its contents go."""
        rows: list[Row] = []
        for _ in range(PARENTS_DEPTH_MAX):
            if not folder or self._shelf.row(self._feed.row_id(folder)) is not None:
                return rows
            try:
                item, raw = await self._files.head(folder)
            except GraphNotFound:
                return rows + await self._contents(self._feed.row_id(folder))
            rows.append(self._container(item, raw))
            folder = item.parent
        return rows

    async def _retry_failed(self) -> None:
        """Try again what failed in earlier sessions."""
        waiting = sorted(self._feed.retry)
        self._feed.retry.clear()
        rows: list[Row] = []
        for item_id in waiting:
            found = await self._files.look_up(item_id)
            if found is not None:
                item, raw = found
                if item.kind is ItemKind.FILE:
                    notebook = self._in_notebook(item, {})
                    rows += await self._read_files([(item, raw, notebook)])
        if waiting:
            await self._shelf.advance(rows, self._book.encode())
