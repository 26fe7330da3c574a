"""Ranges of content."""

import pytest

from tools.emulator.blob import BytesBlob
from tools.emulator.reply import content_reply, parse_range


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=90-900", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("Bytes = 5-5", (5, 6)),
        ("bytes=100-", (100, 100)),
        ("bytes=-0", (100, 100)),
        ("bytes=9-5", None),
        ("bytes=1-2,4-5", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("lines=1-2", None),
        ("", None),
    ],
)
def test_parse_range(text: str, span: tuple[int, int] | None) -> None:
    assert parse_range(text, 100) == span


async def test_content_reply() -> None:
    blob = BytesBlob(b"0123456789")
    whole = await content_reply(blob, "text/plain", None, '"e"', None)
    assert (whole.status, whole.body) == (200, b"0123456789")
    part = await content_reply(blob, "text/plain", "bytes=2-4", '"e"', None)
    assert (part.status, part.body) == (206, b"234")
    assert part.headers["Content-Range"] == "bytes 2-4/10"
    none = await content_reply(blob, "text/plain", "bytes=10-", '"e"', None)
    assert (none.status, none.headers["Content-Range"]) == (416, "bytes */10")
