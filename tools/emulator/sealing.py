"""
Opaque, authenticated tokens: paging and delta links, pre-authenticated URLs.

A token that was altered, cut, or made for another purpose does not open.
"""

import base64
import binascii
import secrets
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEY_BYTES = 32
_NONCE_BYTES = 12


class BrokenSeal(Exception):
    """The token was not made by this emulator for this purpose."""


class Sealer:
    """Seals small JSON objects under one key of `KEY_BYTES` bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)

    def seal(self, purpose: str, payload: dict[str, Any]) -> str:
        """Return a URL-safe token for `payload`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, msgspec.json.encode(payload), purpose.encode())
        return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def open(self, purpose: str, token: str) -> dict[str, Any]:
        """Return what was sealed; raise `BrokenSeal` for anything else."""
        try:
            raw = base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
            if base64.urlsafe_b64encode(raw).decode().rstrip("=") != token:
                raise BrokenSeal("spare bits set")
            opened = self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], purpose.encode())
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise BrokenSeal("not one of ours") from error
        payload: dict[str, Any] = msgspec.json.decode(opened)
        return payload
