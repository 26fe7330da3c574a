"""
The key ring: who opens a repository, and the key set sealed to each of them (docs/format.md, "Keys").

A ring is never changed: each change is the next ring, with a fresh ring key and fresh shares. A share is sealed under an
X25519 secret and the key's member key, so that a ring can be sealed to keys whose secrets nobody present knows, and by
nobody who does not hold the key set.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.checkedjson import decode_checked, encode_checked
from engine.errors import Corruption, UsageError
from engine.keys import (
    KEY_BYTES,
    SALT_BYTES,
    KdfCost,
    KeySet,
    KeySetForm,
    OpeningKey,
    derive,
    key_set_form,
    key_set_from,
    require_bearable,
)

KeyKind = Literal["passphrase", "recovery", "recipient", "service"]
KEYS_MAX = 256
LABEL_CHARACTERS_MAX = 64
RING_FORM, RING_FORM_SCOPES = 1, 2  # a ring with scopes says 2, so that programs before them refuse
_Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class KeyForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key as it stands in a ring; `salt`, `wrapped`, `share` in base64, empty where its kind has none."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    kind: KeyKind
    created_at: str
    public_key: _Hex32
    cost: KdfCost | None
    salt: str
    service: str
    wrapped: str
    ephemeral: _Hex32
    share: str


class RingForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stored ring, still sealed."""

    strongroom: int
    ring: Annotated[int, msgspec.Meta(ge=1, lt=10**10)]
    keys: Annotated[list[KeyForm], msgspec.Meta(min_length=1, max_length=KEYS_MAX)]
    sealed: str
    checksum: str = ""


class _MemberForm(msgspec.Struct, forbid_unknown_fields=True):
    member: bytes
    label: str


class _SealedForm(msgspec.Struct, forbid_unknown_fields=True):
    key_set: KeySetForm
    keys: dict[str, _MemberForm]


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """
    One way to open a repository.

    Attributes:
        id: 16 hex digits. created_at: for people.
        public_key, member: halves of its opening key, 32 bytes each. label: any text, sealed.
        cost, salt: of a passphrase. service, wrapped: of a key service, its name for the key and the secret it wrapped.
    """

    id: str
    kind: KeyKind
    created_at: str
    public_key: bytes
    member: bytes = bytes(KEY_BYTES)
    label: str = ""
    cost: KdfCost | None = None
    salt: bytes = b""
    service: str = ""
    wrapped: bytes = b""


@dataclass(frozen=True, slots=True, repr=False)
class Ring:
    """An opened ring."""

    number: int
    keys: tuple[Key, ...]
    key_set: KeySet


def seal_ring(ring: Ring, repository: bytes, draw: Callable[[int], bytes]) -> bytes:
    """
    Stored bytes of a ring.

    Args:
        repository: 16 bytes, bound as associated data.
        draw: fresh random bytes; the ring key and a key pair for each share depend on it, so nonce 0 is used once.

    Raises: UsageError: a key that nothing can be sealed to, no key, or more than KEYS_MAX; a label that is too long.
    """
    require_sealable(ring.keys)
    ring_key = draw(KEY_BYTES)
    forms = [_share(key, ring, ring_key, repository, draw(KEY_BYTES)) for key in ring.keys]
    plain = msgspec.json.encode(
        _SealedForm(
            key_set_form(ring.key_set),
            {key.id: _MemberForm(key.member, key.label) for key in ring.keys},
        )
    )
    version = RING_FORM_SCOPES if ring.key_set.scopes else RING_FORM
    bare = RingForm(version, ring.number, forms, "")
    sealed = AESGCM(derive(ring_key, "key set")).encrypt(bytes(12), plain, _bound(bare, repository))
    return encode_checked(msgspec.structs.replace(bare, sealed=_text(sealed)))


def require_sealable(keys: Sequence[Key]) -> None:
    """UsageError: no key, or more than KEYS_MAX; a label that is too long."""
    if not 0 < len(keys) <= KEYS_MAX:
        raise UsageError(f"a repository has 1 to {KEYS_MAX} keys", code="key-limit")
    if any(len(key.label) > LABEL_CHARACTERS_MAX for key in keys):
        raise UsageError(
            f"give a label of at most {LABEL_CHARACTERS_MAX} characters", code="label-long"
        )


def _share(key: Key, ring: Ring, ring_key: bytes, repository: bytes, ephemeral: bytes) -> KeyForm:
    pair = X25519PrivateKey.from_private_bytes(ephemeral)
    public = pair.public_key().public_bytes_raw()
    try:
        agreed = pair.exchange(X25519PublicKey.from_public_bytes(key.public_key))
    except ValueError as error:
        raise UsageError(
            "this public key is none that can be sealed to", code="recipient-unreadable"
        ) from error
    cipher = _share_cipher(key.member, agreed, public, key.public_key)
    share = cipher.encrypt(bytes(12), ring_key, _share_bound(repository, ring.number, key.id))
    return KeyForm(
        id=key.id,
        kind=key.kind,
        created_at=key.created_at,
        public_key=key.public_key.hex(),
        cost=key.cost,
        salt=_text(key.salt),
        service=key.service,
        wrapped=_text(key.wrapped),
        ephemeral=public.hex(),
        share=_text(share),
    )


def read_ring(stored: bytes) -> RingForm:
    """Read a ring without opening it. Corruption if a byte of it is not as it was written; Unsupported."""
    form = decode_checked(stored, RingForm, "key-corrupt", "the key ring", RING_FORM_SCOPES)
    if len({key.id for key in form.keys}) < len(form.keys):
        raise _impossible()
    for key in form.keys:
        try:
            salt = base64.b64decode(key.salt, validate=True)
            if key.cost is not None:
                require_bearable(key.cost)
        except (ValueError, UsageError) as error:
            raise _impossible() from error
        stretched = key.kind == "passphrase"
        if stretched != (key.cost is not None) or len(salt) != SALT_BYTES * stretched:
            raise _impossible()
    return form


def open_ring(form: RingForm, key: KeyForm, opening: OpeningKey, repository: bytes) -> Ring:
    """
    Open a ring with one of its keys, of which `opening` has the public half that stands there.

    Raises: Corruption(key-foreign): somebody sealed it who does not hold the key set, or for another repository.
    """
    try:
        ephemeral = bytes.fromhex(key.ephemeral)
        private = X25519PrivateKey.from_private_bytes(opening.private)
        agreed = private.exchange(X25519PublicKey.from_public_bytes(ephemeral))
        cipher = _share_cipher(opening.member, agreed, ephemeral, opening.public)
        bound = _share_bound(repository, form.ring, key.id)
        ring_key = cipher.decrypt(bytes(12), _bytes(key.share), bound)
        plain = AESGCM(derive(ring_key, "key set")).decrypt(
            bytes(12), _bytes(form.sealed), _bound(form, repository)
        )
    except InvalidTag as error:
        raise Corruption(
            "the key ring belongs to another repository, or was put there by somebody else: "
            "put config and keys/ back from a copy",
            code="key-foreign",
        ) from error
    except ValueError as error:
        raise _impossible() from error
    return decode_sealed(form, plain)


def decode_sealed(form: RingForm, plain: bytes) -> Ring:
    """The ring of a form and its opened part. Corruption if the two do not fit."""
    try:
        inner = msgspec.json.decode(plain, type=_SealedForm)
        keys = tuple(_key(key, inner.keys[key.id]) for key in form.keys)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise Corruption("the key set cannot be read", code="key-set-corrupt") from error
    if len(inner.keys) != len(keys) or any(len(key.member) != KEY_BYTES for key in keys):
        raise Corruption("the key set is incomplete", code="key-set-corrupt")
    if inner.key_set.scopes and form.strongroom < RING_FORM_SCOPES:
        raise Corruption("the key ring has scopes and does not say so", code="key-set-corrupt")
    return Ring(form.ring, keys, key_set_from(inner.key_set))


def _key(form: KeyForm, inner: _MemberForm) -> Key:
    return Key(
        id=form.id,
        kind=form.kind,
        created_at=form.created_at,
        public_key=bytes.fromhex(form.public_key),
        member=inner.member,
        label=inner.label,
        cost=form.cost,
        salt=_bytes(form.salt),
        service=form.service,
        wrapped=_bytes(form.wrapped),
    )


def _share_cipher(member: bytes, agreed: bytes, ephemeral: bytes, public: bytes) -> AESGCM:
    return AESGCM(derive(member, "share", agreed + ephemeral + public))


def _share_bound(repository: bytes, ring: int, key: str) -> bytes:
    return b"strongroom share" + repository + ring.to_bytes(8, "little") + bytes.fromhex(key)


def _bound(form: RingForm, repository: bytes) -> bytes:
    """The ring with nothing sealed in it yet: so no key can be added, taken away or changed."""
    bare = msgspec.structs.replace(form, sealed="", checksum="")
    return b"strongroom ring" + repository + msgspec.json.encode(bare)


def _impossible() -> Corruption:
    return Corruption("the key ring has impossible parameters", code="key-corrupt")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
