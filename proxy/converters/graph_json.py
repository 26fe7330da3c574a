"""Reading stored Graph JSON without trusting it: what has another type than Graph documents counts as missing."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from proxy.converters.zones import is_utc, zone_of

__all__ = ["Members", "decoded", "entries", "line", "local_time", "member", "moment", "text"]

Members = dict[str, Any]
DATE_TIME_CHARACTERS = 26  # Graph sends seven digits of a second's fraction; six are kept


def decoded(data: bytes) -> Members:
    """
    The members of a stored object. Control characters and halves of surrogate pairs in strings, which Exchange
    has sent, do not make it unreadable.

    Raises:
        ValueError: it is no JSON object.
    """
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError:
        value = json.loads(data.decode("utf-8", "replace"), strict=False)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def text(value: Any) -> str:
    """A string as it is; anything else is empty."""
    return value if isinstance(value, str) else ""


def line(value: Any) -> str:
    """A string on one line, with characters only."""
    clean = text(value).encode("utf-8", "replace").decode()
    return " ".join("".join(c if c >= " " and c != "\x7f" else " " for c in clean).split())


def member(value: Any, *path: str) -> Any:
    """What is at `path` in nested objects, or None."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def entries(value: Any) -> list[Members]:
    """The objects of a list."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def moment(value: Any) -> datetime | None:
    """A DateTimeOffset as an aware time, None for none and for the year 1, which stands for none."""
    raw = text(value)
    zone = raw[-1:] if raw.endswith("Z") else raw[-6:] if raw[-6:-5] in ("+", "-") else ""
    try:
        at = datetime.fromisoformat(raw.removesuffix(zone)[:DATE_TIME_CHARACTERS] + (zone or "Z"))
    except ValueError:
        return None
    return at if at.year > 1 else None


def local_time(value: Any) -> datetime | None:
    """
    A dateTimeTimeZone as an aware time: in its zone, in UTC where the zone is unknown.

    Source: Graph resource type dateTimeTimeZone.
    """
    raw = text(member(value, "dateTime"))
    try:
        at = datetime.fromisoformat(raw.removesuffix("Z")[:DATE_TIME_CHARACTERS])
    except ValueError:
        return None
    if at.year <= 1 or at.tzinfo is not None:
        return None
    name = text(member(value, "timeZone"))
    zone = None if is_utc(name) or raw.endswith("Z") else zone_of(name)
    return at.replace(tzinfo=zone or UTC)
