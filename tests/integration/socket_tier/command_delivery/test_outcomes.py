"""What the outcome of a command causes."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from evpower.charging import service as charging
from evpower.charging.models import SessionState, StartRequest
from evpower.commands import service
from evpower.commands.models import CommandStatus
from evpower.db import Conn, PooledDatabase
from tests.fakes import network
from tests.fakes.stations import until
from tests.integration.socket_tier.command_delivery.instance import (
    CLOCK,
    MakeInstance,
    sweep_after_lease,
)


async def start_charging(db: PooledDatabase, station_id: str) -> tuple[str, str]:
    """Session and RemoteStart command of a driver with 500 som who wants to charge for 100."""

    async def work(conn: Conn) -> tuple[str, str]:
        request = StartRequest("client-1", station_id, 1, amount_som=Decimal(100))
        started = await charging.start(conn, request, CLOCK.now())
        return started.session.id, started.command_id

    return await db.run(work)


async def test_a_rejected_start_gives_the_money_back_at_once(make: MakeInstance, db: PooledDatabase) -> None:
    async def reject(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        return {"status": "Rejected"}

    place = await network.build(db, CLOCK.now())
    a = make("a")
    await a.connect(place.station_id, reject)
    session_id, command_id = await start_charging(db, place.station_id)
    assert await network.balance_of(db, "client-1") == 400
    a.dispatcher.submit(place.station_id, command_id)
    await until(lambda: a.changed, "the change to be published")
    assert a.changed == [place.station_id]
    command = await db.run(lambda conn: service.get(conn, command_id))
    session = await db.run(lambda conn: charging.get_session(conn, session_id, None))
    assert command is not None
    assert command.status is CommandStatus.REJECTED
    assert not session.state.live
    assert await network.balance_of(db, "client-1") == 500
    assert await network.money_faults(db) == []


async def test_an_accepted_start_leaves_the_session_waiting_for_the_cable(
    make: MakeInstance, db: PooledDatabase
) -> None:
    place = await network.build(db, CLOCK.now())
    a = make("a")
    connection = await a.connect(place.station_id)
    session_id, command_id = await start_charging(db, place.station_id)
    a.dispatcher.submit(place.station_id, command_id)
    await connection.called.wait()
    await until(lambda: not a.dispatcher._lines, "the dispatcher to be done")
    session = await db.run(lambda conn: charging.get_session(conn, session_id, None))
    assert session.state is SessionState.PENDING
    assert connection.calls[0][0] == "RemoteStartTransaction"
    assert connection.calls[0][1] == {"connectorId": 1, "idTag": session.id_tag}
    assert await network.balance_of(db, "client-1") == 400


async def test_an_outcome_after_the_sweeps_judgement_moves_no_money(make: MakeInstance, db: PooledDatabase) -> None:
    """The lease lapsed while the charger thought; its Rejected comes too late and is not applied half."""
    answer = asyncio.Event()

    async def late(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        await answer.wait()
        return {"status": "Rejected"}

    place = await network.build(db, CLOCK.now())
    a = make("a")
    connection = await a.connect(place.station_id, late)
    session_id, command_id = await start_charging(db, place.station_id)
    a.dispatcher.submit(place.station_id, command_id)
    await connection.called.wait()
    await sweep_after_lease(db)
    answer.set()
    await until(lambda: not a.dispatcher._lines, "the dispatcher to be done")
    command = await db.run(lambda conn: service.get(conn, command_id))
    session = await db.run(lambda conn: charging.get_session(conn, session_id, None))
    assert command is not None
    assert command.status is CommandStatus.FAILED
    assert session.state is SessionState.PENDING
    assert await network.balance_of(db, "client-1") == 400
