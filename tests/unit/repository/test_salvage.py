"""Salvage points: what a torn or damaged pack still says of itself."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from typing_extensions import Buffer

from engine.errors import Corruption
from engine.frame import FrameCompressor, open_frame
from engine.keys import SALT_BYTES
from engine.limits import KIB, MIB, SALVAGE_ALIGNMENT_BYTES
from engine.pack import (
    SEALED_POSITION_BYTES,
    TRAILER_BYTES,
    TRAILER_MAGIC,
    DirectoryFrame,
    directory_position,
    encode_directory,
    open_directory,
    salvage_frames,
)
from engine.seal import (
    HEADER_BYTES,
    TAG_BYTES,
    Header,
    ObjectClass,
    decode_header,
    directory_cipher,
    frame_cipher,
    nonce,
)
from repository import open_pack
from repository.blobstore.memory import MemoryStore
from tests.fixtures import formats as f

DATA = ObjectClass.DATA_PACK
Frames = tuple[DirectoryFrame, ...]


@pytest.fixture(scope="module")
def pack() -> tuple[bytes, Frames]:
    """A pack of 40 frames of odd sizes with a salvage point after every half MiB, and its directory's frames."""
    rng = random.Random(1)
    store = MemoryStore()
    setting = open_pack.PackSetting(store, f.KEYS, f.UUID, DATA, padded=True)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as beside:
        patch.setattr(open_pack, "SALVAGE_INTERVAL_BYTES", 512 * KIB)
        made = open_pack.OpenPack(setting, beside, beside)
        for number in range(40):
            plain = rng.randbytes(rng.randrange(60_000, 140_000))
            refs = f.refs((number, len(plain)))
            made.append(refs, FrameCompressor().pack(refs, plain, dense=True), lambda: None)
        whole = made.seal()
        made.store(whole)
        frames = whole.frames
    (stored,) = store.objects.values()
    return stored, frames


def header_of(stored: bytes) -> Header:
    return decode_header(stored[:HEADER_BYTES], DATA, f.UUID)


def directory_offset(stored: bytes) -> int:
    return directory_position(f.KEYS, DATA, f.UUID, stored[:HEADER_BYTES], stored[-TRAILER_BYTES:])[
        1
    ]


def points(stored: bytes, frames: Frames) -> list[tuple[int, int, Frames]]:
    """Where each salvage point begins and ends, and the frames before it since the last one: from gaps between frames."""
    found = []
    first = 0
    starts = [frame.info.offset for frame in frames[1:]] + [directory_offset(stored)]
    for number, start in enumerate(starts):
        end = frames[number].info.offset + frames[number].info.stored_bytes
        if start != end:
            begin = -(-end // SALVAGE_ALIGNMENT_BYTES) * SALVAGE_ALIGNMENT_BYTES
            found.append((begin, start, frames[first : number + 1]))
            first = number + 1
    return found


def listed(whole: Sequence[tuple[int, int, Frames]]) -> Frames:
    return tuple(frame for _, _, frames in whole for frame in frames)


def salvaged(stored: Buffer, header: Header) -> Frames:
    return tuple(salvage_frames(f.KEYS, header, stored))


def test_points_stand_at_boundaries_and_say_all_but_the_last_frames(
    pack: tuple[bytes, Frames],
) -> None:
    """Several points, each the size its list needs; what follows the last one only the directory knows."""
    stored, frames = pack
    made = points(stored, frames)
    assert 5 <= len(made) <= 8
    for begin, end, inside in made:
        assert end - begin == SEALED_POSITION_BYTES + len(encode_directory(inside)) + TAG_BYTES
        assert sum(frame.info.stored_bytes for frame in inside) >= 500 * KIB
    found = salvaged(stored, header_of(stored))
    assert found == listed(made) == frames[: len(found)]
    assert sum(frame.info.stored_bytes for frame in frames[len(found) :]) < 512 * KIB + 140_000


@pytest.mark.slow
def test_a_torn_pack_gives_the_frames_of_its_whole_points(pack: tuple[bytes, Frames]) -> None:
    """Truncated at every 64 KiB and around the ends of points: exactly the frames of whole points, in order."""
    stored, frames = pack
    made = points(stored, frames)
    header = header_of(stored)
    cuts = {*range(0, len(stored), 64 * KIB), *(e + d for _, e, _ in made for d in (-1, 0, 1))}
    for size in sorted(cuts):
        whole = [point for point in made if point[1] <= size]
        assert salvaged(stored[:size], header) == listed(whole), size


def test_salvaged_frames_open(pack: tuple[bytes, Frames]) -> None:
    """Of a pack torn in the middle every frame found decodes from the bytes that are there."""
    stored, _ = pack
    torn = stored[: 2 * MIB]
    found = salvaged(torn, header_of(torn))
    assert len(found) > 10
    for frame in found:
        info = frame.info
        cipher = frame_cipher(f.KEYS, DATA, info.epoch, info.salt)
        held = torn[info.offset : info.offset + info.stored_bytes]
        assert len(open_frame(cipher, held, info, f.UUID, DATA)) == info.plain_bytes


def test_a_damaged_directory_leaves_the_points(pack: tuple[bytes, Frames]) -> None:
    """The directory does not open any more; the points say what they said."""
    stored, frames = pack
    damaged = bytearray(stored)
    damaged[directory_offset(stored) + 100] ^= 1
    header, offset, size = directory_position(
        f.KEYS, DATA, f.UUID, bytes(damaged[:HEADER_BYTES]), bytes(damaged[-TRAILER_BYTES:])
    )
    with pytest.raises(Corruption):
        open_directory(f.KEYS, header, bytes(damaged[offset : offset + size]))
    assert salvaged(damaged, header) == listed(points(stored, frames))


def test_a_damaged_header_is_made_up_for_by_the_trailer(pack: tuple[bytes, Frames]) -> None:
    """The trailer repeats the salt; class, repository and epoch are known or few."""
    stored, frames = pack
    damaged = bytes(HEADER_BYTES) + stored[HEADER_BYTES:]
    with pytest.raises(Corruption):
        header_of(damaged)
    trailer = damaged[-TRAILER_BYTES:]
    assert trailer.startswith(TRAILER_MAGIC)
    salt = trailer[len(TRAILER_MAGIC) : len(TRAILER_MAGIC) + SALT_BYTES]
    header = Header(DATA, f.KEYS.newest_epoch, f.UUID, salt)
    assert salvaged(damaged, header) == listed(points(stored, frames))


def test_a_damaged_point_takes_only_itself_away(pack: tuple[bytes, Frames]) -> None:
    """In its head or in its list: the others are found all the same."""
    stored, frames = pack
    made = points(stored, frames)
    for number, (begin, end, _) in enumerate(made):
        for at in (
            begin,
            begin + SEALED_POSITION_BYTES - 1,
            begin + SEALED_POSITION_BYTES,
            end - 1,
        ):
            damaged = bytearray(stored)
            damaged[at] ^= 1
            left = made[:number] + made[number + 1 :]
            assert salvaged(damaged, header_of(stored)) == listed(left), at


def test_points_count_only_where_they_were_sealed(pack: tuple[bytes, Frames]) -> None:
    """A point moved to another boundary, off the boundaries or under another salt, epoch or class is none."""
    stored, frames = pack
    made = points(stored, frames)
    header = header_of(stored)
    for shift in (-SALVAGE_ALIGNMENT_BYTES, 1, 512, SALVAGE_ALIGNMENT_BYTES):
        moved = bytes(shift) + stored if shift > 0 else stored[-shift:]
        assert salvaged(moved, header) == ()
    for other in (
        replace(header, salt=f.SALT),
        replace(header, epoch=1),
        replace(header, object_class=ObjectClass.METADATA_PACK),
        replace(header, repository=bytes(16)),
    ):
        assert salvaged(stored, other) == ()
    assert made


def test_an_authentic_head_with_a_wild_size_is_passed_over() -> None:
    """A list said to be longer than the pack is not there."""
    header = Header(DATA, 2, f.UUID, f.SALT)
    cipher = directory_cipher(f.KEYS, header)
    for size in (0, 1, TAG_BYTES, 1 << 40, (1 << 63) - 1, (1 << 64) - 1):
        plain = (4096).to_bytes(8, "little") + size.to_bytes(8, "little") + bytes(16)
        head = cipher.encrypt(nonce(2), plain, header.encode() + b"salvage head")
        assert salvaged(bytes(4096) + head + bytes(9000), header) == ()


def test_nothing_is_found_in_random_bytes() -> None:
    """Nor in zeros, nor in less than a boundary."""
    header = Header(DATA, 2, f.UUID, f.SALT)
    for data in (random.Random(2).randbytes(MIB), bytes(MIB), bytes(4096), b""):
        assert salvaged(data, header) == ()
