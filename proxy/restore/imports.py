"""
Items into a mailbox by the mailbox import API: with everything Exchange had on them, and silently.

An import session is an address on Outlook's own host with a token in it: it gets no other token, and is never stored or
logged. One item a request (Graph, "mailbox: createImportSession", 2026).
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

import msgspec

from proxy.graph.client import Call, Content, segment
from proxy.graph.errors import (
    GraphAnswerLost,
    GraphDenied,
    GraphNotFound,
    GraphRefused,
    GraphServiceMissing,
    GraphUnavailable,
    GraphUnsupported,
)
from proxy.restore.target import Target

__all__ = ["Importer", "open_importer"]

RENEWED_S = 60.0  # before its end a session is not used any more
SESSION_TRIES_MAX = 2


class _Exchange(msgspec.Struct, rename="camel"):
    primary_mailbox_id: str | None = None


class _Session(msgspec.Struct, rename="camel"):
    import_url: str
    expiration_date_time: str = ""


class _Imported(msgspec.Struct, rename="camel"):
    item_id: str


@dataclass(slots=True)
class _Open:
    url: str
    until: float  # seconds since 1970


async def open_importer(target: Target) -> "Importer | None":
    """What imports into the target's mailbox; None where the service or the application's rights offer it not."""
    call = target.call("Look up a mailbox", "/settings/exchange")
    try:
        found = await target.writer.get_bytes(call, 1_000_000)
        mailbox = msgspec.json.decode(found, type=_Exchange).primary_mailbox_id
        if not mailbox:
            return None
        importer = Importer(target, mailbox)
        await importer.open()
    except GraphServiceMissing:
        raise
    except (GraphDenied, GraphNotFound, GraphRefused, GraphUnsupported, msgspec.DecodeError):
        return None
    return importer


class Importer:
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

    async def create(self, folder: str, data: bytes) -> str:
        """
        Import an exported item as a new one; its id among the mailbox's items.

        Raises:
            GraphAnswerLost: it may be there.
        """
        body = {"FolderId": folder, "Mode": "create", "Data": data}  # bytes become base64
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
