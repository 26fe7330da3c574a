"""Recovery secrets as people type them, and files of recipients."""

import random
from itertools import permutations

import pytest

from engine.errors import BackupError, Corruption, Denied, UsageError
from engine.keyfile import (
    encode_private_key,
    encode_recipient,
    open_private_key,
    read_private_key,
    read_recipient,
)
from engine.keys import OpeningKey
from engine.recovery import looks_like_recovery, read_recovery, recovery_lines
from tests.fixtures import formats as f
from tests.fixtures.keyrings import CHEAP, RECOVERY

LINES = recovery_lines(RECOVERY)
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def mistyped(text: str) -> str:
    assert looks_like_recovery(text)
    with pytest.raises(UsageError) as caught:
        read_recovery(text)
    assert caught.value.code == "recovery-mistyped"
    return caught.value.message


@pytest.mark.parametrize("separator", ["\n", "\r\n\n", " ", "", "-"])
def test_however_it_is_typed(separator: str) -> None:
    """Blanks, dashes, newlines, case, numbers of lines and letters that look like digits do not matter."""
    text = separator.join(LINES)
    for typed in (
        text,
        text.lower(),
        f"  {text}\n",
        text.replace(" ", "-"),
        text.replace("0", "o").replace("1", "l"),
        text.replace("1", "I"),
    ):
        assert looks_like_recovery(typed)
        assert read_recovery(typed) == RECOVERY
    numbered = "\n".join(f"{n}) {line}" for n, line in enumerate(LINES, 1))
    assert read_recovery(numbered) == RECOVERY


@pytest.mark.slow
def test_every_wrong_letter_is_found_in_its_line() -> None:
    """Each letter replaced by each other one: the message names that line and no other."""
    for number, line in enumerate(LINES):
        for at, letter in enumerate(line):
            for other in LETTERS if letter != " " else "":
                if other != letter:
                    wrong = line[:at] + other + line[at + 1 :]
                    for joint in "\n", " ":
                        said = mistyped(joint.join((*LINES[:number], wrong, *LINES[number + 1 :])))
                        assert said.startswith(f"line {number + 1} of")


def test_letters_too_few_or_too_many_are_found_in_their_line() -> None:
    """With newlines and without."""
    for number in range(6):
        for wrong in (LINES[number][1:], "7" + LINES[number]):
            for joint in "\n", " ":
                said = mistyped(joint.join((*LINES[:number], wrong, *LINES[number + 1 :])))
                assert said.startswith(f"line {number + 1} of")


def test_several_wrong_lines_are_all_named() -> None:
    """One look at the sheet is enough."""
    wrong = [LINES[0][::-1], LINES[1], LINES[2], LINES[3][::-1], LINES[4], LINES[5]]
    assert mistyped("\n".join(wrong)).startswith("line 1 and 4 of")


def test_lines_in_another_order_are_found() -> None:
    """A check knows the number of its line; the last line knows the sheet."""
    for order in permutations(range(5)):
        text = "\n".join([LINES[n] for n in order] + LINES[5:])
        if order != tuple(range(5)):
            mistyped(text)
    other = recovery_lines(RECOVERY[::-1])
    assert "another sheet" in mistyped("\n".join((LINES[0], *other[1:])))


def test_passphrases_do_not_look_like_it() -> None:
    """Nor do 32 bytes in hex, nor a passphrase of many words."""
    for text in ("correct horse battery staple", "ab" * 32, "x" * 4000, "", "ä" * 68):
        assert not looks_like_recovery(text), text
    rng = random.Random(5)
    for _ in range(300):
        text = "".join(chr(rng.randrange(32, 700)) for _ in range(rng.randrange(100)))
        if looks_like_recovery(text):
            with pytest.raises(UsageError):
                read_recovery(text)


# -- files of recipients -----------------------------------------------------------------------------

PRIVATE = b"p" * 32


@pytest.mark.parametrize("passphrase", [None, "good"])
def test_a_private_key_comes_back(passphrase: str | None) -> None:
    """With a passphrase and without; without, no passphrase is asked for."""
    stored = encode_private_key(PRIVATE, f.TIME, passphrase, f.SALT, CHEAP)
    form = read_private_key(stored)
    assert form.is_protected == (passphrase is not None)
    assert open_private_key(form, passphrase or "") == OpeningKey(PRIVATE)
    if passphrase is not None:
        assert PRIVATE not in stored
        with pytest.raises(Denied) as caught:
            open_private_key(form, "bad")
        assert caught.value.code == "key-file-passphrase"
    for at in range(len(stored)):
        damaged = bytearray(stored)
        damaged[at] ^= 1
        with pytest.raises(Corruption):
            read_private_key(bytes(damaged))


def test_a_public_key_with_a_wrong_letter_is_refused() -> None:
    """Nothing is ever sealed to a key that nobody has."""
    line = encode_recipient(OpeningKey(PRIVATE).public)
    assert read_recipient(f" {line}\n") == OpeningKey(PRIVATE).public
    private = encode_private_key(PRIVATE, f.TIME, None, f.SALT, CHEAP).decode()
    for at in range(len(line)):
        for wrong in (line[:at] + "0" + line[at + 1 :], line[:at]):
            if wrong != line:
                with pytest.raises(UsageError):
                    read_recipient(wrong)
    for text in ("", private, "strongroom-recipient-1 zz"):
        with pytest.raises(BackupError):
            read_recipient(text)
