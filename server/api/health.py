"""Health: for supervisors and load balancers, without a token and without details."""

from typing import Literal

from fastapi import Response
from pydantic import BaseModel

from proxy.contract import BackupError
from server.api.access import Parts
from server.api.routing import router

api = router("health", errors=())


class Health(BaseModel):
    """Whether this server can do its work."""

    status: Literal["ok", "degraded"]
    database: bool
    bus: bool


@api.get(
    "/health",
    operation_id="getHealth",
    summary="Health",
    responses={503: {"model": Health, "description": "The database or the bus is away"}},
)
async def health(services: Parts, response: Response) -> Health:
    """503 while the database or the bus cannot be reached."""
    try:
        database = await services.database.value("health.check") == 1
    except BackupError:
        database = False
    bus = services.bus.connected
    if not (database and bus):
        response.status_code = 503
    return Health(status="ok" if database and bus else "degraded", database=database, bus=bus)
