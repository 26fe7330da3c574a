"""
MAPI properties as Graph shows and takes them: `singleValueExtendedProperties`.

An id is `<type> 0x<tag>`, `<type> {<guid>} Name <name>` or `<type> {<guid>} Id 0x<id>`; Graph takes
tags in any case and with leading zeros, and answers without. Some stand for what a message has
anyway; all others are kept as they come.

Source: Graph, resource `singleValueLegacyExtendedProperty`; MS-OXPROPS for the tags.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from tools.emulator.clock import iso
from tools.emulator.errors import bad_request
from tools.emulator.message import Message

FLAGS = "Integer 0xe07"
DELIVERY_TIME = "SystemTime 0xe06"
SUBMIT_TIME = "SystemTime 0x39"
ITEM_CLASS = "String 0x1a"
READ, UNSENT = 0x1, 0x8  # bits of FLAGS

_TAG = re.compile(r"^(\w+)\s+0x0*([0-9a-f]+)$", re.I)
_NAMED = re.compile(r"^(\w+)\s+\{([0-9a-f-]{36})\}\s+(?:Name\s+(.+)|Id\s+0x0*([0-9a-f]+))$", re.I)
_TYPES = {
    name.lower(): name
    for name in (
        "Binary", "Boolean", "CLSID", "Double", "Float", "Integer", "Long", "Short", "String",
        "SystemTime",
    )
}  # fmt: skip


def canonical(name: str) -> str:
    """The one spelling of a property id; 400 for what is none."""
    tag, named = _TAG.match(name), _NAMED.match(name)
    match = tag or named
    if match is None or match[1].lower() not in _TYPES:
        raise bad_request("The extended property id is invalid.", "ErrorInvalidExtendedProperty")
    kind = _TYPES[match[1].lower()]
    if tag:
        return f"{kind} 0x{tag[2].lower()}"
    assert named is not None
    last = f"Name {named[3]}" if named[3] else f"Id 0x{named[4].lower()}"
    return f"{kind} {{{named[2].lower()}}} {last}"


def given(entries: Any) -> dict[str, str]:
    """What a client wrote, by canonical id."""
    if not isinstance(entries, list):
        raise bad_request("Extended properties are a list.", "ErrorInvalidExtendedProperty")
    found = {}
    for entry in entries:
        name = entry.get("id") if isinstance(entry, dict) else None
        value = entry.get("value") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not isinstance(value, str):
            text = "An extended property has an id and a value."
            raise bad_request(text, "ErrorInvalidExtendedProperty")
        found[canonical(name)] = value
    return found


def moment(text: str) -> float:
    """Seconds since the epoch of a time that a client wrote."""
    try:
        return float(int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()))
    except (ValueError, OverflowError):
        text = "The value of the extended property is invalid."
        raise bad_request(text, "ErrorInvalidExtendedPropertyValue") from None


def number(text: str) -> int:
    """A whole number that a client wrote."""
    try:
        return int(text)
    except ValueError:
        text = "The value of the extended property is invalid."
        raise bad_request(text, "ErrorInvalidExtendedPropertyValue") from None


_COMPUTED: Mapping[str, Callable[[Message, float, float], str]] = {
    FLAGS: lambda m, sent, received: str(READ * m.is_read | UNSENT * m.is_draft),
    DELIVERY_TIME: lambda m, sent, received: iso(received),
    SUBMIT_TIME: lambda m, sent, received: iso(sent),
    ITEM_CLASS: lambda m, sent, received: m.item_class,
    "SystemTime 0x3007": lambda m, sent, received: iso(m.created),
    "SystemTime 0x3008": lambda m, sent, received: iso(m.modified),
}


def is_computed(name: str) -> bool:
    """True for a property that other parts of a message stand for."""
    return name in _COMPUTED


def value(message: Message, name: str, sent: float, received: float) -> str | None:
    """The value of a property by canonical id; None when the message has no such property."""
    if name in _COMPUTED:
        return _COMPUTED[name](message, sent, received)
    return message.extended.get(name)


_ASKED = re.compile(r"\bid\s+eq\s+'((?:[^']|'')+)'", re.I)
_EXPANDED = re.compile(r"singleValueExtendedProperties\s*\(\s*\$filter=([^)]*)\)", re.I)
_ANY = re.compile(
    r"singleValueExtendedProperties/any\(\s*(\w+)\s*:\s*\1/id\s+eq\s+'((?:[^']|'')+)'"
    r"\s+and\s+\1/value\s+eq\s+'((?:[^']|'')*)'\s*\)",
    re.I,
)


def expanded(text: str) -> list[str] | None:
    """The canonical ids that `$expand` asks for; None when it asks for none."""
    match = _EXPANDED.search(text)
    if match is None:
        return None
    return [canonical(name.replace("''", "'")) for name in _ASKED.findall(match[1])]


def split_filter(text: str) -> tuple[dict[str, str], str]:
    """What a `$filter` wants of extended properties, and the rest of it."""
    wanted = {}
    for _, name, wanted_value in _ANY.findall(text):
        wanted[canonical(name.replace("''", "'"))] = wanted_value.replace("''", "'")
    rest = [part for part in re.split(r"\s+and\s+", _ANY.sub("", text), flags=re.I) if part.strip()]
    return wanted, " and ".join(rest)
