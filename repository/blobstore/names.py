"""The form of object names, checked on the way into every driver."""

import re

from engine.errors import UsageError
from engine.limits import NAME_BYTES_MAX

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")


def checked_name(name: str) -> str:
    """`name` if it is one; UsageError otherwise. No empty, hidden or climbing segment can pass."""
    if len(name) > NAME_BYTES_MAX or not _NAME.fullmatch(name):
        raise UsageError("an object name has an impossible form", code="bad-blob-name")
    return name
