"""Section "Recipients": a private key file."""

import base64
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tools.reader.folder import Damage
from tools.reader.keys import (
    NO_MEMBER_KEY,
    Opening,
    WrongPassphrase,
    derive,
    read_checked,
    stretched,
)


def open_key_file(file: Path, ask: Callable[[], str]) -> Opening:
    """The private key in a file; `ask` is called for its passphrase if it has one."""
    try:
        form = read_checked(file.read_bytes())
        held = base64.b64decode(form["private_key"])
        if form["cost"] is not None:
            cipher = AESGCM(derive(stretched(ask(), form["salt"], form["cost"]), "private key"))
            bound = b"strongroom private key" + bytes.fromhex(form["public_key"])
            held = cipher.decrypt(bytes(12), held, bound)
        return Opening(X25519PrivateKey.from_private_bytes(held), NO_MEMBER_KEY)
    except InvalidTag as error:
        raise WrongPassphrase(f"{file}: wrong passphrase") from error
    except (Damage, ValueError, KeyError, TypeError) as error:
        raise Damage(f"{file}: {error}") from error
