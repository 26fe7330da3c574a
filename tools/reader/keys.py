"""Section "Keys": passphrase, recovery secret or private key -> key set."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tools.reader.folder import Damage, Folder
from tools.reader.recovery import recovery_bytes

MEMORY_KIB_MAX = 4 << 20  # and 16 times that, times iterations
NO_MEMBER_KEY = bytes(32)


class WrongPassphrase(Exception):
    """No key set opens with it."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """Keys of one epoch, 32 bytes each; `id_key` names the chunks that are sealed in it."""

    data: bytes
    metadata: bytes
    id_key: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """An opened key set; `repository` is the id, 16 bytes; `closed`: epochs of scopes that do not open, and why."""

    repository: bytes
    public_key: Ed25519PublicKey
    epochs: dict[int, Epoch]
    closed: dict[int, str]


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens a share: X25519 private key and member key."""

    private: X25519PrivateKey
    member: bytes

    @property
    def public(self) -> bytes:
        """Compared with what stands in the ring."""
        return self.private.public_key().public_bytes_raw()


def derive(key: bytes, purpose: str, salt: bytes = b"") -> bytes:
    """The 32-byte key for a purpose."""
    return blake3(purpose.encode() + b"\0" + salt, key=key).digest()


def open_keys(
    folder: Folder, secret: str | Opening, scope_keys: Sequence[Path] = ()
) -> tuple[Keys, list[str]]:
    """
    The key set of the newest ring, and what is damaged.

    Args:
        secret: a passphrase or a typed recovery secret; or a private key.
        scope_keys: key files of the key services of scopes.

    Raises: Damage, or WrongPassphrase if no key of the ring fits.
    """
    config = folder.read("config")
    try:
        stated = json.loads(config)
        repository = bytes.fromhex(stated["repository"])
        if (stated["format"], stated["suite"]) != (1, 1):
            raise Damage(f"config: format {stated['format']}, suite {stated['suite']}: not 1, 1")
    except (ValueError, KeyError, TypeError) as error:
        raise Damage(f"config: {error!r}") from error
    ring, damaged = _newest_ring(folder)
    try:
        key, opening = _fitting(ring["keys"], secret)
        sealed_set = _opened(ring, key, opening, repository)
        keys = _key_set(sealed_set, repository, scope_keys)
        digest = base64.b64decode(sealed_set["config_digest"])
    except (ValueError, KeyError, TypeError) as error:
        raise Damage(f"keys/: {error!r}") from error
    if digest != blake3(config).digest():
        damaged.append("config: is not the one of the key set")
    return keys, damaged


def _newest_ring(folder: Folder) -> tuple[dict[str, Any], list[str]]:
    """The ring of the highest number, from the copy that is whole; and what is wrong with the other."""
    names = list(folder.names("keys/", "[0-9]{10}-[ab]"))
    damaged: list[str] = []
    found: dict[str, Any] | None = None
    for name in names:
        if name[:-2] != names[-1][:-2]:
            continue
        try:
            ring = read_checked(folder.read(name), newest=2)
            if name[5:-2] != f"{ring['ring']:010d}":
                raise Damage("is a ring of another number")
            found = found or ring
        except (Damage, ValueError, KeyError, TypeError) as error:
            damaged.append(f"{name}: {error}")
    if found is None:
        raise Damage("; ".join(damaged) or "keys/: no key ring")
    return found, damaged


def read_checked(stored: bytes, newest: int = 1) -> dict[str, Any]:
    """A JSON document with a checksum over its compact form, of a version up to `newest`."""
    document: dict[str, Any] = json.loads(stored)
    if not isinstance(document, dict):
        raise Damage("is no JSON object")
    compact = _compact({**document, "checksum": ""})
    if blake3(compact).hexdigest() != document["checksum"]:
        raise Damage("its checksum is wrong")
    if document["strongroom"] not in range(1, newest + 1):
        raise Damage(f"is of format {document['strongroom']}, not 1 to {newest}")
    return document


def _compact(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _opening_of(secret: bytes) -> Opening:
    private = X25519PrivateKey.from_private_bytes(derive(secret, "x25519"))
    return Opening(private, derive(secret, "member"))


def _fitting(keys: list[dict[str, Any]], secret: str | Opening) -> tuple[dict[str, Any], Opening]:
    """The key of a ring whose public key the secret makes."""
    typed = recovery_bytes(secret) if isinstance(secret, str) else None
    for key in keys:
        if isinstance(secret, Opening):
            opening = secret
        elif key["kind"] == "recovery" and typed is not None:
            opening = _opening_of(blake3(b"strongroom recovery secret\0" + typed).digest())
        elif key["kind"] == "passphrase" and typed is None:
            opening = _opening_of(stretched(secret, key["salt"], key["cost"]))
        else:
            continue
        if opening.public.hex() == key["public_key"]:
            return key, opening
    raise WrongPassphrase("no such key" if isinstance(secret, Opening) else "wrong passphrase")


def stretched(passphrase: str, salt: str, cost: dict[str, int]) -> bytes:
    """Argon2id of a passphrase; Damage if it would take more than a reader takes."""
    if max(cost["memory_kib"], cost["memory_kib"] * cost["iterations"] // 16) > MEMORY_KIB_MAX:
        raise Damage("its cost is out of bounds")
    kdf = Argon2id(
        salt=base64.b64decode(salt),
        length=32,
        iterations=cost["iterations"],
        lanes=cost["lanes"],
        memory_cost=cost["memory_kib"],
    )
    return kdf.derive(passphrase.encode())


def _opened(
    ring: dict[str, Any], key: dict[str, Any], opening: Opening, repository: bytes
) -> dict[str, Any]:
    """The key set that a ring holds for one of its keys."""
    ephemeral = bytes.fromhex(key["ephemeral"])
    agreed = opening.private.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    share_key = derive(opening.member, "share", agreed + ephemeral + opening.public)
    place = ring["ring"].to_bytes(8, "little") + bytes.fromhex(key["id"])
    bare = _compact({**ring, "sealed": "", "checksum": ""})
    try:
        ring_key = AESGCM(share_key).decrypt(
            bytes(12), base64.b64decode(key["share"]), b"strongroom share" + repository + place
        )
        plain = AESGCM(derive(ring_key, "key set")).decrypt(
            bytes(12), base64.b64decode(ring["sealed"]), b"strongroom ring" + repository + bare
        )
    except InvalidTag as error:
        raise Damage(
            "keys/: does not open: it belongs to another repository, or config is damaged"
        ) from error
    key_set: dict[str, Any] = json.loads(plain)["key_set"]
    return key_set


def _key_set(key_set: dict[str, Any], repository: bytes, scope_keys: Sequence[Path]) -> Keys:
    seed = Ed25519PrivateKey.from_private_bytes(base64.b64decode(key_set["signing_seed"]))
    id_key = base64.b64decode(key_set["id_key"])
    epochs = {
        int(number): Epoch(
            base64.b64decode(keys["data"]), base64.b64decode(keys["metadata"]), id_key
        )
        for number, keys in key_set["epochs"].items()
    }
    closed: dict[int, str] = {}
    for scope in key_set.get("scopes", {}).values():
        try:
            epochs[scope["epoch"]] = _scope_epoch(scope, scope_keys)
        except Damage as error:
            closed[scope["epoch"]] = f"sealed in the scope {scope['name']}: {error}"
    return Keys(repository, seed.public_key(), epochs, closed)


def _scope_epoch(scope: dict[str, Any], scope_keys: Sequence[Path]) -> Epoch:
    """Section "Scopes": from the key file of the service that wrapped its secret. Damage if there is none that fits."""
    if scope["destroyed_at"]:
        raise Damage(f"shredded on {scope['destroyed_at'][:10]}, nothing brings it back")
    name = scope["service"].partition(":")[2]
    wrapped = base64.b64decode(scope["wrapped"])
    for file in scope_keys:
        if file.name == f"{name}.key":
            versions = read_checked(file.read_bytes())["versions"]
            key = versions.get(str(int.from_bytes(wrapped[:4], "little")))
            if key is None:
                raise Damage(f"{file} has not the version that is needed")
            bound = b"strongroom key service\0" + name.encode()
            try:
                secret = AESGCM(base64.b64decode(key)).decrypt(wrapped[4:16], wrapped[16:], bound)
            except InvalidTag as error:
                raise Damage(f"{file} is another key") from error
            purposes = ("scope data", "scope metadata", "scope ids")
            return Epoch(*(derive(secret, purpose) for purpose in purposes))
    raise Damage(f"give {name}.key of its key service with --scope-key")
