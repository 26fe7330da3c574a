"""The web application: resources, errors, OpenAPI, the pages in `server/faces`."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response

from server.api import (
    feed,
    health,
    jobs,
    organizations,
    points,
    pools,
    problems,
    repositories,
    sessions,
    tokens,
    users,
)
from server.api.access import SignInBrake
from server.api.edge import Edge
from server.api.feed import Feeds
from server.services import Services

PREFIX = "/api/v1"
FACES = ("console", "portal", "shared")
DESCRIPTION = """Microsoft 365 backup: organizations, repositories, jobs, sessions, restore points.

Every error is `application/problem+json`. Malformed JSON is 400; well-formed input that an operation
does not take is 422, with the places in `errors`. Lists are pages: `items` and `next`.
"""


def make_app(services: Services, faces: Path | None = None, bulk_context: Any = None) -> FastAPI:
    """The application over its services."""
    app = FastAPI(
        title="Strongroom",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.brake = SignInBrake()
    app.state.feeds = Feeds()
    app.state.bulk_context = bulk_context
    app.add_middleware(Edge)
    problems.install(app)
    for resource in (
        health,
        tokens,
        organizations,
        repositories,
        jobs,
        sessions,
        feed,
        points,
        pools,
        users,
    ):
        app.include_router(resource.api, prefix=PREFIX)
    document = _document(app)

    @app.get(f"{PREFIX}/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return JSONResponse(document)

    @app.get("/", include_in_schema=False)
    async def front() -> Response:
        return RedirectResponse("/console/", status_code=307)

    @app.get("/console", include_in_schema=False)
    @app.get("/portal", include_in_schema=False)
    async def with_slash(request: Request) -> Response:
        return RedirectResponse(f"{request.url.path}/", status_code=307)

    for face in FACES:
        folder = (faces or Path(__file__).parent / "faces") / face
        if folder.is_dir():
            app.mount(f"/{face}", StaticFiles(directory=folder, html=True), name=face)
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1, made once. The framework's own shape of validation errors is not ours."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        servers=[{"url": "/"}],
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    template = "#/components/schemas/{model}"
    shape = problems.Problem.model_json_schema(ref_template=template)
    for name, part in shape.pop("$defs", {}).items():
        schemas[name] = part
    schemas["Problem"] = shape
    return document
