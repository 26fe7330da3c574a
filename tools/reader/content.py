"""Section "Parts": references and a recipe -> the bytes of a part."""

import base64
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from blake3 import blake3

from tools.reader.folder import Damage, Folder
from tools.reader.index import Index
from tools.reader.keys import Keys
from tools.reader.packs import REFERENCE_BYTES, Frame, read_frame
from tools.reader.sealing import epoch_keys

CACHE_FRAMES_MAX = 48
PIECE_BYTES = 48 << 10


@dataclass(frozen=True, slots=True)
class Part:
    """One stored body: its size in bytes, references of 36 bytes each, and its recipe (mostly empty)."""

    role: str
    size: int
    chunks: bytes
    recipe: bytes = b""


@dataclass(frozen=True, slots=True)
class Body:
    """A base64 body of a recipe."""

    text_bytes: int
    decoded_bytes: int
    line_characters: int
    newline: bytes


class Content:
    """Reads parts; keeps the frames used last, and a list of what did not come back."""

    def __init__(self, folder: Folder, keys: Keys, index: Index) -> None:
        self._folder = folder
        self._keys = keys
        self._index = index
        self._frames: OrderedDict[Frame, bytes] = OrderedDict()

    def read(self, part: Part, missing: list[str]) -> Iterator[bytes]:
        """Its bytes in pieces; a chunk that is lost comes as zeros and is named in `missing`. Damage: no such part can be."""
        if len(part.chunks) % REFERENCE_BYTES:
            raise Damage("its references are torn")
        bodies = decode_recipe(part.recipe)
        stream_bytes = sum(length for _, length in struct.iter_unpack("<32sI", part.chunks))
        text_bytes = stream_bytes - sum(body.decoded_bytes for body in bodies)
        if text_bytes < sum(body.text_bytes for body in bodies):
            raise Damage("its recipe wants more than the stream has")
        text = _Cursor(self, part.chunks, 0, missing)
        decoded = _Cursor(self, part.chunks, text_bytes, missing)
        size = 0
        for body in bodies:
            for piece in (*text.take(body.text_bytes), *_encoded(decoded, body)):
                size += len(piece)
                yield piece
            text_bytes -= body.text_bytes
        for piece in text.take(text_bytes):
            size += len(piece)
            yield piece
        if size != part.size:
            raise Damage(f"has {size} bytes instead of {part.size}")

    def read_all(self, part: Part) -> bytes:
        """All bytes of a part of metadata; Damage if a chunk is lost."""
        missing: list[str] = []
        data = b"".join(self.read(part, missing))
        if missing:
            raise Damage(missing[0])
        return data

    def chunk(self, chunk_id: bytes, length: int) -> bytes:
        """A chunk from the first location that is sound."""
        why = "no index knows it"
        for location in self._index.find(chunk_id):
            try:
                plain = self._frame(location.frame)
            except Damage as error:
                why = str(error)
                continue
            data = plain[location.offset : location.offset + location.length]
            id_key = epoch_keys(self._keys, location.frame.epoch).id_key
            if len(data) == length and blake3(data, key=id_key).digest() == chunk_id:
                return data
            why = f"{location.frame.pack}: its bytes do not hash to its id"
        raise Damage(f"chunk {chunk_id.hex()[:16]} of {length} bytes: {why}")

    def _frame(self, frame: Frame) -> bytes:
        plain = self._frames.pop(frame, None)
        if plain is None:
            plain = read_frame(self._folder, self._keys, frame)
            if len(self._frames) >= CACHE_FRAMES_MAX:
                self._frames.popitem(last=False)
        self._frames[frame] = plain
        return plain


class _Cursor:
    """A place in the stream of a part that moves forward."""

    def __init__(self, content: Content, chunks: bytes, start: int, missing: list[str]) -> None:
        self._content = content
        self._references = struct.iter_unpack("<32sI", chunks)
        self._missing = missing
        self._skip = start
        self._rest = b""

    def take(self, size: int) -> Iterator[bytes]:
        """The next bytes, in pieces; the caller has checked that they are there."""
        while size:
            if not self._rest:
                self._rest = self._next()
            piece = self._rest[:size]
            self._rest = self._rest[len(piece) :]
            size -= len(piece)
            if piece:
                yield piece

    def _next(self) -> bytes:
        chunk_id, length = next(self._references)
        skip = min(self._skip, length)
        self._skip -= skip
        if skip == length:
            return b""
        try:
            return self._content.chunk(chunk_id, length)[skip:]
        except Damage as error:
            self._missing.append(str(error))
            return bytes(length - skip)


def decode_recipe(recipe: bytes) -> list[Body]:
    """The bodies that a recipe puts between the text."""
    bodies: list[Body] = []
    position = 0

    def varint() -> int:
        nonlocal position
        value = 0
        for number in range(9):
            byte = recipe[position]
            position += 1
            value |= (byte & 0x7F) << 7 * number
            if byte < 0x80:
                if number and not byte:
                    break
                return value
        raise Damage("its recipe has a number of more bytes than it needs, or than 9")

    try:
        while position < len(recipe):
            text_bytes, decoded_bytes, line = varint(), varint(), varint()
            newline = {0: b"", 1: b"\n", 2: b"\r\n"}[recipe[position]]
            position += 1
            if not 1 <= decoded_bytes <= 1 << 40 or line % 4 or line > 996:
                raise Damage("its recipe is out of bounds")
            bodies.append(Body(text_bytes, decoded_bytes, line, newline))
    except (IndexError, KeyError) as error:
        raise Damage("its recipe is torn") from error
    return bodies


def _encoded(decoded: _Cursor, body: Body) -> Iterator[bytes]:
    """A body in base64, in its lines."""
    line_bytes = body.line_characters // 4 * 3 or 3
    step = max(1, PIECE_BYTES // line_bytes) * line_bytes
    left = body.decoded_bytes
    while left:
        data = b"".join(decoded.take(min(step, left)))
        left -= len(data)
        text = base64.b64encode(data)
        line = body.line_characters or len(text)
        lines = (text[start : start + line] for start in range(0, len(text), line))
        yield body.newline.join(lines) + (body.newline if left else b"")
