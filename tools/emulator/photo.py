"""
Pictures of people: what Graph says of one, read from its JPEG or PNG header.
"""

import struct
from typing import Any

from tools.emulator.blob import Blob

_START_OF_FRAME = frozenset({0xC0, 0xC1, 0xC2})


def photo_json(photo: Blob) -> dict[str, Any]:
    """The size of a picture as Graph gives it."""
    width, height = dimensions(photo.read())
    return {
        "@odata.mediaContentType": "image/jpeg",
        "@odata.mediaEtag": f'"{photo.sha256[:24]}"',
        "id": f"{width}X{height}",
        "width": width,
        "height": height,
    }


def dimensions(data: bytes) -> tuple[int, int]:
    """Width and height in pixels; (1, 1) for what is neither JPEG nor PNG."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker in _START_OF_FRAME:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return 1, 1
