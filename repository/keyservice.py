"""
Key services: who wraps and unwraps the secret of a key without giving its own key away.

One is here: a folder of this machine (or a stick, or a mount), one file for each named key. Others have the same three methods.
"""

import os
import stat
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.checkedjson import decode_checked, encode_checked
from engine.errors import Corruption, Denied, Unavailable, UsageError
from engine.keys import KEY_BYTES
from repository.ambient import random_bytes

_NONCE_BYTES = 12
_VERSION_BYTES = 4
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


class KeyService(Protocol):
    """Errors: Denied (no right, or the key is gone for good), Unavailable (not now); messages say what to do."""

    scheme: str

    def describe(self) -> str:
        """What it is, for people; no secrets."""

    def wrap(self, name: str, secret: bytes) -> bytes:
        """Seal 32 bytes under the newest version of a named key."""

    def unwrap(self, name: str, wrapped: bytes) -> bytes:
        """Reverse of `wrap`, for every version that still exists."""


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    strongroom: int
    versions: dict[str, bytes]
    checksum: str = ""


class FileKeyService:
    """Keys in a folder, `NAME.key`, mode 0600; wrapped bytes are version, nonce, AES-256-GCM of the secret."""

    scheme = "file"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> str:
        """See KeyService."""
        return f"key service in {self._folder}"

    def wrap(self, name: str, secret: bytes) -> bytes:
        """See KeyService."""
        versions = self._versions(name)
        newest = max(versions)
        nonce = random_bytes(_NONCE_BYTES)
        sealed = AESGCM(versions[newest]).encrypt(nonce, secret, _bound(name))
        return newest.to_bytes(_VERSION_BYTES, "little") + nonce + sealed

    def unwrap(self, name: str, wrapped: bytes) -> bytes:
        """See KeyService."""
        number = int.from_bytes(wrapped[:_VERSION_BYTES], "little")
        key = self._versions(name).get(number)
        if key is None:
            raise Denied(
                f"version {number} of {name} was destroyed: open the repository with another key",
                code="key-service-denied",
            )
        nonce, sealed = wrapped[_VERSION_BYTES:][:_NONCE_BYTES], wrapped[_VERSION_BYTES:]
        try:
            return AESGCM(key).decrypt(nonce, sealed[_NONCE_BYTES:], _bound(name))
        except (InvalidTag, ValueError) as error:
            raise Denied(
                f"{name} is another key than the one that was used: give the folder it was made in",
                code="key-service-denied",
            ) from error

    def make(self, name: str) -> int:
        """A new key of this name, or a new version of it; its number. What was wrapped before still opens."""
        path = self._path(name)
        versions = self._versions(name) if path.exists() else {}
        number = max(versions, default=0) + 1
        form = _KeyFile(
            1, {str(n): k for n, k in {**versions, number: random_bytes(KEY_BYTES)}.items()}
        )
        temporary = path.with_suffix(f".{random_bytes(8).hex()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with open(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(encode_checked(form))
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _failed(path, error) from error
        return number

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.key"

    def _versions(self, name: str) -> dict[int, bytes]:
        path = self._path(name)
        try:
            with open(path, "rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise Denied(
                        f"{path} can be read by others: make it 0600, and the key a new one if they may have",
                        code="key-service-denied",
                    )
                form = decode_checked(file.read(), _KeyFile, "key-service-corrupt", "the key")
            versions = {int(number): key for number, key in form.versions.items()}
        except OSError as error:
            raise _failed(path, error) from error
        except (ValueError, Corruption) as error:
            raise _odd(path) from error
        if not versions or any(len(key) != KEY_BYTES for key in versions.values()):
            raise _odd(path)
        return versions


def _odd(path: Path) -> Corruption:
    return Corruption(
        f"the key {path} is damaged: put it back from a copy", code="key-service-corrupt"
    )


def _failed(path: Path, error: OSError) -> Denied | Unavailable:
    if isinstance(error, PermissionError):
        return Denied(f"{path} may not be read: run as its owner", code="key-service-denied")
    return Unavailable(
        f"{path} cannot be used ({error.strerror}): attach the folder, or make the key with `repo key generate`",
        code="key-service-unavailable",
    )


def _bound(name: str) -> bytes:
    return b"strongroom key service\0" + name.encode()


def file_key_service(address: str) -> tuple[FileKeyService, str]:
    """The service and the name of the key of `file:DIR/NAME`. UsageError if it is written otherwise."""
    scheme, _, rest = address.partition(":")
    path = Path(rest)
    if scheme != "file" or not path.name or set(path.name) - _NAME_CHARACTERS:
        raise UsageError(
            f"{address} is no key of a key service: write file:DIR/NAME", code="key-service-address"
        )
    return FileKeyService(path.parent.absolute()), path.name
