"""Parity: what is lost comes back byte for byte, within the promised amounts; the layout follows from lengths alone."""

import random

import pytest

from engine.limits import KIB, MIB, PARITY_SLICE_BYTES, PARITY_SLICES
from engine.parity import (
    STRIPE_BYTES,
    ParityEncoder,
    area_bytes,
    body_bytes,
    protected,
    repaired,
    stripes,
)

END = bytes(range(96))
SIZES = (0, 1, 64, 127, 128, 129, 700, 4095, 4096, 5000, 100_000)


def mended(stored: bytes, damaged: bytes, end: int = len(END)) -> bytes | None:
    return repaired(damaged, end, lambda found: found == stored)


def with_lost(stored: bytes, at: int, size: int) -> bytes:
    """Random bytes in place of a region."""
    made = bytearray(stored)
    made[at : at + size] = random.Random(at).randbytes(len(made[at : at + size]))
    return bytes(made)


def flipped(stored: bytes, at: int) -> bytes:
    made = bytearray(stored)
    made[at] ^= 1 << at % 8
    return bytes(made)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("end", [b"", END], ids=["bare", "end"])
def test_any_flipped_byte_comes_back(size: int, end: bytes) -> None:
    """Of body, checks, parity and end alike; every byte of small objects, some of larger ones."""
    stored = protected(random.Random(size).randbytes(size), end)
    for at in range(0, len(stored), 1 if size < 200 else 1 + len(stored) // 60):
        assert mended(stored, flipped(stored, at), len(end)) == stored, at
        if not end:
            assert repaired(flipped(stored, at), 0) == stored, at


def test_the_size_of_the_body_follows_from_the_size() -> None:
    """Around every border of the layout, for both kinds of end; sizes in between belong to no body."""
    rng = random.Random(3)
    borders = [0, 128, 32 * 128, 32 * 128 + 1, STRIPE_BYTES, 2 * STRIPE_BYTES, 3 * STRIPE_BYTES]
    bodies = {max(0, b + d) for b in borders for d in (-2, -1, 0, 1, 2)}
    bodies |= {rng.randrange(70 * MIB) for _ in range(200)}
    for end in (0, len(END)):
        sizes = {body + area_bytes(body, end) + end: body for body in bodies}
        assert len(sizes) == len(bodies)
        for size, body in sizes.items():
            assert body_bytes(size, end) == body
        before = area_bytes(0, end)
        assert [body_bytes(size, end) for size in range(before + end)] == [None] * (before + end)


def test_stripes_cover_the_body() -> None:
    """Without gaps, of 32 to 64 slices from the second size on, never beyond what the field allows."""
    for body in (0, 1, 5000, STRIPE_BYTES, 2 * STRIPE_BYTES - 1, 2 * STRIPE_BYTES, 64 * MIB + 77):
        made = stripes(body)
        assert [s.start for s in made] == [0, *(s.end for s in made[:-1])]
        assert made[-1].end == body
        assert all(s.slices <= 2 * PARITY_SLICES for s in made)
        if body >= 2 * STRIPE_BYTES:
            assert all(
                s.slices >= PARITY_SLICES and s.slice_bytes == PARITY_SLICE_BYTES for s in made
            )


def test_pieces_make_no_difference() -> None:
    """A body given in pieces of any size has the parity of the same body in one piece."""
    rng = random.Random(4)
    for size in (0, 1000, 2 * STRIPE_BYTES - 1, 2 * STRIPE_BYTES, 2 * STRIPE_BYTES + 1, 9_000_001):
        body = rng.randbytes(size)
        encoder = ParityEncoder()
        at = 0
        while at < size:
            step = rng.choice((1, 64, 100_000, 700_000, 5_000_000))
            encoder.update(body[at : at + step])
            at += step
        assert body + encoder.finish(END) == protected(body, END)


def test_parity_takes_about_six_percent() -> None:
    """At most 1/16 and 1 KiB more."""
    for body in (0, 500, 20_000, 1 * MIB, 5 * MIB, 16 * MIB, 64 * MIB):
        assert area_bytes(body, len(END)) <= body / 16 + body / 2000 + KIB


@pytest.mark.slow
@pytest.mark.parametrize("size", [2 * MIB, 2 * MIB + 5, 3 * MIB, 4 * MIB + 1, 6 * MIB - 7])
def test_a_lost_region_of_64_kib_comes_back(size: int) -> None:
    """From 2 MiB on, wherever it lies: in a slice, across slices and stripes, over the feet, in the parity, at the end."""
    stored = protected(random.Random(size).randbytes(size), END)
    last = len(stored) - 64 * KIB
    borders = [0, 64 * KIB - 1, STRIPE_BYTES - 5, size - 64 * KIB + 1, size - 10, size, last]
    rng = random.Random(size)
    for at in {*borders, *(rng.randrange(last) for _ in range(12))}:
        at = max(0, min(at, last))
        assert mended(stored, with_lost(stored, at, 64 * KIB)) == stored, at


@pytest.mark.slow
@pytest.mark.parametrize("size", [3000, 100_000, 5 * MIB])
def test_any_two_slices_of_a_stripe_come_back(size: int) -> None:
    """Two data slices, a data slice with P or with Q, both parity slices."""
    stored = protected(random.Random(size).randbytes(size), END)
    stripe = stripes(size)[-1]
    starts = [stripe.start + n * stripe.slice_bytes for n in range(stripe.slices)]
    parity_at = len(stored) - (len(stored) - size - area_bytes(size, len(END))) - len(END)
    foot = (area_bytes(size, 0) - sum(2 * s.slice_bytes for s in stripes(size))) // 2 + len(END)
    parity_at = len(stored) - foot - 2 * stripe.slice_bytes
    pieces = [*starts, parity_at, parity_at + stripe.slice_bytes]
    rng = random.Random(size)
    pairs = [tuple(rng.sample(pieces, 2)) for _ in range(12)]
    pairs += [(pieces[-1], pieces[-2]), (pieces[0], pieces[-1]), (pieces[0], pieces[-2])]
    for first, second in pairs:
        damaged = flipped(flipped(stored, first), second)
        assert mended(stored, damaged) == stored, (first, second)


def test_more_than_two_lost_slices_are_refused() -> None:
    """Nothing wrong is given back: the proof is asked, and nothing passes it."""
    stored = protected(random.Random(1).randbytes(100_000), END)
    slice_bytes = stripes(100_000)[0].slice_bytes
    damaged = stored
    for number in (1, 5, 9):
        damaged = flipped(damaged, number * slice_bytes)
    assert mended(stored, damaged) is None


def test_what_has_no_parity_is_left_alone() -> None:
    """Random bytes of any size, and objects cut short or grown."""
    rng = random.Random(2)
    for size in (0, 1, 95, 96, 500, 5000, 70_000):
        data = rng.randbytes(size)
        assert repaired(data, len(END), lambda found: False) is None
    stored = protected(rng.randbytes(5000), END)
    for other in (stored[:-1], stored + b"\0", stored[: len(stored) // 2]):
        assert mended(stored, other) is None
