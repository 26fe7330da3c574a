"""
Following next and delta links, as a machine without I/O.

The service's links are opaque: they are kept and sent exactly as they came. What is checked is only where they lead
(the configured Graph host) and that they lead on (a link seen before in the same round is a known defect of the
service and would never end).
"""

import hashlib
import re
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from proxy.graph.errors import GraphDenied, GraphUnavailable

__all__ = ["LinkMachine", "Page", "decode_as", "decode_page", "mended_json"]

ESCAPE = re.compile(  # a pair of surrogates, any other escaped character
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\(?:u[0-9a-fA-F]{4}|[^u])"
)
EMPTY_OWNER = re.compile(r"/(users|groups)(//|\(''\))", re.IGNORECASE)

T = TypeVar("T")


class PageBody(msgspec.Struct):
    """A collection page; members are kept raw so that stored values are exactly what was sent."""

    value: list[msgspec.Raw] = []
    next_link: str | None = msgspec.field(default=None, name="@odata.nextLink")
    delta_link: str | None = msgspec.field(default=None, name="@odata.deltaLink")


@dataclass(frozen=True, slots=True)
class Page:
    """One page. Exactly one of the links is set in a delta round; both are None at the end of a listing."""

    items: list[msgspec.Raw]
    next_link: str | None
    delta_link: str | None


_DECODER = msgspec.json.Decoder(PageBody)


def decode_page(body: bytes) -> PageBody:
    """
    Parse a page.

    Raises:
        GraphUnavailable: not JSON, or JSON of another shape.
    """
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return _DECODER.decode(mended_json(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GraphUnavailable(
            "The service sent a page that is not valid JSON.", code="graph-bad-answer"
        ) from error


def decode_as(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw) -> T:
    """
    An entry of a page in the shape that `decoder` knows.

    Raises:
        GraphUnavailable: it has another shape.
    """
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GraphUnavailable(
            "The service sent an entry in a form that is not documented.", code="graph-bad-answer"
        ) from error


def mended_json(body: bytes) -> bytes:
    """
    JSON of the service that parsers refuse, made valid: raw control characters inside strings are escaped, and half
    surrogate pairs become U+FFFD, both of which it sends for some old items.

    Everything else stays as it is.
    """
    return ESCAPE.sub(_whole_character, _escaped(body))


def _whole_character(escape: re.Match[bytes]) -> bytes:
    text = escape[0]
    half = len(text) == 6 and 0xD800 <= int(text[2:], 16) <= 0xDFFF
    return b"\\ufffd" if half else text


def _escaped(body: bytes) -> bytes:
    out = bytearray()
    inside = escaped = False
    for byte in body:
        if inside and byte < 0x20:
            out += b"\\u%04x" % byte
            escaped = False
            continue
        out.append(byte)
        if escaped:
            escaped = False
        elif inside and byte == 0x5C:
            escaped = True
        elif byte == 0x22:
            inside = not inside
    return bytes(out)


class LinkMachine:
    """Decides, page by page, where a round goes on and when it has ended."""

    def __init__(self, origin: str, *, delta: bool) -> None:
        self._origin = origin
        self._delta = delta
        self._seen: set[bytes] = set()  # 16 bytes a page

    def accept(self, body: PageBody) -> Page:
        """
        Take a page and check its links.

        Raises:
            GraphUnavailable: a link came twice, names nobody's data, or a delta round ended without a delta link.
            GraphDenied: a link leads to another host.
        """
        if body.next_link is not None:
            self._check(body.next_link)
            return Page(body.value, body.next_link, None)
        if body.delta_link is not None:
            self.check_host(body.delta_link)
            return Page(body.value, None, body.delta_link)
        if self._delta:
            raise GraphUnavailable(
                "The service ended a change feed without a token.", code="graph-delta-unfinished"
            )
        return Page(body.value, None, None)

    def _check(self, link: str) -> None:
        self.check_host(link)
        if EMPTY_OWNER.search(link.partition("?")[0]):
            raise GraphUnavailable(
                "The service sent a page link that has lost its user.", code="graph-bad-link"
            )
        digest = hashlib.blake2b(link.encode(), digest_size=16).digest()
        if digest in self._seen:
            raise GraphUnavailable(
                "The service sent the same page link twice; its paging does not end.",
                code="graph-paging-loop",
            )
        self._seen.add(digest)

    def check_host(self, link: str) -> None:
        """
        Refuse a link that would take the token to another host.

        Raises:
            GraphDenied: scheme, host or port differ from the configured endpoint.
        """
        url = urlsplit(link)
        if f"{url.scheme}://{url.netloc}".lower() != self._origin.lower():
            raise GraphDenied(
                "The service sent a page link to another host; it is not followed."
                " Check graph_endpoint.",
                code="graph-foreign-link",
            )
