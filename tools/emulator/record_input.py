"""
What a client may write on events, contacts and tasks, held against Exchange's rules.

A property that cannot be written is refused rather than ignored, so that a client that sends one
is found out (see the declared differences in `docs/emulator.md`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from tools.emulator import extended, recurrence, zones
from tools.emulator.errors import GraphError, bad_request

MAPI = "singleValueExtendedProperties"  # read by `mapi_properties`, apart from the others
Check = Callable[[Any], bool]
ATTACHMENT_BYTES_MAX = 3 << 20  # larger ones take an upload session


def is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_object(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def is_list(value: Any) -> bool:
    return isinstance(value, list)


def is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def one_of(*names: str) -> Check:
    """A check for one of these words."""
    return lambda value: value in names


def is_moment(value: Any) -> bool:
    """A `dateTimeTimeZone` in a zone that there is, or none."""
    if value is None:
        return True
    if not isinstance(value, dict) or not isinstance(value.get("dateTime"), str):
        return False
    zones.find(value.get("timeZone") or zones.UTC_NAME)
    zones.wall(value["dateTime"])
    return True


def is_recurrence(value: Any) -> bool:
    """A recurrence that Exchange takes, or none."""
    if value is None:
        return True
    if not isinstance(value, dict):
        return False
    recurrence.check(value)
    return bool(value["range"].get("recurrenceTimeZone") != "")


def checked(
    body: dict[str, Any], writable: dict[str, Check], ignored: tuple[str, ...] = ()
) -> dict[str, Any]:
    """
    The properties that a body sets.

    Raises:
        GraphError: 400, a property is unknown, cannot be written, or has a wrong value.
    """
    found = {}
    for name, value in body.items():
        if name.startswith("@odata.type") or name in ignored:
            continue
        if name not in writable:
            text = f"Set action is invalid for property '{name[:80]}'."
            raise bad_request(text, "ErrorInvalidPropertySet")
        if not writable[name](value):
            text = f"The value of property '{name[:80]}' is invalid."
            raise bad_request(text, "ErrorPropertyValidationFailure")
        found[name] = value
    return found


def mapi_properties(body: dict[str, Any]) -> dict[str, str]:
    """The MAPI properties that a body sets, by canonical id; 400 for what is none."""
    return extended.given(body.get(MAPI) or [])


def check_match(headers: Mapping[str, str], change_key: str) -> None:
    """412 when `If-Match` names another state of the thing."""
    wanted = headers.get("If-Match", "*")
    if wanted != "*" and wanted.removeprefix("W/").strip('"') != change_key:
        text = "The send or update operation could not be performed because the change key is old."
        raise GraphError(412, "ErrorIrresolvableConflict", text)
