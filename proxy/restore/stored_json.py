"""Stored JSON as values, for building what is written back. Pure."""

from typing import Any

import msgspec

from engine.errors import Corruption
from proxy.graph.paging import mended_json

__all__ = ["decoded"]


def decoded(stored: bytes) -> dict[str, Any]:
    """
    The members of a stored object, also of one with control characters or half characters (graph-lessons 89).

    Raises:
        Corruption(item-json): it is no JSON object.
    """
    for text in (stored, mended_json(stored)):
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    raise Corruption("The stored JSON of an item is no object.", code="item-json")
