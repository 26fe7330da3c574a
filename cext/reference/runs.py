"""
Rows of index runs, and sets of chunk ids.

A row is 44 bytes: id 32, frame u32, offset u32, length u32, little-endian; rows rise strictly by id. A directory record is
36 bytes: id 32, length u32. A frame record is the 52 bytes of docs/format.md, "Runs". Ids are keyed hashes, spread evenly,
so searches guess the place; other ids only cost time, at most in proportion to log n.
"""

import bisect
import itertools
import struct
from array import array
from collections.abc import Iterable, Sequence

from typing_extensions import Buffer

ROW_BYTES = 44
ROW_NONE = 0xFFFFFFFF
_ID = 32
_REF = 36
_FRAME = struct.Struct("<I16sQIIIIIHBB")
_BLOCK_BYTES = 64
_PROBES = 7


def _split(data: Buffer, size: int) -> list[bytes]:
    plain = bytes(data)
    if len(plain) % size:
        raise ValueError(f"records have {size} bytes")
    return [plain[at : at + size] for at in range(0, len(plain), size)]


def _number(row: bytes, place: int) -> int:
    return int.from_bytes(row[_ID + 4 * place : _ID + 4 * place + 4], "little")


def _positions(ids: list[bytes], among: Sequence[int] | None) -> Iterable[int]:
    if among is None:
        return range(len(ids))
    if any(position >= len(ids) for position in among):
        raise ValueError("a position lies outside the ids")
    return among


def gather_ids(refs: Buffer) -> bytes:
    """The ids of directory records, joined."""
    return b"".join(ref[:_ID] for ref in _split(refs, _REF))


def part_references(values: Buffer, offsets: Buffer) -> bytes:
    """
    The references in packed parts, joined; value i lies from `offsets[i]` to `offsets[i + 1]` (32 bits each).

    A value is empty, or a msgpack array of [role text, size, references, recipe]. ValueError if it is neither.
    """
    data = bytes(values)
    bounds = memoryview(offsets).cast("B").cast("i").tolist()
    found = []
    for start, end in itertools.pairwise(bounds):
        if not 0 <= start <= end <= len(data):
            raise ValueError("a value lies outside the data")
        if start == end:
            continue
        at, count = _packed_length(data, start, end, _ARRAYS)
        for _ in range(count):
            at, members = _packed_length(data, at, end, _ARRAYS)
            at, role = _packed_length(data, at, end, _TEXTS)
            at = _packed_size(data, at + role, end)
            at, size = _packed_length(data, at, end, _BINARIES)
            found.append(data[at : at + size])
            at, recipe = _packed_length(data, at + size, end, _BINARIES)
            at += recipe
            if members != 4 or size % _REF or at > end:
                raise ValueError("the parts of a row cannot be read")
        if at != end:
            raise ValueError("the parts of a row cannot be read")
    return b"".join(found)


_Heads = tuple[
    range, dict[int, int]
]  # heads that hold the length, heads with the bytes that follow
_ARRAYS: _Heads = (range(0x90, 0xA0), {0xDC: 2, 0xDD: 4})
_TEXTS: _Heads = (range(0xA0, 0xC0), {0xD9: 1, 0xDA: 2, 0xDB: 4})
_BINARIES: _Heads = (range(0), {0xC4: 1, 0xC5: 2, 0xC6: 4})
_SIZES: _Heads = (range(0x80), {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8})


def _packed_length(data: bytes, at: int, end: int, heads: _Heads) -> tuple[int, int]:
    """The number that a head gives, and where what follows begins. ValueError."""
    short, longer = heads
    if at >= end or (data[at] not in short and data[at] not in longer):
        raise ValueError("the parts of a row cannot be read")
    if data[at] in short:
        return at + 1, data[at] - short.start
    follows = at + 1 + longer[data[at]]
    number = int.from_bytes(data[at + 1 : follows], "big")
    if follows > end or number >= 1 << 63:
        raise ValueError("the parts of a row cannot be read")
    return follows, number


def _packed_size(data: bytes, at: int, end: int) -> int:
    return _packed_length(data, at, end, _SIZES)[0]


def lengths(refs: Buffer) -> "array[int]":
    """The lengths of directory records."""
    return array("I", (_number(ref, 0) for ref in _split(refs, _REF)))


def sum_lengths(refs: Buffer) -> int:
    """Sum of the lengths of directory records."""
    return sum(lengths(refs))


def row_ids(rows: Buffer) -> bytes:
    """The ids of rows, joined."""
    return b"".join(row[:_ID] for row in _split(rows, ROW_BYTES))


def rows_of(refs: Buffer, frame_chunk_counts: "array[int]", first_frame: int) -> bytearray:
    """Rows, not sorted, of directory records: the next `frame_chunk_counts[i]` lie in frame `first_frame + i`."""
    records = iter(_split(refs, _REF))
    if sum(frame_chunk_counts) * _REF != memoryview(refs).nbytes:
        raise ValueError("the counts are not those of the records")
    rows = bytearray()
    for frame, count in enumerate(frame_chunk_counts, first_frame):
        offset = 0
        for _ in range(count):
            record = next(records)
            rows += record[:_ID] + struct.pack("<II", frame, offset) + record[_ID:]
            offset += _number(record, 0)
            if offset > ROW_NONE:
                raise ValueError("a frame is too large")
    return rows


def sort(rows: Buffer) -> bytearray:
    """The rows by id; of equal ids the first one is kept."""
    kept: dict[bytes, bytes] = {}
    for row in _split(rows, ROW_BYTES):
        kept.setdefault(row[:_ID], row)
    return bytearray().join(kept[chunk] for chunk in sorted(kept))


def check(rows: Buffer, frame_plain_bytes: "array[int]") -> bool:
    """Whether rows rise strictly and every one lies inside its frame."""
    before = b""
    for row in _split(rows, ROW_BYTES):
        frame = _number(row, 0)
        if row[:_ID] <= before or frame >= len(frame_plain_bytes):
            return False
        if _number(row, 1) + _number(row, 2) > frame_plain_bytes[frame]:
            return False
        before = row[:_ID]
    return True


def bound(rows: Buffer, chunk: bytes) -> int:
    """Number of rows whose id is below `chunk`."""
    if len(chunk) != _ID:
        raise ValueError("an id has 32 bytes")
    return bisect.bisect_left([row[:_ID] for row in _split(rows, ROW_BYTES)], chunk)


def search(rows: Buffer, ids: Buffer) -> "array[int]":
    """For each id the number of its row, or ROW_NONE."""
    places = {row[:_ID]: place for place, row in enumerate(_split(rows, ROW_BYTES))}
    return array("I", (places.get(chunk, ROW_NONE) for chunk in _split(ids, _ID)))


def lookup(
    rows: Buffer, bloom: Buffer | None, ids: Buffer, among: "array[int] | None" = None
) -> "tuple[array[int], array[int], array[int]]":
    """
    Search with the filter in front, for the ids at the positions `among` (all by default).

    Returns:
        Positions of the ids that are missing, of those that were found, and the row of each one found.
    """
    held = {row[:_ID]: place for place, row in enumerate(_split(rows, ROW_BYTES))}
    split = _split(ids, _ID)
    maybe = b"\1" * len(split) if bloom is None else bloom_check(bloom, ids)
    missing, found, places = array("I"), array("I"), array("I")
    for position in _positions(split, among):
        if maybe[position] and split[position] in held:
            found.append(position)
            places.append(held[split[position]])
        else:
            missing.append(position)
    return missing, found, places


def scatter(
    rows: Buffer,
    found: "array[int]",
    places: "array[int]",
    segment: int,
    frames: "array[int]",
    offsets: "array[int]",
    lengths: "array[int]",
) -> None:
    """Write the rows `places` into columns at the positions `found`; a frame becomes segment << 32 | frame."""
    split = _split(rows, ROW_BYTES)
    if len(found) != len(places) or not len(frames) == len(offsets) == len(lengths):
        raise ValueError("columns of unequal length")
    for position, place in zip(found, places, strict=True):
        if position >= len(frames) or place >= len(split):
            raise ValueError("a position lies outside the columns")
        frames[position] = segment << 32 | _number(split[place], 0)
        offsets[position] = _number(split[place], 1)
        lengths[position] = _number(split[place], 2)


def pack_numbers(rows: Buffer, frames: Buffer, places: "array[int]") -> "array[int]":
    """The pack of each of the rows `places`, by the frame records."""
    split = _split(rows, ROW_BYTES)
    packs = [_FRAME.unpack(frame)[0] for frame in _split(frames, _FRAME.size)]
    if any(place >= len(split) or _number(split[place], 0) >= len(packs) for place in places):
        raise ValueError("a row or a frame is out of range")
    return array("I", (packs[_number(split[place], 0)] for place in places))


def tally(rows: Buffer, frames: Buffer, among: "array[int] | None", counts: "array[int]") -> int:
    """Add the rows `among` (all by default) to the counts of their packs; the sum of their lengths."""
    split = _split(rows, ROW_BYTES)
    places = array("I", _positions(split, among))
    packs = pack_numbers(rows, frames, places)
    if any(pack >= len(counts) for pack in packs):
        raise ValueError("a pack is out of range")
    for pack in packs:
        counts[pack] += 1
    return sum(_number(split[place], 2) for place in places)


def merge(runs: "Sequence[tuple[Buffer, array[int]]]") -> bytearray:
    """
    Merge sorted rows; of equal ids the earliest run's row is kept.

    Args:
        runs: rows, and for each frame its new number; rows of a frame with ROW_NONE are left out.
    """
    kept: dict[bytes, bytes] = {}
    for rows, frame_numbers in runs:
        for row in _split(rows, ROW_BYTES):
            if _number(row, 0) >= len(frame_numbers):
                raise ValueError("a frame is out of range")
            frame = frame_numbers[_number(row, 0)]
            if frame != ROW_NONE:
                kept.setdefault(row[:_ID], row[:_ID] + struct.pack("<I", frame) + row[_ID + 4 :])
    return bytearray().join(kept[chunk] for chunk in sorted(kept))


def frames_fit(frames: Buffer, packs: int, salts: int, codec_max: int) -> bool:
    """Whether frame records stand in the order of their packs and refer to nothing that is not there."""
    before = 0
    for record in _split(frames, _FRAME.size):
        pack, *_, salt, codec, salt_high = _FRAME.unpack(record)
        if not before <= pack < packs or salt | salt_high << 16 >= salts or codec > codec_max:
            return False
        before = pack
    return True


def salts_used(frames: Buffer, pack_numbers: "array[int]", salts: int) -> bytearray:
    """A byte for each salt: 1 if a frame of a pack that stays (whose number is not ROW_NONE) has it."""
    used = bytearray(salts)
    for record in _split(frames, _FRAME.size):
        pack, *_, salt, _, salt_high = _FRAME.unpack(record)
        if pack >= len(pack_numbers) or salt | salt_high << 16 >= salts:
            raise ValueError("a frame refers to what is not there")
        if pack_numbers[pack] != ROW_NONE:
            used[salt | salt_high << 16] = 1
    return used


def renumber(
    frames: Buffer, pack_numbers: "array[int]", salt_numbers: "array[int]", first_frame: int
) -> "tuple[bytearray, array[int]]":
    """
    Frame records with new numbers of packs and salts; those of packs with ROW_NONE are left out.

    Returns:
        The records, and for each old frame its new number (from `first_frame` on), or ROW_NONE.
    """
    kept = bytearray()
    numbers = array("I")
    for record in _split(frames, _FRAME.size):
        pack, *middle, salt, codec, salt_high = _FRAME.unpack(record)
        if pack >= len(pack_numbers) or salt | salt_high << 16 >= len(salt_numbers):
            raise ValueError("a frame refers to what is not there")
        if pack_numbers[pack] == ROW_NONE:
            numbers.append(ROW_NONE)
            continue
        number = salt_numbers[salt | salt_high << 16]
        if number >= 1 << 24:
            raise ValueError("too many salts")
        numbers.append(first_frame + len(kept) // _FRAME.size)
        kept += _FRAME.pack(pack_numbers[pack], *middle, number & 0xFFFF, codec, number >> 16)
    return kept, numbers


def bloom_build(rows: Buffer, bits_per_key: int = 10) -> bytearray:
    """
    A blocked Bloom filter of the rows' ids: blocks of 64 bytes, 7 bits of one block for each id.

    The bits are taken from the id itself (block from bytes 8 to 15, bits from 16 to 23), which is a hash already.
    """
    ids = _split(row_ids(rows), _ID)
    if not 1 <= bits_per_key <= 64:
        raise ValueError("1 to 64 bits for a key")
    bloom = bytearray(max(1, -(-len(ids) * bits_per_key // 512)) * _BLOCK_BYTES)
    for chunk in ids:
        for byte, bit in _bloom_bits(chunk, len(bloom)):
            bloom[byte] |= bit
    return bloom


def bloom_check(bloom: Buffer, ids: Buffer) -> bytes:
    """A byte for each id: 0 if it is certainly not in the filter, else 1."""
    held = bytes(bloom)
    if not held or len(held) % _BLOCK_BYTES:
        raise ValueError("a filter has whole blocks of 64 bytes")
    return bytes(
        all(held[byte] & bit for byte, bit in _bloom_bits(chunk, len(held)))
        for chunk in _split(ids, _ID)
    )


def _bloom_bits(chunk: bytes, size: int) -> list[tuple[int, int]]:
    block = int.from_bytes(chunk[8:12], "big") * (size // _BLOCK_BYTES) >> 32
    bits = int.from_bytes(chunk[16:24], "big")
    places = [bits >> 9 * probe & 511 for probe in range(_PROBES)]
    return [(block * _BLOCK_BYTES + place // 8, 1 << place % 8) for place in places]


class IdTable:
    """A set of ids in memory. Thread-safe under the interpreter lock."""

    def __init__(self) -> None:
        self._held: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def memory_bytes(self) -> int:
        """Bytes of memory the table holds; here only an estimate."""
        return len(self._held) * 64

    @property
    def ids(self) -> bytes:
        """All ids, joined, in the order in which they came."""
        return b"".join(self._held)

    def add(self, ids: Buffer, among: "array[int] | None" = None) -> "array[int]":
        """Add ids (those at the positions `among`); the positions that were new, each id's first one only."""
        split = _split(ids, _ID)
        new = array("I")
        for position in _positions(split, among):
            if split[position] not in self._held:
                self._held[split[position]] = None
                new.append(position)
        return new

    def absent(self, ids: Buffer, among: "array[int] | None" = None) -> "array[int]":
        """Positions (of those in `among`) whose id is not in the table."""
        split = _split(ids, _ID)
        return array("I", (p for p in _positions(split, among) if split[p] not in self._held))
