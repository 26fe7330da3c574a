"""
The export stream of an item: everything that Exchange has on it, opaque, up to 20 items a request.

It belongs to the policy `full` and is what restores an item exactly. Errors come item by item within a good answer; an item
without a stream still has its other parts. An answer is taken for an item only if its change key is the row's: that proves that
the id meant this item, and that the stream is of the version that the row is about.

Source: Graph page "mailbox: exportItems" (2026).
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import msgspec

from engine.catalog import Row
from proxy.graph.budget import Scope
from proxy.graph.client import Call, Content, GraphClient, segment
from proxy.graph.errors import (
    GraphDenied,
    GraphError,
    GraphItemFault,
    GraphNotFound,
    GraphRefused,
    GraphUnsupported,
)
from proxy.graph.faults import classify
from proxy.graph.paging import decode_as
from proxy.pipeline.outcome import skipped
from proxy.workloads.protocol import Shelf

__all__ = ["STREAM", "ItemExport", "lacks_stream"]

STREAM = "fts"  # role of the part
EXPORT_ITEMS_MAX = 20
GROUP_BYTES_MAX = 24 * 1024 * 1024  # of stored parts in one request
ITEM_BYTES_MAX = (
    64 * 1024 * 1024
)  # of stored parts; larger items would need too much memory at once
ANSWER_BYTES_MAX = 160 * 1024 * 1024
ID_PAGE = "odata.maxpagesize=500"
UNKNOWN = frozenset({"ErrorItemNotFound", "ErrorInvalidIdMalformed", "graph-not-found"})
NOT_OFFERED = (GraphDenied, GraphNotFound, GraphRefused, GraphUnsupported)


class _Settings(msgspec.Struct, rename="camel"):
    primary_mailbox_id: str | None = None


class _Fault(msgspec.Struct):
    code: str = "UnknownError"


class _Exported(msgspec.Struct, rename="camel"):
    item_id: str
    change_key: str | None = None
    data: bytes | None = None
    error: _Fault | None = None


class _Answer(msgspec.Struct):
    value: list[_Exported]


class _Item(msgspec.Struct, rename="camel"):
    id: str
    change_key: str | None = None


class _Meta(msgspec.Struct):
    export: str = ""


_SETTINGS = msgspec.json.Decoder(_Settings)
_ANSWER = msgspec.json.Decoder(_Answer)
_ITEM = msgspec.json.Decoder(_Item)
_META = msgspec.json.Decoder(_Meta)


def lacks_stream(row: Row) -> bool:
    """Whether an item has no stream, and nothing says that it cannot have one."""
    has = any(part.role == STREAM for part in row.parts)
    return row.kind != "container" and not has and not _META.decode(row.meta).export


@dataclass(slots=True)
class ItemExport:
    """
    Exports of one mailbox. Closed until `open` found that the service offers them.

    `ids`: mailbox item ids by change key, of folders whose items are not known by their own ids.
    """

    client: GraphClient
    user: str
    prefer: tuple[str, ...]
    shelf: Shelf
    mailbox: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)

    async def open(self) -> bool:
        """Whether this mailbox gives streams; if not, that is told."""
        if not self.client.settings.its_cloud.exports:
            return False
        url = self.client.url(f"/users/{segment(self.user)}/settings/exchange")
        call = Call(url, Scope.mailbox(self.user), "Look up the mailbox for exports")
        try:
            body = await self.client.get_bytes(call, 1 << 20)
        except NOT_OFFERED as error:
            if isinstance(error, GraphNotFound) and error.code == "graph-service-missing":
                raise
            self._close(error)
            return False
        self.mailbox = decode_as(_SETTINGS, body).primary_mailbox_id or ""
        return bool(self.mailbox)

    async def add(self, folder: str, rows: Sequence[Row]) -> list[Row]:
        """The rows of one folder, those of items with their streams as far as the service gives them."""
        wanted = [row for row in rows if lacks_stream(row)]
        found = {row.id: row for row in rows}
        for group in _groups([row for row in wanted if row.size <= ITEM_BYTES_MAX]):
            if not self.mailbox:
                break  # another folder found that it is not offered
            try:
                exported = await self._export(folder, group)
            except GraphDenied as error:  # no right to export: all else of the items is there
                if self.mailbox:
                    self._close(error)
                break
            found.update((row.id, row) for row in exported)
        for row in wanted:
            if row.size > ITEM_BYTES_MAX:
                found[row.id] = self._without(row, "graph-answer-too-large")
        return list(found.values())

    def _close(self, error: GraphError) -> None:
        self.mailbox = ""
        self.shelf.note(skipped(self.user, "", "export-not-offered", error.message))

    async def _export(self, folder: str, group: Sequence[Row]) -> list[Row]:
        named = {self.ids.get(row.version, row.id.decode()): row for row in group}
        answers = await self._ask(list(named))
        unknown = [
            named[one.item_id] for one in answers if _is_unknown(one) and one.item_id in named
        ]
        done = [
            await self._take(named[one.item_id], one)
            for one in answers
            if one.item_id in named and not _is_unknown(one)
        ]
        if unknown and folder not in self.listed:
            self.listed.add(folder)
            await self._list_ids(folder)
            known = [row for row in unknown if row.version in self.ids]
            return done + (await self._export(folder, known) if known else [])
        return done  # one that is unknown by either id is gone: the feed will say so

    async def _take(self, row: Row, one: _Exported) -> Row:
        if one.error is not None:
            body = msgspec.json.encode({"error": {"code": one.error.code}})
            return self._without(row, classify(500, {}, body, now=0.0).code)
        if one.data is None or one.change_key != row.version:
            return row  # it changed meanwhile, and comes again
        self.client.meter.bytes_read += len(one.data)
        stream = await self.shelf.store(STREAM, one.data)
        return replace(row, parts=(*row.parts, stream))

    def _without(self, row: Row, code: str) -> Row:
        name = row.name.decode("utf-8", "replace")
        if row.parts:  # else nothing of it is stored, which is told otherwise
            self.shelf.note(skipped(row.id.decode(), name, "stored-without-stream", code))
        meta: dict[str, msgspec.Raw] = msgspec.json.decode(row.meta, type=dict[str, msgspec.Raw])
        meta["export"] = msgspec.Raw(msgspec.json.encode(code))
        return replace(row, meta=msgspec.json.encode(meta))

    async def _ask(self, ids: list[str]) -> list[_Exported]:
        call = self._call("Export items", "/exportItems")
        content = Content.json({"itemIds": ids})
        asked = replace(call, method="POST", content=content)
        try:
            body = await self.client.get_bytes(asked, ANSWER_BYTES_MAX)
        except (GraphItemFault, GraphRefused, GraphNotFound) as error:
            if len(ids) > 1:  # one of them spoils it for all
                return [one for name in ids for one in await self._ask([name])]
            return [_Exported(ids[0], error=_Fault(error.code))]
        return decode_as(_ANSWER, body).value

    async def _list_ids(self, folder: str) -> None:
        """
        Ids of a folder's items as the export knows them, by change key.

        The pages of Graph do not say that an item's id here is its id elsewhere, and it need not be. A folder that the export
        does not know has none.
        """
        call = self._call("List items for exports", f"/folders/{segment(folder)}/items")
        url = self.client.url(call.url, {"$select": "id,changeKey"})
        twice: set[str] = set()
        asked = replace(call, url=url, prefer=(*self.prefer, ID_PAGE))
        with suppress(GraphNotFound):
            async for page in self.client.pages(asked):
                for raw in page.items:
                    item = decode_as(_ITEM, raw)
                    if item.change_key:
                        twice |= {item.change_key} & self.ids.keys()
                        self.ids[item.change_key] = item.id
        for change_key in twice:
            del self.ids[change_key]  # whose it is cannot be told

    def _call(self, what: str, below: str) -> Call:
        path = f"/admin/exchange/mailboxes/{segment(self.mailbox)}{below}"
        patience_s = self.client.settings.item_patience_s
        return Call(path, Scope.mailbox(self.user), what, self.prefer, patience_s=patience_s)


def _is_unknown(one: _Exported) -> bool:
    return one.error is not None and one.error.code in UNKNOWN


def _groups(rows: Sequence[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for row in rows:
        if group and (len(group) == EXPORT_ITEMS_MAX or size + row.size > GROUP_BYTES_MAX):
            yield group
            group, size = [], 0
        group.append(row)
        size += row.size
    if group:
        yield group
