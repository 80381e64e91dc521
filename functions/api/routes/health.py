"""System routes S1-S4 (mobile-api.md §4.1). Not ready is 503, never 200."""

from typing import Any

import psycopg
from fastapi import APIRouter

import evpower
from evpower.db import system_claims
from evpower.errors import ServiceUnavailable
from evpower.redis_access import RedisAway
from evpower.stations import service as stations
from functions.api.deps import Deps
from functions.api.routing import ContractRoute, DepsParam
from functions.api.schemas.health import Health, Readiness, Root, Version

SERVICE = "evpower-backend"
ENDPOINTS = ["/health", "/readyz", "/version", "/api/v1", "/ws/{station_id}", "/ocpp/{station_id}"]

routes = APIRouter(tags=["system"], route_class=ContractRoute)


async def _redis_answers(deps: Deps) -> bool:
    async def ping(client: Any) -> bool:
        return bool(await client.ping())

    try:
        return await deps.redis.run(ping)
    except RedisAway:
        return False


async def _connected_stations(deps: Deps) -> int | None:
    """Stations with an open socket, or None while the database is away."""
    try:
        return await deps.database.run(stations.count_connected, claims=system_claims())
    except (psycopg.OperationalError, OSError):
        return None


@routes.get("/health", response_model=Health)
async def health(deps: DepsParam) -> Health:
    """S1: database, Redis and how many stations are connected; 503 ``unhealthy`` when one of the two is away."""
    redis = await _redis_answers(deps)
    connected = await _connected_stations(deps)
    members: dict[str, Any] = {
        "status": "healthy" if redis and connected is not None else "unhealthy",
        "service": SERVICE,
        "version": evpower.__version__,
        "redis": redis,
        "database": connected is not None,
        "connected_stations": connected or 0,
    }
    if members["status"] == "unhealthy":
        raise ServiceUnavailable(**members)
    return Health(**members)


@routes.get("/readyz", response_model=Readiness)
async def readyz(deps: DepsParam) -> Readiness:
    """S2: ready when every dependency answers, else 503 ``not_ready``."""
    checks = {"redis": await _redis_answers(deps), "database": await _connected_stations(deps) is not None}
    if not all(checks.values()):
        raise ServiceUnavailable(status="not_ready", checks=checks)
    return Readiness(status="ready", checks=checks)


@routes.get("/version", response_model=Version)
async def version(deps: DepsParam) -> Version:
    """S3: what is running."""
    settings = deps.settings
    return Version(
        version=evpower.__version__, git_commit=settings.git_commit or None, build_time=settings.build_time or None
    )


@routes.get("/", response_model=Root)
async def root(deps: DepsParam) -> Root:
    """S4: what this host is. ``/api/v1`` is what its routes begin with."""
    documents = ["/docs", "/openapi.json"] if deps.settings.enable_swagger else []
    return Root(service=SERVICE, version=evpower.__version__, endpoints=ENDPOINTS + documents)
