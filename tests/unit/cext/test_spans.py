"""Spans and references: compiled and twin agree to the bit, and refuse what is no part of a buffer."""

import json
import os
import random
import subprocess
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cext.reference import spans as reference
from tests.unit.cext.samples import KINDS, random_spans, sample

compiled = pytest.importorskip("cext.spans")

KERNELS = (compiled, reference)
SAMPLE_BYTES = reference.DENSE_SAMPLE_BYTES
BAD_SPANS = [[5], [4, 3], [0, 11], [11, 11], [2**63, 2**64 - 1], [2**64 - 1, 0]]

both = pytest.mark.parametrize("kernel", KERNELS)
checked = settings(max_examples=60, deadline=None, derandomize=True)
shifts = st.integers(0, 9)


def refs_of(sizes: list[int], seed: int = 0) -> bytes:
    rng = random.Random(seed)
    return b"".join(rng.randbytes(32) + size.to_bytes(4, "little") for size in sizes)


def unaligned(data: bytes, shift: int) -> memoryview:
    """The same bytes at another address."""
    return memoryview(bytes(shift) + data)[shift:]


def test_both_state_the_same_constants() -> None:
    """Size of a reference, of a sample, and the bound of entropy."""
    for name in ("REFERENCE_BYTES", "DENSE_SAMPLE_BYTES", "DENSE_ENTROPY_BITS"):
        assert getattr(compiled, name) == getattr(reference, name)


# -- the same answers --------------------------------------------------------------------------------


@checked
@given(seed=st.integers(0, 2**32), shift=shifts, count=st.integers(0, 40))
def test_gather_into(seed: int, shift: int, count: int) -> None:
    """The bytes of spans in any order, overlapping or empty, from any address; a target keeps what is beside them."""
    view = unaligned(sample("random", 3000, seed), shift)
    rng = random.Random(seed)
    spans = random_spans(len(view), [rng.choice((0, 1, 7, 900)) for _ in range(count)], seed)
    expected = b"".join(view[a:b] for a, b in zip(spans[::2], spans[1::2], strict=True))
    for kernel in KERNELS:
        target = bytearray(b"x" * (len(expected) + 20))
        assert kernel.gather_into(view, spans, target, shift) == shift + len(expected)
        assert target == b"x" * shift + expected + b"x" * (20 - shift)


@checked
@given(seed=st.integers(0, 2**32), count=st.integers(0, 40), wanted=st.integers(0, 60))
def test_select_and_take(seed: int, count: int, wanted: int) -> None:
    """Spans and references by number, in the order of the numbers, more than once if asked."""
    rng = random.Random(seed)
    spans = array("Q", [rng.randrange(2**64) for _ in range(2 * count)])
    held = refs_of([rng.randrange(2**32) for _ in range(count)], seed)
    among = array("I", [rng.randrange(count) for _ in range(wanted if count else 0)])
    selected = compiled.select(spans, among)
    assert selected == reference.select(spans, among)
    assert selected.typecode == "Q"
    assert selected.tolist() == [n for i in among for n in spans[2 * i : 2 * i + 2]]
    taken = compiled.take(unaligned(held, seed % 9), among)
    assert taken == reference.take(held, among)
    assert taken == b"".join(held[36 * i : 36 * i + 36] for i in among)


@checked
@given(st.lists(st.integers(0, 2**32 - 1), max_size=40), shifts)
def test_references_and_back(sizes: list[int], shift: int) -> None:
    """Ids and spans make references, whose chunks laid end to end have the spans they say."""
    ids = random.Random(len(sizes)).randbytes(32 * len(sizes))
    at, spans, ends = 2**40, array("Q"), 0
    for size in sizes:
        spans.extend((at, at + size))
        at += size + 5
    made = compiled.references(unaligned(ids, shift), spans)
    assert made == reference.references(ids, spans)
    places = compiled.of_references(unaligned(made, shift))
    assert places == reference.of_references(made)
    assert places.typecode == "Q"
    for number, size in enumerate(sizes):
        assert places[2 * number : 2 * number + 2].tolist() == [ends, ends + size]
        ends += size


@pytest.mark.parametrize("kind", KINDS)
@checked
@given(seed=st.integers(0, 2**32), shift=shifts)
def test_dense(kind: str, seed: int, shift: int) -> None:
    """The same verdict for any content and size, around the sizes at which samples thin out."""
    view = unaligned(sample(kind, 5 * SAMPLE_BYTES, seed), shift)
    edges = [0, 1, SAMPLE_BYTES // 4 - 1, SAMPLE_BYTES // 4, SAMPLE_BYTES - 1, SAMPLE_BYTES]
    spans = random_spans(len(view), [*edges, 2 * SAMPLE_BYTES - 1, 5 * SAMPLE_BYTES], seed)
    assert compiled.dense(view, spans) == reference.dense(view, spans)


@both
def test_what_is_dense(kernel: ModuleType) -> None:
    """Random bytes are, from a quarter of a sample on; text, zeros and base64 are not."""
    for size, verdict in ((SAMPLE_BYTES // 4 - 1, 0), (SAMPLE_BYTES // 4, 1), (60_000, 1)):
        assert kernel.dense(sample("random", size, 1), array("Q", (0, size))) == bytes([verdict])
    for kind in ("text", "zeros", "two-symbols"):
        assert kernel.dense(sample(kind, 60_000, 1), array("Q", (0, 60_000))) == b"\0"


@checked
@given(
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 1)), max_size=60),
    st.tuples(st.integers(0, 1200), st.integers(0, 1200)),
    st.integers(1, 1500),
)
def test_groups(chunks: list[tuple[int, int]], held: tuple[int, int], target: int) -> None:
    """Every chunk joins one frame of its kind, in order; a frame is full at the first chunk that reaches the target."""
    spans = array("Q", [n for size, _ in chunks for n in (9, 9 + size)])
    mask = bytes(kind for _, kind in chunks)
    made = compiled.groups(spans, mask, held, target)
    assert made == reference.groups(spans, mask, held, target)
    for kind in (0, 1):
        own = [(list(numbers), full) for k, numbers, full in made if k == kind]
        assert [n for numbers, _ in own for n in numbers] == [
            n for n, (_, k) in enumerate(chunks) if k == kind
        ]
        start = held[kind]
        for numbers, full in own:
            sizes = [chunks[n][0] for n in numbers]
            assert full == (start + sum(sizes) >= target)
            assert start + sum(sizes[:-1]) < target or len(sizes) == 1
            start = 0


# -- what is refused ---------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("spans", BAD_SPANS)
def test_spans_outside_the_buffer_are_refused(kernel: ModuleType, spans: list[int]) -> None:
    """Before any byte is read or written."""
    target = bytearray(99)
    asked = array("Q", [0, 10, *spans])
    with pytest.raises(ValueError, match=r"span|zip"):
        kernel.gather_into(bytes(range(1, 11)), asked, target, 0)
    assert target == bytes(99)
    with pytest.raises(ValueError, match=r"span|zip"):
        kernel.dense(bytes(10), asked)


REFUSED: list[Callable[[ModuleType], object]] = [
    lambda k: k.gather_into(bytes(9), array("Q", (0, 11)), bytearray(99), 0),
    lambda k: k.gather_into(bytes(9), array("Q", (0, 9)), bytearray(8), 0),
    lambda k: k.gather_into(bytes(9), array("Q", (0, 9)), bytearray(9), 1),
    lambda k: k.gather_into(bytes(9), array("Q", (0, 9, 0, 1)), bytearray(9), 0),
    lambda k: k.gather_into(bytes(9), array("Q", (0, 0)), bytearray(9), 10),
    lambda k: k.gather_into(bytes(9), array("Q", (0, 0)), bytearray(9), -1),
    lambda k: k.gather_into(bytes(9), array("Q"), bytearray(9), 2**62),
    lambda k: k.select(array("Q", (0, 1)), array("I", [1])),
    lambda k: k.select(array("Q", (0, 1)), array("I", [0, 2**32 - 1])),
    lambda k: k.select(array("Q"), array("I", [0])),
    lambda k: k.select(array("Q", (0, 1, 2)), array("I", [1])),
    lambda k: k.select(array("Q", (0, 1, 2)), array("I", [0])),
    lambda k: k.take(bytes(36), array("I", [1])),
    lambda k: k.take(bytes(36), array("I", [2**32 - 1])),
    lambda k: k.take(b"", array("I", [0])),
    lambda k: k.take(bytes(37), array("I", [0])),
    lambda k: k.take(bytes(35), array("I")),
    lambda k: k.of_references(bytes(35)),
    lambda k: k.of_references(bytes(37)),
    lambda k: k.references(bytes(31), array("Q")),
    lambda k: k.references(bytes(32), array("Q")),
    lambda k: k.references(bytes(32), array("Q", (0, 1, 2))),
    lambda k: k.references(bytes(32), array("Q", (0, 1, 2, 3))),
    lambda k: k.references(bytes(32), array("Q", (1, 0))),
    lambda k: k.references(bytes(32), array("Q", (0, 2**32))),
    lambda k: k.references(bytes(32), array("Q", (2**64 - 1, 0))),
    lambda k: k.groups(array("Q", (0, 1)), b"", (0, 0), 10),
    lambda k: k.groups(array("Q", (0, 1)), b"\0\0", (0, 0), 10),
    lambda k: k.groups(array("Q", (0, 1)), b"\2", (0, 0), 10),
    lambda k: k.groups(array("Q", (1, 0)), b"\0", (0, 0), 10),
    lambda k: k.groups(array("Q", (0,)), b"\0", (0, 0), 10),
]


@both
@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_numbers_and_sizes_that_do_not_fit_are_refused(kernel: ModuleType, number: int) -> None:
    """ValueError from either, never a read past the end."""
    with pytest.raises(ValueError, match=r"[a-z]"):
        REFUSED[number](kernel)


@both
def test_nothing_gives_nothing(kernel: ModuleType) -> None:
    """Empty buffers, empty spans, no numbers."""
    none, no_numbers = array("Q"), array("I")
    assert kernel.gather_into(b"", none, bytearray(), 0) == 0
    assert kernel.gather_into(b"", array("Q", (0, 0)), bytearray(), 0) == 0
    assert kernel.gather_into(array("B"), none, bytearray(3), 3) == 3
    assert kernel.select(none, no_numbers) == none
    assert kernel.take(b"", no_numbers) == b""
    assert kernel.references(b"", none) == b""
    assert kernel.of_references(b"") == none
    assert kernel.dense(b"", none) == b""
    assert kernel.dense(b"", array("Q", (0, 0))) == b"\0"
    assert kernel.groups(none, b"", (0, 0), 5) == []


# -- every kernel, as a whole ------------------------------------------------------------------------

PROGRAM = """
import json, random, sys
from pathlib import Path
import cext
from repository import Places
from repository.repository import open_on
from tests.fixtures.formats import attachment, mail
from tests.fixtures.repositories import PASSPHRASE, commit_files, contents, store_of_fixed_keys

files = {
    "random": random.Random(5).randbytes(300_000), "zeros": bytes(280_000), "empty": b"",
    "text": b"the same line\\n" * 3000, "mail": mail(attachment(90_000), attachment(2500), line=64),
}
folder = Path(sys.argv[1])
with open_on(store_of_fixed_keys(), PASSPHRASE, Places(folder / "c", folder / "s")) as opened:
    with opened.write_session("w") as session:
        entry = commit_files(opened, session, files)
    assert contents(opened, entry) == files
    assert opened.verify("read").ok
    parts = {
        row.id.decode(): [(p.size, p.chunks.hex(), p.recipe.hex()) for p in row.parts]
        for row in opened.catalog(entry).rows()
    }
print(json.dumps({"kernels": cext.implementation, "simd": cext.gear.simd, "parts": parts}))
"""


ROOT = Path(__file__).parents[3]


def stored_by(folder: Path, **environment: str) -> dict[str, object]:
    """What a small repository holds when it is written and read by kernels of an environment."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "STRONGROOM_KERNELS": "",
            "STRONGROOM_SIMD": "",
            **environment,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_a_repository_is_the_same_with_every_kernel(tmp_path: Path) -> None:
    """Twins, scalar code and the best of this machine: equal chunk ids, lengths and recipes; all read and verify."""
    best = stored_by(tmp_path / "best", STRONGROOM_KERNELS="compiled")
    scalar = stored_by(tmp_path / "scalar", STRONGROOM_SIMD="scalar")
    twins = stored_by(tmp_path / "twins", STRONGROOM_KERNELS="reference")
    assert (best["kernels"], twins["kernels"]) == ("compiled", "reference")
    assert scalar["simd"] == "scalar"
    assert best["parts"] == scalar["parts"] == twins["parts"]
