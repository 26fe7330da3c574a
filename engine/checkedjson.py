"""JSON for people with a checksum for machines: stored keys (docs/format.md, "Keys")."""

from typing import TypeVar

import msgspec
from blake3 import blake3

from engine.errors import Corruption
from engine.version import FORMAT_VERSION, require_readable

Form = TypeVar("Form", bound=msgspec.Struct)


def encode_checked(form: msgspec.Struct) -> bytes:
    """Stored bytes of a form whose member `checksum` is empty: indented by one blank, the checksum filled in."""
    members = msgspec.json.decode(msgspec.json.encode(form))
    members["checksum"] = _checksum(members)
    return _indented(members)


def decode_checked(
    stored: bytes, kind: type[Form], code: str, what: str, newest: int = FORMAT_VERSION
) -> Form:
    """
    Reverse of `encode_checked`.

    Args:
        code, what: error code and name of the thing, for the message. newest: version of this form that is understood.

    Raises:
        Corruption: a byte is not as it was written. Unsupported: a newer program wrote it.
    """
    try:
        members = msgspec.json.decode(stored)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Corruption(f"{what} is damaged", code=code) from error
    if (
        not isinstance(members, dict)
        or members.get("checksum") != _checksum(members)
        or _indented(members) != stored
    ):
        raise Corruption(f"{what} is damaged (checksum)", code=code)
    version = members.get("strongroom")
    if isinstance(version, int) and version > newest:
        require_readable(version)
    try:
        return msgspec.convert(members, kind)
    except msgspec.ValidationError as error:
        raise Corruption(f"{what} has impossible members", code=code) from error


def _checksum(members: dict[str, object]) -> str:
    return blake3(msgspec.json.encode({**members, "checksum": ""})).hexdigest()


def _indented(members: dict[str, object]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(members), indent=1)
