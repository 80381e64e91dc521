"""Charging: C1-C5 (mobile-api.md §4.8)."""

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from fastapi import Query

from evpower.accounts import service as accounts
from evpower.charging import service as charging
from evpower.charging.models import EndReason, Session, Started, StartRequest
from evpower.commands import service as commands
from evpower.commands.models import Command
from evpower.db import Conn
from evpower.errors import SessionNotFound
from evpower.money import ZERO
from evpower.stations import service as stations
from evpower.stations.models import Station
from functions.api.deps import Deps
from functions.api.routing import Caller, CallerParam, ContextParam, DepsParam, Limit, Offset, router
from functions.api.schemas.base import IdIn
from functions.api.schemas.charging import (
    ChargingHistory,
    SessionStatusAnswer,
    StartAnswer,
    StartBody,
    StopAnswer,
    StopBody,
)
from functions.api.session_view import figures, history_item, status_answer
from functions.api.texts import sentence

routes = router("/api/v1/charging", "charging")

_POLL_S = 0.2


# --- Start --------------------------------------------------------------------------------------------------------


@routes.post("/start", response_model=StartAnswer)
async def start(body: StartBody, caller: CallerParam, deps: DepsParam, context: ContextParam) -> StartAnswer:
    """C1: reserve the money and ask the charger to start."""
    caller.require_self(body.client_id)
    now = deps.clock.now()
    request = StartRequest(
        client_id=caller.client_id,
        station_ref=body.station_id,
        connector_id=body.connector_id,
        energy_kwh=body.energy_kwh,
        amount_som=body.amount_som,
        promo_code=body.promo_code,
    )

    async def begin(conn: Conn) -> tuple[Started, Command | None]:
        started = await charging.start(conn, request, now)
        return started, await commands.get(conn, started.command_id)

    started, command = await caller.run(begin)
    await _dispatch(deps, command, started.session.station_id)
    return _start_answer(started, context.language)


def _start_answer(started: Started, language: str) -> StartAnswer:
    session, price = started.session, started.session.price
    return StartAnswer(
        message=sentence("charging_started" if started.station_online else "charging_waits", language),
        session_id=session.id,
        station_id=session.station_id,
        client_id=session.client_id,
        connector_id=session.connector_id,
        energy_kwh=session.limit_value if session.limit_type == "energy" else None,
        reserved_amount=session.reserved_amount,
        limit_type=session.limit_type.value,
        limit_value=session.limit_value,
        rate_per_kwh=price.rate_per_kwh,
        session_fee=price.session_fee,
        required_amount=session.reserved_amount,
        current_balance=started.balance,
        new_balance=started.balance,
        estimated_cost=started.estimated_cost,
        pricing=price.public(),
        station_online=started.station_online,
    )


async def _dispatch(deps: Deps, command: Command | None, station_id: str) -> None:
    """After the commit: hand the command over, and show the change on the map. Neither can fail the request."""
    if command is not None:
        await deps.commands.send(command)
    await deps.publisher.stations_changed([station_id])


# --- Stop ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Standing:
    """A session with what its answer needs around it."""

    session: Session
    balance: Decimal
    station: Station | None
    command: Command | None = None


@routes.post("/stop", response_model=StopAnswer)
async def stop(body: StopBody, caller: CallerParam, deps: DepsParam, context: ContextParam) -> StopAnswer:
    """C2: stop, and wait up to ``STOP_WAIT_S`` for the bill; after that the figures are provisional.

    A blocked client may stop: the car must not go on charging on its account.
    """
    caller.require_self(body.client_id)
    now = deps.clock.now()

    async def ask(conn: Conn) -> _Standing:
        asked = await charging.request_stop(
            conn, body.session_id, client_id=caller.client_id, initiator="client", reason=EndReason.CLIENT, now=now
        )
        command = await commands.get(conn, asked.command_id) if asked.command_id else None
        station = await stations.resolve(conn, asked.session.station_id)
        return _Standing(asked.session, asked.balance, station, command)

    try:
        standing = await caller.run_known(ask)
    except SessionNotFound:
        await _refuse_foreign(deps, caller, body.session_id)
        raise
    await _dispatch(deps, standing.command, standing.session.station_id)
    if standing.session.state.live and standing.station is not None and standing.station.connected:
        standing = await _await_settlement(deps, caller, standing)
    return _stop_answer(standing, deps, context.language)


async def _await_settlement(deps: Deps, caller: Caller, standing: _Standing) -> _Standing:
    """Look at the session every 200 ms, in short transactions, until it has ended or time is up."""

    async def look(conn: Conn) -> _Standing:
        session = await charging.get_session(conn, standing.session.id, caller.client_id)
        client = await accounts.get_client(conn, caller.client_id)
        return _Standing(session, client.balance, standing.station)

    loop = asyncio.get_running_loop()
    deadline = loop.time() + deps.settings.stop_wait_s
    while standing.session.state.live and loop.time() < deadline:
        await asyncio.sleep(_POLL_S)
        standing = await caller.run(look)
    return standing


async def _refuse_foreign(deps: Deps, caller: Caller, session_id: str) -> None:
    """Row security hides other clients' sessions; say 403 where there is one (mobile-api.md §8)."""
    await deps.database.run(
        lambda conn: charging.get_session(conn, session_id, caller.client_id), claims=caller.wide_claims
    )


def _stop_answer(standing: _Standing, deps: Deps, language: str) -> StopAnswer:
    session, now = standing.session, deps.clock.now()
    at = figures(session, now)
    provisional = session.state.live
    refund = max(ZERO, session.reserved_amount - at.cost)
    return StopAnswer(
        message=sentence("charging_stopping" if provisional else "charging_stopped", language),
        session_id=session.id,
        station_id=session.station_id,
        client_id=session.client_id,
        status=session.status,
        provisional=provisional,
        start_time=session.start_time,
        stop_time=session.stop_time,
        energy_consumed=at.energy_kwh,
        duration_minutes=at.minutes,
        rate_per_kwh=session.price.rate_per_kwh,
        session_fee=session.price.session_fee,
        reserved_amount=session.reserved_amount,
        final_cost=at.cost,
        actual_cost=at.cost,
        refunded_amount=refund,
        refund_amount=refund,
        additional_charge=max(ZERO, at.cost - session.reserved_amount),
        new_balance=standing.balance,
        station_online=standing.station is not None and stations.is_online(standing.station, now),
    )


# --- Status and history -------------------------------------------------------------------------------------------


@routes.get("/history", response_model=ChargingHistory)
async def history(
    caller: CallerParam,
    deps: DepsParam,
    limit: Annotated[Limit, Query()] = 50,
    offset: Annotated[Offset, Query()] = 0,
) -> ChargingHistory:
    """C4: the caller's sessions, newest first."""
    rows, total = await caller.run_active(lambda conn, client: charging.history(conn, client.id, limit, offset))
    now = deps.clock.now()
    return ChargingHistory(data=[history_item(row, now) for row in rows], total=total, limit=limit, offset=offset)


async def _status(session_id: str, caller: Caller, deps: Deps) -> SessionStatusAnswer:
    async def look(conn: Conn) -> _Standing:
        session = await charging.get_session(conn, session_id, caller.client_id)
        return _Standing(session, ZERO, await stations.resolve(conn, session.station_id))

    try:
        standing = await caller.run_known(look)
    except SessionNotFound:
        await _refuse_foreign(deps, caller, session_id)
        raise
    now = deps.clock.now()
    online = standing.station is not None and stations.is_online(standing.station, now)
    return status_answer(standing.session, station_online=online, now=now)


@routes.get("/status/{session_id}", response_model=SessionStatusAnswer)
async def status(session_id: IdIn, caller: CallerParam, deps: DepsParam) -> SessionStatusAnswer:
    """C5: the caller's session; a blocked client still sees it."""
    return await _status(session_id, caller, deps)


@routes.get("/{session_id}", response_model=SessionStatusAnswer)
async def status_by_owner_path(session_id: IdIn, caller: CallerParam, deps: DepsParam) -> SessionStatusAnswer:
    """C3: as C5, on the path of the owner's description."""
    return await _status(session_id, caller, deps)
