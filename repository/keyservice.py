"""
Key services: who wraps and unwraps the secret of a key without giving its own key away.

One is here: a folder of this machine (or a stick, or a mount), one file for each named key. Others have the same methods.
"""

import os
import stat
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.checkedjson import decode_checked, encode_checked
from engine.errors import Corruption, Denied, Unavailable, Unsupported, UsageError
from engine.keys import KEY_BYTES
from repository.ambient import now, random_bytes

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
        """Reverse of `wrap`, for every version that still exists. Denied(key-service-destroyed) if `destroy` took the key."""

    def holds(self, name: str) -> bool:
        """Whether there is a key of this name, destroyed or not."""

    def make(self, name: str) -> int:
        """A new key of this name, or a new version of it; its number."""

    def destroy(self, name: str) -> None:
        """
        End a named key, all versions, for good; a second time does nothing. What is damaged is destroyed as well.

        Unavailable if there is none: it may lie elsewhere.
        """

    def address(self, name: str) -> str:
        """What a person writes to name this key."""


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    strongroom: int
    versions: dict[str, bytes]
    destroyed_at: str = ""
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
        versions = self._versions(name) if self.holds(name) else {}
        number = self.next_version(name)
        kept = {**versions, number: random_bytes(KEY_BYTES)}
        self._replace(name, _KeyFile(1, {str(n): k for n, k in kept.items()}))
        return number

    def next_version(self, name: str) -> int:
        """The number that `make` would give."""
        return 1 + max(self._versions(name) if self.holds(name) else {}, default=0)

    def holds(self, name: str) -> bool:
        """See KeyService."""
        return self._path(name).exists()

    def address(self, name: str) -> str:
        """See KeyService."""
        return f"{self.scheme}:{self._path(name).with_suffix('')}"

    def destroy(self, name: str) -> None:
        """See KeyService. Its bytes are overwritten, then a file without keys takes their place."""
        path = self._path(name)
        try:
            if self._is_destroyed(path):
                return
            with open(path, "r+b") as file:
                file.write(bytes(os.fstat(file.fileno()).st_size))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _failed(path, error) from error
        self._replace(name, _KeyFile(1, {}, now()))

    def _is_destroyed(self, path: Path) -> bool:
        try:
            form = decode_checked(path.read_bytes(), _KeyFile, "key-service-corrupt", "the key")
        except (Corruption, Unsupported):
            return False
        return bool(form.destroyed_at)

    def _replace(self, name: str, form: _KeyFile) -> None:
        """Put a file in the place of one or none, durably."""
        path = self._path(name)
        temporary = self._folder / f".{name}.{random_bytes(8).hex()}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with open(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(encode_checked(form))
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _failed(path, error) from error

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
            if form.destroyed_at:
                raise Denied(
                    f"the key {path} was destroyed on {form.destroyed_at[:10]}: nothing opens what it wrapped",
                    code="key-service-destroyed",
                )
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
