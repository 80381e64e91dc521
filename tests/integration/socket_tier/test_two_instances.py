"""Two whole instances of the socket tier, real sockets, SQS between them and the routes."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from evpower.charging import service as charging
from evpower.charging.models import EndReason, SessionState, Started, StartRequest
from evpower.clock import iso_z
from evpower.commands import service as commands
from evpower.commands.models import CommandStatus
from evpower.commands.queue import CommandMessage, SqsCommandQueue
from evpower.db import Conn, PooledDatabase
from infra.local.queues import SqsEndpoint
from socket_tier.registry import REPLACED_CODE
from socket_tier.tier import SocketTier
from tests.fakes.network import Network, balance_of, money_faults
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url


@pytest.fixture
async def pair(make_tier: MakeTier, sqs: SqsEndpoint) -> tuple[SocketTier, SocketTier]:
    environment = {name.lower(): value for name, value in sqs.environment.items()}
    return await make_tier(instance_id="a", **environment), await make_tier(instance_id="b", **environment)


@pytest.fixture
def queue(pair: tuple[SocketTier, SocketTier]) -> SqsCommandQueue:
    return SqsCommandQueue(pair[0].settings)


async def start(db: PooledDatabase, queue: SqsCommandQueue) -> Started:
    """What the start route does: commit, then tell the queue."""
    request = StartRequest("client-1", "station-1", 1, amount_som=Decimal(100))

    async def work(conn: Conn) -> Started:
        return await charging.start(conn, request, datetime.now(UTC))

    started = await db.run(work)
    await queue.send(CommandMessage(started.command_id, "station-1"))
    return started


def now() -> str:
    return iso_z(datetime.now(UTC))


async def reading(charger: RawCharger, transaction: int, register_wh: int) -> None:
    sample = {"timestamp": now(), "sampledValue": [{"value": str(register_wh)}]}
    assert await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=[sample]) == {}


@pytest.mark.parametrize("home", [0, 1])
async def test_a_start_reaches_the_charger_whichever_instance_holds_it(
    pair: tuple[SocketTier, SocketTier], queue: SqsCommandQueue, db: PooledDatabase, network: Network, home: int
) -> None:
    async with RawCharger.open(url(pair[home])) as charger:
        await charger.boot()
        started = await start(db, queue)
        call = await charger.command("RemoteStartTransaction")
        assert call[3] == {"connectorId": 1, "idTag": started.session.id_tag}
        await charger.send([3, call[1], {"status": "Accepted"}])

        async def accepted() -> bool:
            command = await db.run(lambda conn: commands.get(conn, started.command_id))
            return command is not None and command.status is CommandStatus.ACCEPTED

        await until(accepted, "the charger's answer to be recorded")


async def test_a_charger_moves_to_the_other_instance_in_mid_transaction(
    pair: tuple[SocketTier, SocketTier], queue: SqsCommandQueue, db: PooledDatabase, network: Network
) -> None:
    """The old socket does not even close: the newest wins, and the stop goes to it alone."""
    a, b = pair
    async with RawCharger.open(url(a)) as old:
        await old.boot()
        started = await start(db, queue)
        call = await old.command("RemoteStartTransaction")
        await old.send([3, call[1], {"status": "Accepted"}])
        tag = call[3]["idTag"]
        answer = await old.call("StartTransaction", connectorId=1, idTag=tag, meterStart=0, timestamp=now())
        await reading(old, answer["transactionId"], 10)
        async with RawCharger.open(url(b)) as new:
            assert (await old.closed())[0] == REPLACED_CODE
            await reading(new, answer["transactionId"], 20)
            assert a.registry.local("station-1") is None

            async def stop(conn: Conn) -> Any:
                return await charging.request_stop(
                    conn,
                    started.session.id,
                    client_id="client-1",
                    initiator="client",
                    reason=EndReason.CLIENT,
                    now=datetime.now(UTC),
                )

            stopped = await db.run(stop)
            await queue.send(CommandMessage(stopped.command_id, "station-1"))
            call = await new.command("RemoteStopTransaction")
            assert call[3] == {"transactionId": answer["transactionId"]}
            await new.send([3, call[1], {"status": "Accepted"}])
            await new.call("StopTransaction", transactionId=answer["transactionId"], meterStop=30, timestamp=now())
        assert old.calls.empty()
    session = await db.run(lambda conn: charging.get_session(conn, started.session.id, "client-1"))
    assert (session.state, session.energy_wh) == (SessionState.STOPPED, 30)
    assert await balance_of(db, "client-1") == Decimal(500) - (session.final_amount or 0)
    assert await money_faults(db) == []


async def test_a_stopped_instance_leaves_its_stations_to_the_other(
    pair: tuple[SocketTier, SocketTier], queue: SqsCommandQueue, db: PooledDatabase, network: Network
) -> None:
    """A rolling deployment: the charger is sent away with 1012; the start made meanwhile waits for its return."""
    a, b = pair
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        await a.stop()
        assert (await charger.closed())[0] == 1012
    started = await start(db, queue)
    async with RawCharger.open(url(b)) as charger:
        await charger.call("Heartbeat")
        call = await charger.command("RemoteStartTransaction")
        assert call[3]["idTag"] == started.session.id_tag
