"""The application without services: a database that is away, Redis that is away, and a few routes to poke at."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

import httpx
import psycopg
import pytest
from pydantic import Field
from starlette.types import ASGIApp

from evpower.clock import BISHKEK, FrozenClock
from evpower.config import Settings
from evpower.db import Claims, Conn
from evpower.errors import InsufficientBalance
from functions.api import app as application
from functions.api.deps import Deps, build_deps
from functions.api.routing import CallerParam, router
from functions.api.schemas.base import AmountIn, Moment, Omit, RequestModel, ResponseModel, Som


class DatabaseAway:
    """Every unit of work fails as it does while PostgreSQL restarts."""

    @asynccontextmanager
    async def transaction(self, *, claims: Claims | None = None) -> AsyncIterator[Conn]:
        raise psycopg.OperationalError("the database system is shutting down")
        yield  # the decorator wants a generator

    async def run(self, work: Any, *, claims: Claims | None = None) -> Any:
        async with self.transaction(claims=claims) as conn:
            return await work(conn)

    async def close(self) -> None:
        return None


class Body(RequestModel):
    amount: AmountIn
    name: Annotated[str, Field(max_length=10)] = ""


class Echo(ResponseModel):
    amount: Som
    kind: str
    moment: Omit[Moment] = None
    left_out: Omit[Som] = None
    nullable: Som | None = None


routes = router("/probe", "probe")


@routes.post("/echo", response_model=Echo)
async def echo(body: Body) -> Echo:
    return Echo(amount=body.amount, kind=type(body.amount).__name__, moment=datetime(2026, 1, 15, 12, tzinfo=BISHKEK))


@routes.post("/protected")
async def protected(body: Body, caller: CallerParam) -> dict[str, Any]:
    return {"client_id": caller.client_id}


@routes.post("/empty")
async def empty() -> dict[str, bool]:
    return {"success": True}


@routes.get("/numbers")
async def numbers(limit: Annotated[int, Field(ge=1)] = 5) -> dict[str, Any]:
    return {"limit": limit}


@routes.get("/domain")
async def domain() -> None:
    raise InsufficientBalance(current_balance=12.5, required_amount=None)


@routes.get("/crash")
async def crash() -> None:
    raise RuntimeError("secret detail of the inside")


@routes.get("/database")
async def database() -> None:
    raise psycopg.OperationalError("connection to 10.0.0.7 failed")


@pytest.fixture
def settings() -> Settings:
    return Settings.model_validate(
        {
            "environment": "test",
            "redis_url": "redis://127.0.0.1:1/0",
            "master_api_key": "test-master-key",
            "hmac_secret": "test-hmac-secret",
            "rate_limit_default_per_minute": 1000,
            "rate_limit_failures_per_minute": 1000,
        }
    )


@pytest.fixture
def deps(settings: Settings) -> Deps:
    return build_deps(settings, database=DatabaseAway(), clock=FrozenClock())


@pytest.fixture
def app(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> ASGIApp:
    product = application.routers
    monkeypatch.setattr(application, "routers", lambda modules: (*product(modules), routes))
    return application.create_app(deps)


@pytest.fixture
async def http(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    # Exceptions are not raised through: what counts is what the caller sees.
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as client:
        yield client
