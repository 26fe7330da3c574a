"""Key rings: damage, a wrong key and a forged ring are told apart; a later ring opens to its own keys and nobody else."""

import base64
import json
import random
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3

from engine import keys as engine_keys
from engine.errors import BackupError, Corruption, Unavailable, Unsupported, UsageError
from engine.keyring import KEYS_MAX, Ring, RingForm, open_ring, read_ring, seal_ring
from engine.keys import EpochKeys, KdfCost, KeySet, OpeningKey, derive, opening_key, stretch
from tests.fixtures import formats as f
from tests.fixtures.keyrings import CHEAP, OPENING, RING, STORED, fixed_draw

KINDS = tuple(OPENING)


def opened(stored: bytes, kind: str = "passphrase", repository: bytes = f.UUID) -> Ring:
    """A ring opened by the key of a kind."""
    form = read_ring(stored)
    key = next(k for k in form.keys if k.public_key == OPENING[kind].public.hex())
    return open_ring(form, key, OPENING[kind], repository)


def crafted(*path: Any, value: object) -> bytes:
    """A stored ring with one member changed and a right checksum: what an attacker could put there."""
    members = json.loads(STORED)
    node = members
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    members["checksum"] = ""
    compact = json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()
    members["checksum"] = blake3(compact).hexdigest()
    return json.dumps(members, indent=1, ensure_ascii=False).encode()


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_opens_the_same_ring(kind: str) -> None:
    """Keys, labels and key set come back, whoever opens."""
    assert opened(STORED, kind) == RING


def test_another_passphrase_has_another_public_key() -> None:
    """The public key is the commitment: who compares it knows a wrong passphrase without trying to decrypt."""
    good = OPENING["passphrase"].public
    for wrong in ("", "Passphrase", "passphrase "):
        assert opening_key(stretch(wrong, f.SALT, CHEAP)).public != good


def test_every_changed_byte_is_corruption() -> None:
    """Each byte of a ring changed, cut or added: Corruption, never another ring."""
    for at in range(len(STORED)):
        for flip in (0x01, 0x20, 0x80):
            damaged = bytearray(STORED)
            damaged[at] ^= flip
            with pytest.raises(Corruption):
                read_ring(bytes(damaged))
    for cut in range(0, len(STORED), 7):
        with pytest.raises(Corruption):
            read_ring(STORED[:cut])
    with pytest.raises(Corruption):
        read_ring(STORED + b" ")


@pytest.mark.parametrize("kind", KINDS)
def test_another_repository_is_refused(kind: str) -> None:
    """A ring copied from another repository does not open this one."""
    with pytest.raises(Corruption) as caught:
        opened(STORED, kind, bytes(16))
    assert caught.value.code == "key-foreign"


def test_nothing_in_clear_can_be_changed() -> None:
    """Public keys, kinds, times and numbers are bound: with a right checksum the ring opens for nobody."""
    stranger = OpeningKey(b"e" * 32).public.hex()
    for path, value in (
        (("keys", 1, "public_key"), stranger),
        (("keys", 2, "created_at"), "2020"),
        (("keys", 3, "service"), "file:mine"),
        (("ring",), 4),
        (("keys",), json.loads(STORED)["keys"][:1]),
    ):
        with pytest.raises(Corruption) as caught:
            opened(crafted(*path, value=value))
        assert caught.value.code == "key-foreign", path


@pytest.mark.parametrize("kind", ["passphrase", "recovery", "service"])
def test_a_ring_of_somebody_without_the_key_set_is_refused(kind: str) -> None:
    """Public keys stand in clear; sealing to them takes the member keys as well."""
    strangers = replace(f.KEYS, epochs={9: EpochKeys(b"x" * 32, b"y" * 32)})
    keys = tuple(replace(key, member=bytes(32)) for key in RING.keys)
    forged = seal_ring(Ring(4, keys, strangers), f.UUID, fixed_draw("forged"))
    with pytest.raises(Corruption) as caught:
        opened(forged, kind)
    assert caught.value.code == "key-foreign"


def rotated(*, without: str) -> tuple[bytes, KeySet]:
    """The next ring, without a key and with a new epoch, made by the holder of another key."""
    ring = opened(STORED, "recipient" if without != "recipient" else "passphrase")
    keys = replace(ring.key_set, epochs={**ring.key_set.epochs, 3: EpochKeys(b"n" * 32, b"N" * 32)})
    rest = tuple(key for key in ring.keys if key.kind != without)
    return seal_ring(Ring(4, rest, keys), f.UUID, fixed_draw("rotated")), keys


@pytest.mark.parametrize("removed", KINDS)
def test_rotation_opens_to_the_others_and_not_to_the_removed_key(removed: str) -> None:
    """
    Nobody's secret is needed to seal to the others. The removed key, with all that the ring before gave away (member
    keys of everybody among it), opens no share.
    """
    stored, keys = rotated(without=removed)
    for kind in KINDS:
        if kind != removed:
            assert opened(stored, kind).key_set == keys
    form = read_ring(stored)
    captured = {key.id: key.member for key in RING.keys}
    for key in form.keys:
        attempt = OpeningKey(OPENING[removed].private, captured[key.id])
        with pytest.raises(Corruption):
            open_ring(form, key, attempt, f.UUID)


def test_a_captured_key_set_opens_no_later_ring() -> None:
    """Neither its keys nor the member keys are private halves; and no secret of it stands in a ring."""
    stored, _ = rotated(without="recovery")
    form = read_ring(stored)
    secrets = [f.KEYS.id_key, f.KEYS.signing_seed, *(k.member for k in RING.keys)]
    secrets += [key for e in f.KEYS.epochs.values() for key in (e.data, e.metadata)]
    for key, secret in ((k, s) for k in form.keys for s in secrets):
        for attempt in (OpeningKey(secret), opening_key(secret), OpeningKey(secret, secret)):
            with pytest.raises(Corruption):
                open_ring(form, key, attempt, f.UUID)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("keys", 0, "cost"), None),
        (("keys", 1, "cost"), {"memory_kib": 8, "iterations": 1, "lanes": 1}),
        (("keys", 0, "cost"), {"memory_kib": 2**40, "iterations": 1, "lanes": 1}),
        (("keys", 0, "cost"), {"memory_kib": 8, "iterations": 2**40, "lanes": 1}),
        (("keys", 0, "kind"), "other"),
        (("keys", 0, "salt"), "?"),
        (("keys", 0, "salt"), base64.b64encode(b"x").decode()),
        (("keys", 1, "salt"), base64.b64encode(bytes(32)).decode()),
        (("keys", 1, "id"), "0" * 15 + "1"),
        (("keys", 1, "id"), "x"),
        (("keys", 0, "ephemeral"), "00"),
        (("keys",), []),
        (("keys",), json.loads(STORED)["keys"] * KEYS_MAX),
        (("ring",), 0),
        (("ring",), 10**10),
        (("more",), 1),
    ],
)
def test_impossible_parameters_are_corruption(path: tuple[Any, ...], value: object) -> None:
    """Crafted rings with a right checksum are refused before anything is derived."""
    with pytest.raises(Corruption) as caught:
        read_ring(crafted(*path, value=value))
    assert caught.value.code == "key-corrupt"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("keys", 0, "ephemeral"), "00" * 32),
        (("keys", 0, "share"), "?"),
        (("keys", 0, "share"), ""),
        (("keys", 0, "share"), base64.b64encode(bytes(48)).decode()),
        (("sealed",), "?"),
        (("sealed",), ""),
    ],
)
def test_impossible_shares_are_corruption(path: tuple[Any, ...], value: object) -> None:
    """Nor does a share that is none end in a foreign exception."""
    with pytest.raises(Corruption):
        opened(crafted(*path, value=value))


@pytest.mark.parametrize("cost", [KdfCost(0, 1, 1), KdfCost(8, 0, 1), KdfCost(8, 1, -1)])
def test_impossible_costs_are_refused(cost: KdfCost) -> None:
    """Costs that Argon2 does not take are the caller's mistake."""
    with pytest.raises(UsageError):
        stretch("passphrase", f.SALT, cost)


def test_a_key_for_larger_machines_says_so() -> None:
    """Not enough memory for Argon2 is no damage and no wrong passphrase."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (1 << 30), before[1]))
    try:
        with pytest.raises(Unavailable) as caught:
            stretch("passphrase", f.SALT, KdfCost(4 << 20, 1, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert caught.value.code == "kdf-memory"
    assert "4096 MiB" in caught.value.message


def test_a_newer_ring_is_unsupported() -> None:
    """Even one with members that this program does not know says that a newer program is needed."""
    with pytest.raises(Unsupported):
        read_ring(crafted("strongroom", value=3))


def test_random_bytes_are_corruption() -> None:
    """Fuzz with a kept seed."""
    rng = random.Random("keys 1")
    for _ in range(300):
        with pytest.raises(Corruption):
            read_ring(rng.randbytes(rng.randrange(300)))


def test_incomplete_key_sets_are_corruption() -> None:
    """A key set without epochs or with a short key is no key set."""
    good = msgspec.to_builtins(engine_keys.key_set_form(f.KEYS), str_keys=True)
    for change in ({"epochs": {}}, {"id_key": "AAAA"}, {"signing_seed": ""}):
        form = msgspec.convert({**good, **change}, engine_keys.KeySetForm, strict=False)
        with pytest.raises(Corruption):
            engine_keys.key_set_from(form)


def test_what_cannot_be_sealed_is_refused() -> None:
    """No keys, too many, labels without end, public keys of low order."""
    first = RING.keys[0]
    for keys in (
        (),
        (first,) * (KEYS_MAX + 1),
        (replace(first, label="x" * 65),),
        (replace(first, public_key=bytes(32)),),
    ):
        with pytest.raises(UsageError):
            seal_ring(replace(RING, keys=keys), f.UUID, fixed_draw("x"))


def test_keys_show_nothing() -> None:
    """No readable form holds a key; a ring shows neither secrets nor labels; subkeys differ by purpose and salt."""
    shown = repr(f.KEYS) + str(f.KEYS) + repr(f.KEYS.epochs) + repr(RING) + repr(RING.keys)
    shown += repr(OPENING)
    assert not any(secret in shown for secret in ("iii", "rrr", "everyday"))
    assert b"everyday" not in STORED
    assert len({derive(b"k" * 32, p, s) for p in ("a", "b") for s in (b"", b"x")}) == 4
    with pytest.raises(BackupError) as caught:
        f.KEYS.epoch(7)
    assert caught.value.code == "epoch-unknown"


def test_equal_rings_are_sealed_differently() -> None:
    """Each ring has a key of its own: nothing can be compared between two."""
    first, second = (read_ring(seal_ring(RING, f.UUID, fixed_draw(s))) for s in "ab")
    assert first.sealed != second.sealed
    assert not {k.share for k in first.keys} & {k.share for k in second.keys}
    assert isinstance(first, RingForm)
