"""
Lines of iCalendar and vCard: name, parameters, value; escaped and folded.

Control characters are left out: readers refuse files that hold them, and Exchange has them in subjects and names.

Source: RFC 5545, sections 3.1 and 3.3.11; RFC 2426, section 5; RFC 6868 for parameters.
"""

import re
from collections.abc import Iterable, Mapping

__all__ = ["content_line", "encoded", "parameter_text", "text_list", "text_value"]

LINE_BYTES_MAX = 75  # without the line end
# Surrogates are no characters; NEL and the two separators count as line ends for some readers.
UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_ESCAPES = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n"})
_PARAMETER_ESCAPES = str.maketrans({"^": "^^", "\n": "^n", '"': "^'"})


def content_line(name: str, value: str, parameters: Mapping[str, str] | None = None) -> str:
    """
    One folded line with its line end.

    Args:
        value: already escaped, of one line (`text_value`). parameters: raw; empty ones are left out.
    """
    line = name
    for key, text in (parameters or {}).items():
        if clean := parameter_text(text):
            line += f";{key}={clean}"
    return _folded(f"{line}:{value}")


def text_value(text: str) -> str:
    """TEXT: line ends as \\n, special characters escaped."""
    return _clean(text).translate(_ESCAPES)


def text_list(texts: Iterable[str], separator: str = ",") -> str:
    """Several TEXTs."""
    return separator.join(text_value(text) for text in texts)


def parameter_text(text: str) -> str:
    """A parameter's value, quoted where it must be; double quotes as RFC 6868 has them."""
    clean = _clean(text).replace("\t", " ").strip().translate(_PARAMETER_ESCAPES)
    return f'"{clean}"' if re.search("[;:,^]", clean) else clean


def encoded(lines: Iterable[str]) -> bytes:
    """The lines as they are written: UTF-8."""
    return "".join(lines).encode()


def _clean(text: str) -> str:
    return UNWRITABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _folded(line: str) -> str:
    data = UNWRITABLE.sub("", line).replace("\n", " ").encode()
    if len(data) <= LINE_BYTES_MAX:
        return data.decode() + "\r\n"
    pieces = []
    start, room = 0, LINE_BYTES_MAX
    while start < len(data):
        end = min(start + room, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1  # between characters only
        pieces.append(data[start:end].decode())
        start, room = end, LINE_BYTES_MAX - 1  # the blank that continues a line counts
    return "\r\n ".join(pieces) + "\r\n"
