"""Sealed tokens open unaltered, for their purpose, under their key; else not."""

import pytest

from tools.emulator.sealing import BrokenSeal, Sealer

SEALER = Sealer(bytes(32))


def test_round_trip() -> None:
    state = {"cursor": 7, "select": ["id"], "text": "Łódź"}
    assert SEALER.open("list", SEALER.seal("list", state)) == state


def test_every_altered_character_breaks_the_seal() -> None:
    token = SEALER.seal("list", {"cursor": 7})
    for index, char in enumerate(token):
        other = "A" if char != "A" else "B"
        with pytest.raises(BrokenSeal):
            SEALER.open("list", token[:index] + other + token[index + 1 :])


@pytest.mark.parametrize("token", ["", "A", "AAAA", "not base64!", "Ä", "A" * 500])
def test_nonsense_breaks(token: str) -> None:
    with pytest.raises(BrokenSeal):
        SEALER.open("list", token)


def test_other_purpose_and_other_key() -> None:
    token = SEALER.seal("list", {})
    with pytest.raises(BrokenSeal):
        SEALER.open("download", token)
    with pytest.raises(BrokenSeal):
        Sealer(bytes([1]) * 32).open("list", token)
