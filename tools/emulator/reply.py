"""
What a handler answers with, before it is put on the wire.
"""

import asyncio
import dataclasses
from typing import Any

import msgspec

from tools.emulator.blob import Blob


@dataclasses.dataclass(slots=True)
class Reply:
    """
    A status with a JSON body or bytes.

    `cut` is the fraction of the body after which the connection is broken; `dropped`: it is closed
    without an answer, though what was asked may have been done. The body comes within `drip_s`
    real seconds; `chunked`: without a Content-Length.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json;odata.metadata=minimal;charset=utf-8"
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    cut: float | None = None
    dropped: bool = False
    drip_s: float = 0.0
    chunked: bool = False


def json_reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """A JSON answer."""
    return Reply(status, msgspec.json.encode(body), headers=dict(headers or {}))


async def content_reply(
    blob: Blob, content_type: str, range_header: str | None, etag: str, cut: float | None
) -> Reply:
    """The bytes of `blob`, or the asked range of them with 206, or 416."""
    headers = {"Accept-Ranges": "bytes", "ETag": etag}
    data = await asyncio.to_thread(blob.read) if blob.costly else blob.read()
    span = parse_range(range_header, len(data)) if range_header else None
    if span is None:
        return Reply(200, data, content_type, headers, cut)
    start, end = span
    if start >= end:
        headers["Content-Range"] = f"bytes */{len(data)}"
        return Reply(416, b"", content_type, headers)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return Reply(206, data[start:end], content_type, headers, cut)


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """
    The half-open span of a single `bytes=` range.

    Returns:
        None when the header must be ignored (another unit, several ranges, nonsense); a span with
        start >= end when it cannot be satisfied.
    """
    unit, _, spec = text.partition("=")
    first, dash, last = spec.strip().partition("-")
    digits = all(part == "" or (part.isascii() and part.isdigit()) for part in (first, last))
    if unit.strip().lower() != "bytes" or not dash or not digits or not (first or last):
        return None
    if not first:
        return (max(0, size - int(last)), size) if int(last) else (size, size)
    end = size if not last else min(size, int(last) + 1)
    if last and int(last) < int(first):
        return None
    return int(first), end
