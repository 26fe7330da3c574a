"""
Frames: chunks compressed and sealed together (docs/format.md, "Frames").

Small chunks share a frame, so that zstd sees more than one of them at once; order of arrival keeps a container together.
Chunks that look incompressible share frames of their own.
"""

from dataclasses import dataclass
from enum import IntEnum

import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.errors import Corruption
from engine.limits import FRAME_PLAIN_BYTES_MAX
from engine.seal import (
    ObjectClass,
    expand,
    frame_aad,
    nonce,
    open_sealed,
)

IDENTITY_BYTES = 16
# level 3 with tables that stay in a core's second cache, and no matches of 5 bytes: a third faster on mail for 6 % (0012)
ZSTD_PARAMETERS = zstandard.ZstdCompressionParameters.from_level(
    3,
    source_size=FRAME_PLAIN_BYTES_MAX,
    hash_log=15,
    chain_log=13,
    min_match=6,
    write_content_size=True,
)
# for what looks incompressible: quick, and finds long repeats all the same
ZSTD_PARAMETERS_DENSE = zstandard.ZstdCompressionParameters.from_level(1, write_content_size=True)
STORED_RATIO_MAX = 0.97  # above it compression is not worth the decompression


class Codec(IntEnum):
    """How a frame's plain bytes are packed."""

    NONE = 0
    ZSTD = 1


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """What is needed to open a frame, besides keys and repository. Sizes and offset in bytes."""

    identity: bytes
    offset: int
    stored_bytes: int
    plain_bytes: int
    ordinal: int
    epoch: int
    dictionary: int
    codec: Codec
    salt: bytes


@dataclass(frozen=True, slots=True)
class PackedFrame:
    """A frame after compression, before sealing."""

    identity: bytes
    plain_bytes: int
    codec: Codec
    payload: bytes | memoryview


def frame_identity(refs: bytes) -> bytes:
    """16 bytes that bind a frame to the chunks in it: `refs` are their references (36 bytes each) in order."""
    return blake3(b"strongroom frame" + refs).digest(length=IDENTITY_BYTES)


class FrameCompressor:
    """Compresses frames one after the other; one for each thread, because its state is reused."""

    def __init__(self) -> None:
        self._levels = {
            dense: zstandard.ZstdCompressor(compression_params=parameters)
            for dense, parameters in ((False, ZSTD_PARAMETERS), (True, ZSTD_PARAMETERS_DENSE))
        }

    def pack(self, refs: bytes, plain: bytes | memoryview, *, dense: bool) -> PackedFrame:
        """
        Compress the joined chunks of a frame; left as they are (not copied) if that gains less than 3 %.

        Args:
            refs: references of the chunks, in order. dense: they look incompressible.
        """
        payload: bytes | memoryview = self._levels[dense].compress(plain)
        codec = Codec.ZSTD
        if len(payload) > len(plain) * STORED_RATIO_MAX:
            payload, codec = plain, Codec.NONE
        return PackedFrame(frame_identity(refs), len(plain), codec, payload)


def seal_frame(
    cipher: AESGCM,
    frame: PackedFrame,
    repository: bytes,
    object_class: ObjectClass,
    epoch: int,
    ordinal: int,
) -> bytes:
    """Stored bytes of a frame: ciphertext and tag, nothing in clear."""
    aad = frame_aad(
        repository, object_class, frame.identity, frame.plain_bytes, frame.codec, 0, epoch
    )
    return cipher.encrypt(nonce(ordinal), frame.payload, aad)


def open_frame(
    cipher: AESGCM,
    stored: bytes | memoryview,
    info: FrameInfo,
    repository: bytes,
    object_class: ObjectClass,
) -> bytes:
    """Joined plain bytes of a frame's chunks. Corruption if anything is not as sealed."""
    if len(stored) != info.stored_bytes or info.plain_bytes > FRAME_PLAIN_BYTES_MAX:
        raise Corruption("a frame is cut short or has an impossible size", code="frame-size")
    aad = frame_aad(
        repository,
        object_class,
        info.identity,
        info.plain_bytes,
        info.codec,
        info.dictionary,
        info.epoch,
    )
    payload = open_sealed(cipher, info.ordinal, stored, aad, "a frame")
    if info.codec == Codec.NONE:
        plain = payload
    else:
        plain = expand(payload, FRAME_PLAIN_BYTES_MAX, "a frame")
    if len(plain) != info.plain_bytes:
        raise Corruption("a frame has a wrong size", code="frame-size")
    return plain
