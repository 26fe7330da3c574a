"""
Key hierarchy (docs/format.md, "Keys").

passphrase --Argon2id--> wrapping key --AES-256-GCM--> key set
key set = id key, chunker key, signing seed (live as long as the tenant key)
        + per epoch: data key, metadata key (rotation adds an epoch)

Object keys are derived from the epoch's class key and the random salt in the object's header, so that no pair of key and
nonce can repeat. A wrapped key set carries a checksum (damage) and a key commitment (wrong passphrase).
"""

import base64
import hmac
from dataclasses import dataclass

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from engine.errors import Corruption, Denied, Unavailable, UsageError
from engine.limits import KIB, MIB
from engine.version import require_readable

KEY_BYTES = 32
SALT_BYTES = 32


def derive(key: bytes, purpose: str, salt: bytes = b"") -> bytes:
    """32-byte subkey of `key` (32 bytes) for one purpose and salt: BLAKE3 keyed over purpose, 0, salt."""
    return blake3(purpose.encode() + b"\0" + salt, key=key).digest()


@dataclass(frozen=True, slots=True, repr=False)
class EpochKeys:
    """Class keys of one epoch, 32 bytes each."""

    data: bytes
    metadata: bytes


@dataclass(frozen=True, slots=True, repr=False)
class KeySet:
    """Everything a writer or reader needs. Never logged, never in an error: it has no readable form."""

    id_key: bytes
    chunker_key: bytes
    signing_seed: bytes
    epochs: dict[int, EpochKeys]
    config_digest: (
        bytes  # BLAKE3 of the stored `config`, so that a changed configuration is noticed
    )

    @property
    def newest_epoch(self) -> int:
        """The epoch new objects are sealed with."""
        return max(self.epochs)

    def epoch(self, number: int) -> EpochKeys:
        """Keys of an epoch; Corruption if the key set does not know it."""
        try:
            return self.epochs[number]
        except KeyError:
            raise Corruption(
                f"an object names key epoch {number}, which the key set lacks",
                code="epoch-unknown",
                epoch=number,
            ) from None


class _EpochForm(msgspec.Struct, forbid_unknown_fields=True):
    data: bytes
    metadata: bytes


class _KeySetForm(msgspec.Struct, forbid_unknown_fields=True):
    id_key: bytes
    chunker_key: bytes
    signing_seed: bytes
    config_digest: bytes
    epochs: dict[int, _EpochForm]


def encode_key_set(keys: KeySet) -> bytes:
    """Plain bytes of a key set, only ever to be wrapped."""
    return msgspec.json.encode(
        _KeySetForm(
            id_key=keys.id_key,
            chunker_key=keys.chunker_key,
            signing_seed=keys.signing_seed,
            config_digest=keys.config_digest,
            epochs={n: _EpochForm(e.data, e.metadata) for n, e in keys.epochs.items()},
        )
    )


def decode_key_set(data: bytes) -> KeySet:
    """Reverse of `encode_key_set`. Corruption if it is not one."""
    try:
        form = msgspec.json.decode(data, type=_KeySetForm)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption("the key set cannot be read", code="key-set-corrupt") from error
    keys = KeySet(
        form.id_key,
        form.chunker_key,
        form.signing_seed,
        {n: EpochKeys(e.data, e.metadata) for n, e in form.epochs.items()},
        form.config_digest,
    )
    secrets = [keys.id_key, keys.chunker_key, keys.signing_seed]
    secrets += [k for e in keys.epochs.values() for k in (e.data, e.metadata)]
    if not keys.epochs or any(len(key) != KEY_BYTES for key in secrets):
        raise Corruption("the key set is incomplete", code="key-set-corrupt")
    return keys


class KdfCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Argon2id parameters, stored with each key; docs/decisions/0010 says why these are the default."""

    memory_kib: int = 64 * 1024
    iterations: int = 1
    lanes: int = 1


KDF_MEMORY_KIB_MAX = 4 * MIB  # 4 GiB: a stored parameter must not exhaust the reader
KDF_WORK_KIB_MAX = 64 * MIB  # memory times iterations, about a minute: nor its patience


class WrappedKeySet(msgspec.Struct, forbid_unknown_fields=True):
    """Stored form of `keys/<id>`: JSON, binary members base64."""

    strongroom: int
    kind: str
    cost: KdfCost
    salt: str
    commitment: str
    sealed: str
    checksum: str = ""


def _wrapping_key(passphrase: bytes, salt: bytes, cost: KdfCost) -> bytes:
    """UsageError if the costs are out of Argon2's bounds, Unavailable if this machine's memory is too small."""
    try:
        kdf = Argon2id(
            salt=salt,
            length=KEY_BYTES,
            iterations=cost.iterations,
            lanes=cost.lanes,
            memory_cost=cost.memory_kib,
        )
    except (ValueError, OverflowError) as error:
        raise UsageError(f"impossible Argon2 parameters: {error}", code="kdf-cost") from error
    try:
        return kdf.derive(passphrase)
    except MemoryError as error:
        raise Unavailable(
            f"this key takes {cost.memory_kib // KIB} MiB of memory, more than there is",
            code="kdf-memory",
        ) from error


def _checksum(form: WrappedKeySet) -> str:
    return blake3(msgspec.json.encode(msgspec.structs.replace(form, checksum=""))).hexdigest()


def wrap(keys: KeySet, passphrase: bytes, salt: bytes, repository: bytes, cost: KdfCost) -> bytes:
    """
    Wrap a key set with a passphrase.

    Args:
        salt: 32 fresh random bytes; the wrapping key depends on it, so nonce 0 is used once.
        repository: 16 bytes, bound as associated data.

    Returns: the bytes of `keys/<id>`.

    Raises: UsageError(kdf-cost) for costs that no reader would take. Unavailable(kdf-memory).
    """
    if _is_too_much(cost):
        raise UsageError("these Argon2 parameters take too long to open", code="kdf-cost")
    wrapping = _wrapping_key(passphrase, salt, cost)
    sealed = AESGCM(derive(wrapping, "key set")).encrypt(
        bytes(12), encode_key_set(keys), b"strongroom keys" + repository
    )
    form = WrappedKeySet(
        strongroom=1,
        kind="passphrase",
        cost=cost,
        salt=base64.b64encode(salt).decode(),
        commitment=base64.b64encode(derive(wrapping, "commitment")).decode(),
        sealed=base64.b64encode(sealed).decode(),
    )
    form.checksum = _checksum(form)
    return _stored_form(form)


def check_wrapped(stored: bytes) -> WrappedKeySet:
    """Read `keys/<id>` without opening it. Corruption if a byte of it is not as it was written."""
    try:
        form = msgspec.json.decode(stored, type=WrappedKeySet)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption("a stored key is damaged", code="key-corrupt") from error
    if form.checksum != _checksum(form) or _stored_form(form) != stored:
        raise Corruption("a stored key is damaged (checksum)", code="key-corrupt")
    require_readable(form.strongroom)
    if _is_too_much(form.cost) or form.kind != "passphrase":
        raise Corruption("a stored key has impossible parameters", code="key-corrupt")
    return form


def _is_too_much(cost: KdfCost) -> bool:
    work_kib = cost.memory_kib * cost.iterations
    return cost.memory_kib > KDF_MEMORY_KIB_MAX or work_kib > KDF_WORK_KIB_MAX


def _stored_form(form: WrappedKeySet) -> bytes:
    return msgspec.json.format(msgspec.json.encode(form), indent=1)


def unwrap(stored: bytes, passphrase: bytes, repository: bytes) -> KeySet:
    """
    Open `keys/<id>`.

    Raises:
        Corruption: the stored bytes are damaged. Denied: the passphrase is not the one of this key. Unavailable: it
            takes more memory than there is.
    """
    form = check_wrapped(stored)
    try:
        salt = base64.b64decode(form.salt, validate=True)
        sealed = base64.b64decode(form.sealed, validate=True)
        wrapping = _wrapping_key(passphrase, salt, form.cost)
    except (ValueError, UsageError) as error:
        raise Corruption("a stored key has impossible parameters", code="key-corrupt") from error
    commitment = base64.b64encode(derive(wrapping, "commitment")).decode()
    if not hmac.compare_digest(commitment, form.commitment):
        raise Denied("the passphrase is wrong", code="passphrase-wrong")
    try:
        plain = AESGCM(derive(wrapping, "key set")).decrypt(
            bytes(12), sealed, b"strongroom keys" + repository
        )
    except InvalidTag as error:
        raise Corruption(
            "the passphrase opens a key of another repository: put config and keys/ back from a copy",
            code="key-foreign",
        ) from error
    return decode_key_set(plain)
