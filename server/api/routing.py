"""How resources are registered: media types checked before bodies are read, errors documented."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response, params
from fastapi.routing import APIRoute

from server.api.problems import responses

JSON = "application/json"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class StrictRoute(APIRoute):
    """Refuses a body of another media type with 415."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the framework's handler."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        taken = FORMS if isinstance(self.body_field.field_info, params.Form) else (JSON,)

        async def handle_checked(request: Request) -> Response:
            sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if sent not in taken and (sent or _has_body(request)):
                raise HTTPException(
                    415, f"The body must be {taken[0]}.", headers={"Accept": ", ".join(taken)}
                )
            return await handle(request)

        return handle_checked


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or (
        "transfer-encoding" in request.headers
    )


def router(tag: str, *, errors: tuple[int, ...] = (401, 403, 422, 503)) -> APIRouter:
    """A router of one resource. Every operation may also answer 500."""
    return APIRouter(route_class=StrictRoute, tags=[tag], responses=responses(500, *errors))


BODY_ERRORS = responses(400, 413, 415)
