"""Batches of keyed BLAKE3 equal the plain twin, which asks the reference library."""

import random
from array import array
from types import ModuleType

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from cext.reference import digest as reference
from tests.unit.cext.samples import KINDS, at_level, levels, random_spans, sample, simd_of

compiled = pytest.importorskip("cext.digest")

KEY = bytes(range(32))
LEVELS = levels(compiled)
MIB = 1024 * 1024
EDGES = [0, 1, 63, 64, 65, 127, 128, 1023, 1024, 1025, 2047, 2048, 2049, 3072, 16383, 16384, 16385]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), shift=st.integers(0, 9), count=st.integers(0, 40))
def test_compiled_equals_reference(
    kind: str, level: str, seed: int, shift: int, count: int
) -> None:
    """Equal digests for any content, sizes, alignment and number of spans, which may overlap."""
    view = memoryview(sample(kind, 12_000, seed))[shift:]
    rng = random.Random(seed)
    spans = random_spans(len(view), [rng.randint(0, 7000) for _ in range(count)], seed)
    with at_level(compiled, level):
        assert compiled.keyed(view, spans, KEY) == reference.keyed(view, spans, KEY)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size", [*EDGES, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB, 5 * MIB + 77])
def test_the_edges_of_blocks_leaves_and_windows(level: str, size: int) -> None:
    """One span alone: around a block, a leaf, a full set of lanes, and the window in hand (1 MiB)."""
    data = (sample("random", 4099, size) * (size // 4099 + 1))[:size]
    with at_level(compiled, level):
        assert compiled.keyed(data, array("Q", (0, size)), KEY) == blake3(data, key=KEY).digest()


@pytest.mark.parametrize("level", LEVELS)
def test_every_size_up_to_three_leaves_in_one_batch(level: str) -> None:
    """Lanes hold messages of different lengths and end at different blocks."""
    data = sample("random", 5000, 1)
    sizes = list(range(3073))
    random.Random(2).shuffle(sizes)
    spans = random_spans(len(data), sizes, 3)
    with at_level(compiled, level):
        assert compiled.keyed(data, spans, KEY) == reference.keyed(data, spans, KEY)


@pytest.mark.parametrize("level", LEVELS)
def test_long_and_short_spans_mixed(level: str) -> None:
    """A span longer than the window between short ones leaves their order and values alone."""
    data = sample("periodic", 4 * MIB, 1)
    spans = random_spans(len(data), [*EDGES, 3 * MIB + 1, *EDGES, MIB + 1024, 2 * MIB, 0, 5], 3)
    with at_level(compiled, level):
        assert compiled.keyed(data, spans, KEY) == reference.keyed(data, spans, KEY)


@pytest.mark.parametrize("kernel", [compiled, reference])
def test_nothing_to_hash(kernel: ModuleType) -> None:
    """No spans give no digests; empty spans of an empty buffer give that of the empty message."""
    assert kernel.keyed(b"", array("Q"), KEY) == b""
    empty = blake3(b"", key=KEY).digest()
    assert kernel.keyed(array("B"), array("Q", (0, 0, 0, 0)), KEY) == empty * 2


@pytest.mark.parametrize("kernel", [compiled, reference])
@pytest.mark.parametrize(
    "spans", [[5], [4, 3], [0, 11], [11, 11], [2**63, 2**64 - 1], [2**64 - 1, 0]]
)
def test_bad_spans_are_refused(kernel: ModuleType, spans: list[int]) -> None:
    """A span that is not inside the buffer is an error before any byte is read."""
    with pytest.raises(ValueError, match="span"):
        kernel.keyed(bytes(10), array("Q", [0, 10, *spans]), KEY)


@pytest.mark.parametrize("kernel", [compiled, reference])
@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_wrong_key_is_refused(kernel: ModuleType, size: int) -> None:
    """The key has 32 bytes."""
    with pytest.raises(ValueError, match="32"):
        kernel.keyed(b"x", array("Q", (0, 1)), bytes(size))


@pytest.mark.slow
def test_the_simd_demand_is_honoured() -> None:
    """STRONGROOM_SIMD decides at import; what this processor lacks and an unknown word fail the import."""
    for level in ("scalar", "avx2", "avx512"):
        assert simd_of("digest", level) == (level if level in LEVELS else None)
    assert simd_of("digest", "mmx") is None
