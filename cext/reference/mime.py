"""
Base64 bodies of mail, cut out as the bytes they stand for and put back exactly.

A span that begins as mail does (a header field name, or the "From " of mbox) is searched for bodies: right behind an empty
line, lines of one length of the base64 alphabet with one kind of newline, then a last line that may be shorter and padded;
or one long line. Nothing else of MIME is looked at, so nesting, mailbox files and broken headers make no difference.
What would not be encoded to the same bytes again is text. In doubt it is text, too.

Stream form: all text joined, then each body decoded. The recipe says for each body: text bytes before it (since the last
body), decoded bytes, characters of a line (0: one line), newline (0 none, 1 LF, 2 CRLF); three canonical LEB128 numbers and a
byte. An empty recipe: the stream is the content.
"""

import binascii
import re
from array import array
from dataclasses import dataclass

from typing_extensions import Buffer

BODY_BYTES_MIN = 2048  # decoded; less does not pay for its place in the recipe
LINE_CHARACTERS_MAX = 996
ONE_LINE_CHARACTERS_MAX = 64 << 20
NEWLINES = (b"", b"\n", b"\r\n")

simd = "reference"

_MAIL = re.compile(rb"From |[!-9;-~]{1,77}:")
_BEHIND_EMPTY_LINE = re.compile(rb"\n\r?\n")
_ALPHABET = re.compile(rb"[A-Za-z0-9+/]*")
_LAST_LINE = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_NEWLINE = re.compile(rb"\r?\n")


@dataclass(frozen=True, slots=True)
class _Body:
    start: int  # of its text in the span
    end: int
    decoded: bytes
    line_characters: int
    newline: int


def looks_like_mail(data: Buffer) -> bool:
    """Whether content begins as mail does: a header field name, or the "From " of mbox. Only then it is searched for bodies."""
    return _MAIL.match(data) is not None


def split(data: Buffer, spans: Buffer) -> "tuple[Buffer, array[int], array[int], list[bytes]]":
    """
    The stream form of spans of a buffer.

    Args:
        data: contiguous bytes.
        spans: start and end of each, as flat 64-bit numbers.

    Returns:
        The stream; start and end in it of each stream span; how many stream spans each span has (1: unchanged; else its
        text, then its bodies); the recipe of each span (empty: unchanged). When no span was split, the stream is `data`
        itself and its spans are `spans`.

    Raises:
        ValueError: a span lies outside the data.
    """
    view = memoryview(data).cast("B")
    flat = memoryview(spans).tolist()
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    if any(not start <= end <= len(view) for start, end in pairs):
        raise ValueError("a span lies outside the data")
    contents = [bytes(view[start:end]) for start, end in pairs]
    found = [_bodies(content) for content in contents]
    counts = array("Q", (1 + len(bodies) for bodies in found))
    recipes = [_recipe(bodies) for bodies in found]
    if not any(found):
        return data, array("Q", flat), counts, recipes
    stream = bytearray()
    stream_spans = array("Q")
    for content, bodies in zip(contents, found, strict=True):
        for piece in (_text(content, bodies), *(body.decoded for body in bodies)):
            stream_spans.extend((len(stream), len(stream) + len(piece)))
            stream += piece
    return stream, stream_spans, counts, recipes


def _text(content: bytes, bodies: list[_Body]) -> bytes:
    starts = [0, *(body.end for body in bodies)]
    ends = [*(body.start for body in bodies), len(content)]
    return b"".join(content[start:end] for start, end in zip(starts, ends, strict=True))


def _bodies(content: bytes) -> list[_Body]:
    bodies: list[_Body] = []
    if not looks_like_mail(content):
        return bodies
    at = 0
    while empty := _BEHIND_EMPTY_LINE.search(content, at):
        body = _body_at(content, empty.end())
        if body is None or len(body.decoded) < BODY_BYTES_MIN:
            at = empty.end() - 1  # its newline may end the line before another empty one
        else:
            bodies.append(body)
            at = body.end
    return bodies


def _body_at(content: bytes, start: int) -> _Body | None:
    """The body that begins at `start`, of whatever size."""
    line_end = _end(_ALPHABET, content, start)
    line = line_end - start
    if line > LINE_CHARACTERS_MAX:
        end = _last_line_end(content, start, ONE_LINE_CHARACTERS_MAX, any_newline=True)
        return _Body(start, end, binascii.a2b_base64(content[start:end]), 0, 0)
    newline = _newline_at(content, line_end)
    if line < 4 or line % 4 or not newline:
        return None
    width = len(newline)
    at = start
    while (
        _end(_ALPHABET, content, at, at + line) == at + line
        and _newline_at(content, at + line) == newline
    ):
        at += line + width
    last_end = _last_line_end(content, at, line, newline)
    end = last_end if last_end > at else at - width
    return _Body(start, end, binascii.a2b_base64(content[start:end]), line, NEWLINES.index(newline))


def _last_line_end(
    content: bytes, start: int, most: int, newline: bytes = b"", any_newline: bool = False
) -> int:
    """End of the last line of a body; `start` when what stands there is none."""
    end = _end(_LAST_LINE, content, start)
    text = content[start:end]
    if not text or len(text) % 4 or len(text) > most:
        return start
    if binascii.b2a_base64(binascii.a2b_base64(text[-4:]), newline=False) != text[-4:]:
        return start
    behind = _newline_at(content, end)
    fits = end == len(content) or (behind and (any_newline or behind == newline))
    return end if fits else start


def _end(pattern: re.Pattern[bytes], content: bytes, start: int, most: int | None = None) -> int:
    match = pattern.match(content, start, len(content) if most is None else most)
    return match.end() if match else start


def _newline_at(content: bytes, at: int) -> bytes:
    match = _NEWLINE.match(content, at)
    return match.group() if match else b""


def _recipe(bodies: list[_Body]) -> bytes:
    recipe = bytearray()
    at = 0
    for body in bodies:
        for number in (body.start - at, len(body.decoded), body.line_characters):
            recipe += _varint(number)
        recipe.append(body.newline)
        at = body.end
    return bytes(recipe)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def encode_lines(decoded: Buffer, line_characters: int, newline: int) -> bytes:
    """
    The text of one whole body, without a newline behind its last line.

    Args:
        decoded: its bytes.
        line_characters: 4 .. 996, a multiple of 4; 0 for one line.
        newline: 0 with one line, else 1 for LF or 2 for CRLF.

    Raises:
        ValueError: no such form.
    """
    wrong = line_characters % 4 or not 0 <= line_characters <= LINE_CHARACTERS_MAX
    if wrong or newline not in (0, 1, 2) or (newline == 0) != (line_characters == 0):
        raise ValueError("no such form of lines")
    text = binascii.b2a_base64(bytes(decoded), newline=False)
    step = line_characters or max(len(text), 1)
    lines = [text[at : at + step] for at in range(0, len(text), step)]
    return NEWLINES[newline].join(lines)


def join(streams: Buffer, recipe: Buffer) -> bytes:
    """
    The content of a part: the inverse of `split` for one span.

    Args:
        streams: all stream bytes of the part joined: its text, then its bodies.
        recipe: of the part; empty: the stream is the content.

    Raises:
        ValueError: the recipe is none, or does not fit the stream.
    """
    stream = bytes(streams)
    steps = list(_steps(bytes(recipe)))
    text_bytes = len(stream) - sum(decoded for _, decoded, _, _ in steps)
    if text_bytes < sum(before for before, _, _, _ in steps):
        raise ValueError("the recipe does not fit the stream")
    pieces = []
    at, body_at = 0, text_bytes
    for before, decoded, line_characters, newline in steps:
        pieces.append(stream[at : at + before])
        body = stream[body_at : body_at + decoded]
        pieces.append(encode_lines(body, line_characters, newline))
        at += before
        body_at += decoded
    pieces.append(stream[at:text_bytes])
    return b"".join(pieces)


def _steps(recipe: bytes) -> list[tuple[int, int, int, int]]:
    steps = []
    at = 0
    while at < len(recipe):
        numbers = []
        for _ in range(3):
            number, at = _read_varint(recipe, at)
            numbers.append(number)
        before, decoded, line_characters = numbers
        if at == len(recipe) or decoded == 0:
            raise ValueError("the recipe is cut short")
        newline = recipe[at]
        at += 1
        encode_lines(b"", line_characters, newline)  # refuses a form that is none
        steps.append((before, decoded, line_characters, newline))
    return steps


def _read_varint(recipe: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 63, 7):
        if at == len(recipe):
            raise ValueError("the recipe is cut short")
        byte = recipe[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            if byte == 0 and shift:
                raise ValueError("a number of the recipe is not in its shortest form")
            return number, at
    raise ValueError("a number of the recipe is too large")
