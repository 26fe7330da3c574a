"""Base64 bodies are cut out of mail and put back exactly; compiled and twin agree to the bit."""

import base64
import hashlib
import itertools
import os
import random
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cext.reference import mime as reference
from tests.fixtures.content import archive_members

compiled = pytest.importorskip("cext.mime")

KERNELS = (compiled, reference)
LEVELS = ("scalar", "avx2", "avx512")
LINE_LENGTHS = (76, 72, 64, 60, 4, 8, 28, 32, 36, 68, 124, 128, 132, 996)
NEWLINES = (b"\n", b"\r\n")
HEADER = (b"From: a@example.com", b"Subject: hello", b"")


def attachment(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def lines_of(content: bytes, line: int) -> list[bytes]:
    """Base64 lines; line 0: one."""
    text = base64.b64encode(content)
    step = line or max(len(text), 1)
    return [text[at : at + step] for at in range(0, len(text), step)]


def mail(*bodies: list[bytes], newline: bytes = b"\n", end: bool = True) -> bytes:
    """A mail with a part of text and one for each of `bodies`, which are lines."""
    parts = [line for body in bodies for line in (b"", *body, b"--boundary")]
    return newline.join((*HEADER, b"Dear all,", b"", b"see below", *parts)) + newline * end


def bare(body: bytes, newline: bytes = b"\n") -> bytes:
    """A mail that is a header and `body`, to the last byte."""
    return newline.join(HEADER) + newline + body


def pairs(numbers: "array[int]") -> Iterator[tuple[int, int]]:
    return zip(numbers[::2], numbers[1::2], strict=True)


def cut(content: bytes, kernel: ModuleType = compiled) -> tuple[list[bytes], bytes]:
    """Stream spans and recipe of one content, after a look at whether it comes back."""
    stream, spans, counts, recipes = kernel.split(content, array("Q", (0, len(content))))
    assert list(counts) == [len(spans) // 2]
    pieces = [bytes(stream[start:end]) for start, end in pairs(spans)]
    assert kernel.join(b"".join(pieces), recipes[0]) == content
    return pieces, recipes[0]


def bodies_of(content: bytes) -> list[bytes]:
    return cut(content)[0][1:]


def generated() -> Iterator[bytes]:
    """Mails with and without bodies, right and broken in every way we thought of."""
    sizes = (2047, 2048, 2049, 2050, 3001)
    for line, newline, size in itertools.product(LINE_LENGTHS, NEWLINES, sizes):
        yield mail(lines_of(attachment(size), line), newline=newline, end=size % 2 == 0)
        yield bare(newline.join(lines_of(attachment(size), line)), newline)
    for size in (*sizes, 3072, 3073, 100_000):
        for newline in NEWLINES:
            yield mail(lines_of(attachment(size), 0), newline=newline)
            yield bare(base64.b64encode(attachment(size)), newline)
    good = lines_of(attachment(3400), 76)
    yield from broken(good)
    yield mail(good, lines_of(attachment(3000), 64), lines_of(attachment(100), 76), good)
    yield mail(good[:20], lines_of(attachment(4000), 72) + good, newline=b"\r\n")
    yield b"From someone Mon Jan 1\n" + mail(good) + b"\nFrom another\n" + mail(good)
    yield mail([b"Content-Type: message/rfc822", b"", *mail(good).split(b"\n")])
    yield mail([b"> " + line for line in good])
    yield b"\n\n" + b"\n".join(good)
    yield bare(b"\n\n\r\n" + b"\r\n".join(good) + b"\r\n\r\n\r\n\n")
    yield from (b"", b":", b"a:", b"From ", b"From", b"x" * 77 + b":" + bare(b"\n".join(good)))
    yield b"x" * 78 + b":" + bare(b"\n".join(good))
    yield b"bl ank:" + bare(b"\n".join(good))


def broken(good: list[bytes]) -> Iterator[bytes]:
    """One thing wrong in a body, in the first line, in the middle, in the last two."""
    for at in (0, 1, len(good) // 2, len(good) - 2, len(good) - 1):
        line = good[at]
        for wrong in (
            line + b" ",
            b" " + line,
            line[:-1],
            line[:-4],
            line + b"A",
            line + b"AAAA",
            line[:40] + b"\n" + line[40:],
            line[:41] + b"\n" + line[41:],
            line[:10] + b"=" + line[11:],
            line[:-1] + b"=",
            line[:-2] + b"==",
            line[:-3] + b"===",
            line[:-2] + b"B=",
            line[:-2] + b"A=",
            line[:-3] + b"B==",
            line[:-3] + b"g==",
            line + b"\r",
            b"",
        ):
            yield mail([*good[:at], wrong, *good[at + 1 :]])
    for byte in range(256):
        yield mail([*good[:40], good[40][:33] + bytes([byte]) + good[40][34:], *good[41:]])
    for size in range(100):
        yield mail(good)[: -size or None]


def outcome(kernel: ModuleType, contents: list[bytes], shift: int = 0) -> tuple[bytes, ...]:
    """All that one `split` says about a batch that begins `shift` bytes into a buffer."""
    data = bytearray(b"\n" * shift + b"".join(contents) + b"AAAA")
    ends = list(itertools.accumulate(map(len, contents), initial=shift))
    spans = array("Q", itertools.chain.from_iterable(itertools.pairwise(ends)))
    stream, stream_spans, counts, recipes = kernel.split(memoryview(data), spans)
    return (bytes(stream), bytes(stream_spans), bytes(counts), *recipes)


def generated_digest() -> str:
    """Hash of all that the compiled kernel makes of the generated mails, joined again."""
    hasher = hashlib.sha256()
    contents = list(generated())
    for shift in (0, 1, 31):
        for piece in outcome(compiled, contents, shift):
            hasher.update(piece)
    for content in contents:
        cut(content)
    return hasher.hexdigest()


@pytest.mark.parametrize("shift", [0, 13])
def test_compiled_equals_reference(shift: int) -> None:
    """Equal streams, spans and recipes for a batch of all generated mails, however it is aligned."""
    contents = list(generated())
    assert outcome(compiled, contents, shift) == outcome(reference, contents, shift)


def test_every_generated_mail_comes_back() -> None:
    """Split one by one and joined, each is what it was, with either kernel."""
    for content in generated():
        assert cut(content) == cut(content, reference)


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_begins_as_mail_does(kernel: ModuleType) -> None:
    """A name of 1 to 77 printing characters and a colon, or "From "; however little follows, in any buffer."""
    for begins in (b"From ", b"From me", b"a:", b"Subject: x", b"!:", b"~:\n", b"n" * 77 + b":"):
        assert kernel.looks_like_mail(begins) is True
        assert kernel.looks_like_mail(memoryview(bytearray(b"x" + begins))[1:]) is True
    for begins in (
        b"",
        b"From",
        b"from me",
        b"Froma",
        b":",
        b": x",
        b"a",
        b"a b: c",
        b"n" * 78 + b":",
    ):
        assert kernel.looks_like_mail(begins) is False
        assert kernel.looks_like_mail(memoryview(bytearray(b"x" + begins))[1:]) is False


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_byte_of_a_name_is_judged_alike(kernel: ModuleType) -> None:
    """At the beginning, inside and before the colon; a name of no bytes is none."""
    for byte in range(256):
        one = bytes([byte])
        for begins in (one, one + b":", one + b"ab:", b"a" + one + b"b:", one * 77 + b":"):
            name, colon, _ = begins.partition(b":")
            expected = bool(name and colon) and all(32 < each < 127 for each in name)
            assert kernel.looks_like_mail(begins) is expected


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_does_not_begin_as_mail_does_is_not_split(kernel: ModuleType) -> None:
    """`split` has the same opinion: one character more in the first name, and the body stays text."""
    body = b": x\n\n" + b"\n".join(lines_of(attachment(5000), 76)) + b"\n"
    for name in (b"n" * 77, b"n" * 78, b"a b", b"", b"From "):
        _, recipe = cut(name + body, kernel)
        assert bool(recipe) == kernel.looks_like_mail(name + body)


@pytest.mark.slow
def test_every_level_gives_the_same_bytes() -> None:
    """STRONGROOM_SIMD is a demand: the same result, or no import where the processor has no such level."""
    code = (
        "from tests.unit.cext import test_mime as t; print(t.compiled.simd, t.generated_digest())"
    )

    def run(demand: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "STRONGROOM_SIMD": demand, "STRONGROOM_KERNELS": ""},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
        )
        return done.stdout.split()

    best, expected = run("")
    for level in LEVELS[: LEVELS.index(best) + 1]:
        assert run(level) == [level, expected]
    for level in (*LEVELS[LEVELS.index(best) + 1 :], "fast"):
        assert run(level) == []


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_mixture_comes_back(data: st.DataObject) -> None:
    """Mails put together at random from what bodies are made of; both kernels agree on them."""
    piece = st.one_of(
        st.sampled_from((b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"=", b"==", b"A", b"AAAA", b" ")),
        st.builds(
            lambda size, line, newline: newline.join(lines_of(attachment(size, size), line)),
            st.integers(0, 4000),
            st.sampled_from((0, *LINE_LENGTHS)),
            st.sampled_from(NEWLINES),
        ),
    )
    content = b"X: y\n\n" + b"".join(data.draw(st.lists(piece, max_size=12)))
    assert cut(content) == cut(content, reference)


@pytest.mark.parametrize("newline", NEWLINES)
@pytest.mark.parametrize("line", [0, *LINE_LENGTHS])
@pytest.mark.parametrize("size", [2048, 2049, 2050])
def test_a_body_is_found_with_any_line_length(line: int, newline: bytes, size: int) -> None:
    """The attachment is the second stream span, whatever its lines and padding."""
    content = attachment(size)
    assert bodies_of(mail(lines_of(content, line), newline=newline)) == [content]
    assert bodies_of(bare(newline.join(lines_of(content, line)), newline)) == [content]


def test_an_attachment_in_two_mails_is_the_same_bytes() -> None:
    """Other lines, other newlines, other neighbours: the body is the attachment."""
    content = attachment(9000)
    first = bodies_of(mail(lines_of(content, 76)))
    second = bodies_of(mail([b"text"], lines_of(content, 64), newline=b"\r\n"))
    assert first == second == [content]


def test_a_quoted_or_small_or_spaced_body_is_text() -> None:
    """Below the minimum, behind "> ", without an empty line before it, or not in mail: not cut."""
    good = lines_of(attachment(5000), 76)
    quoted = [b"> " + line for line in good]
    for content in (
        mail(lines_of(attachment(2047), 76)),
        mail(quoted),
        mail([b"text", *good]),
        b"no header\n\n" + b"\n".join(good),
    ):
        assert bodies_of(content) == []


def test_padding_that_hides_bits_is_text() -> None:
    """A last group with unused bits set would be encoded otherwise: it stays in the text."""
    good = lines_of(attachment(4 * 57 * 10 + 1), 76)
    assert good[-1].endswith(b"==")
    odd = chr(good[-1][-3] + 1).encode()
    pieces, _ = cut(mail([*good[:-1], good[-1][:-3] + odd + b"=="]))
    assert pieces[1] == attachment(4 * 57 * 10 + 1)[: 57 * 40]
    assert good[-1][:-3] + odd + b"==" in pieces[0]


def test_a_body_ends_where_its_lines_change() -> None:
    """Two blocks of base64 without an empty line between them: the first is cut, the rest is text."""
    first, second = attachment(4560, 1), attachment(4000, 2)
    assert bodies_of(mail(lines_of(first, 76) + lines_of(second, 72))) == [first + second[:54]]
    assert bodies_of(mail(lines_of(first, 64) + lines_of(second, 76))) == [first]


@pytest.mark.parametrize("kernel", KERNELS)
def test_nothing_to_cut_copies_nothing(kernel: ModuleType) -> None:
    """A batch without a body comes back as the very same object with the same spans."""
    data = mail([b"text"]) + attachment(5000)
    spans = array("Q", (0, 40, 40, 40, 40, len(data)))
    stream, stream_spans, counts, recipes = kernel.split(data, spans)
    assert stream is data
    assert (stream_spans, list(counts), recipes) == (spans, [1, 1, 1], [b"", b"", b""])
    assert kernel.split(b"", array("Q"))[0] == b""


@pytest.mark.parametrize("kernel", KERNELS)
def test_spans_are_cut_one_by_one(kernel: ModuleType) -> None:
    """Empty, plain and overlapping spans keep their order around a split one; a recipe for each."""
    content = mail(lines_of(attachment(3000), 76))
    data = b" " + content + b" "
    spans = array("Q", (0, 1, 5, 5, 1, 1 + len(content), 0, len(data)))
    stream, stream_spans, counts, recipes = kernel.split(data, spans)
    assert list(counts) == [1, 1, 2, 1]
    pieces = [bytes(stream[start:end]) for start, end in pairs(stream_spans)]
    assert (pieces[0], pieces[1], pieces[3], pieces[4]) == (b" ", b"", attachment(3000), data)
    assert [bool(recipe) for recipe in recipes] == [False, False, True, False]
    assert b"".join(pieces) == bytes(stream)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("spans", [(0,), (1, 0), (0, 6), (2**63, 2**64 - 1), (6, 6)])
def test_a_span_outside_the_data_is_refused(kernel: ModuleType, spans: tuple[int, ...]) -> None:
    """An error, not a read outside the buffer."""
    with pytest.raises(ValueError):
        kernel.split(b"a: b\n", array("Q", spans))


@pytest.mark.parametrize("kernel", KERNELS)
def test_encode_lines_writes_what_base64_writes(kernel: ModuleType) -> None:
    """Any size and line length; the last line has no newline."""
    for size, line in itertools.product((*range(150), 5000), (0, *LINE_LENGTHS)):
        for newline in (1, 2) if line else (0,):
            content = attachment(size)
            expected = reference.NEWLINES[newline].join(lines_of(content, line) if size else [])
            assert kernel.encode_lines(content, line, newline) == expected
    for line, newline in ((0, 1), (76, 0), (76, 3), (75, 1), (1000, 1)):
        with pytest.raises(ValueError):
            kernel.encode_lines(b"abc", line, newline)


def test_kernels_refuse_the_same_recipes() -> None:
    """Random and mutated recipes: the same content from both kernels, or ValueError from both."""
    rng = random.Random(7)
    stream_pieces, good = cut(mail(lines_of(attachment(3000), 76), lines_of(attachment(2500), 0)))
    stream = b"".join(stream_pieces)

    def result(kernel: ModuleType, recipe: bytes) -> bytes | None:
        try:
            joined: bytes = kernel.join(stream, recipe)
        except ValueError:
            return None
        return joined

    for _ in range(5000):
        recipe = bytearray(good if rng.random() < 0.8 else rng.randbytes(rng.randint(0, 20)))
        for _ in range(rng.randint(1, 3)):
            at = rng.randint(0, len(recipe))
            recipe[at : at + rng.randint(0, 1)] = rng.randbytes(rng.randint(0, 2))
        assert result(compiled, bytes(recipe)) == result(reference, bytes(recipe))


@pytest.mark.slow
def test_real_mails_come_back(shared_data: Path) -> None:
    """A sample of real mail, broken ones among them, is split alike by both kernels and comes back."""
    folder = shared_data / "edge-cases" / "mail"
    contents = [path.read_bytes() for path in sorted(folder.rglob("*.eml"))[:400]]
    bulk = archive_members(shared_data / "mail" / "spamassassin-public-corpus.tar.zst")
    contents += [content for _, content, _ in itertools.islice(bulk, 300)]
    assert outcome(compiled, contents) == outcome(reference, contents)
    assert sum(len(bodies_of(content)) for content in contents) > 10
