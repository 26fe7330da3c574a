"""
Parity inside stored objects (docs/format.md, "Parity"): what a flipped byte or a lost region costs nothing of.

    body | foot | P, Q of each stripe | foot          foot = checks of all slices | check of these | end of the object

The body is cut into stripes, stripes into slices. Any two lost slices of a stripe come back; the checks say which are lost,
and the object's name or seal proves the result. Everything follows from the length of the body, and that from the length of
the object: no length is stored. `end` is what readers look for at the end (a pack's trailer), so it is there twice as well.
"""

import struct
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from typing_extensions import Buffer

from cext import parity, spans
from engine.limits import (
    PARITY_SLICE_BYTES,
    PARITY_SLICE_BYTES_MIN,
    PARITY_SLICES,
)

_CHECK = struct.Struct("<I")
STRIPE_BYTES = PARITY_SLICES * PARITY_SLICE_BYTES


@dataclass(frozen=True, slots=True)
class Stripe:
    """Where one stripe begins and ends in the body, and the size of its slices, in bytes."""

    start: int
    end: int
    slice_bytes: int

    @property
    def slices(self) -> int:
        """Number of its data slices; the last one may be short."""
        return -(-(self.end - self.start) // self.slice_bytes)


def stripes(body: int) -> list[Stripe]:
    """
    The stripes of a body of so many bytes.

    Below two full stripes there is one, of up to PARITY_SLICES slices as large as needed; else the last one takes the rest.
    """
    full = body // STRIPE_BYTES
    if full < 2:
        size = max(PARITY_SLICE_BYTES_MIN, -(-body // PARITY_SLICES))
        return [Stripe(0, body, size)]
    starts = [number * STRIPE_BYTES for number in range(full)]
    return [
        Stripe(s, e, PARITY_SLICE_BYTES) for s, e in zip(starts, [*starts[1:], body], strict=True)
    ]


def area_bytes(body: int, end: int) -> int:
    """What parity adds to a body of so many bytes with an `end` of so many, that end not counted once."""
    made = stripes(body)
    checks = sum(stripe.slices + 2 for stripe in made) + 1
    return 2 * checks * _CHECK.size + end + sum(2 * stripe.slice_bytes for stripe in made)


def body_bytes(size: int, end: int) -> int | None:
    """Length of the body of an object of `size` bytes; None if no body gives this size."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if middle + area_bytes(middle, end) + end < size:
            low = middle + 1
        else:
            high = middle
    return low if low + area_bytes(low, end) + end == size else None


class ParityEncoder:
    """Takes a body piece by piece; holds two stripes at most."""

    def __init__(self) -> None:
        self._older: bytearray | None = (
            None  # a full stripe that is not the last one, unless the body ends soon
        )
        self._newer = bytearray(STRIPE_BYTES)
        self._used = 0  # bytes of the newer one
        self._parity: list[bytes] = []
        self._checks: list[bytes] = []

    def update(self, data: Buffer) -> None:
        """Append to the body."""
        at, end = 0, memoryview(data).nbytes
        while at < end:
            if self._used == STRIPE_BYTES:
                self._next_stripe()
            size = min(end - at, STRIPE_BYTES - self._used)
            self._used = spans.gather_into(
                data, array("Q", (at, at + size)), self._newer, self._used
            )
            at += size

    def _next_stripe(self) -> None:
        """The newer stripe is full and the body goes on."""
        before, self._older = self._older, self._newer
        if before is not None:
            self._encode(before, PARITY_SLICE_BYTES)
        self._newer, self._used = before or bytearray(STRIPE_BYTES), 0

    def _encode(self, data: Buffer, slice_bytes: int) -> None:
        self._parity.append(parity.encode(data, slice_bytes))
        self._checks.append(parity.checks(data, slice_bytes))

    def finish(self, end: bytes) -> bytes:
        """What follows the body, `end` included."""
        if self._used == STRIPE_BYTES:
            self._next_stripe()
        if self._older is not None and self._used == 0 and self._parity:
            self._encode(self._older, PARITY_SLICE_BYTES)
        else:
            rest = bytes(self._older or b"") + memoryview(self._newer)[: self._used]
            size = PARITY_SLICE_BYTES if self._parity else stripes(len(rest))[0].slice_bytes
            self._encode(rest, size)
        checks = b"".join(self._checks) + b"".join(
            parity.checks(piece, len(piece) // 2) for piece in self._parity
        )
        foot = checks + _CHECK.pack(zlib.crc32(checks)) + end
        return b"".join((foot, *self._parity, foot))


def protected(body: Buffer, end: bytes = b"") -> bytes:
    """A body with its parity and its end."""
    encoder = ParityEncoder()
    encoder.update(body)
    return bytes(body) + encoder.finish(end)


def unprotected(stored: bytes) -> bytes | None:
    """The body of an object without an end; None if a byte of it or of its parity is not as written."""
    body = body_bytes(len(stored), 0)
    if body is None or protected(memoryview(stored)[:body]) != stored:
        return None
    return stored[:body]


def repaired(stored: bytes, end: int, proof: Callable[[bytes], bool] | None = None) -> bytes | None:
    """
    The object as it was written, if what is left of it is enough; None otherwise, or if it never had parity.

    Args:
        end: bytes of its end. proof: says of bytes whether they are those that were written; without one the checks of a foot
            that is whole must agree, which shows damage, but no forgery.
    """
    body = body_bytes(len(stored), end)
    if body is None:
        return None
    area = _Area(stored, body, end)
    for mended in area.bodies():
        for tail in area.ends():
            candidate = protected(mended, tail)
            if area.agrees(candidate) if proof is None else proof(candidate):
                return candidate
    return None


class _Area:
    """What lies where in an object with parity."""

    def __init__(self, stored: bytes, body: int, end: int) -> None:
        self._view = memoryview(stored)
        self._stripes = stripes(body)
        self._body = body
        self._end = end
        self._checks = (sum(stripe.slices + 2 for stripe in self._stripes) + 1) * _CHECK.size
        self._parity_at = body + self._checks + end
        self._feet = (body, len(stored) - self._checks - end)

    def agrees(self, made: bytes) -> bool:
        """Whether a foot of another object of this size is one of this object's feet."""
        size = self._checks + self._end
        feet = [bytes(self._view[at : at + size]) for at in self._feet]
        return made[self._body : self._body + size] in feet

    def ends(self) -> Iterator[bytes]:
        """The end as either foot has it, each once."""
        found = [bytes(self._view[at + self._checks :][: self._end]) for at in self._feet]
        yield from dict.fromkeys(found)

    def bodies(self) -> Iterator[bytes]:
        """The body as it is, then as the checks of either foot let it be mended."""
        yield bytes(self._view[: self._body])
        tables = [bytes(self._view[at : at + self._checks]) for at in self._feet]
        for table in dict.fromkeys(tables):
            checks, check = table[: -_CHECK.size], table[-_CHECK.size :]
            if _CHECK.pack(zlib.crc32(checks)) == check and (mended := self._mended(checks)):
                yield mended

    def _mended(self, checks: bytes) -> bytes | None:
        """The body with lost slices made again; None if a stripe lost more than two."""
        made = bytearray(self._view[: self._body])
        check_at, parity_check_at = 0, 4 * sum(stripe.slices for stripe in self._stripes)
        parity_at = self._parity_at
        for stripe in self._stripes:
            size, width = 2 * stripe.slice_bytes, 4 * stripe.slices
            data = self._view[stripe.start : stripe.end]
            pair = self._view[parity_at : parity_at + size]
            lost = _different(
                parity.checks(data, stripe.slice_bytes), checks[check_at : check_at + width]
            )
            lost_parity = _different(
                parity.checks(pair, stripe.slice_bytes), checks[parity_check_at:][:8]
            )
            if len(lost) + len(lost_parity) > 2 and lost:
                return None
            if lost:
                made[stripe.start : stripe.end] = _recovered(
                    data, stripe, bytes(pair), lost, lost_parity
                )
            check_at += width
            parity_check_at += 8
            parity_at += size
        return bytes(made)


def _different(found: bytes, expected: bytes) -> list[int]:
    """Numbers of the slices whose checks differ."""
    return [
        at // 4 for at in range(0, len(found), 4) if found[at : at + 4] != expected[at : at + 4]
    ]


def _power(exponent: int) -> int:
    """2 to some power (any integer) in the field."""
    value = 1
    for _ in range(exponent % 255):
        value = value << 1 ^ (0x11D if value & 0x80 else 0)
    return value


def _times(data: bytes, factor: int) -> bytes:
    made = bytearray(len(data))
    parity.add_product(made, data, factor)
    return bytes(made)


def _added(a: bytes, b: bytes) -> bytes:
    made = bytearray(a)
    parity.add_product(made, b, 1)
    return bytes(made)


def _recovered(
    data: memoryview, stripe: Stripe, pair: bytes, lost: list[int], lost_parity: list[int]
) -> bytes:
    """The data of a stripe with one or two slices made again from the parity slices that are whole."""
    size, count = stripe.slice_bytes, stripe.slices
    made = bytearray(data)
    made += bytes(count * size - len(made))
    for number in lost:
        made[number * size : (number + 1) * size] = bytes(size)
    left = parity.encode(made, size)
    p, q = (_added(pair[at : at + size], left[at : at + size]) for at in (0, size))
    # now p = sum of the lost slices, q = sum of them times their powers of 2
    powers = [count - 1 - number for number in lost]
    if len(lost) == 1:
        found = [p if 0 not in lost_parity else _times(q, _power(-powers[0]))]
    else:
        x, y = powers
        # d_x = (q + 2^y p) / (2^x + 2^y), d_y = p + d_x
        divisor = _inverse(_power(x) ^ _power(y))
        first = _times(_added(q, _times(p, _power(y))), divisor)
        found = [first, _added(p, first)]
    for number, piece in zip(lost, found, strict=True):
        made[number * size : (number + 1) * size] = piece
    return bytes(made[: len(data)])


def _inverse(value: int) -> int:
    """1 / value, for a value that is not 0."""
    return next(_power(-e) for e in range(255) if _power(e) == value)
