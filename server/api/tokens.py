"""Signing in and out: OAuth 2 password grant, opaque bearer tokens."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Form, Request, Response
from pydantic import BaseModel, Field

from proxy.contract import UsageError
from server import audit
from server.api.access import Caller, Parts, SignInBrake, caller_of, new_token
from server.api.problems import problem, responses
from server.api.routing import BODY_ERRORS, router
from server.domain.access import granted

api = router("token", errors=())


class Token(BaseModel):
    """RFC 6749, 5.1."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the kind of token
    expires_in: int = Field(description="Seconds")
    scope: str


class Me(BaseModel):
    """Who holds the token."""

    id: str
    name: str
    scopes: list[str]
    expires_at: datetime


def brake_of(request: Request) -> SignInBrake:
    """The brake on guessing of this process."""
    brake: SignInBrake = request.app.state.brake
    return brake


@api.post(
    "/token",
    operation_id="signIn",
    summary="Sign in",
    response_model=Token,
    responses={**responses(400, 401, 422, 429, 503), **BODY_ERRORS},
)
async def sign_in(
    request: Request,
    services: Parts,
    brake: Annotated[SignInBrake, Depends(brake_of)],
    grant_type: Annotated[Literal["password"], Form()],
    username: Annotated[str, Form(max_length=200)],
    password: Annotated[str, Form(max_length=1000)],
    scope: Annotated[str, Form(max_length=2000)] = "",
) -> Any:
    """Exchange name and password for a token with the scopes asked for (none: all of the roles)."""
    address = request.client.host if request.client else ""
    wait_s = brake.wait_s(address, username)
    if wait_s:
        headers = {"Retry-After": str(round(wait_s) + 1)}
        detail = "Too many failed attempts."
        return problem(request, 429, "too-many-attempts", detail, headers=headers)
    user = await services.database.row("users.by_name", name=_storable(username))
    right = await services.passwords.check(password, user["password_hash"] if user else None)
    if user is None or not right:
        brake.failed(address, username)
        return problem(
            request,
            401,
            "sign-in-failed",
            "Name or password is wrong.",
            error="invalid_grant",
            headers={"WWW-Authenticate": "Bearer"},
        )
    brake.succeeded(address)
    scopes = granted(list(user["roles"]), scope.split())
    if not scopes:
        detail = "None of these scopes may be granted."
        return problem(request, 400, "scope-refused", detail, error="invalid_scope")
    token, hashed = new_token()
    life_s = services.settings.token_life_s
    async with services.database.transaction() as transaction:
        await transaction.run(
            "tokens.insert", hash=hashed, owner=user["id"], scopes=scopes, life_s=life_s
        )
        await audit.note(transaction, user["name"], "sign-in", f"users/{user['id']}")
    return Token(access_token=token, expires_in=life_s, scope=" ".join(scopes))


def _storable(name: str) -> str:
    if "\0" in name:
        raise UsageError("A name holds no NUL.", code="invalid")
    return name.encode("utf-8", "replace").decode()


@api.post(
    "/token/revoke",
    operation_id="signOut",
    summary="Sign out",
    status_code=204,
    responses=responses(401, 503),
)
async def sign_out(services: Parts, caller: Annotated[Caller, Depends(caller_of)]) -> Response:
    """Make the token of this request worthless."""
    async with services.database.transaction() as transaction:
        await transaction.run("tokens.delete", hash=caller.token_hash)
        await audit.note(transaction, caller.name, "sign-out", f"users/{caller.user}")
    return Response(status_code=204)


@api.get("/me", operation_id="getMe", summary="Who am I", responses=responses(401, 503))
async def get_me(caller: Annotated[Caller, Depends(caller_of)]) -> Me:
    """The user and the scopes of the token of this request."""
    return Me(
        id=caller.user,
        name=caller.name,
        scopes=sorted(caller.scopes),
        expires_at=caller.expires_at,
    )
