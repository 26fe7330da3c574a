"""
JSON objects of the service as members with their exact values. Pure.

What is kept of an item is its JSON member for member, each value byte for byte: numbers, dates and spaces are never
rendered anew. Only whole members are left out, or added.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

__all__ = [
    "Members",
    "array",
    "decode_members",
    "encode_members",
    "pick",
    "without",
    "without_links",
]

Members = dict[str, msgspec.Raw]

LINKS = ("@odata.context", "@odata.associationLink", "@odata.navigationLink", "@odata.nextLink")

_MEMBERS = msgspec.json.Decoder(Members)


def decode_members(raw: bytes | msgspec.Raw) -> Members:
    """
    The members of an object, in their order.

    Raises:
        msgspec.DecodeError: it is no JSON object.
    """
    return _MEMBERS.decode(raw)


def encode_members(members: Mapping[str, bytes | msgspec.Raw]) -> bytes:
    """The object of these members, each value as it came."""
    pairs = (msgspec.json.encode(name) + b":" + bytes(value) for name, value in members.items())
    return b"{" + b",".join(pairs) + b"}"


def without(members: Members, names: Collection[str]) -> Members:
    """All members but some."""
    return {name: value for name, value in members.items() if name not in names}


def without_links(members: Members) -> Members:
    """All members but those that say where the service has the object and what is below it."""
    return {name: value for name, value in members.items() if not name.endswith(LINKS)}


def array(values: Iterable[bytes]) -> msgspec.Raw:
    """The array of these values."""
    return msgspec.Raw(b"[" + b",".join(values) + b"]")


def pick(members: Members, names: Collection[str]) -> dict[str, object]:
    """Of `names` those that are there, for the row's `meta`."""
    return {name: members[name] for name in names if name in members}
