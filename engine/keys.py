"""
Key hierarchy (docs/format.md, "Keys").

passphrase, recovery secret, key service --> secret --> opening key --> key ring --> key set
key set = id key, chunker key, signing seed (live as long as the repository)
        + per epoch: data key, metadata key (rotation adds an epoch)
        + per scope: one more epoch, with an id key and a chunker key of its own (engine.scope)

Object keys are derived from the epoch's class key and the random salt in the object's header, so that no pair of key and
nonce can repeat.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from engine.errors import Corruption, Unavailable, UsageError
from engine.limits import KIB, MIB
from engine.scope import SCOPES_MAX, Scope, ScopeForm, ScopeId, scope_form, scope_from

KEY_BYTES = 32
SALT_BYTES = 32


def derive(key: bytes, purpose: str, salt: bytes = b"") -> bytes:
    """32-byte subkey of `key` (32 bytes) for one purpose and salt: BLAKE3 keyed over purpose, 0, salt."""
    return blake3(purpose.encode() + b"\0" + salt, key=key).digest()


# -- the key set -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class EpochKeys:
    """Class keys of one epoch, 32 bytes each; of a scope also its id key and chunker key, else these are empty."""

    data: bytes
    metadata: bytes
    id_key: bytes = b""
    chunker_key: bytes = b""


def scope_epoch(secret: bytes) -> EpochKeys:
    """The keys of a scope, from its secret of 32 bytes."""
    return EpochKeys(
        derive(secret, "scope data"),
        derive(secret, "scope metadata"),
        derive(secret, "scope ids"),
        derive(secret, "scope chunker"),
    )


@dataclass(frozen=True, slots=True, repr=False)
class KeySet:
    """
    Everything a writer or reader needs. Never logged, never in an error: it has no readable form.

    `epochs` are the shared ones; of scopes (by id) it says where their keys are. Whoever opens them puts something into
    `epochs` that finds them (`repository.keyring`).
    """

    id_key: bytes
    chunker_key: bytes
    signing_seed: bytes
    epochs: dict[int, EpochKeys]
    config_digest: (
        bytes  # BLAKE3 of the stored `config`, so that a changed configuration is noticed
    )
    scopes: Mapping[str, Scope] = field(default_factory=dict)

    @property
    def newest_epoch(self) -> int:
        """The shared epoch new objects are sealed with."""
        return max(self.epochs)

    @property
    def next_epoch(self) -> int:
        """The number of the next epoch, of a scope or not."""
        return 1 + max([*self.epochs, *(scope.epoch for scope in self.scopes.values())])

    def scope_of(self, epoch: int) -> Scope | None:
        """The scope that an epoch belongs to, if any."""
        return next((scope for scope in self.scopes.values() if scope.epoch == epoch), None)

    def id_key_of(self, epoch: int) -> bytes:
        """What names chunks that are sealed in an epoch. Errors as of `epoch`."""
        return self.epoch(epoch).id_key or self.id_key

    def chunker_key_of(self, epoch: int) -> bytes:
        """What cuts parts that are sealed in an epoch. Errors as of `epoch`."""
        return self.epoch(epoch).chunker_key or self.chunker_key

    def epoch(self, number: int) -> EpochKeys:
        """Keys of an epoch. Corruption if the key set does not know it; ScopeClosed if its scope is not open."""
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


class KeySetForm(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A key set inside the sealed part of a ring; without scopes there is no member for them."""

    id_key: bytes
    chunker_key: bytes
    signing_seed: bytes
    config_digest: bytes
    epochs: dict[int, _EpochForm]
    scopes: dict[ScopeId, ScopeForm] = {}


def key_set_form(keys: KeySet) -> KeySetForm:
    """What a ring seals of a key set."""
    return KeySetForm(
        id_key=keys.id_key,
        chunker_key=keys.chunker_key,
        signing_seed=keys.signing_seed,
        config_digest=keys.config_digest,
        epochs={n: _EpochForm(e.data, e.metadata) for n, e in keys.epochs.items()},
        scopes={scope.id: scope_form(scope) for scope in keys.scopes.values()},
    )


def key_set_from(form: KeySetForm) -> KeySet:
    """Reverse of `key_set_form`. Corruption if a key is missing or short, or two scopes or epochs have one number."""
    keys = KeySet(
        form.id_key,
        form.chunker_key,
        form.signing_seed,
        {n: EpochKeys(e.data, e.metadata) for n, e in form.epochs.items()},
        form.config_digest,
        {scope_id: scope_from(scope_id, scope) for scope_id, scope in form.scopes.items()},
    )
    secrets = [keys.id_key, keys.chunker_key, keys.signing_seed, keys.config_digest]
    secrets += [k for e in keys.epochs.values() for k in (e.data, e.metadata)]
    if not keys.epochs or any(len(key) != KEY_BYTES for key in secrets):
        raise Corruption("the key set is incomplete", code="key-set-corrupt")
    numbers = [*keys.epochs, *(scope.epoch for scope in keys.scopes.values())]
    if len({*numbers}) < len(numbers) or len(keys.scopes) > SCOPES_MAX:
        raise Corruption("the key set has impossible scopes", code="key-set-corrupt")
    return keys


# -- opening keys ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class OpeningKey:
    """
    What opens a share of a ring: an X25519 private key and the member key, 32 bytes each.

    The member key of a recipient, whose public half alone is known to a repository, is all zeros.
    """

    private: bytes
    member: bytes = bytes(KEY_BYTES)

    @property
    def public(self) -> bytes:
        """The X25519 public key, 32 bytes."""
        return X25519PrivateKey.from_private_bytes(self.private).public_key().public_bytes_raw()


def opening_key(secret: bytes) -> OpeningKey:
    """The opening key of a secret of 32 bytes, wherever that comes from."""
    return OpeningKey(derive(secret, "x25519"), derive(secret, "member"))


class KdfCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Argon2id parameters, stored with each key; docs/decisions/0010 says why these are the default."""

    memory_kib: int = 64 * 1024
    iterations: int = 1
    lanes: int = 1


KDF_MEMORY_KIB_MAX = 4 * MIB  # 4 GiB: a stored parameter must not exhaust the reader
KDF_WORK_KIB_MAX = 64 * MIB  # memory times iterations, about a minute: nor its patience


def require_bearable(cost: KdfCost) -> None:
    """UsageError(kdf-cost) for costs that no reader would take."""
    work_kib = cost.memory_kib * cost.iterations
    if cost.memory_kib > KDF_MEMORY_KIB_MAX or work_kib > KDF_WORK_KIB_MAX:
        raise UsageError("these Argon2 parameters take too long to open", code="kdf-cost")


def stretch(passphrase: str, salt: bytes, cost: KdfCost) -> bytes:
    """
    The secret of a passphrase: Argon2id of its UTF-8 bytes, 32 bytes.

    Raises: UsageError(kdf-cost): out of Argon2's bounds or ours. Unavailable(kdf-memory): this machine's memory is too small.
    """
    require_bearable(cost)
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
        return kdf.derive(passphrase.encode("utf-8", "surrogateescape"))
    except MemoryError as error:
        raise Unavailable(
            f"this key takes {cost.memory_kib // KIB} MiB of memory, more than there is",
            code="kdf-memory",
        ) from error
