"""
Who asks, and may they: bearer tokens, scopes, and the brake on guessing passwords.

A token is 256 random bits; the database holds its SHA-256, so looking it up takes a time that says
nothing about any token.
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import OAuth2PasswordBearer, SecurityScopes

from server.domain.access import SCOPES, Scope, scopes_of
from server.services import Services

TOKEN_BYTES = 32
TOKEN_CHARS_MAX = 200
FAILURES_MAX = 10
FAILURES_WINDOW_S = 300.0
FAILURES_KNOWN_MAX = 10_000

bearer = OAuth2PasswordBearer(
    tokenUrl="/api/v1/token", scopes={str(k): v for k, v in SCOPES.items()}, scheme_name="token"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever holds the token of this request."""

    user: str
    name: str
    scopes: frozenset[str]
    token_hash: bytes
    expires_at: Any


def services_of(request: Request) -> Services:
    """The parts of this server process."""
    services: Services = request.app.state.services
    return services


Parts = Annotated[Services, Depends(services_of)]


def new_token() -> tuple[str, bytes]:
    """A token and the hash to keep."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    return token, token_hash(token)


def token_hash(token: str) -> bytes:
    """What the database knows of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


async def caller_of(
    wanted: SecurityScopes, services: Parts, token: Annotated[str, Depends(bearer)]
) -> Caller:
    """Check the token and the scopes the operation wants."""
    challenge = f'Bearer scope="{wanted.scope_str}"' if wanted.scopes else "Bearer"
    row = None
    if len(token) <= TOKEN_CHARS_MAX:
        row = await services.database.row("tokens.get", hash=token_hash(token))
    if row is None:
        raise HTTPException(
            401,
            "The token is unknown or has expired.",
            headers={
                "WWW-Authenticate": f"{challenge}{',' if wanted.scopes else ''} "
                'error="invalid_token"'
            },
        )
    # Rights that a user lost since the token was given are gone at once.
    scopes = frozenset(row["scopes"]) & scopes_of(row["roles"])
    if missing := [scope for scope in wanted.scopes if scope not in scopes]:
        raise HTTPException(
            403,
            f"The token lacks the scope {missing[0]}.",
            headers={"WWW-Authenticate": f'{challenge}, error="insufficient_scope"'},
        )
    return Caller(row["id"], row["name"], scopes, token_hash(token), row["expires_at"])


def wants(scope: Scope) -> Any:
    """Dependency: the caller, who has this scope."""
    return Security(caller_of, scopes=[scope])


class SignInBrake:
    """
    Counts failed sign-ins by address and name; a bounded table that forgets the oldest.

    Both counters brake: one address guessing many names, many addresses guessing one name. The
    second is wider, so that a stranger does not lock a person out with a few guesses.
    """

    NAME_FACTOR = 5

    def __init__(self, clock: Any = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_s(self, address: str, name: str) -> float:
        """Seconds until this may be tried again; 0 now."""
        return max(
            self._remaining(f"address {address}", FAILURES_MAX),
            self._remaining(f"name {name}", FAILURES_MAX * self.NAME_FACTOR),
        )

    def _remaining(self, key: str, limit: int) -> float:
        began, count = self._failures.get(key, (0.0, 0))
        left = began + FAILURES_WINDOW_S - self._clock()
        return left if count >= limit and left > 0 else 0.0

    def failed(self, address: str, name: str) -> None:
        """Note a failure."""
        for key in (f"address {address}", f"name {name}"):
            began, count = self._failures.pop(key, (self._clock(), 0))
            if began + FAILURES_WINDOW_S < self._clock():
                began, count = self._clock(), 0
            self._failures[key] = (began, count + 1)
            while len(self._failures) > FAILURES_KNOWN_MAX:
                self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """A right password from this address: it is no guesser."""
        self._failures.pop(f"address {address}", None)
