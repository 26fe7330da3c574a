"""
Names of things, as types of their own.

A chunk id is a keyed hash of plaintext; the other ids are hashes of stored bytes, or random. Text form: lower-case hex.
"""

import re
from typing import NewType

from engine.errors import UsageError

ChunkId = NewType("ChunkId", bytes)  # 32 bytes: BLAKE3-256 keyed with the id key, of the plaintext
ObjectId = NewType("ObjectId", str)  # 64 hex digits: BLAKE3-256 of the stored bytes
WriterId = NewType("WriterId", str)  # who owns a cell: letters, digits, dash; 1..64

CHUNK_ID_BYTES = 32

_OBJECT_ID = re.compile(r"[0-9a-f]{64}")
_WRITER_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def object_id(text: str) -> ObjectId:
    """Check and take 64 hex digits as the id of a stored object. UsageError otherwise."""
    if not _OBJECT_ID.fullmatch(text):
        raise UsageError("an object id has 64 lower-case hex digits", code="bad-object-id")
    return ObjectId(text)


def writer_id(text: str) -> WriterId:
    """Check and take the name of a writer (1..64 of a-z, 0-9, dash). UsageError otherwise."""
    if not _WRITER_ID.fullmatch(text):
        raise UsageError("a writer id is 1 to 64 of a-z, 0-9 and dash", code="bad-writer-id")
    return WriterId(text)
