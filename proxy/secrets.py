"""
Opens what the server sealed to this proxy. Plain secrets live in memory only.

Neighbour: `server.sealing.seal_for_proxy` is the other side.
"""

import base64
import binascii

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from engine.errors import Denied, UsageError
from proxy.contract import SEAL_CONTEXT, SealedSecrets, TaskSecrets

NONCE_BYTES = 12


class SealingKey:
    """The private key of this proxy, fixed when it joined."""

    def __init__(self, encoded: str) -> None:
        """
        Read the key from base64.

        Raises:
            UsageError: it is no X25519 key.
        """
        try:
            self._key = X25519PrivateKey.from_private_bytes(base64.b64decode(encoded))
        except (ValueError, binascii.Error) as error:
            raise UsageError(
                "The join document holds no usable sealing key.", code="join-document-invalid"
            ) from error

    @property
    def public(self) -> str:
        """Public half, base64."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def open(self, sealed: SealedSecrets) -> TaskSecrets:
        """
        The plain secrets.

        Raises:
            Denied: they were not sealed to this proxy, or changed on the way.
        """
        try:
            sender = base64.b64decode(sealed.ephemeral, validate=True)
            ciphertext = base64.b64decode(sealed.ciphertext, validate=True)
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(sender))
            salt = sender + self._key.public_key().public_bytes_raw()
            key = HKDF(SHA256(), 32, salt=salt, info=SEAL_CONTEXT).derive(shared)
            nonce, body = ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:]
            plain = AESGCM(key).decrypt(nonce, body, SEAL_CONTEXT)
            return msgspec.json.decode(plain, type=TaskSecrets)
        except (InvalidTag, ValueError, binascii.Error, msgspec.DecodeError) as error:
            raise Denied(
                "The secrets were not sealed to this proxy.", code="secrets-not-for-us"
            ) from error
