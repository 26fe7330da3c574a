"""The form of object names, checked on the way into every driver."""

import re

from engine.errors import UsageError
from engine.limits import NAME_BYTES_MAX

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")


def is_name(name: str) -> bool:
    """Whether `name` has the form of an object name. No empty, hidden or climbing segment has."""
    return len(name) <= NAME_BYTES_MAX and _NAME.fullmatch(name) is not None


def checked_name(name: str) -> str:
    """`name` if it is one; UsageError otherwise."""
    if not is_name(name):
        raise UsageError("an object name has an impossible form", code="bad-blob-name")
    return name
