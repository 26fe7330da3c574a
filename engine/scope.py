"""
Scopes: what one organization writes into a shared repository, under keys that one key of a key service can end.

A ring holds the secret of a scope only as the service wrapped it (docs/format.md, "Scopes"; docs/decisions/0030).
"""

from dataclasses import dataclass
from typing import Annotated

import msgspec

SCOPES_MAX = 1024  # of a ring, the destroyed ones included: every change of keys writes them all
SCOPE_NAME_CHARACTERS_MAX = 128
SCOPE_ID_DIGITS = 16
WRAPPED_BYTES_MAX = 4096

ScopeId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]


@dataclass(frozen=True, slots=True, repr=False)
class Scope:
    """
    One scope as a ring knows it.

    Attributes:
        id: 16 hex digits, in every entry of the scope. name: for people; unique among those not destroyed.
        epoch: number of its epoch, which is no other's. service: title of the service's key, `file:NAME`.
        wrapped: its secret as the service wrapped it; empty once destroyed. destroyed_at: RFC 3339; empty before.
    """

    id: str
    name: str
    created_at: str
    epoch: int
    service: str
    wrapped: bytes
    destroyed_at: str = ""

    @property
    def is_destroyed(self) -> bool:
        """Whether it was shredded."""
        return bool(self.destroyed_at)


class ScopeForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scope in the sealed part of a ring; its id is the name of the member."""

    name: str
    created_at: str
    epoch: Annotated[int, msgspec.Meta(ge=1, lt=2**32)]
    service: str
    wrapped: Annotated[bytes, msgspec.Meta(max_length=WRAPPED_BYTES_MAX)]
    destroyed_at: str


def scope_form(scope: Scope) -> ScopeForm:
    """What a ring seals of a scope."""
    return ScopeForm(
        scope.name,
        scope.created_at,
        scope.epoch,
        scope.service,
        scope.wrapped,
        scope.destroyed_at,
    )


def scope_from(scope_id: str, form: ScopeForm) -> Scope:
    """Reverse of `scope_form`."""
    return Scope(
        scope_id,
        form.name,
        form.created_at,
        form.epoch,
        form.service,
        form.wrapped,
        form.destroyed_at,
    )
