"""
mbox in its reversible form, mboxrd: every line that begins with "From ", after any number of ">", gets one more ">".

Line ends stay as they are, so that undoing it gives back the message byte for byte, but for one line end added to a
message that has none at its end.

Source: RFC 4155, appendix A; the mboxrd convention of qmail's mbox(5).
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

__all__ = ["mboxrd"]

FROM_LINE = re.compile(rb"^(>*From )", re.MULTILINE)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
SENDER = re.compile(r"[^\s<>]+@[^\s<>]+")


def mboxrd(messages: Iterable[tuple[str, int, bytes]]) -> Iterator[bytes]:
    """
    One mbox file, piece by piece.

    Args:
        messages: sender's address (anything else becomes MAILER-DAEMON), nanoseconds since 1970 UTC, MIME.
    """
    for sender, moment_ns, mime in messages:
        yield _separator(sender, moment_ns)
        yield FROM_LINE.sub(rb">\1", mime)
        yield b"\n" if mime.endswith(b"\n") else b"\n\n"


def _separator(sender: str, moment_ns: int) -> bytes:
    address = sender if sender.isascii() and SENDER.fullmatch(sender) else "MAILER-DAEMON"
    seconds = min(max(moment_ns // 1_000_000_000, 0), 253_402_300_799)
    at = datetime.fromtimestamp(seconds, UTC)
    # asctime in English, whatever the locale is
    date = f"{DAYS[at.weekday()]} {MONTHS[at.month - 1]} {at.day:2} {at:%H:%M:%S} {at.year}"
    return f"From {address} {date}\n".encode("ascii")
