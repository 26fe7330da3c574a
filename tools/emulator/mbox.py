"""
Splitting of mbox files into messages, as slices of the file.

A message begins behind a line `From ` that stands at the start of the file or behind an empty
line. Both kinds in use (mboxo, mboxrd) split alike; the lines they quoted as `>From ` are served
as they stand in the file, byte for byte.
"""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

_FROM = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\r\n]*\r?\n")


def split(data: bytes | mmap.mmap) -> Iterator[tuple[int, int]]:
    """
    Yield offset and length in bytes of each message of an mbox.

    The empty line that separates two messages belongs to neither.
    """
    starts = [(match.start(), match.end()) for match in _FROM.finditer(data)]
    if not starts:
        if data[:]:
            yield 0, len(data)
        return
    ends = [start for start, _ in starts[1:]] + [len(data)]
    for (_, begin), end in zip(starts, ends, strict=True):
        body = data[max(begin, end - 4) : end]
        if body.endswith(b"\n\r\n") or body == b"\r\n":
            end -= 2
        elif body.endswith(b"\n\n") or body == b"\n":
            end -= 1
        yield begin, end - begin


def split_file(path: Path) -> list[tuple[int, int]]:
    """Offset and length of each message of an mbox file."""
    if path.stat().st_size == 0:
        return []
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return list(split(data))
