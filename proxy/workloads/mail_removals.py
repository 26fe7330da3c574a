"""
What left a folder of a mailbox, and whether it is gone.

Immutable ids stay when a message is moved, but the feeds of two folders are read at different times. So an id that
left a folder counts as deleted only if the catalog still has it there after all rounds and the service does not know
it by its id either.
"""

import asyncio
from collections.abc import Awaitable, Callable

from engine.catalog import Row, removed_row
from proxy.workloads.protocol import Shelf
from proxy.workloads.together import together

__all__ = ["Removals"]

LOOKUPS_AT_ONCE = 4

LookUp = Callable[[str, str], Awaitable[tuple[bool, Row | None]]]


class Removals:
    """Collects what left during the rounds; `settle` decides afterwards."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._left: dict[str, set[bytes]] = {}  # message id -> folders it left
        self.folders: set[str] = set()

    def left(self, message: str, folder: str) -> None:
        """A feed says that a message is not in its folder any more."""
        self._left.setdefault(message, set()).add(folder.encode())

    async def folder_is_gone(self, folder: str) -> None:
        """A folder was deleted, and everything that is still in it."""
        self.folders.add(folder)
        await self.all_but(folder, set())

    async def all_but(self, folder: str, present: set[bytes]) -> None:
        """Of the messages that the catalog has in `folder` only `present` are still there."""
        for row in await self._shelf.children(folder.encode()):
            if row.kind == "message" and row.id not in present:
                self.left(row.id.decode(), folder)

    async def settle(self, look_up: LookUp) -> list[Row]:
        """Rows that remove what is gone and update what was found elsewhere; then the folders'."""
        places = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        gone = 0

        async def decide(message: str, folders: set[bytes]) -> Row | None:
            nonlocal gone
            known = self._shelf.row(message.encode())
            if known is None or known.container not in folders:
                return None  # never stored, or met in another folder
            async with places:
                present, row = await look_up(message, known.container.decode())
            if present:
                return row
            gone += 1
            return removed_row(known.id)

        found = await together(decide(message, left) for message, left in self._left.items())
        self._shelf.count(removed=gone)
        rows = [row for row in found if row is not None]
        return rows + [removed_row(folder.encode()) for folder in sorted(self.folders)]
