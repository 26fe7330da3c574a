"""Section "Keys": passphrase -> key set."""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tools.reader.folder import Damage, Folder

MEMORY_KIB_MAX = 4 << 20  # and 16 times that, times iterations


class WrongPassphrase(Exception):
    """No key set opens with it."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """Keys of one epoch, 32 bytes each."""

    data: bytes
    metadata: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """An opened key set; `repository` is the id, 16 bytes."""

    repository: bytes
    id_key: bytes
    public_key: Ed25519PublicKey
    epochs: dict[int, Epoch]


def derive(key: bytes, purpose: str, salt: bytes = b"") -> bytes:
    """The 32-byte key for a purpose."""
    return blake3(purpose.encode() + b"\0" + salt, key=key).digest()


def open_keys(folder: Folder, passphrase: str) -> tuple[Keys, list[str]]:
    """The first key set that the passphrase opens, and what is damaged; Damage or WrongPassphrase if there is none."""
    config = folder.read("config")
    try:
        stated = json.loads(config)
        repository = bytes.fromhex(stated["repository"])
        if (stated["format"], stated["suite"]) != (1, 1):
            raise Damage(f"config: format {stated['format']}, suite {stated['suite']}: not 1, 1")
    except (ValueError, KeyError, TypeError) as error:
        raise Damage(f"config: {error!r}") from error
    damaged: list[str] = []
    names = list(folder.names("keys/", "[0-9a-f]{32}"))
    for name in names:
        try:
            sealed_set = _key_set(folder.read(name), passphrase, repository)
        except (Damage, ValueError, KeyError, TypeError, binascii.Error) as error:
            damaged.append(f"{name}: {error}")
            continue
        if sealed_set is None:
            continue
        if base64.b64decode(sealed_set["config_digest"]) != blake3(config).digest():
            damaged.append("config: is not the one of the key set")
        return _opened(sealed_set, repository), damaged
    if len(damaged) == len(names):
        raise Damage("; ".join(damaged) or "keys/: no key set")
    raise WrongPassphrase("wrong passphrase")


def _key_set(stored: bytes, passphrase: str, repository: bytes) -> dict[str, Any] | None:
    """The key set inside a wrapped one; None: of another passphrase."""
    wrapped = json.loads(stored)
    compact = json.dumps({**wrapped, "checksum": ""}, separators=(",", ":")).encode()
    if blake3(compact).hexdigest() != wrapped["checksum"]:
        raise Damage("its checksum is wrong")
    cost = wrapped["cost"]
    if max(cost["memory_kib"], cost["memory_kib"] * cost["iterations"] // 16) > MEMORY_KIB_MAX:
        raise Damage("its cost is out of bounds")
    wrapping_key = Argon2id(
        salt=base64.b64decode(wrapped["salt"]),
        length=32,
        iterations=cost["iterations"],
        lanes=cost["lanes"],
        memory_cost=cost["memory_kib"],
    ).derive(passphrase.encode())
    if derive(wrapping_key, "commitment") != base64.b64decode(wrapped["commitment"]):
        return None
    try:
        plain = AESGCM(derive(wrapping_key, "key set")).decrypt(
            bytes(12), base64.b64decode(wrapped["sealed"]), b"strongroom keys" + repository
        )
    except InvalidTag as error:
        raise Damage(
            "does not open: it belongs to another repository, or config is damaged"
        ) from error
    opened: dict[str, Any] = json.loads(plain)
    return opened


def _opened(key_set: dict[str, Any], repository: bytes) -> Keys:
    seed = Ed25519PrivateKey.from_private_bytes(base64.b64decode(key_set["signing_seed"]))
    epochs = {
        int(number): Epoch(base64.b64decode(keys["data"]), base64.b64decode(keys["metadata"]))
        for number, keys in key_set["epochs"].items()
    }
    return Keys(repository, base64.b64decode(key_set["id_key"]), seed.public_key(), epochs)
