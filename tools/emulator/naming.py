"""
Ids in the shapes that Graph uses, each a keyed hash of what it names: equal seeds, equal ids.
"""

import base64
import hashlib
import uuid

_IMMUTABLE = "AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A"


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
    return f"{_IMMUTABLE}{tail}AA=="


def numbered_id(seed: int, owner: str, number: int, *, movable: bool = False) -> str:
    """An immutable or movable id that `number_in` reads the number of, so that no table is needed."""
    kind, head, tail = (
        ("movable", "AAMkAD", "AAA=") if movable else ("immutable", _IMMUTABLE, "AA==")
    )
    check = _digest(seed, (kind, owner, number), 52 if movable else 25)
    hidden = number ^ int.from_bytes(_digest(seed, (kind, check.hex()), 8), "big")
    return f"{head}{base64.urlsafe_b64encode(check + hidden.to_bytes(8, 'big')).decode()}{tail}"


def number_in(seed: int, owner: str, key: str) -> int | None:
    """The number that `numbered_id` made this id of, None for any other id."""
    movable = key.startswith("AAMkAD")
    head, tail = ("AAMkAD", "AAA=") if movable else (_IMMUTABLE, "AA==")
    if not key.startswith(head) or not key.endswith(tail) or not key.isascii():
        return None
    try:
        raw = base64.urlsafe_b64decode(key[len(head) : -len(tail)])
    except ValueError:
        return None
    mask = _digest(seed, ("movable" if movable else "immutable", raw[:-8].hex()), 8)
    number = int.from_bytes(raw[-8:], "big") ^ int.from_bytes(mask, "big")
    return number if numbered_id(seed, owner, number, movable=movable) == key else None


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
