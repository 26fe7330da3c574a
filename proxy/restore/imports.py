"""
Items into a mailbox by the mailbox import API: with everything Exchange had on them, and silently.

An import session is an address on Outlook's own host with a token in it: it gets no other token, and is never stored or
logged. One item a request (Graph, "mailbox: createImportSession", 2026).
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from engine.catalog import Row
from proxy.graph.client import Call, Content, segment
from proxy.graph.errors import (
    GraphAnswerLost,
    GraphChanged,
    GraphDenied,
    GraphItemFault,
    GraphNotFound,
    GraphRefused,
    GraphServiceMissing,
    GraphUnavailable,
    GraphUnsupported,
)
from proxy.restore.contents import Contents
from proxy.restore.target import Target

__all__ = ["Imports"]

STREAM = "fts"
ANSWER_BYTES_MAX = 1_000_000
RENEWED_S = 60.0  # before its end a session is not used any more
SESSION_TRIES_MAX = 2
UPDATE_TRIES_MAX = 5


class _Exchange(msgspec.Struct, rename="camel"):
    primary_mailbox_id: str | None = None


class _Session(msgspec.Struct, rename="camel"):
    import_url: str
    expiration_date_time: str = ""


class _Imported(msgspec.Struct, rename="camel"):
    item_id: str


class _Version(msgspec.Struct, rename="camel"):
    change_key: str | None = None


@dataclass(slots=True)
class _Open:
    url: str
    until: float  # seconds since 1970


def _has_stream(row: Row) -> bool:
    return any(part.role == STREAM for part in row.parts)


class Imports:
    """
    Imports of stored streams into one target, as far as rows have them and the service takes them.

    `items`: the path of the workload's items below the user ("/messages").
    """

    def __init__(self, target: Target, contents: Contents, items: str) -> None:
        self._target = target
        self._contents = contents
        self._items = items
        self._importer: _Importer | None = None
        self._asked = False
        self._turn = asyncio.Lock()
        self._imported: set[bytes] = set()

    async def fit(self, rows: Iterable[Row]) -> set[bytes]:
        """Ids of the rows that can be imported, here and with the application's rights."""
        found = {row.id for row in rows if _has_stream(row)}
        return found if found and await self._open() is not None else set()

    async def make(self, row: Row, folder: str) -> str | None:
        """
        Import an item; its new id. None where it has to be made from its parts.

        Raises:
            GraphAnswerLost: it may be there.
        """
        if not _has_stream(row):
            return None
        importer = await self._open()
        stream = await self._contents.part(row, STREAM) if importer is not None else None
        if importer is None or stream is None:
            return None
        try:
            new = await importer.send({"FolderId": folder, "Mode": "create", "Data": stream})
        except (GraphItemFault, GraphNotFound, GraphRefused):
            return None  # this one, or this folder, the service does not take
        self._imported.add(row.id)
        return new

    async def overwrite(self, row: Row, item: str, version: str, folder: str) -> bool:
        """
        Let an item that is there become what the stream holds; False if the service does not take that.

        It keeps its id, and nobody is told. `version`: its change key, without which the service refuses: an answer that
        got lost, or a change by somebody else, asks for the new one, and doing it twice is like once.
        """
        importer = await self._open()
        stream = await self._contents.part(row, STREAM) if importer is not None else None
        if importer is None or stream is None:
            return False
        body = {"FolderId": folder, "Mode": "update", "Data": stream, "ItemId": item}
        for attempt in range(1, UPDATE_TRIES_MAX + 1):
            try:
                version = version or await self._version(item)
                await importer.send(body | {"ChangeKey": version})
            except (GraphAnswerLost, GraphChanged):
                if attempt == UPDATE_TRIES_MAX:
                    raise
                version = ""
            except (GraphItemFault, GraphNotFound, GraphRefused):
                return False  # the service does not take this one, or the item is gone
            else:
                break
        self._imported.add(row.id)
        return True

    async def _version(self, item: str) -> str:
        path = f"{self._items}/{segment(item)}"
        call = self._target.call("Look at an item", path, query={"$select": "id,changeKey"})
        found = await self._target.writer.get_bytes(call, ANSWER_BYTES_MAX)
        return msgspec.json.decode(found, type=_Version).change_key or ""

    def imported(self, row: Row) -> bool:
        """Whether the item came in by import, so that nothing is missing of it."""
        return row.id in self._imported

    async def _open(self) -> "_Importer | None":
        async with self._turn:
            if not self._asked:
                self._importer = await _open_importer(self._target)
                self._asked = True
            return self._importer


async def _open_importer(target: Target) -> "_Importer | None":
    """What imports into the target's mailbox; None where the service or the application's rights offer it not."""
    call = target.call("Look up a mailbox", "/settings/exchange")
    try:
        found = await target.writer.get_bytes(call, ANSWER_BYTES_MAX)
        mailbox = msgspec.json.decode(found, type=_Exchange).primary_mailbox_id
        if not mailbox:
            return None
        importer = _Importer(target, mailbox)
        await importer.open()
    except GraphServiceMissing:
        raise
    except (GraphDenied, GraphNotFound, GraphRefused, GraphUnsupported, msgspec.DecodeError):
        return None
    return importer


class _Importer:
    """Imports into one mailbox; sessions are opened and renewed as needed."""

    def __init__(self, target: Target, mailbox: str) -> None:
        self._target = target
        self._mailbox = mailbox
        self._session: _Open | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> str:
        """The address of a session that lasts a while."""
        async with self._turn:
            now = self._target.writer.clock.time()
            if self._session is None or self._session.until - RENEWED_S <= now:
                self._session = await self._opened()
            return self._session.url

    async def send(self, body: Mapping[str, object]) -> str:
        """
        Import an exported item, as a new one or over one that is there; its id among the mailbox's items.

        Args:
            body: as Graph has it; bytes become base64.

        Raises:
            GraphAnswerLost: it may have been done. GraphChanged: the item has another change key.
        """
        for attempt in range(1, SESSION_TRIES_MAX + 1):
            url = await self.open()
            try:
                answer = await self._target.writer.create(self._call(url, body))
            except (GraphDenied, GraphNotFound):
                # The session was ended before its time: nothing was imported.
                self._session = None
                if attempt == SESSION_TRIES_MAX:
                    raise
                continue
            try:
                return msgspec.json.decode(answer.body, type=_Imported).item_id
            except msgspec.DecodeError as error:
                raise GraphAnswerLost(
                    "Import an item: the answer names no id.", code="graph-answer-lost"
                ) from error
        raise AssertionError("unreachable")

    def _call(self, url: str, body: object) -> Call:
        common = self._target.call("Import an item", "", body)
        return Call(
            url,
            common.scope,
            common.what,
            prefer=common.prefer,
            content=Content.json(body),
            patience_s=common.patience_s,
            bearer=False,
        )

    async def _opened(self) -> _Open:
        what = "Open an import session"
        common = self._target.call(what, "")
        path = f"/admin/exchange/mailboxes/{segment(self._mailbox)}/createImportSession"
        call = Call(self._target.writer.url(path), common.scope, what, patience_s=common.patience_s)
        answer = await self._target.writer.ask(call)
        try:
            session = msgspec.json.decode(answer.body, type=_Session)
            until = datetime.fromisoformat(session.expiration_date_time.replace("Z", "+00:00"))
        except (msgspec.DecodeError, ValueError) as error:
            raise GraphUnavailable(
                f"{what}: the answer is not as documented.", code="graph-bad-answer"
            ) from error
        return _Open(session.import_url, until.timestamp())
