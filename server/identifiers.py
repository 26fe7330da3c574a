"""Ids and times: the only place of the server that asks the clock or the entropy for them."""

import secrets
import time
from datetime import UTC, datetime

ID_PATTERN = r"^[0-9a-f]{32}$"


def new_id() -> str:
    """32 hexadecimal digits: 48 bits of milliseconds, 80 random bits; so ids sort by time."""
    return f"{time.time_ns() // 1_000_000 & 0xFFFF_FFFF_FFFF:012x}{secrets.token_hex(10)}"


def new_point_id() -> str:
    """16 hexadecimal digits: the form that repositories give restore points."""
    return secrets.token_hex(8)


def now_text() -> str:
    """RFC 3339, UTC, microseconds: sorts as text."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
