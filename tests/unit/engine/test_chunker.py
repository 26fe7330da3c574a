"""Properties of content-defined cuts."""

import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cext import digest
from engine.chunker import ChunkerParams, cut_spans, keyed_table
from engine.errors import UsageError
from engine.limits import CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNK_BYTES_NORMAL

KEY = b"k" * 32
SMALL = ChunkerParams(keyed_table(KEY), 64, 256, 1024)
REAL = ChunkerParams(keyed_table(KEY))


def pieces(data: bytes, params: ChunkerParams) -> list[bytes]:
    ends = cut(data, params)
    return [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def cut(data: bytes, params: ChunkerParams) -> list[int]:
    """Ends of the chunks of one part, strictly rising."""
    chunks, counts = cut_spans(data, array("Q", (0, len(data))), params)
    starts, ends = chunks[::2].tolist(), chunks[1::2].tolist()
    assert counts.tolist() == [len(ends)]
    assert starts == [0, *ends][: len(ends)]
    assert ends == sorted(set(ends))
    return ends


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.binary(max_size=6000))
def test_chunks_join_to_the_data_within_their_bounds(data: bytes) -> None:
    """Chunks join to what was cut; each but the last has minimum to maximum bytes."""
    found = pieces(data, SMALL)
    assert b"".join(found) == data
    assert all(64 <= len(piece) <= 1024 for piece in found[:-1])
    assert all(0 < len(piece) <= 1024 for piece in found[-1:])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.binary(max_size=6000), more=st.binary(max_size=3000))
def test_every_cut_but_the_last_is_final(data: bytes, more: bytes) -> None:
    """What follows moves no cut but the last: the ground on which parts are written piece by piece."""
    ends = cut(data, SMALL)
    assert cut(data + more, SMALL)[: max(0, len(ends) - 1)] == ends[:-1]


@pytest.mark.parametrize("size", [1, 100])
def test_cuts_find_back_after_an_insertion(size: int) -> None:
    """Bytes put in the middle change only the chunks around them."""
    rng = random.Random(7)
    before = rng.randbytes(4_000_000)
    after = before[:1_000_000] + rng.randbytes(size) + before[1_000_000:]
    old, new = set(pieces(before, REAL)), pieces(after, REAL)
    fresh = [piece for piece in new if piece not in old]
    assert 0 < len(fresh) <= 4


def test_the_mean_is_near_the_normal_size() -> None:
    """On random data the mean chunk lies between half and one and a half normal sizes."""
    count = len(cut(random.Random(3).randbytes(16_000_000), REAL))
    assert CHUNK_BYTES_NORMAL / 2 < 16_000_000 / count < CHUNK_BYTES_NORMAL * 1.5


def test_zeros_are_cut_to_equal_chunks() -> None:
    """A hole of any size has at most two different chunks."""
    assert len(set(pieces(bytes(3_000_000), REAL))) <= 2


def test_the_key_decides_the_cuts() -> None:
    """Another key gives other cuts and other ids; the same key the same."""
    data = random.Random(5).randbytes(1_000_000)
    other = ChunkerParams(keyed_table(b"o" * 32))
    assert cut(data, REAL) == cut(data, ChunkerParams(keyed_table(KEY)))
    assert cut(data, REAL) != cut(data, other)
    whole = array("Q", (0, len(data)))
    ours, others = digest.keyed(data, whole, KEY), digest.keyed(data, whole, b"o" * 32)
    assert ours == digest.keyed(data, whole, KEY) != others


def test_a_part_below_the_minimum_is_one_chunk() -> None:
    """No bytes: no chunk; up to the minimum: one."""
    assert cut(b"", REAL) == []
    for size in (1, CHUNK_BYTES_MIN - 1, CHUNK_BYTES_MIN):
        assert cut(bytes(size), REAL) == [size]
    assert max(cut(bytes(CHUNK_BYTES_MAX * 2), REAL)) == CHUNK_BYTES_MAX * 2


@pytest.mark.parametrize(
    "sizes",
    [
        (31, 256, 1024),
        (256, 256, 1024),
        (64, 250, 1024),
        (64, 256, 256),
        (64, 256, 100),
        (64, 256, CHUNK_BYTES_MAX + 1),
        (64, 256, 2**80),
    ],
)
def test_sizes_out_of_order_are_refused(sizes: tuple[int, int, int]) -> None:
    """Window <= min < normal (a power of two) < max <= 256 KiB, or UsageError."""
    with pytest.raises(UsageError):
        ChunkerParams(keyed_table(KEY), *sizes)
