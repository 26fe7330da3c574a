"""
Files of a recipient: the private key, for its owner alone, and the public one, for whoever adds it to a repository.

Formats: docs/format.md, "Recipients".
"""

import base64

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.checkedjson import decode_checked, encode_checked
from engine.errors import Corruption, Denied, UsageError
from engine.keys import KEY_BYTES, KdfCost, OpeningKey, derive, stretch

_RECIPIENT = "strongroom-recipient-1"
_CHECK_BYTES = 4


class PrivateKeyForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    A private key file.

    Attributes:
        public_key: hex, 64 digits.
        private_key: base64; as it is where there is no cost, else sealed under a passphrase.
    """

    strongroom: int
    created_at: str
    public_key: str
    cost: KdfCost | None
    salt: str
    private_key: str
    checksum: str = ""

    @property
    def is_protected(self) -> bool:
        """Whether it takes a passphrase."""
        return self.cost is not None


def encode_private_key(
    private: bytes, created_at: str, passphrase: str | None, salt: bytes, cost: KdfCost
) -> bytes:
    """
    The bytes of a private key file.

    Args:
        passphrase: None leaves the key as it is. salt: 32 fresh random bytes, so that nonce 0 is used once.
    """
    public = OpeningKey(private).public
    held = private
    if passphrase is not None:
        cipher = AESGCM(derive(stretch(passphrase, salt, cost), "private key"))
        held = cipher.encrypt(bytes(12), private, b"strongroom private key" + public)
    form = PrivateKeyForm(
        strongroom=1,
        created_at=created_at,
        public_key=public.hex(),
        cost=None if passphrase is None else cost,
        salt="" if passphrase is None else base64.b64encode(salt).decode(),
        private_key=base64.b64encode(held).decode(),
    )
    return encode_checked(form)


def read_private_key(stored: bytes) -> PrivateKeyForm:
    """Read a private key file without opening it. Corruption if a byte is not as it was written."""
    return decode_checked(stored, PrivateKeyForm, "key-file-corrupt", "the private key file")


def open_private_key(form: PrivateKeyForm, passphrase: str = "") -> OpeningKey:
    """
    The key in a private key file.

    Raises: Denied: the passphrase is not the one of the file. Corruption: impossible parameters. Unavailable(kdf-memory).
    """
    try:
        held = base64.b64decode(form.private_key, validate=True)
        public = bytes.fromhex(form.public_key)
        if form.cost is not None:
            salt = base64.b64decode(form.salt, validate=True)
            cipher = AESGCM(derive(stretch(passphrase, salt, form.cost), "private key"))
            held = cipher.decrypt(bytes(12), held, b"strongroom private key" + public)
    except InvalidTag as error:
        raise Denied(
            "the passphrase of the private key file is wrong", code="key-file-passphrase"
        ) from error
    except (ValueError, UsageError) as error:
        raise _impossible() from error
    if len(held) != KEY_BYTES or OpeningKey(held).public != public:
        raise _impossible()
    return OpeningKey(held)


def _impossible() -> Corruption:
    return Corruption("the private key file has impossible parameters", code="key-file-corrupt")


def encode_recipient(public: bytes) -> str:
    """The public key of a recipient in one line, with a checksum."""
    return f"{_RECIPIENT} {(public + _check(public)).hex()}"


def read_recipient(text: str) -> bytes:
    """Reverse of `encode_recipient`, 32 bytes. UsageError if it is none, or a letter of it is wrong."""
    head, _, digits = text.strip().partition(" ")
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        data = b""
    public = data[:KEY_BYTES]
    if head != _RECIPIENT or len(public) != KEY_BYTES or data != public + _check(public):
        raise UsageError(
            "this is no public key of a recipient, or it is damaged: give the .pub file that "
            "`repo key generate` made",
            code="recipient-unreadable",
        )
    return public


def _check(public: bytes) -> bytes:
    return blake3(b"strongroom recipient\0" + public).digest(_CHECK_BYTES)
