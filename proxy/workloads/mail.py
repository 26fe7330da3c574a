"""
Mail: one change feed per folder, one MIME fetch per new or changed message.

A pass over a mailbox goes in rounds. A round lists the folders and reads every folder's feed to its end; rounds
repeat until one brings nothing, because the feeds of the folders are not one consistent view: a message moved while
they are read is met twice or not at all. Only then removals count (`mail_removals`).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from engine.catalog import Row, removed_row
from proxy.contract import ItemOutcome, ObjectRef, Selection
from proxy.graph.budget import Scope
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import (
    GraphDenied,
    GraphError,
    GraphItemFault,
    GraphNotFound,
    GraphRefused,
    GraphResync,
    GraphServiceMissing,
    GraphUnsupported,
)
from proxy.graph.paging import LinkMachine, Page
from proxy.pipeline.outcome import SkipCause, failed, skipped
from proxy.workloads.item_export import STREAM, ItemExport, lacks_stream
from proxy.workloads.mail_checkpoint import FolderFeed, MailBook
from proxy.workloads.mail_content import MessageReader
from proxy.workloads.mail_folders import folder_is_gone, folder_rows
from proxy.workloads.mail_item import (
    MESSAGE_MEMBERS,
    MessageHead,
    Removed,
    decode_entry,
    is_bare,
    received_ns,
    with_state,
)
from proxy.workloads.mail_removals import Removals
from proxy.workloads.mail_selection import MailSelection
from proxy.workloads.mail_settings import read_settings
from proxy.workloads.mail_tree import MailTree
from proxy.workloads.moments import nanoseconds
from proxy.workloads.protocol import FailureRun, Shelf
from proxy.workloads.together import together

__all__ = ["Mail"]

ROUNDS_MAX = 5
FOLDERS_AT_ONCE = 4
FETCHES_AT_ONCE = 4  # the mailbox answers no more than four calls at once
FOLDER_FAILURES_MAX = 3
PAGE_ITEMS = 200
FRESH_STARTS_MAX = 3
IMMUTABLE_IDS = 'IdType="ImmutableId"'


class Mail:
    """The mail workload, as far as a job's selection covers it."""

    def __init__(self, selection: Selection | None = None) -> None:
        self._selection = MailSelection(selection or Selection())

    async def backup(self, client: GraphClient, target: ObjectRef, shelf: Shelf) -> None:
        """Bring the shelf up to date with the mailbox of `target`."""
        try:
            await _Mailbox(client, target.id, shelf, self._selection).backup()
        except GraphServiceMissing:
            shelf.note(skipped(target.id, target.name, "service-not-provisioned"))


class _Mailbox:
    def __init__(
        self, client: GraphClient, user: str, shelf: Shelf, selection: MailSelection
    ) -> None:
        self._client = client
        self._user = user
        self._shelf = shelf
        self._selection = selection
        self._book = MailBook(shelf.checkpoint)
        self._tree = MailTree(client, user, (IMMUTABLE_IDS,), shelf, self._book)
        self._messages = _Messages(client, user, shelf, self._book, selection)
        self._removals = Removals(shelf)
        self._failures = FailureRun(FOLDER_FAILURES_MAX)
        self._unread: dict[str, ItemOutcome] = {}  # folders, as of the newest round
        self._changes = 0

    async def backup(self) -> None:
        await self._apply_selection()
        if self._selection.exports and await self._messages.export.open():
            if not self._book.streams:  # the stored messages have none yet
                for feed in self._book.folders.values():
                    feed.begin_afresh()
            self._book.streams = True
        for number in range(ROUNDS_MAX):
            self._changes = 0
            folders = await self._read_tree()
            if number == 0:
                await self._messages.retry_failed(folders)
            await self._read_folders(folders)
            if not self._changes:
                break
        if self._selection.exports and not self._messages.export.mailbox:
            self._book.streams = False  # not offered, perhaps from the middle on
        for outcome in self._unread.values():
            self._shelf.note(outcome)
        last = await self._settings()
        last += await self._removals.settle(self._messages.look_up)
        for feed in self._book.folders.values():
            feed.release()
        for folder in self._removals.folders:
            self._book.forget(folder)
        await self._shelf.advance(last, self._book.encode())

    async def _settings(self) -> list[Row]:
        """The row of the inbox, if the settings that it carries have changed."""
        ids = [f for f, name in self._book.tree.well_known.items() if name == "inbox"]
        inbox = self._shelf.row(ids[0].encode()) if ids else None
        if inbox is None:
            return []  # the selection leaves it out
        row = await read_settings(self._client, self._user, self._shelf, inbox)
        return [] if row is None else [row]

    async def _apply_selection(self) -> None:
        """Another selection than that of the stored rows: look at every message again, drop those that it leaves out."""
        if self._book.selection == self._selection.mark:
            return
        left_out: list[Row] = []
        if not self._selection.recoverable_items:
            for folder in self._tree.recoverable():
                left_out += [removed_row(folder.encode()), *await self._leave_out(folder)]
        for folder, feed in self._book.folders.items():
            for row in await self._shelf.children(folder.encode()):
                if row.kind == "message" and not self._selection.covers_time(received_ns(row)):
                    left_out.append(removed_row(row.id))
                    self._shelf.count(removed=1)
            feed.begin_afresh()
        self._book.tree.link = ""
        self._book.selection = self._selection.mark
        await self._shelf.advance(left_out, self._book.encode())

    async def _read_tree(self) -> dict[str, str]:
        """Store what changed in the tree; id and name of each folder that is covered."""
        folders = await self._tree.read(recoverable_items=self._selection.recoverable_items)
        kept = self._selection.kept(folders)
        covered = self._messages.covered = self._selection.covered(folders)
        shown = self._book.tree.shown
        self._book.tree.shown = [folder.id for folder in kept]
        present = {folder.id for folder in folders}
        for folder in {*self._book.folders, *shown} - present - self._removals.folders:
            if await folder_is_gone(self._client, self._user, folder):
                await self._removals.folder_is_gone(folder)
                if folder in self._book.folders:
                    self._book.feed(folder).hold()
                self._changes += 1
        rows = [row for row in folder_rows(kept, self._shelf.row) if self._shelf.row(row.id) != row]
        for folder in self._book.folders.keys() & present - covered:
            rows += await self._leave_out(folder)
        rows += [
            removed_row(f.encode()) for f in present.intersection(shown) - {*self._book.tree.shown}
        ]
        for folder in covered:
            self._book.feed(folder)
        if rows:
            await self._shelf.advance(rows, self._book.encode())
        return {folder.id: folder.name for folder in kept if folder.id in covered}

    async def _leave_out(self, folder: str) -> list[Row]:
        """A folder that is not covered any more: rows that remove what the catalog has in it."""
        self._book.forget(folder)
        rows = await self._shelf.children(folder.encode())
        left_out = [removed_row(row.id) for row in rows if row.kind == "message"]
        self._shelf.count(removed=len(left_out))
        return left_out

    async def _read_folders(self, folders: Mapping[str, str]) -> None:
        places = asyncio.Semaphore(FOLDERS_AT_ONCE)

        async def read(folder: str, name: str) -> None:
            async with places:
                try:
                    await self._read_folder(folder)
                    self._failures.succeeded()
                    self._unread.pop(folder, None)
                except GraphError as error:
                    # One folder that cannot be read does not cost the others.
                    self._failures.failed(error)
                    self._unread[folder] = failed(folder, name, error)

        await together(read(folder, name) for folder, name in folders.items())

    async def _read_folder(self, folder: str) -> None:
        feed = self._book.feed(folder)
        for attempt in range(FRESH_STARTS_MAX):
            try:
                return await self._read_feed(folder, feed)
            except (GraphUnsupported, GraphRefused):
                # Some folders answer a feed with 400 (graph-lessons 33); a request that is wrong fails in the listing too.
                return await self._read_listing(folder, feed)
            except GraphResync:
                if attempt + 1 == FRESH_STARTS_MAX:
                    raise
                feed.begin_afresh()
            except GraphNotFound:
                if not await folder_is_gone(self._client, self._user, folder):
                    raise
                return None  # the next round, or the next session, misses it in the tree
        return None

    async def _read_feed(self, folder: str, feed: FolderFeed) -> None:
        machine = LinkMachine(self._client.settings.graph_endpoint, delta=True)
        call = self._feed_call(folder)
        if feed.live:
            call = call.to(feed.live)
        while True:
            page = await self._client.page(call, machine)
            rows = await self._take_page(folder, feed, page)
            ended = page.delta_link is not None
            if ended and feed.seen is not None:
                await self._removals.all_but(folder, feed.seen)
                feed.seen = None
            link = page.delta_link or page.next_link or ""
            feed.go_on(link, ended=ended)
            if rows or page.items:
                await self._shelf.advance(rows, self._book.encode())
            if ended:
                return
            call = call.to(link)

    async def _read_listing(self, folder: str, feed: FolderFeed) -> None:
        """
        All messages of a folder whose changes the service does not track, or not now (a mailbox over its quota).

        The feed stays afresh: the next session tries it again.
        """
        feed.begin_afresh()
        seen = feed.seen = set()
        async for page in self._client.pages(self._feed_call(folder, "messages")):
            rows = await self._take_page(folder, feed, page)
            self._changes += len(rows) - len(page.items)  # a listing brings everything every time
            await self._shelf.advance(rows, self._book.encode())
        await self._removals.all_but(folder, seen)

    def _feed_call(self, folder: str, below: str = "messages/delta") -> Call:
        path = f"/users/{segment(self._user)}/mailFolders/{segment(folder)}/{below}"
        return Call(
            self._client.url(path, {"$select": MESSAGE_MEMBERS}),
            Scope.mailbox(self._user),
            "Read the changes of a mail folder",
            prefer=(IMMUTABLE_IDS, f"odata.maxpagesize={PAGE_ITEMS}"),
        )

    async def _take_page(self, folder: str, feed: FolderFeed, page: Page) -> list[Row]:
        """Read what a page says is new; rows of what could be stored."""
        newest: dict[str, tuple[MessageHead, bytes]] = {}  # the same id twice: the last one counts
        for raw in page.items:
            entry = self._messages.entry(folder, bytes(raw))
            if isinstance(entry, Removed):
                newest.pop(entry.id, None)
                self._removals.left(entry.id, folder)
                feed.hold()
            elif entry is not None:
                newest[entry.id] = (entry, bytes(raw))
                if feed.seen is not None:
                    feed.seen.add(entry.id.encode())
        self._changes += len(page.items)
        found = await together(
            self._messages.take(folder, head, raw) for head, raw in newest.values()
        )
        return await self._messages.with_streams(folder, [row for row in found if row is not None])


class _Messages:
    """Messages of a mailbox one by one: unchanged, read, failed."""

    def __init__(
        self,
        client: GraphClient,
        user: str,
        shelf: Shelf,
        book: MailBook,
        selection: MailSelection,
    ) -> None:
        self.covered: set[str] = set()  # ids of folders
        self._shelf = shelf
        self._book = book
        self._selection = selection
        self._reader = MessageReader(client, user, (IMMUTABLE_IDS,), shelf, book.failed)
        self.export = ItemExport(client, user, (IMMUTABLE_IDS,), shelf)
        self._fetching = asyncio.Semaphore(FETCHES_AT_ONCE)
        self._failures = FailureRun()

    def entry(self, folder: str, raw: bytes) -> MessageHead | Removed | None:
        """An entry of a feed; None, with an outcome, if it cannot be understood."""
        try:
            return decode_entry(raw)
        except (msgspec.DecodeError, ValueError):
            outcome = ItemOutcome(folder, "", "failed", "graph-bad-answer", "an entry of the feed")
            self._shelf.note(outcome)
            return None

    async def take(self, folder: str, head: MessageHead, raw: bytes) -> Row | None:
        """The row of a message that a feed named; None if there is nothing to store."""
        if not self._selection.covers_time(nanoseconds(head.received_date_time)):
            return None
        known = self._shelf.row(head.id.encode())
        if known is not None and head.change_key in (None, known.version):
            return self._unchanged(known, folder, raw)
        async with self._fetching:
            try:
                row = await self._reader.read(folder, head, raw)
            except GraphNotFound:
                return None  # deleted since the page was made: the feed will say so
            except GraphItemFault as error:
                if not self.export.mailbox:
                    self._shelf.note(failed(head.id, head.subject or "", error))
                    return None
                row = await self._reader.bare(folder, head, raw)
            except GraphError as error:
                self._failures.failed(error)
                self._book.failed(head.id, folder)
                self._shelf.note(failed(head.id, head.subject or "", error))
                return None
        self._failures.succeeded()
        self._shelf.count(stored=1)
        return row

    async def with_streams(self, folder: str, rows: list[Row]) -> list[Row]:
        """The rows with what the policy `full` adds; without those that neither way gives."""
        if not self.export.mailbox or not rows:
            return rows
        kept = []
        for row in await self.export.add(folder, rows):
            if not is_bare(row):
                kept.append(row)
                continue
            given = any(part.role == STREAM for part in row.parts)
            cause: SkipCause = "stored-as-stream" if given else "item-corrupt"
            self._shelf.note(skipped(row.id.decode(), row.name.decode("utf-8", "replace"), cause))
            kept += [row] if given else []
        return kept

    def _unchanged(self, known: Row, folder: str, raw: bytes) -> Row | None:
        """Same change key: only place and state can differ; no content is read."""
        self._shelf.count(unchanged=1)
        row = with_state(known, raw) or known
        if row.container != folder.encode():
            row = replace(row, container=folder.encode())
        missing = bool(self.export.mailbox) and lacks_stream(known)
        return None if row is known and not missing else row

    async def look_up(self, message: str, folder: str) -> tuple[bool, Row | None]:
        """Read a message by its id, wherever it is now: whether it is there and covered, and its new row."""
        try:
            raw = await self._reader.head(message)
        except GraphNotFound:
            return False, None
        entry = self.entry(folder, raw)
        if not isinstance(entry, MessageHead):
            return True, None
        if entry.parent_folder_id and entry.parent_folder_id not in self.covered:
            return False, None
        place = entry.parent_folder_id or folder
        row = await self.take(place, entry, raw)
        rows = await self.with_streams(place, [] if row is None else [row])
        return True, rows[0] if rows else None

    async def retry_failed(self, folders: Mapping[str, str]) -> None:
        """Try again what failed in earlier sessions."""
        waiting = dict(self._book.retry)
        if not waiting:
            return
        self._book.retry.clear()

        async def again(message: str, folder: str) -> Row | None:
            try:
                return (await self.look_up(message, folder))[1]
            except GraphDenied:
                raise
            except GraphError as error:
                self._book.failed(message, folder)
                self._shelf.note(failed(message, "", error))
                return None

        places = [
            again(message, folder) for message, folder in waiting.items() if folder in folders
        ]
        rows = [row for row in await together(places) if row is not None]
        await self._shelf.advance(rows, self._book.encode())
