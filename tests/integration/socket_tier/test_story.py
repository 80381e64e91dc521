"""A whole charge over one raw socket: start by the app, readings, stop, settlement."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from evpower.charging import service as charging
from evpower.charging.models import SessionState, StartRequest
from evpower.clock import iso_z
from evpower.db import Conn, PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.network import Network, balance_of, money_faults
from tests.fakes.raw_charger import RawCharger
from tests.integration.socket_tier.conftest import url


async def start(db: PooledDatabase, client_id: str, **limits: Any) -> Any:
    request = StartRequest(client_id=client_id, station_ref="station-1", connector_id=1, **limits)

    async def work(conn: Conn) -> Any:
        return await charging.start(conn, request, datetime.now(UTC))

    return await db.run(work)


def now() -> str:
    return iso_z(datetime.now(UTC))


async def test_a_session_from_the_app_is_started_metered_stopped_and_settled_once(
    tier: SocketTier, db: PooledDatabase, network: Network
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        started = await start(db, "client-1", energy_kwh=Decimal(5))
        assert tier.dispatcher.submit("station-1", started.command_id)
        command = await charger.command("RemoteStartTransaction")
        assert command[3]["connectorId"] == 1
        await charger.send([3, command[1], {"status": "Accepted"}])
        answer = await charger.call(
            "StartTransaction", connectorId=1, idTag=command[3]["idTag"], meterStart=1000, timestamp=now()
        )
        assert answer["idTagInfo"]["status"] == "Accepted"
        transaction = answer["transactionId"]
        assert (
            await charger.call(
                "MeterValues",
                connectorId=1,
                transactionId=transaction,
                meterValue=[{"timestamp": now(), "sampledValue": [{"value": "1100"}]}],
            )
            == {}
        )
        assert (
            await charger.call(
                "StopTransaction", transactionId=transaction, meterStop=1150, timestamp=now(), reason="EVDisconnected"
            )
            == {}
        )

    async def session(conn: Conn) -> Any:
        return await charging.get_session(conn, started.session.id, None)

    ended = await db.run(session)
    assert ended.state is SessionState.STOPPED
    assert ended.energy_wh == 150
    assert ended.final_amount == Decimal("2.03")  # 0.15 kWh at 13.50
    assert await balance_of(db, "client-1") == Decimal("497.97")
    assert await money_faults(db) == []
