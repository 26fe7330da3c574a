"""The compiled parity kernel gives what its plain twin gives, at every SIMD level."""

import random
import zlib

import pytest

from cext.reference import parity as reference
from tests.unit.cext.samples import KINDS, at_level, levels, sample, simd_of

compiled = pytest.importorskip("cext.parity")
LEVELS = levels(compiled)
KERNELS = [(compiled, level) for level in LEVELS]
SIZES = (0, 1, 7, 8, 31, 32, 33, 63, 64, 65, 1000, 4095, 4096, 4097, 9000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", LEVELS)
def test_encode_and_checks_equal_the_twin(kind: str, level: str) -> None:
    """Any size, slice size and alignment; short last slices too."""
    data = sample(kind, 20_000, 5)
    with at_level(compiled, level):
        for size in SIZES:
            for slice_bytes in (max(1, -(-size // 255)), 32, 61, 128, 5000, 9000):
                for shift in (0, 1, 13):
                    view = memoryview(data)[shift : shift + size]
                    assert compiled.checks(view, slice_bytes) == reference.checks(view, slice_bytes)
                    if size <= 255 * slice_bytes:
                        found = compiled.encode(view, slice_bytes)
                        assert found == reference.encode(view, slice_bytes), (size, slice_bytes)


@pytest.mark.parametrize("level", LEVELS)
def test_products_equal_the_twin(level: str) -> None:
    """All 256 factors, odd sizes."""
    rng = random.Random(1)
    with at_level(compiled, level):
        for factor in range(256):
            size = rng.choice((0, 1, 31, 32, 33, 100, 257))
            source, target = rng.randbytes(size), rng.randbytes(size + 3)
            made, expected = bytearray(target), bytearray(target)
            compiled.add_product(made, source, factor)
            reference.add_product(expected, source, factor)
            assert made == expected


@pytest.mark.parametrize("level", LEVELS)
def test_checks_are_those_of_zlib(level: str) -> None:
    """Of every length up to a few folds."""
    data = random.Random(2).randbytes(400)
    with at_level(compiled, level):
        for size in range(1, 400):
            assert compiled.checks(data[:size], 400) == zlib.crc32(data[:size]).to_bytes(
                4, "little"
            )


def test_the_field_is_the_one_of_the_format() -> None:
    """2 generates every element but 0; products are linear."""
    value, seen = 1, set()
    for _ in range(255):
        seen.add(value)
        value = reference.product(value, 2)
    assert value == 1
    assert seen == set(range(1, 256))
    assert reference.product(0x53, 0x8C) == reference.product(0x8C, 0x53)


@pytest.mark.parametrize("kernel", [compiled, reference])
def test_what_cannot_be_is_refused(kernel: object) -> None:
    """No slices of no bytes, no more than 255 slices, no target that is too small."""
    for call in (
        lambda: kernel.encode(b"abc", 0),  # type: ignore[attr-defined]
        lambda: kernel.encode(bytes(256), 1),  # type: ignore[attr-defined]
        lambda: kernel.checks(b"abc", 0),  # type: ignore[attr-defined]
        lambda: kernel.add_product(bytearray(2), b"abc", 1),  # type: ignore[attr-defined]
    ):
        with pytest.raises(ValueError):
            call()


@pytest.mark.slow
def test_demanded_levels_are_kept() -> None:
    """A demand is met or the import fails."""
    assert simd_of("parity", "scalar") == "scalar"
    assert simd_of("parity", "nonsense") is None
