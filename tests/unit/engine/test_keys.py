"""Wrapped key sets: damage and a wrong passphrase are told apart, and wrong keys never come out."""

import base64
import random
import resource
from pathlib import Path

import msgspec
import pytest

from engine import keys as engine_keys
from engine.errors import BackupError, Corruption, Denied, Unavailable, Unsupported, UsageError
from engine.keys import KdfCost, WrappedKeySet, check_wrapped, derive, unwrap, wrap
from tests.fixtures import formats as f

CHEAP = KdfCost(memory_kib=8, iterations=1, lanes=1)
GOOD = wrap(f.KEYS, b"passphrase", f.SALT, f.UUID, CHEAP)


def crafted(**changes: object) -> bytes:
    """A stored key with changes and a right checksum: what an attacker could put there."""
    form = msgspec.json.decode(GOOD, type=WrappedKeySet)
    form = msgspec.structs.replace(form, **changes)
    form.checksum = engine_keys._checksum(form)
    return engine_keys._stored_form(form)


def test_unwrap_gives_the_keys_back() -> None:
    """The right passphrase opens."""
    assert unwrap(GOOD, b"passphrase", f.UUID) == f.KEYS


def test_a_wrong_passphrase_is_denied() -> None:
    """Not Corruption: a person has to act."""
    for wrong in (b"", b"Passphrase", b"passphrase "):
        with pytest.raises(Denied) as caught:
            unwrap(GOOD, wrong, f.UUID)
        assert caught.value.code == "passphrase-wrong"


def test_every_changed_byte_is_corruption() -> None:
    """Each byte of keys/<id> changed, cut or added: Corruption, never wrong keys, never 'wrong passphrase'."""
    for at in range(len(GOOD)):
        for flip in (0x01, 0x80):
            damaged = bytearray(GOOD)
            damaged[at] ^= flip
            with pytest.raises(Corruption):
                unwrap(bytes(damaged), b"passphrase", f.UUID)
    for cut in range(0, len(GOOD), 7):
        with pytest.raises(Corruption):
            unwrap(GOOD[:cut], b"passphrase", f.UUID)
    with pytest.raises(Corruption):
        check_wrapped(GOOD + b" ")


def test_another_repository_is_refused() -> None:
    """A key copied from another repository does not open this one."""
    with pytest.raises(Corruption):
        unwrap(GOOD, b"passphrase", bytes(16))


@pytest.mark.parametrize(
    "changes",
    [
        {"cost": KdfCost(0, 1, 1)},
        {"cost": KdfCost(8, 0, 1)},
        {"cost": KdfCost(8, 1, -1)},
        {"cost": KdfCost(8, 2**40, 1)},
        {"cost": KdfCost(2**40, 1, 1)},
        {"cost": KdfCost(engine_keys.KDF_MEMORY_KIB_MAX + 1, 1, 1)},
        {"cost": KdfCost(8, engine_keys.KDF_WORK_KIB_MAX // 8 + 1, 1)},
        {"kind": "other"},
        {"salt": "?"},
        {"salt": base64.b64encode(b"x").decode()},
        {"sealed": "?"},
        {"sealed": ""},
        {"sealed": base64.b64encode(bytes(99)).decode()},
    ],
)
def test_impossible_parameters_are_corruption(changes: dict[str, object]) -> None:
    """Crafted keys with a right checksum neither exhaust the reader nor end in a foreign exception."""
    with pytest.raises((Corruption, Denied)):
        unwrap(crafted(**changes), b"passphrase", f.UUID)


def test_a_key_for_larger_machines_says_so() -> None:
    """Not enough memory for Argon2 is no damage and no wrong passphrase."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (1 << 30), before[1]))
    try:
        with pytest.raises(Unavailable) as caught:
            unwrap(crafted(cost=KdfCost(4 << 20, 1, 1)), b"passphrase", f.UUID)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert caught.value.code == "kdf-memory"
    assert "4096 MiB" in caught.value.message


def test_a_newer_key_is_unsupported() -> None:
    """A key of a newer version says that a newer program is needed."""
    with pytest.raises(Unsupported):
        check_wrapped(crafted(strongroom=2))


def test_impossible_costs_are_refused_when_wrapping() -> None:
    """Costs that Argon2 does not take are the caller's mistake."""
    with pytest.raises(UsageError):
        wrap(f.KEYS, b"passphrase", f.SALT, f.UUID, KdfCost(1, 1, 1))


def test_random_bytes_are_corruption() -> None:
    """Fuzz with a kept seed."""
    rng = random.Random("keys 1")
    for _ in range(300):
        with pytest.raises(Corruption):
            unwrap(rng.randbytes(rng.randrange(300)), b"passphrase", f.UUID)


def test_incomplete_key_sets_are_corruption() -> None:
    """A key set without epochs or with a short key is no key set."""
    good = msgspec.json.decode(engine_keys.encode_key_set(f.KEYS))
    for change in ({"epochs": {}}, {"id_key": "AAAA"}, {"signing_seed": ""}, {"more": 1}):
        with pytest.raises(Corruption):
            engine_keys.decode_key_set(msgspec.json.encode({**good, **change}))


def test_keys_show_nothing() -> None:
    """No readable form of a key set holds a key; subkeys differ by purpose and salt."""
    assert "iii" not in repr(f.KEYS) + str(f.KEYS) + repr(f.KEYS.epochs)
    assert len({derive(b"k" * 32, p, s) for p in ("a", "b") for s in (b"", b"x")}) == 4
    with pytest.raises(BackupError) as caught:
        f.KEYS.epoch(7)
    assert caught.value.code == "epoch-unknown"
