"""Dates and times as Graph writes them, in nanoseconds."""

import re
from datetime import UTC, datetime

__all__ = ["iso_text", "nanoseconds"]

MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)?")


def nanoseconds(text: str | None) -> int:
    """
    Nanoseconds since 1970 UTC of an ISO 8601 moment; 0 for none or one that cannot be read.

    Seven decimal places come from the service: float seconds would lose them. No zone means UTC.
    """
    match = MOMENT.fullmatch(text or "")
    if match is None:
        return 0
    try:
        moment = datetime.fromisoformat(match[1] + (match[3] or "Z").replace("Z", "+00:00"))
    except ValueError:
        return 0
    whole = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _SECOND
    return whole * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def iso_text(nanoseconds: int) -> str:
    """The moment in ISO 8601 with its zone, UTC; nothing for 0 and what no calendar has."""
    if nanoseconds <= 0:
        return ""
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat()
    except (ValueError, OverflowError):
        return ""


_SECOND = datetime.resolution * 1_000_000
