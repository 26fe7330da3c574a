"""
The bytes of one file: from a pre-authenticated address, resumed where a connection broke off, checked by hash.

The address comes with the feed and dies after minutes or an hour; a dead one is replaced and the download goes on at
the same offset, if the file is still the same (ETag). The token never goes there.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from engine.parts import Part
from proxy.graph.budget import SITES
from proxy.graph.client import Call, GraphClient, segment
from proxy.graph.errors import GraphItemFault, GraphUnavailable
from proxy.graph.faults import Duty, Fault
from proxy.graph.retry import Persistence
from proxy.graph.transport import BodyReader
from proxy.workloads.intake import store_body
from proxy.workloads.protocol import Shelf
from proxy.workloads.quick_xor import QuickXor

__all__ = ["Content", "FileReader"]

WHAT = "Download a file"
DEAD_ADDRESS = frozenset({401, 403, 404, 410})
ADDRESSES_MAX = 8  # in a row without a byte in between
RESUMED_CODES = frozenset({"graph-connection-cut", "graph-no-connection", "graph-no-answer"})


@dataclass(frozen=True, slots=True)
class Content:
    """A stored body and the quickXorHash of its bytes."""

    part: Part
    hash: str


class ContentChanged(GraphUnavailable):
    """The file was written while it was read: begin again."""

    def __init__(self) -> None:
        super().__init__(
            "The file changed while it was read; the next session reads it again.",
            code="graph-content-changed",
        )


@dataclass(frozen=True, slots=True)
class FileReader:
    """Downloads files of one drive."""

    client: GraphClient
    drive: str
    shelf: Shelf

    async def read(self, item: str, url: str | None) -> Content:
        """
        Download and store a file.

        Args:
            url: the address that came with the feed, or None.

        Raises:
            GraphError: it cannot be had; GraphNotFound: it is gone; ContentChanged.
        """
        found = QuickXor()
        meter = self.client.meter

        def seen(chunk: bytes) -> None:
            found.update(chunk)
            meter.bytes_read += len(chunk)

        download = _Download(self.client, self._content_call(item), url)
        async with aclosing(download.chunks()) as chunks:
            part = await store_body(self.shelf, "content", chunks, seen)
        return Content(part, found.text())

    def _content_call(self, item: str) -> Call:
        path = f"/drives/{segment(self.drive)}/items/{segment(item)}/content"
        patience_s = self.client.settings.item_patience_s
        return Call(path, SITES, WHAT, patience_s=patience_s)


class _Download:
    """One download over as many connections and addresses as it takes."""

    def __init__(self, client: GraphClient, content: Call, url: str | None) -> None:
        self._client = client
        self._content = content
        self._url = url
        self._units = (
            1.0  # an address from the feed is paid at the download, one from /content before
        )
        self._offset = 0
        self._etag: str | None = None
        self._addresses = 0
        self._persistence = self._patience()

    def _patience(self) -> Persistence:
        patience_s = self._content.patience_s or 0.0
        return Persistence(WHAT, patience_s, self._client.clock.monotonic())

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The file from its first byte to its last."""
        while True:
            url = await self._address()
            call = Call(url, SITES, WHAT, units=self._units)
            delay = 0.0
            try:
                async with self._client.open_preauthenticated(call, self._headers()) as answer:
                    if isinstance(answer, Fault):
                        delay = self._after_fault(answer)
                    else:
                        total = self._accept(answer)
                        async with aclosing(self._fresh(answer)) as chunks:
                            async for chunk in chunks:
                                yield chunk
                        if total is None or self._offset >= total:
                            return
            except GraphUnavailable as error:
                if error.code not in RESUMED_CODES:
                    raise
                delay = self._persistence.after_error(error, self._client.clock.monotonic())
            await self._client.clock.sleep(delay)

    async def _address(self) -> str:
        if self._url is None:
            self._addresses += 1
            if self._addresses > ADDRESSES_MAX:
                raise GraphUnavailable(
                    "The service keeps giving addresses that do not work.", code="graph-unavailable"
                )
            self._url = await self._client.location(self._content)
            self._units = 0.0
        return self._url

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        if self._offset:
            headers["Range"] = f"bytes={self._offset}-"
        return headers

    def _accept(self, answer: BodyReader) -> int | None:
        """Check that the answer goes on with the same file; its whole length, if it says."""
        etag = answer.headers.get("ETag")
        if self._offset and etag != self._etag:
            raise ContentChanged
        self._etag = etag
        if answer.status == 206:
            first, total = _content_range(answer.headers)
            if first != self._offset:
                raise GraphUnavailable(
                    "The service answered with another range.", code="graph-bad-answer"
                )
            return total
        length = answer.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else None

    async def _fresh(self, answer: BodyReader) -> AsyncGenerator[bytes, None]:
        """Chunks that are new: a server may ignore Range and begin at the start."""
        skip = self._offset if answer.status == 200 else 0
        async with aclosing(answer.chunks()) as chunks:
            async for chunk in chunks:
                if skip >= len(chunk):
                    skip -= len(chunk)
                    continue
                fresh = chunk[skip:]
                skip = 0
                self._offset += len(fresh)
                self._addresses = 0
                self._persistence = self._patience()
                yield fresh

    def _after_fault(self, fault: Fault) -> float:
        """Seconds to wait before going on; raises when that does not help."""
        if fault.error is GraphItemFault:
            raise fault.to_error(WHAT)
        if fault.status in DEAD_ADDRESS:
            self._url = None  # a fresh one, or the answer to that request, says what is wrong
            return 0.0
        if fault.status == 416:
            raise ContentChanged
        if fault.duty is Duty.RETRY:
            return self._persistence.after_fault(fault, self._client.clock.monotonic())
        raise fault.to_error(WHAT)


def _content_range(headers: Mapping[str, str]) -> tuple[int, int | None]:
    """First byte and whole length of a Content-Range; (-1, None) if it is none."""
    unit, _, rest = headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    first = span.partition("-")[0]
    if unit != "bytes" or not first.isdigit():
        return -1, None
    return int(first), int(total) if total.isdigit() else None
