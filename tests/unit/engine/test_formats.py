"""Encodings round trip, and seals bind what they must."""

import struct
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import commit, manifest
from engine.catalog import (
    Row,
    decode_catalog_part,
    encode_catalog_part,
    parts_to_merge,
    removed_row,
    row_at,
    rows_of,
    table_of,
)
from engine.errors import Corruption, Unsupported, UsageError
from engine.frame import FrameInfo, open_frame
from engine.ids import object_id, writer_id
from engine.pack import (
    decode_directory,
    directory_position,
    encode_directory,
    fill_bytes,
    open_directory,
    padme,
    seal_tail,
)
from engine.run import decode_run, encode_run
from engine.seal import ObjectClass, frame_cipher, open_object, seal_object
from tests.fixtures import formats as f
from tests.unit.engine.parsers import FRAME, HEADER, INFO, PARSERS, sealed_frame

# -- round trips -------------------------------------------------------------------------------------

sizes = st.integers(0, 2**32 - 1)
chunk_ids = st.binary(min_size=32, max_size=32)


@pytest.mark.slow
@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.binary(min_size=16, max_size=16),
            st.sampled_from([f.SALT, f.SALT[::-1]]),
            st.lists(st.tuples(chunk_ids, st.integers(1, 9000)), min_size=1, max_size=5),
            st.integers(0, 2**60),
        ),
        max_size=6,
    )
)
def test_directory_round_trip(
    made: list[tuple[bytes, bytes, list[tuple[bytes, int]], int]],
) -> None:
    """A directory comes back as it was, and its run finds every chunk where the directory has it."""
    held = tuple(
        f.DirectoryFrame(
            FrameInfo(identity, at, 99, sum(n for _, n in chunks), i, 1, 0, f.Codec.ZSTD, salt),
            b"".join(chunk + n.to_bytes(4, "little") for chunk, n in chunks),
        )
        for i, (identity, salt, chunks, at) in enumerate(made)
    )
    assert decode_directory(encode_directory(held)) == held
    run = decode_run(encode_run([f.RunPack(f.ObjectId("0c" * 32), ObjectClass.DATA_PACK, held)]))
    assert [run.frame(n).info for n in range(run.frame_count)] == [frame.info for frame in held]
    expected: dict[bytes, tuple[int, int, int]] = {}
    for number, (_, _, chunks, _) in enumerate(made):
        offset = 0
        for chunk, length in chunks:
            expected.setdefault(chunk, (number, offset, length))
            offset += length
    rows = [struct.unpack_from("<32sIII", run.rows, at) for at in range(0, len(run.rows), 44)]
    assert rows == [(chunk, *expected[chunk]) for chunk in sorted(expected)]


row_strategy = st.builds(
    Row,
    id=st.binary(min_size=1, max_size=9),
    container=st.binary(max_size=5),
    name=st.binary(max_size=9),
    kind=st.text(max_size=5),
    size=st.integers(0, 2**63 - 1),
    created_ns=st.integers(-(2**63), 2**63 - 1),
    modified_ns=st.integers(-(2**63), 2**63 - 1),
    version=st.text(max_size=5),
    meta=st.binary(max_size=9),
    parts=st.lists(
        st.builds(
            f.part_of, st.text(max_size=4), st.lists(st.tuples(chunk_ids, sizes), max_size=3)
        ),
        max_size=3,
    ).map(tuple),
    removed=st.booleans(),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(row_strategy, max_size=8, unique_by=lambda row: row.id))
def test_catalog_part_round_trip(made: list[Row]) -> None:
    """Rows come back as they were, ordered by creation and id, one by one and all together."""
    table = decode_catalog_part(encode_catalog_part(table_of(made)))
    expected = sorted(made, key=lambda row: (row.created_ns, row.id))
    assert list(rows_of(table)) == expected
    assert [row_at(table, n) for n in range(len(made))] == expected


@settings(max_examples=60, deadline=None, derandomize=True)
@given(plain=st.one_of(st.binary(max_size=3000), st.binary(max_size=40).map(lambda b: b * 100)))
def test_frame_and_object_round_trip(plain: bytes) -> None:
    """Frames and objects give back their bytes, compressed or not, empty too."""
    info, stored = sealed_frame(plain)
    cipher = frame_cipher(f.KEYS, ObjectClass.DATA_PACK, 2, f.SALT)
    assert open_frame(cipher, stored, info, f.UUID, ObjectClass.DATA_PACK) == plain
    made = seal_object(f.KEYS, ObjectClass.POINT, f.UUID, f.SALT, plain, "name")
    assert open_object(f.KEYS, ObjectClass.POINT, f.UUID, made, "name") == plain


def test_forms_round_trip() -> None:
    """Manifests, points, cells, generations and key sets come back as they were."""
    for name, expected in (
        ("manifest", f.manifest()),
        ("point", f.point()),
        ("cell", f.cell()),
        ("generation", f.generation()),
        ("key-set", f.KEYS),
    ):
        assert PARSERS[name].decode(PARSERS[name].good) == expected
    assert msgspec.json.decode(commit.encode(commit.GENERATION_ZERO)) is not None
    assert removed_row(b"x").removed


def test_pack_tail_round_trip() -> None:
    """The trailer leads to the directory, and fill brings the pack to its Padme size."""
    directory, trailer = seal_tail(f.KEYS, HEADER, f.frames(), 500)
    header, offset, size = directory_position(
        f.KEYS, ObjectClass.DATA_PACK, f.UUID, HEADER.encode(), trailer
    )
    assert (header, offset, size) == (HEADER, 500, len(directory))
    assert open_directory(f.KEYS, header, directory).frames == f.frames()
    whole = 500 + len(directory) + fill_bytes(len(directory), 500) + len(trailer)
    assert padme(whole) == whole


@pytest.mark.slow
@settings(max_examples=300, derandomize=True)
@given(st.integers(0, 2**40))
def test_padme(size: int) -> None:
    """A Padme size is at least the size, at most 12 % above, and a fixed point."""
    padded = padme(size)
    assert size <= padded <= size * 1.12 + 1
    assert padme(padded) == padded


# -- what seals bind ---------------------------------------------------------------------------------


def test_objects_cannot_take_each_others_place() -> None:
    """A sealed object is refused under another name, class, repository or key."""
    good = seal_object(f.KEYS, ObjectClass.CELL, f.UUID, f.SALT, b"x", "sess/a")
    other_keys = replace(f.KEYS, epochs={2: f.EpochKeys(b"x" * 32, b"y" * 32)})
    for keys, object_class, uuid, name in (
        (f.KEYS, ObjectClass.CELL, f.UUID, "sess/b"),
        (f.KEYS, ObjectClass.CELL, f.UUID, ""),
        (f.KEYS, ObjectClass.GENERATION, f.UUID, "sess/a"),
        (f.KEYS, ObjectClass.CELL, bytes(16), "sess/a"),
        (other_keys, ObjectClass.CELL, f.UUID, "sess/a"),
        (replace(f.KEYS, epochs={1: f.KEYS.epochs[1]}), ObjectClass.CELL, f.UUID, "sess/a"),
    ):
        with pytest.raises(Corruption):
            open_object(keys, object_class, uuid, good, name)


def test_frames_cannot_take_each_others_place() -> None:
    """A frame is refused at another ordinal, as another class, identity, length, codec, epoch or repository."""
    data, meta = ObjectClass.DATA_PACK, ObjectClass.METADATA_PACK
    cipher = frame_cipher(f.KEYS, data, 2, f.SALT)
    changes: list[tuple[FrameInfo, bytes, ObjectClass]] = [
        (replace(INFO, ordinal=8), f.UUID, data),
        (replace(INFO, identity=bytes(16)), f.UUID, data),
        (replace(INFO, plain_bytes=INFO.plain_bytes - 1), f.UUID, data),
        (replace(INFO, codec=f.Codec.NONE), f.UUID, data),
        (replace(INFO, epoch=1), f.UUID, data),
        (replace(INFO, dictionary=1), f.UUID, data),
        (INFO, bytes(16), data),
        (INFO, f.UUID, meta),
    ]
    for info, uuid, object_class in changes:
        with pytest.raises(Corruption):
            open_frame(cipher, FRAME, info, uuid, object_class)


def test_newer_versions_are_unsupported() -> None:
    """An object, manifest or point of a newer format says that a newer program is needed."""
    newer = bytearray(PARSERS["object"].good)
    newer[8] = 2
    for attempt in (
        lambda: PARSERS["object"].decode(bytes(newer)),
        lambda: PARSERS["manifest"].decode(manifest.encode_manifest(f.manifest(version=2), f.SEED)),
        lambda: PARSERS["point"].decode(manifest.encode_point(f.point(version=9), f.SEED)),
    ):
        with pytest.raises(Unsupported) as caught:
            attempt()
        assert caught.value.code == "format-newer"


def test_manifest_invariants() -> None:
    """A wrong root, a doubled object or catalog parts out of order neither leave nor enter."""
    doubled = (f.entry(), f.entry())
    levels = msgspec.structs.replace(f.entry(), catalog=f.entry().catalog[::-1])
    for broken in (
        msgspec.structs.replace(f.manifest(), root="0" * 64),
        f.manifest(doubled),
        f.manifest((levels,)),
    ):
        with pytest.raises(Corruption):
            manifest.encode_manifest(broken, f.SEED)
        signed = manifest._sign(manifest._MANIFEST_DOMAIN, msgspec.json.encode(broken), f.SEED)
        with pytest.raises(Corruption):
            manifest.decode_manifest(signed, f.UUID.hex(), f.SEED)
    with pytest.raises(Corruption):
        manifest.decode_manifest(PARSERS["manifest"].good, "00" * 16, f.SEED)
    with pytest.raises(Corruption):
        manifest.decode_manifest(PARSERS["manifest"].good, f.UUID.hex(), b"t" * 32)


def test_merkle_roots_differ() -> None:
    """Order, number and joining of leaves change the root; the empty list has a root of its own."""
    leaves: list[list[bytes]] = [
        [], [b""], [b"a"], [b"b"], [b"a", b"b"], [b"b", b"a"], [b"ab"], [b"a", b"b", b"c"], [b"a", b"b", b"c", b"c"],
    ]  # fmt: skip
    assert len({manifest.merkle_root(made) for made in leaves}) == len(leaves)


@pytest.mark.parametrize(
    ("levels", "count"),
    [([], 0), ([0] * 7, 0), ([0] * 8, 8), ([1] + [0] * 8, 8), ([2, 1] + [0] * 7, 0), ([1] * 8, 8), ([0] * 9, 9)],
)  # fmt: skip
def test_eight_parts_of_a_level_are_merged(levels: list[int], count: int) -> None:
    """Merging waits for eight parts at the newest part's level."""
    assert parts_to_merge(levels) == count


def test_ids_are_checked() -> None:
    """Ids and writers of another form are UsageError."""
    for bad in ("", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"):
        with pytest.raises(UsageError):
            object_id(bad)
    for bad in ("", "-a", "A", "a" * 65, "a/b", "a\n", ".."):
        with pytest.raises(UsageError):
            writer_id(bad)
    assert writer_id("proxy-1") == "proxy-1"
