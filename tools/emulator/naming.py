"""
Ids in the shapes that Graph uses, each a keyed hash of what it names: equal seeds, equal ids.
"""

import base64
import hashlib
import uuid


def _digest(seed: int, parts: tuple[object, ...], size: int) -> bytes:
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(
        text.encode("utf-8", "surrogatepass"), digest_size=size, key=str(seed).encode()
    ).digest()


def guid(seed: int, *parts: object) -> str:
    """A GUID, for users, tenants and sites."""
    return str(uuid.UUID(bytes=_digest(seed, parts, 16), version=4))


def folder_id(seed: int, *parts: object) -> str:
    """A mail folder id; containers have one form only."""
    tail = base64.urlsafe_b64encode(_digest(seed, ("folder", *parts), 45)).decode()
    return f"AQMkAD{tail}AAAA"


def movable_id(seed: int, *parts: object) -> str:
    """A message id of the default kind, which changes when the message moves."""
    tail = base64.urlsafe_b64encode(_digest(seed, ("movable", *parts), 60)).decode()
    return f"AAMkAD{tail}AAA="


def immutable_id(seed: int, *parts: object) -> str:
    """A message id that stays while the message stays in its mailbox."""
    tail = base64.urlsafe_b64encode(_digest(seed, ("immutable", *parts), 33)).decode()
    return f"AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A{tail}AA=="


def change_key(seed: int, *parts: object) -> str:
    """A changeKey: another one for every state of an item."""
    return "CQAAABYAAA" + base64.b64encode(_digest(seed, ("change", *parts), 22)).decode()


def drive_id(seed: int, *parts: object) -> str:
    """A drive id of a document library."""
    tail = base64.urlsafe_b64encode(_digest(seed, ("drive", *parts), 48)).decode()
    return f"b!{tail}"


def drive_item_id(seed: int, *parts: object) -> str:
    """A drive item id: `01` and 32 capitals and digits."""
    tail = base64.b32encode(_digest(seed, ("item", *parts), 20)).decode()
    return f"01{tail}"
