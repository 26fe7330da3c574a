"""quickXorHash against published vectors and the byte-by-byte definition."""

import base64
import random

import pytest

from tools.emulator.quickxor import quick_xor


def plain_quick_xor(data: bytes) -> str:
    """The definition: one byte after the other into a ring of 160 bits."""
    ring = 0
    for index, byte in enumerate(data):
        shift = index * 11 % 160
        wide = byte << shift
        ring ^= (wide & ((1 << 160) - 1)) ^ (wide >> 160)
    raw = bytearray(ring.to_bytes(20, "little"))
    for index, byte in enumerate(len(data).to_bytes(8, "little")):
        raw[12 + index] ^= byte
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("Sg==", "SgAAAAAAAAAAAAAAAQAAAAAAAAA="),
        ("tbQ=", "taAFAAAAAAAAAAAAAgAAAAAAAAA="),
        ("0pZP", "0rDEEwAAAAAAAAAAAwAAAAAAAAA="),
    ],
)
def test_known_vectors(data: str, expected: str) -> None:
    assert quick_xor(base64.b64decode(data)) == expected


@pytest.mark.parametrize("size", [1, 19, 20, 21, 159, 160, 161, 319, 320, 321, 1000, 4801])
def test_equals_the_definition(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert quick_xor(data) == plain_quick_xor(data)
