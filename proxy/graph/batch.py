"""
Several reads as one request (`$batch`). Pure.

A batch saves round trips and nothing else: each request in it counts against the budget, and Graph runs no more than four of
one mailbox at a time (docs/decisions/0022-single-requests-for-content.md).

Source: Graph page "Combine multiple requests in one HTTP call" (2026).
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from proxy.graph.errors import GraphUnavailable

__all__ = ["BATCH_CALLS_AT_ONCE", "BATCH_CALLS_MAX", "Answered", "decode_batch", "encode_batch"]

BATCH_CALLS_MAX = 20
BATCH_CALLS_AT_ONCE = 4  # of one mailbox: what Graph runs side by side


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to one request of a batch; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Inner(msgspec.Struct):
    id: str
    status: int
    headers: dict[str, object] = {}
    body: msgspec.Raw = msgspec.Raw(b"")


class _Batch(msgspec.Struct):
    responses: list[_Inner]


def encode_batch(requests: Sequence[tuple[str, Mapping[str, str]]]) -> bytes:
    """
    The body of a batch of GETs.

    Args:
        requests: address below the version ("/users/..."), with its query, and headers; at most BATCH_CALLS_MAX.
    """
    inner = [
        {"id": str(number), "method": "GET", "url": url, "headers": dict(headers)}
        for number, (url, headers) in enumerate(requests)
    ]
    return msgspec.json.encode({"requests": inner})


def decode_batch(body: bytes, count: int) -> list[Answered | None]:
    """
    The answers in the order of the requests; None where the service gave none.

    Raises:
        GraphUnavailable: it is not the answer to a batch of `count` requests.
    """
    try:
        answers = msgspec.json.decode(body, type=_Batch).responses
        found: list[Answered | None] = [None] * count
        for one in answers:
            headers = {name.lower(): str(value) for name, value in one.headers.items()}
            found[_place(one.id, count)] = Answered(one.status, headers, _body(one.body, headers))
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, binascii.Error) as error:
        raise GraphUnavailable(
            "The service answered a batch in a form that is not documented.",
            code="graph-bad-answer",
        ) from error
    return found


def _place(text: str, count: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < count):
        raise ValueError(text)
    return int(text)


def _body(raw: msgspec.Raw, headers: Mapping[str, str]) -> bytes:
    """JSON as it stands; anything else comes as a string of base64."""
    body = bytes(raw)
    if body in (b"", b"null"):
        return b""
    if body[:1] == b'"' and "json" not in headers.get("content-type", ""):
        return base64.b64decode(msgspec.json.decode(body, type=str), validate=True)
    return body
