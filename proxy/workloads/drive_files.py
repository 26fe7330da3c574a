"""Files of a drive one by one: unchanged, moved, read, failed."""

import asyncio

from engine.catalog import Row
from proxy.graph.budget import SITES
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import GraphError, GraphItemFault, GraphNotFound, GraphUnavailable
from proxy.graph.paging import decode_as
from proxy.graph.transport import JSON_BYTES_MAX
from proxy.pipeline.outcome import failed, skipped
from proxy.workloads.drive_checkpoint import DriveFeed
from proxy.workloads.drive_content import Content, FileReader
from proxy.workloads.drive_item import (
    ITEM_DECODER,
    ITEM_MEMBERS,
    DriveItem,
    content_is_known,
    file_row,
    stored_hash,
)
from proxy.workloads.protocol import FailureRun, Shelf

__all__ = ["DriveFiles"]

FILES_AT_ONCE = 4


class DriveFiles:
    """Decides about files and reads those that changed."""

    def __init__(self, client: GraphClient, drive: str, shelf: Shelf, feed: DriveFeed) -> None:
        self._client = client
        self._drive = drive
        self._shelf = shelf
        self._feed = feed
        self._reader = FileReader(client, drive, shelf)
        self._fetching = asyncio.Semaphore(FILES_AT_ONCE)
        self._failures = FailureRun()

    async def take(self, item: DriveItem, raw: bytes, *, notebook: bool) -> Row | None:
        """The row of a file that the feed named; None if there is nothing to store."""
        row_id, parent = self._feed.row_id(item.id), self._feed.row_id(item.parent)
        known = self._shelf.row(row_id)
        if known is not None and content_is_known(known, item):
            self._shelf.count(unchanged=1)
            row = file_row(row_id, parent, item, raw, known.parts[0], stored_hash(known))
            return None if row == known else row
        async with self._fetching:
            try:
                row = await self._read(item, raw)
            except GraphNotFound:
                return None  # deleted since the page was made: the feed will say so
            except GraphItemFault as error:
                self._shelf.note(failed(item.id, item.name or "", error))
                return None
            except GraphError as error:
                self._note_failure(item, error, notebook=notebook)
                return None
        self._failures.succeeded()
        self._shelf.count(stored=1)
        return row

    def _note_failure(self, item: DriveItem, error: GraphError, *, notebook: bool) -> None:
        name = item.name or ""
        if notebook and isinstance(error, GraphUnavailable):
            # Notebook files answer 503 for ever at any size (graph-lessons 62): not our outage.
            self._shelf.note(skipped(item.id, name, "notebook-content"))
            return
        self._failures.failed(error)
        self._feed.failed(item.id)
        self._shelf.note(failed(item.id, name, error))

    async def _read(self, item: DriveItem, raw: bytes) -> Row:
        """
        Read a file and check its bytes.

        The service's hash can be wrong for Office files and is stale for a file that was just written: a second look
        at the item and a second download decide. Bytes that came twice the same are what the service has.
        """
        content = await self._reader.read(item.id, item.url)
        if item.hash not in (None, content.hash):
            item, raw = await self.head(item.id)
            if item.hash not in (None, content.hash):
                content = await self._again(item, content)
        row_id, parent = self._feed.row_id(item.id), self._feed.row_id(item.parent)
        return file_row(row_id, parent, item, raw, content.part, content.hash)

    async def _again(self, item: DriveItem, first: Content) -> Content:
        second = await self._reader.read(item.id, None)
        if second.hash not in (first.hash, item.hash):
            raise GraphUnavailable(
                "Two downloads of the file gave different bytes.", code="graph-content-changed"
            )
        return second

    async def head(self, item: str) -> tuple[DriveItem, bytes]:
        """One item and its JSON, as the feed would have it."""
        path = f"/drives/{segment(self._drive)}/items/{segment(item)}"
        url = self._client.url(path, {"$select": ITEM_MEMBERS})
        patience_s = self._client.settings.item_patience_s
        call = Call(url, SITES, "Read a drive item", patience_s=patience_s)
        raw = await self._client.get_bytes(call, JSON_BYTES_MAX)
        return decode_as(ITEM_DECODER, raw), raw

    async def look_up(self, item: str) -> tuple[DriveItem, bytes] | None:
        """An item by its id; None if it is gone or still cannot be read."""
        try:
            return await self.head(item)
        except GraphNotFound:
            return None
        except GraphError as error:
            self._feed.failed(item)
            self._shelf.note(failed(item, "", error))
            return None
