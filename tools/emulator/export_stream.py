"""
What `exportItems` gives and `importItem` takes: a whole item in a container of our own.

Exchange's own format is opaque and promises nothing; ours holds the item's state with a checksum,
so that an import which succeeds proves that every byte came back.

Layout: magic (8 bytes), BLAKE2b of the rest (16), zlib of the MessagePack of class and state.
"""

import hashlib
import zlib
from typing import Any

import msgspec

from tools.emulator.errors import GraphError

MAGIC = b"EMUITEM1"
_DIGEST_BYTES = 16
_LEVEL = 1


def seal(item_class: str, state: dict[str, Any]) -> bytes:
    """The stream of an item of this class, such as `IPM.Note`."""
    packed = zlib.compress(msgspec.msgpack.encode([item_class, state]), _LEVEL)
    return MAGIC + hashlib.blake2b(packed, digest_size=_DIGEST_BYTES).digest() + packed


def unseal(stream: bytes) -> tuple[str, dict[str, Any]]:
    """
    Class and state of the item in a stream.

    Raises:
        GraphError: 400 ErrorCorruptData, it is no stream of ours, or not as it was.
    """
    head, packed = stream[: len(MAGIC) + _DIGEST_BYTES], stream[len(MAGIC) + _DIGEST_BYTES :]
    digest = hashlib.blake2b(packed, digest_size=_DIGEST_BYTES).digest()
    if head != MAGIC + digest:
        raise GraphError(400, "ErrorCorruptData", "The item data is corrupt.")
    item_class, state = msgspec.msgpack.decode(zlib.decompress(packed))
    return item_class, state
