"""History and statistics of a client: H1-H3 (mobile-api.md §4.9). H1 is C4, H2 is B4."""

from typing import Annotated

from fastapi import Query

from evpower.charging.service import statistics
from functions.api.routes import balance, charging
from functions.api.routing import CallerParam, DepsParam, Limit, Offset, router
from functions.api.schemas.balance import MoneyHistory
from functions.api.schemas.charging import ChargingHistory
from functions.api.schemas.history import ChargingStats, ChargingStatsAnswer

routes = router("/api/v1/history", "history")


@routes.get("/charging", response_model=ChargingHistory)
async def charging_history(
    caller: CallerParam,
    deps: DepsParam,
    limit: Annotated[Limit, Query()] = 50,
    offset: Annotated[Offset, Query()] = 0,
) -> ChargingHistory:
    """H1: the caller's sessions, newest first."""
    return await charging.history(caller, deps, limit, offset)


@routes.get("/transactions", response_model=MoneyHistory)
async def transactions(
    caller: CallerParam, limit: Annotated[Limit, Query()] = 50, offset: Annotated[Offset, Query()] = 0
) -> MoneyHistory:
    """H2: every movement of the caller's money, newest first."""
    return await balance.history(caller, limit, offset)


@routes.get("/stats", response_model=ChargingStatsAnswer)
async def stats(caller: CallerParam, deps: DepsParam) -> ChargingStatsAnswer:
    """H3: the caller's sessions in numbers."""
    now = deps.clock.now()
    found = await caller.run_active(lambda conn, client: statistics.of_client(conn, client.id, now))
    return ChargingStatsAnswer(
        stats=ChargingStats(
            total_sessions=found.sessions,
            total_energy_kwh=found.energy_kwh,
            total_amount=found.amount,
            average_session_minutes=found.average_minutes,
        )
    )
