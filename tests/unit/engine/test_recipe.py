"""Recipes: sizes without building, content in pieces, and nothing but Corruption from what is none."""

import base64
import random
from array import array
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cext import mime
from engine.errors import Corruption
from engine.recipe import (
    Body,
    content_bytes,
    decode_recipe,
    join,
    stream_content,
    text_bytes,
)


def mail(*bodies: tuple[int, int, bytes]) -> bytes:
    """A mail with a body for each (decoded bytes, line characters, newline)."""
    rng = random.Random(3)
    content = b"From: a@example.com\n"
    for size, line, newline in bodies:
        text = base64.b64encode(rng.randbytes(size))
        step = line or len(text)
        lines = [text[at : at + step] for at in range(0, len(text), step)]
        content += b"text" + newline * 2 + newline.join(lines) + newline + b"--boundary" + newline
    return content


def stored(content: bytes) -> tuple[bytes, bytes]:
    """Stream and recipe of a content that has bodies."""
    stream, _, _, recipes = mime.split(content, array("Q", (0, len(content))))
    assert recipes[0]
    return bytes(stream), recipes[0]


SMALL = mail((3000, 76, b"\r\n"), (2049, 64, b"\n"), (2500, 0, b"\n"), (2050, 4, b"\r\n"))
LARGE = mail((700_000, 76, b"\r\n"), (400_001, 0, b"\n"), (2048, 996, b"\n"), (200_000, 4, b"\n"))


def pieces(data: bytes, rng: random.Random, size_max: int) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = rng.randint(0, size_max)
        yield data[at : at + size]
        at += size


def test_a_recipe_names_its_bodies() -> None:
    """Text before it, decoded bytes, line and newline of each body, in order."""
    _, recipe = stored(SMALL)
    assert [(b.decoded_bytes, b.line_characters, b.newline) for b in decode_recipe(recipe)] == [
        (3000, 76, 2),
        (2049, 64, 1),
        (2500, 0, 0),
        (2050, 4, 2),
    ]
    assert decode_recipe(recipe)[0].text_bytes == SMALL.index(b"\r\n\r\n") + 4
    assert decode_recipe(b"") == ()
    assert decode_recipe(b"\x00\x81\x10\x4c\x01") == (Body(0, 2049, 76, 1),)


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_sizes_are_known_without_building(content: bytes) -> None:
    """Content and text bytes come from the stream's size and the recipe alone."""
    stream, recipe = stored(content)
    bodies = sum(body.decoded_bytes for body in decode_recipe(recipe))
    assert content_bytes(len(stream), recipe) == len(content)
    assert text_bytes(len(stream), recipe) == len(stream) - bodies
    assert join(stream, recipe) == content
    assert (content_bytes(5, b""), text_bytes(5, b""), join(b"12345", b"")) == (5, 5, b"12345")


@pytest.mark.parametrize(("content", "size_max"), [(SMALL, 7), (SMALL, 90), (LARGE, 500_000)])
def test_content_in_pieces_is_the_content(content: bytes, size_max: int) -> None:
    """Pieces may end anywhere, also empty; what comes out is exact and in pieces of bounded size."""
    stream, recipe = stored(content)
    text = text_bytes(len(stream), recipe)
    for seed in range(5):
        rng = random.Random(seed)
        found = list(
            stream_content(
                pieces(stream[:text], rng, size_max), pieces(stream[text:], rng, size_max), recipe
            )
        )
        assert b"".join(found) == content
        assert max(map(len, found)) <= 400 * 1024


@pytest.mark.parametrize("text_change", [-1, 0, 1])
@pytest.mark.parametrize("body_change", [-1, 0, 1])
def test_pieces_that_do_not_fit_are_corruption(text_change: int, body_change: int) -> None:
    """Bodies a byte too short or too long are noticed; text behind the last body is of any size."""
    stream, recipe = stored(SMALL)
    text = text_bytes(len(stream), recipe)
    parts = (
        (stream[:text] + b"x")[: text + text_change],
        (stream + b"x")[text:][: len(stream) - text + body_change],
    )
    build = stream_content(iter((parts[0],)), iter((parts[1],)), recipe)
    if body_change:
        with pytest.raises(Corruption, match="bytes than it names"):
            list(build)
    else:
        assert len(b"".join(build)) == len(SMALL) + text_change


def test_text_cut_short_is_corruption() -> None:
    """Text that ends before a body begins."""
    _, recipe = stored(SMALL)
    with pytest.raises(Corruption, match="fewer bytes"):
        list(stream_content(iter((b"From",)), iter((bytes(20_000),)), recipe))


@pytest.mark.parametrize(
    "recipe",
    [
        b"\x00",
        b"\x00\x03",
        b"\x00\x03\x4c",
        b"\x80\x00\x03\x4c\x01",  # a number longer than it need be
        b"\x00\x00\x4c\x01",  # no decoded bytes
        b"\x00\x03\x4d\x01",  # a line that is no multiple of 4
        b"\x00\x03\xe8\x07\x01",  # 1000 characters
        b"\x00\x03\x4c\x00",  # lines without newline
        b"\x00\x03\x00\x01",  # one line with newline
        b"\x00\x03\x4c\x03",
        b"\x00" + b"\xff" * 9 + b"\x7f\x4c\x01",
        b"\x00\x81\x80\x80\x80\x80\x40\x4c\x01",  # more than 2^40 bytes
        b"\x04\x03\x4c\x01",  # more than the stream has
        b"\x00\x07\x4c\x01",
    ],
)
def test_what_is_no_recipe_is_corruption(recipe: bytes) -> None:
    """Each rule of the form is checked, in both ways of reading it."""
    with pytest.raises(Corruption) as raised:
        content_bytes(6, recipe)
    assert raised.value.code == "recipe-corrupt"
    with pytest.raises(Corruption):
        join(b"123456", recipe)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    recipe=st.binary(max_size=24),
    at=st.integers(0, 30),
    change=st.binary(max_size=2),
    whole=st.booleans(),
)
def test_damage_is_corruption_or_fits(recipe: bytes, at: int, change: bytes, whole: bool) -> None:
    """Any recipe gives Corruption, or content of just the size that was said before."""
    stream, good = stored(SMALL)
    if whole:
        recipe = good[:at] + change + good[at + 1 :]
    try:
        size = content_bytes(len(stream), recipe)
    except Corruption:
        with pytest.raises(Corruption):
            join(stream, recipe)
        return
    text = text_bytes(len(stream), recipe)
    content = join(stream, recipe)
    assert len(content) == size
    assert content == b"".join(
        stream_content(iter((stream[:text],)), iter((stream[text:],)), recipe)
    )
