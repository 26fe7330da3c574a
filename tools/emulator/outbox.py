"""
The mail that the emulated Exchange sends on its own: invitations, updates, cancellations, answers.

It reaches nobody; it is written down, so that a test can hold that nobody was invited by mistake.
"""

import dataclasses
from typing import Any, Literal

SentKind = Literal["invitation", "update", "cancellation", "response"]


@dataclasses.dataclass(frozen=True, slots=True)
class SentMail:
    """One mail to all of `to`; `at` is in virtual seconds since the epoch."""

    kind: SentKind
    sender: str
    to: tuple[str, ...]
    subject: str
    at: float


def addresses(people: list[dict[str, Any]]) -> tuple[str, ...]:
    """The addresses of attendees or recipients."""
    found = ((each.get("emailAddress") or {}).get("address") for each in people)
    return tuple(address for address in found if address)
