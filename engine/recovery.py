"""
The recovery secret: 25 random bytes, written for people (docs/format.md, "Recovery secret").

Five lines carry five bytes each, a sixth stands for all. Each line has a check of its own that knows the line's number, so
that a slip of the pen and lines in a wrong order are found where they are.
"""

import re

from blake3 import blake3

from engine.errors import UsageError

RECOVERY_BYTES = 25
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ALIKE = str.maketrans("OIL", "011")
_LINES = 5
_LINE_BYTES = RECOVERY_BYTES // _LINES
_LINE_CHARACTERS = 12  # eight for the bytes, four for the check
_LAST_CHARACTERS = 8
_CHARACTERS = _LINES * _LINE_CHARACTERS + _LAST_CHARACTERS
_NUMBER = r"(?m)^\s*[1-6]\s*[:.)]"
SLIPS_MAX = 8  # letters too many or too few with which a text still looks like a recovery secret


def recovery_lines(data: bytes) -> list[str]:
    """Six lines of groups of four letters and digits, for 25 bytes."""
    pieces = [data[at : at + _LINE_BYTES] for at in range(0, RECOVERY_BYTES, _LINE_BYTES)]
    lines = [_letters(piece) + _line_check(n, piece) for n, piece in enumerate(pieces, 1)]
    return [_groups(line) for line in (*lines, _last_line(data))]


def recovery_secret(data: bytes) -> bytes:
    """The secret of 32 bytes that an opening key is made of. 200 random bits need no Argon2."""
    return blake3(b"strongroom recovery secret\0" + data).digest()


def looks_like_recovery(text: str) -> bool:
    """Whether somebody meant to type a recovery secret, right or wrong."""
    if len(text) < _CHARACTERS - SLIPS_MAX:
        return False
    letters = _cleaned(text)
    return (
        abs(len(letters) - _CHARACTERS) <= SLIPS_MAX
        and letters.isascii()
        and letters.isalnum()
        and len(text.split()) > 1
    ) or (len(letters) == _CHARACTERS and not set(letters) - set(_ALPHABET))


def read_recovery(text: str) -> bytes:
    """
    The 25 bytes of a typed recovery secret; blanks, dashes, case and numbers of lines do not matter.

    Raises: UsageError(recovery-mistyped), which names the lines that are wrong.
    """
    lines = [line for line in map(_cleaned, _numberless(text).splitlines()) if line]
    if len(lines) != _LINES + 1:
        lines = _regrouped("".join(lines))
    wrong = [n for n, line in enumerate(lines[:_LINES], 1) if not _is_right(n, line)]
    if wrong:
        named = " and ".join(map(str, wrong))
        raise _mistyped(f"line {named} of the recovery secret is not as printed: look at it again")
    data = b"".join(_decoded(line[:8], _LINE_BYTES) for line in lines[:_LINES])
    if lines[_LINES:] != [_last_line(data)]:
        raise _mistyped(
            f"line {_LINES + 1} of the recovery secret is not as printed, or lines are of another sheet"
        )
    return data


def _mistyped(message: str) -> UsageError:
    return UsageError(message, code="recovery-mistyped")


def _numberless(text: str) -> str:
    return re.sub(_NUMBER, "", text)


def _cleaned(text: str) -> str:
    return re.sub(r"[\s\-]", "", _numberless(text)).upper().translate(_ALIKE)


def _regrouped(letters: str) -> list[str]:
    """Lines out of one run of letters; what is too few or too many shows in the first line that is wrong."""
    starts = range(0, _LINES * _LINE_CHARACTERS, _LINE_CHARACTERS)
    lines = [letters[at : at + _LINE_CHARACTERS] for at in starts]
    for number, line in enumerate(lines, 1):
        if not _is_right(number, line):
            raise _mistyped(
                f"line {number} of the recovery secret is not as printed: look at it again"
            )
    return [*lines, letters[_LINES * _LINE_CHARACTERS :]]


def _is_right(number: int, line: str) -> bool:
    if len(line) != _LINE_CHARACTERS or set(line) - set(_ALPHABET):
        return False
    return line[8:] == _line_check(number, _decoded(line[:8], _LINE_BYTES))


def _line_check(number: int, piece: bytes) -> str:
    return _letters(blake3(b"strongroom recovery line\0" + bytes((number,)) + piece).digest(5))[:4]


def _last_line(data: bytes) -> str:
    return _letters(blake3(b"strongroom recovery check\0" + data).digest(5))


def _letters(data: bytes) -> str:
    """Base32 of 5 bytes, eight letters, highest bits first."""
    number = int.from_bytes(data, "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))


def _decoded(letters: str, size: int) -> bytes:
    number = 0
    for letter in letters:
        number = number << 5 | _ALPHABET.index(letter)
    return number.to_bytes(size, "big")


def _groups(line: str) -> str:
    return " ".join(line[at : at + 4] for at in range(0, len(line), 4))
