"""Section "Parity": objects made whole from what is left of them. Plain sums over long integers; no speed is meant."""

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache

SLICES = 32
SLICE_BYTES = 64 << 10
STRIPE_BYTES = SLICES * SLICE_BYTES

Stripes = list[tuple[int, int, int]]  # start, end, slice bytes


def stripes_of(body: int) -> Stripes:
    """How a body of so many bytes is cut."""
    full = body // STRIPE_BYTES
    if full < 2:
        return [(0, body, max(128, -(-body // SLICES)))]
    starts = [n * STRIPE_BYTES for n in range(full)]
    return [(a, b, SLICE_BYTES) for a, b in zip(starts, [*starts[1:], body], strict=True)]


def foot_bytes(body: int, end: int) -> int:
    """Size of a foot: the checks and the end."""
    counts = (-(-(b - a) // size) + 2 for a, b, size in stripes_of(body))
    return 4 * (sum(counts) + 1) + end


def size_of(body: int, end: int) -> int:
    """Size of the object that has this body."""
    parity = sum(2 * size for _, _, size in stripes_of(body))
    return body + 2 * foot_bytes(body, end) + parity


def body_of(size: int, end: int) -> int | None:
    """Size of the body of an object of this size, if one gives it."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if size_of(middle, end) < size else (low, middle)
    return low if size_of(low, end) == size else None


def mend(stored: bytes, end: int, proof: Callable[[bytes], bool]) -> bytes | None:
    """The object whose bytes pass the proof, made from a damaged one; None if they cannot be had."""
    body = body_of(len(stored), end)
    if body is None:
        return None
    foot = foot_bytes(body, end)
    feet = [stored[body : body + foot], stored[len(stored) - foot :]]
    for mended in _bodies(stored, body, [f[: foot - end] for f in feet]):
        for tail in dict.fromkeys(f[foot - end :] for f in feet):
            made = protect(mended, tail)
            if proof(made):
                return made
    return None


def protect(body: bytes, tail: bytes) -> bytes:
    """A body with parity and end."""
    checks, pairs = b"", []
    for start, end, size in stripes_of(len(body)):
        data = body[start:end]
        checks += _checks(data, size)
        pairs.append(b"".join(n.to_bytes(size, "little") for n in _sums(data, size)))
    checks += b"".join(_checks(pair, len(pair) // 2) for pair in pairs)
    foot = checks + struct.pack("<I", zlib.crc32(checks)) + tail
    return body + foot + b"".join(pairs) + foot


def _bodies(stored: bytes, body: int, tables: list[bytes]) -> Iterator[bytes]:
    yield stored[:body]
    for table in tables:
        if table[-4:] == struct.pack("<I", zlib.crc32(table[:-4])):
            mended = _mended(stored, body, table)
            if mended is not None:
                yield mended


def _mended(stored: bytes, body: int, table: bytes) -> bytes | None:
    stripes = stripes_of(body)
    parity_at = len(stored) - sum(2 * size for *_, size in stripes)
    parity_at -= (len(stored) - body - sum(2 * size for *_, size in stripes)) // 2
    check_at, pair_check_at = 0, len(table) - 4 - 8 * len(stripes)
    made = b""
    for start, end, size in stripes:
        data, pair = stored[start:end], stored[parity_at : parity_at + 2 * size]
        checks = _checks(data, size)
        lost = _different(checks, table[check_at:])
        bad = _different(_checks(pair, size), table[pair_check_at:])
        if lost and len(lost) + len(bad) > 2:
            return None
        made += _recovered(data, size, pair, lost, bad) if lost else data
        check_at += len(checks)
        pair_check_at += 8
        parity_at += 2 * size
    return made


def _recovered(data: bytes, size: int, pair: bytes, lost: list[int], bad: list[int]) -> bytes:
    count = -(-len(data) // size)
    held = bytearray(data.ljust(count * size, b"\0"))
    for number in lost:
        held[number * size : (number + 1) * size] = bytes(size)
    left_p, left_q = _sums(bytes(held), size)
    p = int.from_bytes(pair[:size], "little") ^ left_p
    q = int.from_bytes(pair[size:], "little") ^ left_q
    powers = [_power(count - 1 - number) for number in lost]
    if len(lost) == 2:
        x, y = powers
        first = _times(q ^ _times(p, y, size), _inverse(x ^ y), size)
        found = [first, p ^ first]
    else:
        found = [_times(q, _inverse(powers[0]), size) if 0 in bad else p]
    for number, piece in zip(lost, found, strict=True):
        held[number * size : (number + 1) * size] = piece.to_bytes(size, "little")
    return bytes(held[: len(data)])


def _slices(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def _checks(data: bytes, size: int) -> bytes:
    return b"".join(struct.pack("<I", zlib.crc32(piece)) for piece in _slices(data, size))


def _different(found: bytes, expected: bytes) -> list[int]:
    return [n // 4 for n in range(0, len(found), 4) if found[n : n + 4] != expected[n : n + 4]]


def _sums(data: bytes, size: int) -> tuple[int, int]:
    """P and Q."""
    p = q = 0
    for piece in _slices(data, size):
        number = int.from_bytes(piece, "little")
        p, q = p ^ number, _times(q, 2, size) ^ number
    return p, q


def _times(number: int, factor: int, size: int) -> int:
    """Every byte of `number` times `factor`."""
    return int.from_bytes(number.to_bytes(size, "little").translate(_row(factor)), "little")


@lru_cache(maxsize=256)
def _row(factor: int) -> bytes:
    return bytes(_product(value, factor) for value in range(256))


def _product(a: int, b: int) -> int:
    total = 0
    while b:
        total ^= a if b & 1 else 0
        a, b = a << 1 ^ (0x11D if a & 0x80 else 0), b >> 1
    return total


def _power(exponent: int) -> int:
    value = 1
    for _ in range(exponent):
        value = _product(value, 2)
    return value


def _inverse(value: int) -> int:
    return next(other for other in range(1, 256) if _product(value, other) == 1)
