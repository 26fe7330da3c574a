"""The compiled run kernel does what its plain twin does, and both do what a dict does."""

import random
import struct
from array import array
from types import ModuleType

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cext.reference import runs as reference

compiled = pytest.importorskip("cext.runs")

BOTH = pytest.mark.parametrize("kernel", [compiled, reference], ids=["compiled", "reference"])
KINDS = ("random", "one-prefix", "two-clusters", "counting", "duplicates", "extremes")
CASES = given(count=st.integers(0, 90), seed=st.integers(0, 2**32))
NONE = reference.ROW_NONE
FRAMES = 7


def ids_of(kind: str, count: int, seed: int) -> list[bytes]:
    """Ids spread evenly, or such as no hash gives: clusters, shared prefixes, duplicates, ends of the range."""
    rng = random.Random(seed)
    if kind == "random":
        return [rng.randbytes(32) for _ in range(count)]
    if kind == "one-prefix":
        return [b"\x77" * 24 + rng.randbytes(8) for _ in range(count)]
    if kind == "two-clusters":
        return [rng.choice((bytes(8), b"\xff" * 8)) + rng.randbytes(24) for _ in range(count)]
    if kind == "counting":
        return [n.to_bytes(32, "big") for n in range(count)]
    if kind == "duplicates":
        few = [rng.randbytes(32) for _ in range(count // 4 + 1)]
        return [rng.choice(few) for _ in range(count)]
    ends = (bytes(32), b"\xff" * 32, bytes(31) + b"\1", b"\xff" * 31 + b"\xfe")
    return [rng.choice(ends) if rng.random() < 0.3 else rng.randbytes(32) for _ in range(count)]


def rows_from(ids: list[bytes], seed: int = 0) -> bytes:
    rng = random.Random(seed)
    return b"".join(
        chunk + struct.pack("<III", rng.randrange(FRAMES), rng.randrange(500), rng.randrange(500))
        for chunk in ids
    )


def frame_records(packs: list[int], salts: list[int]) -> bytes:
    return b"".join(
        struct.pack(
            "<I16sQIIIIIHBB", pack, bytes(16), 9, 8, 7, 6, 5, 4, salt & 0xFFFF, 1, salt >> 16
        )
        for pack, salt in zip(packs, salts, strict=True)
    )


def as_dict(rows: bytes | bytearray) -> dict[bytes, bytes]:
    return {
        bytes(rows[at : at + 32]): bytes(rows[at + 32 : at + 44]) for at in range(0, len(rows), 44)
    }


@BOTH
def test_directory_records_become_rows(kernel: ModuleType) -> None:
    """Offsets are running sums inside each frame; frames are numbered from the first."""
    refs = b"".join(bytes([n]) * 32 + struct.pack("<I", 10 * n) for n in range(1, 5))
    rows = kernel.rows_of(refs, array("I", [3, 0, 1]), 5)
    assert [struct.unpack_from("<III", rows, at + 32) for at in range(0, len(rows), 44)] == [
        (5, 0, 10),
        (5, 10, 20),
        (5, 30, 30),
        (7, 0, 40),
    ]
    assert (
        kernel.row_ids(rows)
        == kernel.gather_ids(refs)
        == b"".join(bytes([n]) * 32 for n in range(1, 5))
    )
    assert list(kernel.lengths(refs)) == [10, 20, 30, 40]
    assert kernel.sum_lengths(refs) == 100
    with pytest.raises(ValueError, match="counts"):
        kernel.rows_of(refs, array("I", [3]), 0)
    with pytest.raises(ValueError, match="large"):
        kernel.rows_of((bytes(32) + b"\xff" * 4) * 2, array("I", [2]), 0)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None, derandomize=True)
@CASES
def test_sort_and_search(kind: str, count: int, seed: int) -> None:
    """Equal to the twin for any ids; every id is found in the row that a dict names, others are not found."""
    ids = ids_of(kind, count, seed)
    rows = rows_from(ids, seed)
    ordered = compiled.sort(rows)
    assert ordered == reference.sort(rows)
    expected: dict[bytes, bytes] = {}
    for chunk, rest in (
        (rows[at : at + 32], rows[at + 32 : at + 44]) for at in range(0, len(rows), 44)
    ):
        expected.setdefault(chunk, rest)
    assert as_dict(ordered) == expected
    asked = ids + ids_of(kind, 20, seed + 1) + ids_of("random", 20, seed + 2)
    joined = b"".join(asked)
    places = compiled.search(ordered, joined)
    assert places == reference.search(ordered, joined)
    for chunk, place in zip(asked, places, strict=True):
        assert (place != NONE) == (chunk in expected)
        if place != NONE:
            assert ordered[place * 44 : place * 44 + 32] == chunk
        assert compiled.bound(ordered, chunk) == reference.bound(ordered, chunk)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, derandomize=True)
@CASES
def test_filter_and_lookup(kind: str, count: int, seed: int) -> None:
    """The filter knows every id it was built of; a lookup splits positions as the twin does, with and without it."""
    ordered = compiled.sort(rows_from(ids_of(kind, count, seed), seed))
    bloom = compiled.bloom_build(ordered)
    assert bloom == reference.bloom_build(ordered)
    held = compiled.row_ids(ordered)
    assert set(compiled.bloom_check(bloom, held)) <= {1}
    asked = held + b"".join(ids_of("random", 30, seed + 1))
    assert compiled.bloom_check(bloom, asked) == reference.bloom_check(bloom, asked)
    among = array("I", range(0, len(asked) // 32, 3))
    for chosen in (None, among):
        for filtered in (None, bloom):
            found = compiled.lookup(ordered, filtered, asked, chosen)
            assert found == reference.lookup(ordered, filtered, asked, chosen)
            assert sorted([*found[0], *found[1]]) == list(
                range(len(asked) // 32) if chosen is None else among
            )


@pytest.mark.slow
def test_every_row_of_a_large_run_is_found() -> None:
    """Groups, guesses and steps meet in runs of any size; half of the ids lie in one cluster."""
    for count in (1, 15, 16, 17, 1000, 50_000):
        for kind in ("random", "one-prefix", "mixed"):
            ids = (
                ids_of("random", count // 2, 1) + ids_of("one-prefix", count - count // 2, 2)
                if kind == "mixed"
                else ids_of(kind, count, 1)
            )
            ordered = compiled.sort(rows_from(ids))
            assert list(compiled.search(ordered, compiled.row_ids(ordered))) == list(range(count))
            others = b"".join(ids_of("one-prefix", count, 9) + ids_of("random", count, 9))
            assert set(compiled.search(ordered, others)) == {NONE}


def test_few_others_pass_the_filter() -> None:
    """With ten bits a key at most two in a hundred ids that are not there pass."""
    bloom = compiled.bloom_build(compiled.sort(rows_from(ids_of("random", 5000, 1))))
    assert len(bloom) <= 5000 * 10 // 8 + 64
    others = b"".join(ids_of("random", 5000, 2))
    assert sum(compiled.bloom_check(bloom, others)) < 100


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kinds=st.lists(st.sampled_from(KINDS), max_size=6),
    seed=st.integers(0, 2**32),
    dropped=st.sets(st.integers(0, FRAMES - 1)),
)
def test_merge_is_that_of_dicts(kinds: list[str], seed: int, dropped: set[int]) -> None:
    """The earliest run's row wins, frames get their new numbers, rows of frames left out are as if never there."""
    runs = []
    expected: dict[bytes, bytes] = {}
    for place, kind in enumerate(kinds):
        shared = ids_of("random", 10, seed)  # the same ids in every run
        rows = compiled.sort(rows_from(ids_of(kind, 40, seed + place) + shared, seed + place))
        numbers = array("I", (NONE if f in dropped else 100 * place + f for f in range(FRAMES)))
        runs.append((rows, numbers))
        for chunk, rest in as_dict(rows).items():
            frame = numbers[int.from_bytes(rest[:4], "little")]
            if frame != NONE:
                expected.setdefault(chunk, struct.pack("<I", frame) + rest[4:])
    merged = compiled.merge(runs)
    assert merged == reference.merge(runs)
    assert as_dict(merged) == expected
    assert list(as_dict(merged)) == sorted(expected)


@BOTH
def test_check_refuses_what_does_not_fit(kernel: ModuleType) -> None:
    """Rows out of order, twice, in a frame that is not there or beyond its end."""

    def row(chunk: int, frame: int, offset: int, length: int) -> bytes:
        return bytes([chunk]) * 32 + struct.pack("<III", frame, offset, length)

    plain = array("I", [10, 20])
    assert kernel.check(b"", array("I"))
    assert kernel.check(row(1, 0, 0, 10) + row(2, 1, 5, 15), plain)
    for wrong in (
        row(2, 0, 0, 1) + row(1, 0, 0, 1),
        row(1, 0, 0, 1) + row(1, 0, 1, 1),
        row(1, 2, 0, 1),
        row(1, 0, 1, 10),
        row(1, 0, 0xFFFFFFFF, 0xFFFFFFFF),
    ):
        assert not kernel.check(wrong, plain)


@BOTH
def test_frame_records(kernel: ModuleType) -> None:
    """References are checked; packs left out take their frames along; salts beyond 16 bits keep their high bits."""
    salts = [0, 70_000, 1, 70_000]
    frames = frame_records([0, 1, 1, 2], salts)
    assert kernel.frames_fit(frames, 3, 70_001, 1)
    for packs, salt_count, codec in ((2, 70_001, 1), (3, 70_000, 1), (3, 70_001, 0)):
        assert not kernel.frames_fit(frames, packs, salt_count, codec)
    assert not kernel.frames_fit(frame_records([1, 0], [0, 0]), 2, 1, 1)
    packs = array("I", [9, NONE, 0x01020304])
    used = kernel.salts_used(frames, packs, 70_001)
    assert [n for n, is_used in enumerate(used) if is_used] == [0, 70_000]
    numbers = array("I", [5]) + array("I", [0]) * 69_999 + array("I", [0x030201])
    kept, frame_numbers = kernel.renumber(frames, packs, numbers, 50)
    assert kept == frame_records([9, 0x01020304], [5, 0x030201])
    assert list(frame_numbers) == [50, NONE, NONE, 51]
    for wrong in ((array("I", [1, 1]), numbers), (packs, numbers[:-1])):
        with pytest.raises(ValueError, match="not there"):
            kernel.renumber(frames, *wrong, 0)
    with pytest.raises(ValueError, match="not there"):
        kernel.salts_used(frames, packs, 70_000)


@BOTH
def test_columns_and_sums(kernel: ModuleType) -> None:
    """Rows are written where they were asked for; packs and sums are those of the rows chosen."""
    rows = kernel.sort(
        b"".join(bytes([n]) * 32 + struct.pack("<III", n, 10 * n, 100 * n) for n in range(4))
    )
    frames = frame_records([0, 0, 1, 1], [0] * 4)
    columns = array("Q", [7] * 3), array("I", [7] * 3), array("I", [7] * 3)
    kernel.scatter(rows, array("I", [2, 0]), array("I", [3, 1]), 6, *columns)
    assert [list(column) for column in columns] == [
        [6 << 32 | 1, 7, 6 << 32 | 3],
        [10, 7, 30],
        [100, 7, 300],
    ]
    assert list(kernel.pack_numbers(rows, frames, array("I", [3, 0, 2]))) == [1, 0, 1]
    counts = array("Q", [1, 1])
    assert kernel.tally(rows, frames, None, counts) == 600
    assert kernel.tally(rows, frames, array("I", [3]), counts) == 300
    assert list(counts) == [3, 4]


@BOTH
def test_what_lies_outside_is_refused(kernel: ModuleType) -> None:
    """Sizes and positions that do not fit are errors, never reads or writes past an end."""
    row = bytes(32) + struct.pack("<III", 5, 0, 1)
    frame = frame_records([3], [0])
    one, far = array("I", [0]), array("I", [1])
    empty = array("Q", [0]), array("I", [0]), array("I", [0])
    calls = (
        lambda: kernel.sort(row[:-1]),
        lambda: kernel.gather_ids(bytes(35)),
        lambda: kernel.search(row, bytes(33)),
        lambda: kernel.bound(row, bytes(31)),
        lambda: kernel.lookup(row, None, bytes(32), far),
        lambda: kernel.lookup(row, bytes(63), bytes(32)),
        lambda: kernel.lookup(row, b"", bytes(32)),
        lambda: kernel.scatter(row, far, one, 0, *empty),
        lambda: kernel.scatter(row, one, far, 0, *empty),
        lambda: kernel.scatter(row, one, array("I"), 0, *empty),
        lambda: kernel.scatter(row, one, one, 0, empty[0], array("I"), empty[2]),
        lambda: kernel.pack_numbers(row, frame, one),
        lambda: kernel.pack_numbers(row, frame, far),
        lambda: kernel.tally(row, frame * 6, None, array("Q", [0])),
        lambda: kernel.tally(row, frame, None, array("Q", [0] * 9)),
        lambda: kernel.merge([(row, array("I", [0]))]),
        lambda: kernel.bloom_check(b"", bytes(32)),
        lambda: kernel.bloom_build(row, 0),
        lambda: kernel.IdTable().add(bytes(31)),
        lambda: kernel.IdTable().absent(bytes(32), far),
    )
    for call in calls:
        with pytest.raises(ValueError):
            call()


@BOTH
def test_nothing_is_a_run_as_well(kernel: ModuleType) -> None:
    """No rows, no ids, no runs: empty answers."""
    assert kernel.sort(b"") == kernel.merge([]) == kernel.rows_of(b"", array("I"), 0) == b""
    assert kernel.search(b"", b"") == array("I")
    assert list(kernel.search(b"", bytes(64))) == [NONE, NONE]
    assert kernel.bloom_build(b"") == bytes(64)
    assert kernel.lookup(b"", bytes(64), bytes(32))[0] == array("I", [0])
    assert kernel.IdTable().add(b"") == array("I")


@BOTH
@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(KINDS),
    batches=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.booleans()), max_size=8),
    seed=st.integers(0, 2**32),
)
def test_a_table_is_a_set(
    kernel: ModuleType, kind: str, batches: list[tuple[int, int, bool]], seed: int
) -> None:
    """In any history: new positions come back once, first occurrence only; the others are there."""
    table = kernel.IdTable()
    held: set[bytes] = set()
    for count, shift, with_among in batches:
        ids = ids_of(kind, count, seed + shift)
        joined = b"".join(ids)
        among = array("I", range(count - 1, -1, -2)) if with_among else None
        positions = range(count) if among is None else list(among)
        assert list(table.absent(joined, among)) == [p for p in positions if ids[p] not in held]
        expected = []
        for position in positions:
            if ids[position] not in held:
                held.add(ids[position])
                expected.append(position)
        assert list(table.add(joined, among)) == expected
        assert len(table) == len(held)


def test_a_table_compares_whole_ids_and_stays_small() -> None:
    """Ids that differ in one bit anywhere are different; at most 64 bytes an id from a few thousand on."""
    table = compiled.IdTable()
    base = bytes(range(32))
    flipped = [
        base[: bit // 8] + bytes([base[bit // 8] ^ 1 << bit % 8]) + base[bit // 8 + 1 :]
        for bit in range(256)
    ]
    assert len(table.add(base + b"".join(flipped))) == 257
    rng = random.Random(1)
    while len(table) < 30_000:
        table.add(rng.randbytes(32 * 500))
        assert len(table) < 2000 or table.memory_bytes <= 64 * len(table)


def packed(parts: object) -> bytes:
    return msgspec.msgpack.encode(parts)


def values_of(values: list[bytes]) -> tuple[bytes, "array[int]"]:
    offsets = array("i", [0])
    for value in values:
        offsets.append(offsets[-1] + len(value))
    return b"".join(values), offsets


PART = st.tuples(
    st.text(max_size=300),
    st.integers(0, 2**63 - 1),
    st.binary(max_size=20).map(lambda seed: random.Random(seed).randbytes(36 * len(seed))),
    st.binary(max_size=300),
)


@BOTH
@settings(derandomize=True)
@given(rows=st.lists(st.lists(PART, max_size=20), max_size=6))
def test_references_of_packed_parts(
    kernel: ModuleType, rows: list[list[tuple[str, int, bytes, bytes]]]
) -> None:
    """Whatever msgpack makes of parts, their references come out in order; rows without parts are empty values."""
    data, offsets = values_of([packed(parts) if parts else b"" for parts in rows])
    expected = b"".join(refs for parts in rows for _, _, refs, _ in parts)
    assert kernel.part_references(data, offsets) == expected


@settings(derandomize=True, max_examples=400)
@given(parts=st.lists(PART, min_size=1, max_size=3), seed=st.integers(0, 2**32))
def test_broken_packed_parts_are_refused_alike(
    parts: list[tuple[str, int, bytes, bytes]], seed: int
) -> None:
    """Of changed, cut and lengthened values both kernels say the same, and read nothing outside."""
    rng = random.Random(seed)
    value = bytearray(packed(parts))
    for _ in range(rng.randrange(3)):
        value[rng.randrange(len(value))] = rng.choice(
            (0, 0xC6, 0xDD, 0xDB, 0xCF, 0xFF, rng.randrange(256))
        )
    cut = bytes(value[: rng.choice((len(value), len(value), rng.randrange(len(value) + 1)))])
    data, offsets = values_of([cut, b"" if rng.random() < 0.5 else bytes(rng.randrange(3))])
    answers = []
    for kernel in (compiled, reference):
        try:
            answers.append(kernel.part_references(data, offsets))
        except ValueError:
            answers.append(None)
    assert answers[0] == answers[1]


@BOTH
def test_values_outside_the_data_are_refused(kernel: ModuleType) -> None:
    """Offsets that fall, or lie behind the end, are an error before memory is touched."""
    for offsets in ([0, 5], [3, 1], [-1, 0]):
        with pytest.raises(ValueError, match="outside"):
            kernel.part_references(b"\x90\x90", array("i", offsets))


@BOTH
def test_a_table_gives_its_ids_back(kernel: ModuleType) -> None:
    """Each once, in the order in which they came."""
    ids = ids_of("random", 50, 3)
    table = kernel.IdTable()
    table.add(b"".join(ids + ids[:7]))
    assert table.ids == b"".join(ids)
