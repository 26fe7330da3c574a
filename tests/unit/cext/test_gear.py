"""The compiled chunker cuts exactly where its plain twin cuts."""

import os
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cext import gear as selected
from cext.reference import gear as reference
from engine.chunker import ChunkerParams, cut, keyed_table

compiled = pytest.importorskip("cext.gear")

# small sizes, so that the slow twin sees many chunks; the code has no other dependence on them
SMALL = ChunkerParams(keyed_table(bytes(32)), 64, 256, 1024)
KINDS = ("random", "two-symbols", "zeros", "periodic", "text")


def sample(kind: str, size: int, seed: int) -> bytes:
    rng = random.Random(seed)
    if kind == "random":
        return rng.randbytes(size)
    if kind == "two-symbols":
        return bytes(rng.choice(b"ab") for _ in range(size))
    if kind == "zeros":
        return bytes(size)
    if kind == "periodic":
        period = rng.randbytes(rng.randint(1, 97))
        return (period * (size // len(period) + 1))[:size]
    words = [rng.randbytes(rng.randint(1, 9)).hex().encode() for _ in range(50)]
    return b" ".join(rng.choice(words) for _ in range(size // 5 + 1))[:size]


def arguments(params: ChunkerParams) -> tuple[bytes, int, int, int, int, int]:
    return (params.table, params.size_min, params.size_normal, params.size_max, *params.masks)


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
    expected = reference.cut(view, *arguments(SMALL))
    assert compiled.cut(view, *arguments(SMALL)) == expected
    assert compiled.cut(bytes(view), *arguments(SMALL)) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", [0, 1, 31, 32, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 2048, 4096]
)
def test_compiled_equals_reference_at_the_edges(size: int) -> None:
    """Lengths around minimum, normal size and maximum."""
    for kind in KINDS:
        for seed in range(5):
            data = sample(kind, size, seed)
            assert cut(data, SMALL) == reference.cut(data, *arguments(SMALL))


@pytest.mark.slow
def test_compiled_equals_reference_at_the_sizes_of_the_format() -> None:
    """The real sizes, on data with and without cut points of its own."""
    real = ChunkerParams(keyed_table(b"k" * 32))
    for kind in ("random", "zeros"):
        data = sample(kind, 150_000, 1)
        assert cut(data, real) == reference.cut(data, *arguments(real))


def test_a_wrong_table_is_refused() -> None:
    """A table that is too short is an error, not a read past its end."""
    with pytest.raises(ValueError, match="1024"):
        compiled.cut(b"x" * 5000, b"short", 64, 256, 1024, 1, 1)


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
