"""
The folder tree of a mailbox, read no oftener than it changes.

The feed of folder changes is a hint: if it brings nothing, the rows that are stored are the tree (one request); if it brings
something, all folders are listed. Graph does not say whether hidden folders are in that feed, so a full listing comes every
SESSIONS_TRUSTED sessions whatever it says.
"""

from dataclasses import replace

from proxy.graph.budget import Scope
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import GraphRefused, GraphResync, GraphUnsupported
from proxy.graph.paging import LinkMachine
from proxy.workloads.mail_checkpoint import MailBook
from proxy.workloads.mail_folders import (
    MailFolder,
    folder_of,
    list_folders,
    well_known_folders,
)
from proxy.workloads.protocol import Shelf

__all__ = ["MailTree"]

SESSIONS_TRUSTED = 20
RECOVERABLE = (
    "recoverableitemsdeletions",
    "recoverableitemspurges",
    "recoverableitemsversions",
)


class MailTree:
    """Gives the folders of one mailbox, round by round; keeps where its feed stands in the book."""

    def __init__(
        self, client: GraphClient, user: str, prefer: tuple[str, ...], shelf: Shelf, book: MailBook
    ) -> None:
        self._client = client
        self._user = user
        self._prefer = prefer
        self._shelf = shelf
        self._book = book
        self._book.tree.sessions += 1

    async def read(self, *, recoverable_items: bool) -> list[MailFolder]:
        """
        All folders there are, parents before their children; with `recoverable_items` those of deleted items as well.

        Raises:
            GraphError: the mailbox cannot be read (`graph-service-missing`: there is none).
        """
        tree = self._book.tree
        stored = self._stored()
        trusted = bool(tree.link) and tree.sessions <= SESSIONS_TRUSTED
        if not await self._changed() and trusted and stored and not recoverable_items:
            return stored
        roots = RECOVERABLE if recoverable_items else ()
        folders = await list_folders(self._client, self._user, self._prefer, roots)
        tree.sessions = 0
        if not tree.well_known.keys() <= {folder.id for folder in folders} or not tree.well_known:
            tree.well_known = await well_known_folders(self._client, self._user, self._prefer)
        known = tree.well_known
        return [replace(f, well_known=f.well_known or known.get(f.id, "")) for f in folders]

    def recoverable(self) -> list[str]:
        """Take the folders of recoverable items, as far as they have a row, out of the stored tree; their ids."""
        found: set[str] = set()
        for folder in self._stored():
            if folder.well_known in RECOVERABLE or folder.parent in found:
                found.add(folder.id)
        self._book.tree.shown = [one for one in self._book.tree.shown if one not in found]
        return sorted(found)

    def _stored(self) -> list[MailFolder]:
        """The tree as the rows have it; empty if one of them is missing."""
        rows = [self._shelf.row(folder.encode()) for folder in self._book.tree.shown]
        return [folder_of(row) for row in rows if row is not None] if None not in rows else []

    async def _changed(self) -> bool:
        """Whether the feed brings anything; it stands behind that afterwards."""
        tree = self._book.tree
        try:
            try:
                return await self._drain()
            except GraphResync:
                tree.link = ""
                return await self._drain()
        except (GraphUnsupported, GraphRefused):
            tree.link = ""  # no feed here: list all, every time
            return True

    async def _drain(self) -> bool:
        tree = self._book.tree
        machine = LinkMachine(self._client.settings.graph_endpoint, delta=True)
        call = Call(
            self._client.url(
                f"/users/{segment(self._user)}/mailFolders/delta",
                {"includeHiddenFolders": "true", "$select": "id"},
            ),
            Scope.mailbox(self._user),
            "Read the changes of the folder tree",
            prefer=(*self._prefer, "odata.maxpagesize=250"),
        )
        if tree.link:
            call = call.to(tree.link)
        changed = False
        while True:
            page = await self._client.page(call, machine)
            changed = changed or bool(page.items)
            if page.delta_link is not None:
                tree.link = page.delta_link
                return changed
            call = call.to(page.next_link or "")
