"""
Workloads whose containers are listed and compared with the catalog: calendars, contacts, tasks.

A round lists the containers and the items of each, id and version only, and reads the items whose version is another
than the catalog's. What no listing shows is looked up by its id and removed if it is gone; a listing is no snapshot,
so what is still there starts another round. There is no token that could die (docs/decisions/0023).
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from engine.catalog import Row, removed_row
from proxy.contract import ObjectRef, Selection
from proxy.graph.client import Call, GraphClient
from proxy.graph.errors import (
    GraphDenied,
    GraphError,
    GraphItemFault,
    GraphNotFound,
    GraphResync,
    GraphServiceMissing,
    GraphUnavailable,
)
from proxy.graph.paging import LinkMachine, Page
from proxy.pipeline.outcome import failed, skipped
from proxy.workloads.item_export import ItemExport
from proxy.workloads.listed_items import ItemSource, ListedItems
from proxy.workloads.listing_checkpoint import ListingBook
from proxy.workloads.protocol import FailureRun, Shelf
from proxy.workloads.selection import ItemSelection
from proxy.workloads.together import together

__all__ = ["Covers", "back_up_listed"]

ROUNDS_MAX = 3
CONTAINERS_AT_ONCE = 4
LOOKUPS_AT_ONCE = 4
CONTAINER_FAILURES_MAX = 3
STEP_ITEMS = 100  # read between two checkpoints
FULL_PAGE_ITEMS = 100
HEAD_PAGES_ITEMS = (1000, 50)  # a service that fails over large pages may manage small ones

Policy = Literal["full", "portable"]


class Covers:
    """What of a workload a job covers. `policy`: whether with export streams."""

    def __init__(self, selection: Selection | None, workload: str) -> None:
        chosen = selection or Selection()
        self.items = ItemSelection(chosen, workload)
        self.policy: Policy = chosen.mail_policy


async def back_up_listed(
    source: ItemSource,
    client: GraphClient,
    target: ObjectRef,
    shelf: Shelf,
    covers: Covers,
) -> None:
    """
    Bring the shelf up to date with what `source` lists of `target`, as far as `covers` says; who has no mailbox has
    nothing of it.

    Raises:
        GraphError: nothing of it can be read.
    """
    try:
        await _ItemListing(client, source, shelf, covers).backup()
    except GraphServiceMissing:
        shelf.note(skipped(target.id, target.name, "service-not-provisioned"))


class _ItemListing:
    """Brings a shelf up to date with one source, once."""

    def __init__(
        self, client: GraphClient, source: ItemSource, shelf: Shelf, covers: Covers
    ) -> None:
        self._client = client
        self._source = source
        self._shelf = shelf
        self._book = ListingBook(shelf.checkpoint)
        self._covers = covers
        export = ItemExport(client, source.calls.user, source.calls.prefer, shelf)
        self._items = ListedItems(source, shelf, export, covers.items)
        self._failures = FailureRun(CONTAINER_FAILURES_MAX)
        self._doubtful: set[bytes] = set()  # containers not listed in full in this round
        self._vanished = False  # a container was listed and then not found

    async def backup(self) -> None:
        """
        Bring the shelf up to date.

        Raises:
            GraphError: nothing of it can be read.
        """
        if self._covers.policy == "full" and await self._items.export.open():
            self._items.upgrades = not self._book.streams
        unsettled: list[Row] = []
        for _ in range(ROUNDS_MAX):
            present = await self._read_containers()
            unsettled = await self._settle()
            if not unsettled and not self._vanished:
                break
        # Asked for by id they are there, but no container has them: they have left the workload.
        await self._remove(unsettled)
        self._book.streams = bool(self._items.export.mailbox) and not self._doubtful
        await self._remove_containers(present)

    async def _read_containers(self) -> set[bytes]:
        """One round; the ids of the containers there are."""
        self._doubtful.clear()  # each round sees for itself
        self._vanished = False
        try:
            rows = await self._source.containers()
        except GraphDenied as error:
            if error.code != "graph-denied":
                raise
            needs = f"{error.message} This needs the application permission"
            raise GraphDenied(f"{needs} {self._source.permission}.", code=error.code) from error
        kept, covered = self._covers.items.kept(rows), self._covers.items.covered(rows)
        changed = [row for row in kept if self._shelf.row(row.id) != row]
        if changed:
            await self._shelf.advance(changed, self._book.encode())
        await self._leave_out(row.id for row in rows if row.id not in covered)
        places = asyncio.Semaphore(CONTAINERS_AT_ONCE)

        async def read(container: Row) -> None:
            async with places:
                await self._read_container(container)

        await together(read(row) for row in rows if row.id in covered)
        return {row.id for row in kept}

    async def _leave_out(self, containers: Iterable[bytes]) -> None:
        """What is stored of containers that are not covered, perhaps not any more."""
        for container in containers:
            self._book.reading.pop(container.decode(), None)
            stored = await self._shelf.children(container)
            await self._remove(row for row in stored if row.kind != "container")

    async def _read_container(self, container: Row) -> None:
        """List a container; one that cannot be listed does not cost the others."""
        try:
            await self._list(container.id.decode())
            self._failures.succeeded()
        except GraphNotFound:
            # Gone since the containers were listed, or one of the 404 that are not true: the next round knows. Nothing of it
            # is removed on this word alone.
            self._doubtful.add(container.id)
            self._vanished = True
        except GraphError as error:
            if self._items.gave_up:
                raise
            self._doubtful.add(container.id)
            self._shelf.note(failed(container.id.decode(), container.name.decode(), error))
            self._failures.failed(error)

    async def _list(self, container: str) -> None:
        """The cheapest listing that the service manages."""
        reading = self._book.reading
        if container not in reading and not await self._shelf.children(container.encode()):
            reading[container] = ""
        if container in reading:
            if reading[container]:  # what was stored before an interruption is not met again
                self._doubtful.add(container.encode())
            try:
                return await self._list_full(container)
            except (GraphUnavailable, GraphResync):
                del reading[container]
                self._doubtful.discard(container.encode())
        *large, small = HEAD_PAGES_ITEMS
        for page_items in large:
            call = self._call(container, page_items)
            call = replace(call, patience_s=self._client.settings.item_patience_s)
            try:
                return await self._pages(container, call, full=False)
            except (GraphUnavailable, GraphResync):
                continue
        return await self._pages(container, self._call(container, small), full=False)

    async def _list_full(self, container: str) -> None:
        call = self._source.listing(container, full=True)
        call = replace(
            call,
            prefer=(*call.prefer, f"odata.maxpagesize={FULL_PAGE_ITEMS}"),
            patience_s=self._client.settings.item_patience_s,
        )
        link = self._book.reading[container]
        await self._pages(container, call.to(link) if link else call, full=True)

    def _call(self, container: str, page_items: int) -> Call:
        call = self._source.listing(container, full=False)
        return replace(call, prefer=(*call.prefer, f"odata.maxpagesize={page_items}"))

    async def _pages(self, container: str, call: Call, *, full: bool) -> None:
        machine = LinkMachine(self._client.settings.graph_endpoint, delta=False)
        while True:
            page = await self._client.page(call, machine)
            await self._take_page(container, page, full=full)
            if full:
                if page.next_link is None:
                    del self._book.reading[container]
                else:
                    self._book.reading[container] = page.next_link
                await self._shelf.advance((), self._book.encode())
            if page.next_link is None:
                return
            call = call.to(page.next_link)

    async def _take_page(self, container: str, page: Page, *, full: bool) -> None:
        """Read and keep what a page shows as changed, a few at a time: a stop costs no more than that."""
        entries = self._items.entries(container, page)
        for start in range(0, len(entries), STEP_ITEMS):
            step = entries[start : start + STEP_ITEMS]
            taken = [self._items.take(container, head, raw if full else None) for head, raw in step]
            rows = [row for row in await together(taken) if row is not None]
            left_out = [row for row in rows if row.removed]
            rows = [row for row in rows if not row.removed]
            rows = left_out + await self._items.with_streams(container, rows)
            if rows:
                await self._shelf.advance(rows, self._book.encode())

    async def _settle(self) -> list[Row]:
        """Remove what is gone; rows of items that are there, but that no listing showed."""
        unseen = [
            row
            for row_id in await self._shelf.ids() - self._items.seen.keys()
            if (row := self._shelf.row(row_id)) is not None
            and row.kind != "container"
            and row.container not in self._doubtful
        ]
        places = asyncio.Semaphore(LOOKUPS_AT_ONCE)

        async def is_gone(row: Row) -> bool:
            async with places:
                try:
                    await self._source.look_up(row)
                except GraphNotFound:
                    return True
                except GraphItemFault:
                    return False  # there, but the service cannot give it
                return False

        gone = await together(is_gone(row) for row in unseen)
        await self._remove(row for row, is_so in zip(unseen, gone, strict=True) if is_so)
        return [row for row, is_so in zip(unseen, gone, strict=True) if not is_so]

    async def _remove(self, rows: Iterable[Row]) -> None:
        removed = [removed_row(row.id) for row in rows]
        self._shelf.count(removed=len(removed))
        if removed:
            await self._shelf.advance(removed, self._book.encode())

    async def _remove_containers(self, present: set[bytes]) -> None:
        """Containers that are gone and hold nothing any more; the last checkpoint."""
        gone = []
        for row_id in await self._shelf.ids() - self._items.seen.keys() - present:
            row = self._shelf.row(row_id)
            if row is None or row.kind != "container":
                continue
            if all(below.kind == "container" for below in await self._shelf.children(row_id)):
                self._book.reading.pop(row_id.decode(), None)
                gone.append(removed_row(row_id))
        await self._shelf.advance(gone, self._book.encode())
