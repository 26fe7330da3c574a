"""From what a person or machine has (passphrase, recovery secret, private key, key service) to a key of a ring, and back."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.errors import BackupError, Conflict, Corruption, Denied, Unavailable, UsageError
from engine.keyring import Key, KeyForm, KeyKind, RingForm
from engine.keys import KEY_BYTES, SALT_BYTES, KdfCost, OpeningKey, opening_key, stretch
from engine.recovery import (
    RECOVERY_BYTES,
    looks_like_recovery,
    read_recovery,
    recovery_lines,
    recovery_secret,
)
from repository.ambient import now, random_bytes

if TYPE_CHECKING:
    from repository.keyservice import KeyService

PASSPHRASE_CHARACTERS_MIN = 8
_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A key of a key service."""

    service: "KeyService"
    name: str

    @property
    def title(self) -> str:
        """What a ring says of it."""
        return f"{self.service.scheme}:{self.name}"

    @property
    def address(self) -> str:
        """What a person writes to name it."""
        return self.service.address(self.name)


Credential = (
    str | OpeningKey | ServiceKey
)  # passphrase or typed recovery secret; private key; key service


# -- new keys ----------------------------------------------------------------------------------------


def check_passphrase(passphrase: str) -> None:
    """UsageError unless the passphrase has at least PASSPHRASE_CHARACTERS_MIN characters."""
    if len(passphrase) < PASSPHRASE_CHARACTERS_MIN:
        raise UsageError(
            f"the passphrase needs at least {PASSPHRASE_CHARACTERS_MIN} characters",
            code="passphrase-short",
        )


def _new_key(kind: KeyKind, opening: OpeningKey, label: str) -> Key:
    return Key(random_bytes(_ID_BYTES).hex(), kind, now(), opening.public, opening.member, label)


def passphrase_key(passphrase: str, label: str = "", cost: KdfCost | None = None) -> Key:
    """A key that a passphrase opens. UsageError if it is too short."""
    check_passphrase(passphrase)
    cost, salt = cost or KdfCost(), random_bytes(SALT_BYTES)
    made = _new_key("passphrase", opening_key(stretch(passphrase, salt, cost)), label)
    return replace(made, cost=cost, salt=salt)


def require_new(passphrase: str, keys: Sequence[Key]) -> None:
    """
    Conflict(key-exists) if one of the keys has this passphrase already.

    Two keys of one passphrase would let its holder in after one of them was removed. Costs an Argon2id for each key.
    """
    for key in keys:
        if (
            key.cost is not None
            and opening_key(stretch(passphrase, key.salt, key.cost)).public == key.public_key
        ):
            raise Conflict("this passphrase opens the repository already", code="key-exists")


def recovery_key(label: str = "") -> tuple[Key, list[str]]:
    """A key that a recovery sheet opens, and the lines to print on it; they are kept nowhere."""
    data = random_bytes(RECOVERY_BYTES)
    made = _new_key("recovery", opening_key(recovery_secret(data)), label)
    return made, recovery_lines(data)


def recipient_key(public: bytes, label: str = "") -> Key:
    """A key that the owner of a private key opens."""
    return Key(random_bytes(_ID_BYTES).hex(), "recipient", now(), public, label=label)


def service_key(held: ServiceKey, label: str = "") -> Key:
    """A key whose secret a key service wraps."""
    secret = random_bytes(KEY_BYTES)
    made = _new_key("service", opening_key(secret), label)
    return replace(made, service=held.title, wrapped=held.service.wrap(held.name, secret))


# -- opening -----------------------------------------------------------------------------------------


def unlock(form: RingForm, credential: Credential, last: str) -> tuple[KeyForm, OpeningKey]:
    """
    The key of a ring that a credential opens.

    Args:
        last: id of the key to try first; the others follow.

    Raises: Denied: none fits. UsageError(recovery-mistyped). Unavailable(kdf-memory). What a key service raises.
    """
    if isinstance(credential, OpeningKey):
        return _fitting(form, "recipient", credential), credential
    if isinstance(credential, ServiceKey):
        return _by_service(form, credential)
    if not looks_like_recovery(credential):
        return _by_passphrase(form, credential, last)
    try:
        opening = opening_key(recovery_secret(read_recovery(credential)))
    except UsageError as mistyped:
        try:  # a passphrase may look like this by chance
            return _by_passphrase(form, credential, last)
        except Denied:
            if any(key.kind == "recovery" for key in form.keys):
                raise mistyped from None
            raise
    return _fitting(form, "recovery", opening), opening


def _fitting(form: RingForm, kind: KeyKind, opening: OpeningKey) -> KeyForm:
    public = opening.public.hex()
    for key in form.keys:
        if key.kind == kind and key.public_key == public:
            return key
    what = "recovery secret" if kind == "recovery" else "private key"
    raise Denied(
        f"this {what} opens another repository, or was removed from this one: give another",
        code="key-unknown",
    )


def _by_passphrase(form: RingForm, passphrase: str, last: str) -> tuple[KeyForm, OpeningKey]:
    failure: BackupError | None = None
    stretched = [key for key in form.keys if key.kind == "passphrase" and key.cost is not None]
    for key in sorted(stretched, key=lambda key: key.id != last):
        assert key.cost is not None
        try:
            salt = base64.b64decode(key.salt, validate=True)
            opening = opening_key(stretch(passphrase, salt, key.cost))
        except Unavailable as error:
            failure = failure or error
            continue
        except (UsageError, ValueError) as error:
            raise Corruption(
                "the key ring has impossible parameters", code="key-corrupt"
            ) from error
        if opening.public.hex() == key.public_key:
            return key, opening
    if failure is not None:
        raise failure
    raise Denied(
        "the passphrase is wrong: give one that was chosen for the repository"
        if stretched
        else "the repository has no passphrase: open it with --key-file or --kms",
        code="passphrase-wrong",
    )


def _by_service(form: RingForm, held: ServiceKey) -> tuple[KeyForm, OpeningKey]:
    failure: BackupError | None = None
    for key in form.keys:
        if key.kind == "service" and key.service == held.title:
            try:
                wrapped = base64.b64decode(key.wrapped, validate=True)
                opening = opening_key(held.service.unwrap(held.name, wrapped))
            except Denied as error:
                failure = failure or error
                continue
            except ValueError as error:
                raise Corruption(
                    "the key ring has impossible parameters", code="key-corrupt"
                ) from error
            if opening.public.hex() == key.public_key:
                return key, opening
    raise failure or Denied(
        f"no key of the repository is wrapped by {held.title}: look at `repo key list`",
        code="key-unknown",
    )
