"""Steps of a charge, played through a raw socket against a running instance."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from evpower.charging import service as charging
from evpower.charging.models import Session, Started, StartRequest
from evpower.clock import iso_z
from evpower.db import Conn, PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.raw_charger import RawCharger


def stamp(seconds_ago: float = 0) -> str:
    """A charger's timestamp."""
    return iso_z(datetime.now(UTC) - timedelta(seconds=seconds_ago))


def sample(wh: float | str, seconds_ago: float = 0, **more: str) -> list[dict[str, Any]]:
    """``meterValue`` with one energy register; ``power_w="7000"`` adds the power."""
    values = [{"value": str(wh), "measurand": "Energy.Active.Import.Register", "unit": "Wh"}]
    if "power_w" in more:
        values.append({"value": more["power_w"], "measurand": "Power.Active.Import", "unit": "W"})
    return [{"timestamp": stamp(seconds_ago), "sampledValue": values}]


class Story:
    """One driver at ``station-1``."""

    def __init__(self, db: PooledDatabase) -> None:
        self.db = db

    async def read(self, work: Callable[[Conn], Awaitable[Any]]) -> Any:
        return await self.db.run(work)

    async def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        async def work(conn: Conn) -> list[dict[str, Any]]:
            return await (await conn.execute(query, parameters)).fetchall()  # type: ignore[arg-type]

        return await self.db.run(work)

    async def request(self, client_id: str = "client-1", connector: int = 1, **limits: Any) -> Started:
        """Start from the app: money reserved, RemoteStart queued."""
        wish = StartRequest(client_id=client_id, station_ref="station-1", connector_id=connector, **limits)

        async def work(conn: Conn) -> Started:
            return await charging.start(conn, wish, datetime.now(UTC))

        return await self.db.run(work)

    async def age(self, session_id: str, seconds: float) -> None:
        """Let the session have been asked for some time ago."""

        async def work(conn: Conn) -> None:
            await conn.execute(
                "UPDATE charging_sessions SET created_at = created_at - make_interval(secs => %s) WHERE id = %s",
                (seconds, session_id),
            )

        await self.db.run(work)

    async def accept(self, tier: SocketTier, charger: RawCharger, started: Started) -> str:
        """Let the charger accept the RemoteStart; the id tag it was given."""
        tier.dispatcher.submit("station-1", started.command_id)
        command = await charger.command("RemoteStartTransaction")
        await charger.send([3, command[1], {"status": "Accepted"}])
        return str(command[3]["idTag"])

    async def accept_queued(self, charger: RawCharger) -> str:
        """Let the charger accept a RemoteStart that waited for it; it must speak first."""
        await charger.call("Heartbeat")
        command = await charger.command("RemoteStartTransaction")
        await charger.send([3, command[1], {"status": "Accepted"}])
        return str(command[3]["idTag"])

    async def begin(
        self, tier: SocketTier, charger: RawCharger, *, meter_start: int = 1000, **limits: Any
    ) -> tuple[Session, int]:
        """A running transaction of client-1 on connector 1: its session and transaction id."""
        started = await self.request(**limits)
        tag = await self.accept(tier, charger, started)
        answer = await charger.call(
            "StartTransaction", connectorId=1, idTag=tag, meterStart=meter_start, timestamp=stamp()
        )
        assert answer["idTagInfo"] == {"status": "Accepted"}
        return started.session, int(answer["transactionId"])

    async def session(self, session_id: str) -> Session:
        return await self.db.run(lambda conn: charging.get_session(conn, session_id, None))
