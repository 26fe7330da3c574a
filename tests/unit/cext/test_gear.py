"""The compiled chunker cuts exactly where its plain twin cuts."""

import os
import subprocess
import sys
from array import array
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cext import gear as selected
from cext.reference import gear as reference
from engine.chunker import ChunkerParams, keyed_table
from tests.unit.cext.samples import KINDS, at_level, levels, random_spans, sample, simd_of

compiled = pytest.importorskip("cext.gear")

# small sizes, so that the slow twin sees many chunks; the code has no other dependence on them
SMALL = ChunkerParams(keyed_table(bytes(32)), 64, 256, 1024)
REAL = ChunkerParams(keyed_table(b"k" * 32))
LEVELS = levels(compiled)


def arguments(params: ChunkerParams) -> tuple[bytes, int, int, int, int, int]:
    return (params.table, params.size_min, params.size_normal, params.size_max, *params.masks)


def cuts_of(
    kernel: ModuleType, data: bytes | memoryview, arguments: tuple[bytes, int, int, int, int, int]
) -> list[int]:
    """Ends of the chunks of all of `data`, which lie one behind the other."""
    chunks, counts = kernel.cut_spans(data, array("Q", (0, len(data))), *arguments)
    starts, ends = chunks[::2].tolist(), chunks[1::2].tolist()
    assert counts.tolist() == [len(ends)]
    assert starts == [0, *ends][: len(ends)]
    return ends


def test_the_compiled_kernel_is_taken() -> None:
    """Where it was built and nothing else is demanded, the compiled kernel runs."""
    if os.environ.get("STRONGROOM_KERNELS") != "reference":
        assert selected is compiled


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(size=st.integers(0, 5000), seed=st.integers(0, 2**32), shift=st.integers(0, 9))
def test_compiled_equals_reference(kind: str, size: int, seed: int, shift: int) -> None:
    """Equal cuts for any content, length and alignment of the buffer."""
    data = sample(kind, size + shift, seed)
    view = memoryview(data)[shift:]
    expected = cuts_of(reference, view, arguments(SMALL))
    assert cuts_of(compiled, view, arguments(SMALL)) == expected
    assert cuts_of(compiled, bytes(view), arguments(SMALL)) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", [0, 1, 31, 32, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 2048, 4096]
)
def test_compiled_equals_reference_at_the_edges(size: int) -> None:
    """Lengths around minimum, normal size and maximum."""
    for kind in KINDS:
        for seed in range(5):
            data = sample(kind, size, seed)
            expected = cuts_of(reference, data, arguments(SMALL))
            assert cuts_of(compiled, data, arguments(SMALL)) == expected


@pytest.mark.slow
def test_compiled_equals_reference_at_the_sizes_of_the_format() -> None:
    """The real sizes, on data with and without cut points of its own."""
    for kind in ("random", "zeros"):
        data = sample(kind, 150_000, 1)
        expected = cuts_of(reference, data, arguments(REAL))
        assert cuts_of(compiled, data, arguments(REAL)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", LEVELS)
def test_levels_cut_alike_at_the_sizes_of_the_format(level: str, kind: str) -> None:
    """Every level has the cuts of the scalar one, for many chunks, at any alignment and in short remainders."""
    data = sample(kind, 3_000_000, 7)
    for size in (len(data), 16_385, 17_000, 65_535, 65_536, 66_100, 262_145):
        for shift in (0, 1, 37):
            view = memoryview(data)[shift : shift + size]
            with at_level(compiled, "scalar"):
                expected = cuts_of(compiled, view, arguments(REAL))
            with at_level(compiled, level):
                assert cuts_of(compiled, view, arguments(REAL)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_levels_equal_reference_in_windows_of_lanes(level: str) -> None:
    """Searches of a few hundred to a few thousand places, which lanes share, end where the twin's end."""
    params = ChunkerParams(keyed_table(bytes(32)), 64, 4096, 9000)
    for kind in KINDS:
        data = sample(kind, 30_000, 3)
        with at_level(compiled, level):
            found = cuts_of(compiled, data, arguments(params))
        assert found == cuts_of(reference, data, arguments(params))


@pytest.mark.parametrize("kernel", [compiled, reference])
@pytest.mark.parametrize("mask", [0, 0x0002_2221, 0x8000_0001])
def test_any_mask_is_served(kernel: ModuleType, mask: int) -> None:
    """Masks need not be the high bits; the empty one cuts at the minimum and never earlier."""
    data = sample("random", 3000, 5)
    masked = (SMALL.table, 64, 256, 1024, mask, mask)
    cuts = cuts_of(kernel, data, masked)
    assert cuts == cuts_of(reference, data, masked)
    if mask == 0:
        assert cuts == [*range(64, 3000, 64), 3000]


@pytest.mark.parametrize("kernel", [compiled, reference])
def test_spans_are_cut_one_by_one(kernel: ModuleType) -> None:
    """A batch gives what the bytes of each span give alone, as spans of the buffer; an empty span gives nothing."""
    data = sample("text", 20_000, 2)
    spans = random_spans(len(data), [0, 1, 63, 64, 65, 1024, 5000, 0, 3000], 4)
    chunks, counts = kernel.cut_spans(data, spans, *arguments(SMALL))
    expected: list[int] = []
    expected_counts = []
    for start, end in zip(spans[::2], spans[1::2], strict=True):
        cuts = cuts_of(reference, data[start:end], arguments(SMALL))
        expected_counts.append(len(cuts))
        for begin, stop in zip([0, *cuts], cuts, strict=False):
            expected += (start + begin, start + stop)
    assert (chunks.typecode, counts.typecode) == ("Q", "Q")
    assert chunks.tolist() == expected
    assert counts.tolist() == expected_counts
    empty, none = kernel.cut_spans(b"", array("Q"), *arguments(SMALL))
    assert (len(empty), len(none)) == (0, 0)


@pytest.mark.parametrize("kernel", [compiled, reference])
@pytest.mark.parametrize(
    "spans", [[5], [4, 3], [0, 11], [11, 11], [2**63, 2**64 - 1], [2**64 - 1, 0]]
)
def test_bad_spans_are_refused(kernel: ModuleType, spans: list[int]) -> None:
    """A span that is not inside the buffer is an error before any byte is read."""
    with pytest.raises(ValueError, match="span"):
        kernel.cut_spans(bytes(10), array("Q", spans), *arguments(SMALL))


@pytest.mark.parametrize("kernel", [compiled, reference])
@pytest.mark.parametrize("sizes", [(31, 256, 1024), (64, 63, 1024), (64, 256, 255)])
def test_bad_sizes_are_refused(kernel: ModuleType, sizes: tuple[int, int, int]) -> None:
    """A minimum below the window would read before the chunk."""
    with pytest.raises(ValueError, match="sizes"):
        kernel.cut_spans(bytes(5000), array("Q", (0, 5000)), SMALL.table, *sizes, 1, 1)


@pytest.mark.slow
def test_the_simd_demand_is_honoured() -> None:
    """STRONGROOM_SIMD decides at import; AVX2 has no code of its own here; an unknown word fails the import."""
    assert simd_of("gear", "scalar") == "scalar"
    assert simd_of("gear", "mmx") is None
    assert simd_of("gear", "avx2") == ("scalar" if "avx2" in LEVELS else None)
    assert simd_of("gear", "avx512") == ("avx512" if "avx512" in LEVELS else None)


@pytest.mark.parametrize("kernel", [compiled, reference])
def test_a_wrong_table_is_refused(kernel: ModuleType) -> None:
    """A table that is too short is an error, not a read past its end."""
    with pytest.raises(ValueError, match="1024"):
        kernel.cut_spans(b"x" * 5000, array("Q", (0, 5000)), b"short", 64, 256, 1024, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("demand", "result"),
    [("compiled", "compiled"), ("reference", "reference"), ("", "compiled"), ("fast", None)],
)
def test_the_switch_is_a_demand(demand: str, result: str | None) -> None:
    """STRONGROOM_KERNELS decides; an unknown word fails the import."""
    done = subprocess.run(
        [sys.executable, "-c", "import cext; print(cext.implementation)"],
        env={**os.environ, "STRONGROOM_KERNELS": demand},
        capture_output=True,
        text=True,
    )
    assert (done.stdout.strip() or None) == result
    assert (done.returncode == 0) == (result is not None)
