"""
Recipes: how the content of a part is built from its stream (docs/format.md, "Recipes").

A mail whose base64 bodies were cut out is stored as a stream: all its text joined, then each body decoded. The recipe says,
for each body, how much text stands before it and how its lines are written. An empty recipe: the stream is the content.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from typing_extensions import Buffer

from cext import mime
from engine.errors import Corruption

BODY_BYTES_MAX = 1 << 40
LINE_CHARACTERS_MAX = 996
_PIECE_BYTES_MAX = 192 * 1024
_NEWLINES = (b"", b"\n", b"\r\n")


@dataclass(frozen=True, slots=True)
class Body:
    """A base64 body: text bytes before it, decoded bytes, characters of a line (0: one line), newline (0, 1 LF, 2 CRLF)."""

    text_bytes: int
    decoded_bytes: int
    line_characters: int
    newline: int

    @property
    def encoded_bytes(self) -> int:
        """Bytes of its text: characters, and the newlines between lines."""
        characters = (self.decoded_bytes + 2) // 3 * 4
        return characters + (characters - 1) // (self.line_characters or characters) * self.newline


def decode_recipe(recipe: bytes) -> tuple[Body, ...]:
    """The bodies in order, at most BODY_BYTES_MAX each; Corruption for what no `mime.split` writes."""
    bodies = []
    at = 0
    while at < len(recipe):
        text, at = _varint(recipe, at)
        decoded, at = _varint(recipe, at)
        line, at = _varint(recipe, at)
        newline = recipe[at] if at < len(recipe) else -1
        at += 1
        if text > BODY_BYTES_MAX or not 0 < decoded <= BODY_BYTES_MAX:
            raise _corrupt("a size is out of bounds")
        if line > LINE_CHARACTERS_MAX or line % 4 or newline not in ((1, 2) if line else (0,)):
            raise _corrupt("there are no such lines")
        bodies.append(Body(text, decoded, line, newline))
    return tuple(bodies)


def text_bytes(stream_bytes: int, recipe: bytes) -> int:
    """How many bytes at the beginning of the stream are text; Corruption when the recipe does not fit."""
    return _text_bytes(stream_bytes, decode_recipe(recipe))


def _text_bytes(stream_bytes: int, bodies: tuple[Body, ...]) -> int:
    text = stream_bytes - sum(body.decoded_bytes for body in bodies)
    if text < sum(body.text_bytes for body in bodies):
        raise _corrupt("it names more bytes than the stream has")
    return text


def content_bytes(stream_bytes: int, recipe: bytes) -> int:
    """Size of the content; Corruption when the recipe does not fit the stream."""
    bodies = decode_recipe(recipe)
    return _text_bytes(stream_bytes, bodies) + sum(body.encoded_bytes for body in bodies)


def join(stream: Buffer, recipe: bytes) -> bytes:
    """The content, from all bytes of its stream; Corruption when the recipe does not fit."""
    try:
        content: bytes = mime.join(stream, recipe)
    except ValueError as error:
        raise _corrupt(str(error)) from error
    return content


def stream_content(
    pieces_of_text: Iterator[bytes], pieces_of_bodies: Iterator[bytes], recipe: bytes
) -> Iterator[bytes]:
    """
    The content in pieces, for parts too large for memory: it adds a few hundred KiB to the two iterators.

    These give the text and the bodies of the stream, cut anywhere. Corruption when they are too short or too long.
    """
    text, bodies = _Source(pieces_of_text), _Source(pieces_of_bodies)
    for body in decode_recipe(recipe):
        yield from text.take(body.text_bytes)
        line_bytes = body.line_characters // 4 * 3 or 3
        step = _PIECE_BYTES_MAX // line_bytes * line_bytes  # whole lines; of one line, whole groups
        for start in range(0, body.decoded_bytes, step):
            decoded = b"".join(bodies.take(min(step, body.decoded_bytes - start)))
            lines = mime.encode_lines(decoded, body.line_characters, body.newline)
            yield _NEWLINES[body.newline] + lines if start else lines
    yield from text.take(sys.maxsize, exact=False)
    if any(bodies.take(1, exact=False)):
        raise _corrupt("there are more bytes than it names")


class _Source:
    """Pieces, taken in other sizes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def take(self, count: int, exact: bool = True) -> Iterator[bytes]:
        """The next `count` bytes, not exact: at most as many, in pieces that are not empty."""
        while count > 0:
            while not self._piece:
                following = next(self._pieces, None)
                if following is None and exact:
                    raise _corrupt("there are fewer bytes than it names")
                if following is None:
                    return
                self._piece = memoryview(following)
            taken = bytes(self._piece[: min(count, _PIECE_BYTES_MAX)])
            self._piece = self._piece[len(taken) :]
            count -= len(taken)
            yield taken


def _varint(recipe: bytes, at: int) -> tuple[int, int]:
    """One LEB128 number below 2^63 in its shortest form, and where it ends."""
    number = 0
    for shift, byte in zip(range(0, 63, 7), recipe[at : at + 9], strict=False):
        number |= (byte & 127) << shift
        if byte < 128 and (byte > 0 or shift == 0):
            return number, at + shift // 7 + 1
        if byte == 0:
            break
    raise _corrupt("a number is cut short, too large or not in its shortest form")


def _corrupt(what: str) -> Corruption:
    return Corruption(f"a recipe does not fit: {what}", code="recipe-corrupt")
