"""Runs: what is located comes back, merges are those of dicts, and damage is Corruption."""

import random
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import run as runs
from engine.errors import Corruption
from engine.frame import Codec, FrameInfo
from engine.ids import ObjectId
from engine.pack import DirectoryFrame
from engine.run import (
    Run,
    RunPack,
    decode_run,
    encode_run,
    merge_runs,
    plan_merge,
    runs_to_merge,
)
from engine.seal import ObjectClass
from tests.fixtures import formats as f

Located = dict[bytes, tuple[str, FrameInfo, int, int]]


def made_pack(seed: int, frames: int, chunk_range: int = 1 << 60) -> RunPack:
    """A pack of random frames; chunks are numbers below `chunk_range`, so that small ranges give duplicates."""
    rng = random.Random(seed)
    salts = [rng.randbytes(32), f.SALT]
    held = []
    for ordinal in range(frames):
        chunks = [
            (rng.randrange(chunk_range), rng.randrange(1, 900)) for _ in range(rng.randint(1, 9))
        ]
        info = FrameInfo(
            rng.randbytes(16),
            rng.randrange(1 << 50),
            77,
            sum(size for _, size in chunks),
            ordinal,
            rng.randrange(9),
            0,
            rng.choice(list(Codec)),
            rng.choice(salts),
        )
        refs = b"".join(_id(number) + size.to_bytes(4, "little") for number, size in chunks)
        held.append(DirectoryFrame(info, refs))
    kind = rng.choice([ObjectClass.DATA_PACK, ObjectClass.METADATA_PACK])
    return RunPack(ObjectId(rng.randbytes(32).hex()), kind, tuple(held))


def _id(number: int) -> bytes:
    return random.Random(number).randbytes(32)


def located(run: Run) -> Located:
    """Every chunk with its place, as one who reads would find it."""
    found: Located = {}
    for at in range(0, len(run.rows), 44):
        chunk, number, offset, length = struct.unpack_from("<32sIII", run.rows, at)
        frame = run.frame(number)
        found[chunk] = run.packs[frame.pack][0], frame.info, offset, length
    return found


def expected(packs: list[RunPack]) -> Located:
    found: Located = {}
    for pack in packs:
        for frame in pack.frames:
            offset = 0
            for at in range(0, len(frame.refs), 36):
                chunk, length = struct.unpack_from("<32sI", frame.refs, at)
                found.setdefault(chunk, (pack.pack, frame.info, offset, length))
                offset += length
    return found


packs_strategy = st.lists(
    st.builds(made_pack, st.integers(0, 2**32), st.integers(0, 5), st.sampled_from([8, 1 << 60])),
    max_size=6,
    unique_by=lambda pack: pack.pack,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(packs=packs_strategy)
def test_round_trip(packs: list[RunPack]) -> None:
    """Every chunk is found where the first directory that lists it has it; packs keep class and order."""
    run = decode_run(encode_run(packs))
    assert run.packs == tuple((pack.pack, pack.object_class) for pack in packs)
    assert run.frame_count == sum(len(pack.frames) for pack in packs)
    assert located(run) == expected(packs)
    assert run.chunk_count == len(expected(packs))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(packs=packs_strategy, cut=st.integers(0, 6), lost=st.sets(st.integers(0, 5)))
def test_a_merge_locates_what_its_runs_locate(
    packs: list[RunPack], cut: int, lost: set[int]
) -> None:
    """The earliest run wins; packs left out are as if their runs had never named them, and leave no salt."""
    without = {pack.pack for place, pack in enumerate(packs) if place in lost}
    sources = [decode_run(encode_run([pack])) for pack in packs[:cut]]
    sources.append(decode_run(encode_run(packs[cut:])))
    merged = decode_run(merge_runs(sources, without))
    kept = [pack for pack in packs if pack.pack not in without]
    assert merged.packs == tuple((pack.pack, pack.object_class) for pack in kept)
    singles = [decode_run(merge_runs([source], without)) for source in sources]
    first: Located = {}
    for single in singles:
        first = located(single) | first
    assert located(merged) == first
    salts = {frame.info.salt for pack in kept for frame in pack.frames}
    assert len(merged.salts) == 32 * len(salts)
    if not without:
        assert located(merged) == expected(packs)


def test_a_merge_in_pieces_is_the_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces only bound memory: the bytes are those of one run over all packs."""
    monkeypatch.setattr("engine.run.MERGE_PIECE_CHUNKS", 4)
    packs = [made_pack(n, 9) for n in range(7)]
    sources = [decode_run(encode_run([pack])) for pack in packs]
    pieces = list(plan_merge(sources).rows())
    assert len(pieces) >= 16
    assert merge_runs(sources) == encode_run(packs)


@pytest.mark.slow
def test_many_salts_keep_their_high_bits() -> None:
    """More packs than 16 bits count: frames find their salts."""
    frames = [
        DirectoryFrame(
            FrameInfo(b"i" * 16, 64, 9, 1, 0, 1, 0, Codec.NONE, n.to_bytes(32, "big")),
            f.refs((n, 1)),
        )
        for n in range(70_000)
    ]
    pack = RunPack(ObjectId("ab" * 32), ObjectClass.DATA_PACK, tuple(frames))
    run = decode_run(encode_run([pack]))
    merged = decode_run(merge_runs([decode_run(encode_run(f.packs())), run]))
    for number in (0, 65_535, 65_536, 69_999):
        assert run.frame(number).info == frames[number].info
        assert merged.frame(merged.frame_count - 70_000 + number).info == frames[number].info


@pytest.mark.slow
def test_damage_is_corruption() -> None:
    """Any change that no longer fits is Corruption; whatever still fits can be read to its end."""
    good = encode_run([made_pack(n, 3) for n in range(3)])
    rng = random.Random("fuzz run 1")
    refused = 0
    for _ in range(3000):
        damaged = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(good))] = rng.choice((0, 1, 255, rng.randrange(256)))
        if rng.random() < 0.2:
            del damaged[rng.randrange(len(good)) :]
        try:
            located(decode_run(bytes(damaged)))
        except Corruption:
            refused += 1
    assert refused > 1000


@pytest.mark.parametrize("field", range(4))
def test_huge_counts_do_not_allocate(field: int) -> None:
    """A head that promises billions is refused before anything is made for them."""
    head = bytearray(encode_run(f.packs()))
    struct.pack_into("<I", head, 4 * field, 0xFFFFFFFF)
    tracemalloc.start()
    try:
        with pytest.raises(Corruption):
            decode_run(bytes(head))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_frames_stand_in_the_order_of_their_packs() -> None:
    """Two frames changed places: refused, since places in a pack are compared by frame number."""
    plain = bytearray(encode_run([made_pack(1, 1), made_pack(2, 1)]))
    start = 16 + 2 * 36 + 32 * struct.unpack_from("<I", plain, 4)[0]
    first, second = plain[start : start + 52], plain[start + 52 : start + 104]
    plain[start : start + 104] = second + first
    with pytest.raises(Corruption):
        decode_run(bytes(plain))


def test_a_frame_that_is_not_there() -> None:
    """A number beyond the last frame is Corruption, also in bytes that nobody checked."""
    run = decode_run(encode_run(f.packs()))
    with pytest.raises(Corruption):
        run.frame(run.frame_count)


def test_levels_stay_small() -> None:
    """Whatever comes, each level holds at most eight runs, and above the lowest a chunk is rewritten once or twice a level."""
    for sizes in ((1,), (30_000,), (40_000, 10), (5_000_000, 2, 300_000)):
        rng = random.Random(len(sizes))
        held: list[int] = []
        written = added = 0
        for _ in range(1500):
            held.append(rng.choice(sizes))
            added += held[-1]
            while chosen := runs_to_merge(held):
                assert chosen == sorted(set(chosen))
                assert len(chosen) > runs.RUNS_PER_LEVEL_MAX
                total = sum(held[place] for place in chosen)
                written += total
                held = [n for place, n in enumerate(held) if place not in chosen] + [total]
        assert sum(held) == added
        levels = 1 + max(runs._level(n) for n in held)
        assert len(held) <= runs.RUNS_PER_LEVEL_MAX * levels
        if sizes != (1,):  # runs of the lowest level are small enough to be rewritten often
            assert written <= 2 * levels * added


def test_few_runs_are_left_alone() -> None:
    """Up to eight runs of a level stay; the ninth makes all of them one, and no larger run is touched."""
    assert runs_to_merge([]) == []
    assert runs_to_merge([10] * 8 + [1 << 20] * 8) == []
    assert runs_to_merge([1 << 20, *[10] * 9]) == list(range(1, 10))
    assert runs_to_merge([200_000] * 8 + [30_000] * 9) == list(range(17))
