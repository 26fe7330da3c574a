"""
Errors as application/problem+json: one table from error classes to statuses.

A problem never repeats what was sent and holds nothing internal; `request_id` leads to the log.

    400  malformed JSON or form              401  no token, expired, unknown
    403  the token lacks a scope             404, 405, 409
    413  body above the limit                415  body of another media type
    422  well-formed, but not what the operation takes (`errors` says where)
    429  too many failed sign-ins            500, 502 proxy failed, 503, 504 no answer in time
"""

import http
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from proxy.contract import (
    BackupError,
    Conflict,
    Denied,
    InternalError,
    NotFound,
    Unavailable,
    UsageError,
)
from server.bus.questions import ProxyFault

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
ERRORS_SHOWN_MAX = 20

_STATUS: tuple[tuple[type[BackupError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (Denied, 403),
    (Unavailable, 503),
    (UsageError, 422),
    (ProxyFault, 502),
    (InternalError, 500),
)
_CODES = {
    400: "malformed",
    401: "unauthenticated",
    403: "missing-right",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "media-type-unsupported",
    422: "invalid",
    500: "internal-error",
}


class FieldError(BaseModel):
    """One thing that is wrong with a request."""

    location: str = Field(description="Where, as a JSON pointer that begins with body, query, …")
    message: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str = Field(description="urn:strongroom:problem:<code>")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable word for programs")
    request_id: str
    errors: list[FieldError] | None = None
    error: str | None = Field(None, description="OAuth 2 error word, at /token")


def problem(request: Request, status: int, code: str, detail: str, **more: Any) -> JSONResponse:
    """The response. `more` are further members; `headers` are headers."""
    headers = more.pop("headers", None)
    body = {
        "type": f"urn:strongroom:problem:{code}",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": getattr(request.state, "request_id", ""),
        **more,
    }
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def status_of(error: BackupError) -> int:
    """HTTP status of an error of the tree."""
    if error.code == "answer-timeout":
        return 504
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


async def _on_backup_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, BackupError)
    status = status_of(error)
    if status == 500:
        log.error("request %s: %s", request.state.request_id, error.code, exc_info=error)
        return problem(request, 500, error.code, "The server failed; its log has more.")
    headers = {}
    retry = getattr(error, "retry_after_s", None)
    if retry is not None:
        headers["Retry-After"] = str(max(1, round(retry)))
    return problem(request, status, error.code, error.message, headers=headers)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    if status < 400:
        return Response(status_code=status, headers=error.headers)
    code = _CODES.get(status, "http-error")
    detail = error.detail if isinstance(error.detail, str) else http.HTTPStatus(status).description
    return problem(request, status, code, detail, headers=error.headers)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(item["type"] in ("json_invalid", "value_error.jsondecode") for item in found):
        return problem(request, 400, "malformed", "The body is not JSON.")
    errors = [
        {
            "location": "/" + "/".join(str(part) for part in item["loc"]),
            # Only the rule that was broken: what was sent may be a secret.
            "message": str(item["msg"]),
        }
        for item in found[:ERRORS_SHOWN_MAX]
    ]
    detail = "The request is well-formed but not what this operation takes."
    return problem(request, 422, "invalid", detail, errors=errors)


async def _on_bug(request: Request, error: Exception) -> Response:
    log.error("request %s failed", request.state.request_id, exc_info=error)
    return problem(request, 500, "internal-error", "The server failed; its log has more.")


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""
    app.add_exception_handler(BackupError, _on_backup_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(Exception, _on_bug)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error part of an operation's description in OpenAPI."""
    return {
        status: {
            "description": http.HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted(statuses)
    }
