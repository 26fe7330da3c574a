"""Section "Recovery secret": what people keep on paper."""

import re

from blake3 import blake3

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LINE, LINES = 12, 5
CHARACTERS = LINE * LINES + 8


class Mistyped(Exception):
    """A typed recovery secret has a wrong line; the message names it."""


def recovery_bytes(text: str) -> bytes | None:
    """The 25 bytes of a typed recovery secret; None: it is none, so a passphrase."""
    without = re.sub(r"(?m)^\s*[1-6]\)", "", text)
    letters = re.sub(r"[\s-]", "", without).upper().translate(str.maketrans("OIL", "011"))
    if len(letters) != CHARACTERS or set(letters) - set(ALPHABET):
        return None
    data = b""
    for number in range(1, LINES + 1):
        line = letters[(number - 1) * LINE : number * LINE]
        piece = _decoded(line[:8])
        check = blake3(b"strongroom recovery line\0" + bytes((number,)) + piece).digest(3)
        if _decoded("0000" + line[8:]) != (int.from_bytes(check, "big") >> 4).to_bytes(5, "big"):
            raise Mistyped(f"line {number} of the recovery secret is not as printed")
        data += piece
    if _decoded(letters[-8:]) != blake3(b"strongroom recovery check\0" + data).digest(5):
        raise Mistyped("line 6 of the recovery secret is not as printed")
    return data


def _decoded(letters: str) -> bytes:
    """Five bytes of eight letters, highest bits first."""
    number = 0
    for letter in letters:
        number = number << 5 | ALPHABET.index(letter)
    return number.to_bytes(5, "big")
