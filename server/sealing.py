"""
Secrets: sealed at rest with a key that is not in the database, and sealed to one proxy on the way.

Neighbour: `proxy.secrets` opens what `seal_for_proxy` made. Nothing here is logged.
"""

import base64
import os
import secrets
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from proxy.contract import SEAL_CONTEXT, Denied, SealedSecrets, TaskSecrets, UsageError

KEY_BYTES = 32
NONCE_BYTES = 12


class SecretBox:
    """Seals secrets for the database. The name a secret is stored under is authenticated with it."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def from_file(cls, path: Path) -> "SecretBox":
        """
        Use the key file; made on the first start.

        Raises:
            UsageError: the file is not a key.
        """
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise UsageError("The secrets key file is damaged.", code="secrets-key-damaged")
        return cls(key)

    def seal(self, name: str, plain: bytes) -> bytes:
        """Nonce and ciphertext."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """
        The plain secret.

        Raises:
            Denied: sealed under another name or with another key.
        """
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode())
        except InvalidTag as error:
            raise Denied(
                "A stored secret does not open with this key file.", code="secrets-key-wrong"
            ) from error


def seal_for_proxy(public_key: str, plain: TaskSecrets) -> SealedSecrets:
    """Seal to an X25519 key (base64): a fresh ephemeral key for each answer."""
    receiver = X25519PublicKey.from_public_bytes(base64.b64decode(public_key))
    ephemeral = X25519PrivateKey.generate()
    sender = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(receiver)
    salt = sender + receiver.public_bytes_raw()
    key = HKDF(SHA256(), KEY_BYTES, salt=salt, info=SEAL_CONTEXT).derive(shared)
    nonce = secrets.token_bytes(NONCE_BYTES)
    ciphertext = nonce + AESGCM(key).encrypt(nonce, msgspec.json.encode(plain), SEAL_CONTEXT)
    return SealedSecrets(
        ephemeral=base64.b64encode(sender).decode(),
        ciphertext=base64.b64encode(ciphertext).decode(),
    )


def new_sealing_key() -> tuple[str, str]:
    """Private and public half of a proxy's key, base64."""
    key = X25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    return (
        base64.b64encode(key.private_bytes_raw()).decode(),
        base64.b64encode(public).decode(),
    )
