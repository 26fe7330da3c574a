"""Section "Runs": chunk id -> where its bytes lie. In memory, about 85 bytes a chunk."""

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tools.reader.folder import Damage, Folder
from tools.reader.keys import Keys
from tools.reader.packs import PACK_CLASSES, PACK_FORM, Frame, pack_frames
from tools.reader.sealing import DATA_PACK, METADATA_PACK, RUN, open_object

TABLE_CHUNKS_MAX = 1 << 20
_COUNTS = struct.Struct("<IIII")
_PACK = struct.Struct("<32sB3x")
_FRAME = struct.Struct("<I16sQIIIIIHBB")
_CHUNK = struct.Struct("<32sIII")
_PACK_PREFIXES = {number: prefix for prefix, number in PACK_CLASSES.items()}


@dataclass(frozen=True, slots=True)
class Location:
    """A chunk inside the plain bytes of a frame."""

    frame: Frame
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Table:
    """Frames, and chunk records of 44 bytes (id, frame number, offset, length) rising by id."""

    frames: list[Frame]
    chunks: bytes

    def find(self, chunk_id: bytes) -> Location | None:
        """Where a chunk lies, if this table knows."""

        def id_at(position: int) -> bytes:
            start = position * _CHUNK.size
            return self.chunks[start : start + 32]

        position = bisect_left(range(len(self.chunks) // _CHUNK.size), chunk_id, key=id_at)
        if position * _CHUNK.size == len(self.chunks) or id_at(position) != chunk_id:
            return None
        _, frame, offset, length = _CHUNK.unpack_from(self.chunks, position * _CHUNK.size)
        return Location(self.frames[frame], offset, length)


def decode_run(plain: bytes) -> Table:
    """A run as a table."""
    if len(plain) < _COUNTS.size:
        raise Damage("ends early")
    packs, salts, frames, chunks = _COUNTS.unpack_from(plain)
    salts_at = _COUNTS.size + packs * _PACK.size
    frames_at = salts_at + 32 * salts
    chunks_at = frames_at + frames * _FRAME.size
    if len(plain) != chunks_at + chunks * _CHUNK.size:
        raise Damage("its counts are wrong")
    names: list[tuple[str, int]] = []
    for pack_id, pack_class in _PACK.iter_unpack(plain[_COUNTS.size : salts_at]):
        if pack_class not in (DATA_PACK, METADATA_PACK):
            raise Damage(f"names a pack of class {pack_class}")
        pack = pack_id.hex()
        names.append((f"{_PACK_PREFIXES[pack_class]}{pack[:2]}/{pack}", pack_class))
    decoded: list[Frame] = []
    for fields in _FRAME.iter_unpack(plain[frames_at:chunks_at]):
        pack_number, *place, salt_low, codec, salt_high = fields
        salt_number = salt_low | salt_high << 16
        if pack_number >= packs or salt_number >= salts:
            raise Damage("names a pack or salt that it lacks")
        salt_at = salts_at + 32 * salt_number
        salt = plain[salt_at : salt_at + 32]
        name, pack_class = names[pack_number]
        place.append(codec)
        decoded.append(Frame(name, pack_class, salt, *place))
    records = plain[chunks_at:]
    before = b""
    for chunk_id, frame, _, _ in _CHUNK.iter_unpack(records):
        if chunk_id <= before or frame >= frames:
            raise Damage("its chunks do not rise, or name a frame that it lacks")
        before = chunk_id
    return Table(decoded, records)


class Index:
    """All tables; of equal ids the first location counts, the others are spare."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self._tables = list(tables)

    def find(self, chunk_id: bytes) -> Iterator[Location]:
        """Every known location of a chunk."""
        for table in self._tables:
            found = table.find(chunk_id)
            if found is not None:
                yield found


def index_of_runs(
    folder: Folder, keys: Keys, runs: Iterable[str], complain: Callable[[str], None]
) -> Index:
    """The index as the state names it; a damaged run is left out."""
    tables: list[Table] = []
    for run in runs:
        name = f"run/{run}"
        try:
            tables.append(decode_run(open_object(keys, name, folder.read_checked(name), RUN)))
        except Damage as error:
            complain(f"{name}: {error} (--from-packs does without)")
    return Index(tables)


def index_of_packs(folder: Folder, keys: Keys, complain: Callable[[str], None]) -> Index:
    """The index made anew from every pack there is."""
    tables: list[Table] = []
    frames: list[Frame] = []
    records: list[bytes] = []

    def finish_table() -> None:
        tables.append(Table(list(frames), b"".join(sorted(records))))
        frames.clear()
        records.clear()

    for prefix in PACK_CLASSES:
        for name in folder.names(prefix, PACK_FORM):
            found, wrong = pack_frames(folder, keys, name)
            if wrong:
                complain(wrong)
            for frame, references in found:
                offset = 0
                for chunk_id, length in struct.iter_unpack("<32sI", references):
                    records.append(_CHUNK.pack(chunk_id, len(frames), offset, length))
                    offset += length
                frames.append(frame)
            if len(records) >= TABLE_CHUNKS_MAX:
                finish_table()
    finish_table()
    return Index(tables)
