"""
Items that a listing shows, one by one: unchanged, moved, read, failed, with export streams.

`ItemSource` is what a workload knows of its part of Graph; which items are looked at is decided in `item_listing`.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from engine.catalog import Row, removed_row
from proxy.contract import ItemOutcome
from proxy.graph.client import Call
from proxy.graph.errors import GraphError, GraphItemFault, GraphNotFound
from proxy.graph.paging import Page
from proxy.pipeline.outcome import SkipCause, failed, skipped
from proxy.workloads.item_export import ItemExport, lacks_stream
from proxy.workloads.mailbox_calls import MailboxCalls
from proxy.workloads.protocol import FailureRun, Shelf
from proxy.workloads.selection import ItemSelection, Span

__all__ = ["Head", "ItemSource", "ListedItems"]

FETCHES_AT_ONCE = 4  # the mailbox answers no more than four calls at once


@dataclass(frozen=True, slots=True)
class Head:
    """What a listing tells of an item. `name` is for people; `span`: when it takes place, None for no time."""

    id: str
    version: str
    name: str = ""
    span: Span | None = None


class ItemSource(Protocol):
    """What a workload knows of its part of Graph."""

    permission: str
    kind: str  # of the rows of items
    calls: MailboxCalls

    async def containers(self) -> list[Row]:
        """Rows of all containers there are."""

    def listing(self, container: str, *, full: bool) -> Call:
        """The listing of a container's items: with all members, or with those of `head`."""

    def head(self, raw: bytes) -> Head:
        """An entry of a listing. msgspec.DecodeError or ValueError if it is none."""

    async def read(self, container: str, head: Head, raw: bytes | None) -> Row:
        """
        Read and store an item.

        Args:
            raw: all its members, if the listing brought them.

        Raises:
            GraphError: it could not be read; GraphNotFound: it is gone.
        """

    async def look_up(self, row: Row) -> None:
        """GraphNotFound if the service does not know the item of `row` any more."""


class ListedItems:
    """
    Items one by one: unchanged, moved, read, failed.

    Attributes:
        seen: row ids of all that listings showed, each with the version that was looked at.
        gave_up: so many failed in a row that it is not the items.
        upgrades: what is stored has no export streams yet.
    """

    def __init__(
        self, source: ItemSource, shelf: Shelf, export: ItemExport, selection: ItemSelection
    ) -> None:
        self.export = export
        self._selection = selection
        self.upgrades = False
        self.seen: dict[bytes, str] = {}
        self.gave_up = False
        self._source = source
        self._shelf = shelf
        self._fetching = asyncio.Semaphore(FETCHES_AT_ONCE)
        self._failures = FailureRun()

    def entries(self, container: str, page: Page) -> list[tuple[Head, bytes]]:
        """The entries of a page; of an id that comes twice the last."""
        newest: dict[str, tuple[Head, bytes]] = {}
        for entry in page.items:
            raw = bytes(entry)
            try:
                head = self._source.head(raw)
            except (msgspec.DecodeError, ValueError):
                note = "an entry of the listing"
                self._shelf.note(ItemOutcome(container, "", "failed", "graph-bad-answer", note))
                continue
            newest[head.id] = (head, raw)
        return list(newest.values())

    async def take(self, container: str, head: Head, raw: bytes | None) -> Row | None:
        """The row of an item that a listing showed, or the one that removes it; None if there is nothing to store."""
        row_id = head.id.encode()
        looked_at = self.seen.get(row_id)
        self.seen[row_id] = head.version
        known = self._shelf.row(row_id)
        if not self._selection.meets(head.span):
            self._shelf.count(removed=known is not None)
            return None if known is None else removed_row(row_id)
        if head.version == looked_at or (known and head.version == known.version != ""):
            self._shelf.count(unchanged=looked_at is None)
            lacks = self.upgrades and known is not None and lacks_stream(known)
            return _placed(known, container) or (known if lacks else None)
        async with self._fetching:
            try:
                row = await self._source.read(container, head, raw)
            except GraphNotFound:
                return None  # deleted since the page was made: the next session misses it
            except GraphItemFault as error:
                if self.export.mailbox:
                    return _bare(self._source.kind, container, head)
                self._shelf.note(failed(head.id, head.name, error))
                return None
            except GraphError as error:
                self._note_failure(head, error)
                return None
        self._failures.succeeded()
        self._shelf.count(stored=1)
        return row

    async def with_streams(self, container: str, rows: list[Row]) -> list[Row]:
        """The rows with what the policy `full` adds; without those that neither way gives."""
        if not self.export.mailbox or not rows:
            return rows
        found = await self.export.add(container, rows)
        bare = {row.id for row in rows if not row.parts}
        for row in found:
            if row.id in bare:
                cause: SkipCause = "stored-as-stream" if row.parts else "item-corrupt"
                name = row.name.decode("utf-8", "replace")
                self._shelf.note(skipped(row.id.decode(), name, cause))
        return [row for row in found if row.parts]

    def _note_failure(self, head: Head, error: GraphError) -> None:
        self._shelf.note(failed(head.id, head.name, error))
        try:
            self._failures.failed(error)
        except GraphError:
            self.gave_up = True
            raise


def _bare(kind: str, container: str, head: Head) -> Row:
    """An item that the service does not give as JSON; its export stream may bring it."""
    return Row(
        id=head.id.encode(),
        container=container.encode(),
        name=head.name.encode("utf-8", "replace"),
        kind=kind,
        version=head.version,
        meta=b'{"note":"stored-as-stream"}',
    )


def _placed(known: Row | None, container: str) -> Row | None:
    """The row in its container, if it was in another."""
    place = container.encode()
    return None if known is None or known.container == place else replace(known, container=place)
