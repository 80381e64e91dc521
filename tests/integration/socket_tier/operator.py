"""An operator at a running instance: asks the services for something and waits for the charger's answer."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from evpower.commands import service as commands
from evpower.commands.models import Command, NewCommand
from evpower.db import Conn, PooledDatabase
from infra.local.simulator import ChargePoint
from socket_tier.tier import SocketTier
from tests.fakes.stations import until

T = TypeVar("T")
STATION = "station-1"


class Operator:
    """Works on ``station-1`` of the network, whose charger is connected to ``tier``."""

    def __init__(self, tier: SocketTier, db: PooledDatabase) -> None:
        self.tier = tier
        self.db = db

    async def ask(self, work: Callable[[Conn], Awaitable[tuple[T, Command | None]]]) -> T:
        """Commit the work, hand its command over, and wait until that has ended."""
        result, command = await self.db.run(work)
        if command is not None:
            self.tier.dispatcher.submit(STATION, command.id)
            await self.ended(command.id)
        return result

    async def raw(self, action: str, **payload: Any) -> Command:
        """A command past all managed routes; the command as it ended."""
        now = datetime.now(UTC)
        new = NewCommand(STATION, action, payload, now + timedelta(minutes=5), "operator")

        async def work(conn: Conn) -> tuple[Command, Command]:
            command = await commands.enqueue(conn, new, now)
            return command, command

        return await self.ended((await self.ask(work)).id)

    async def ended(self, command_id: str) -> Command:
        found: Command | None = None

        async def over() -> bool:
            nonlocal found
            found = await self.db.run(lambda conn: commands.get(conn, command_id))
            return found is not None and found.status.terminal

        await until(over, "the end of the command")
        assert found is not None
        return found

    async def one(self, query: str, *values: object) -> dict[str, Any]:
        async def work(conn: Conn) -> dict[str, Any]:
            row = await (await conn.execute(query.encode(), values)).fetchone()
            assert row is not None
            return row

        return await self.db.run(work)

    async def booted(self) -> None:
        """Wait until the charger was asked for its configuration after its boot, and nothing more follows."""

        async def read() -> bool:
            row = await self.one(
                """SELECT count(*) AS n FROM station_commands
                    WHERE station_id = %s AND action = 'GetConfiguration' AND requested_by = 'boot'""",
                STATION,
            )
            return bool(row["n"])

        await until(read, "the question after the boot")
        await self.quiet()

    async def quiet(self) -> None:
        """Wait until no command runs, waits, or was queued by the outcome of another."""

        async def idle() -> bool:
            row = await self.one(
                "SELECT count(*) AS n FROM station_commands WHERE status IN ('queued', 'sent') AND station_id = %s",
                STATION,
            )
            return row["n"] == 0 and not self.tier.dispatcher._lines

        await until(idle, "the commands to be over")


async def status_is(operator: Operator, connector: int, word: str) -> None:
    """Wait for the stored status of the connector."""

    async def reached() -> bool:
        row = await operator.one(
            "SELECT ocpp_status FROM connectors WHERE station_id = %s AND connector_number = %s", STATION, connector
        )
        return bool(row["ocpp_status"] == word)

    await until(reached, f"connector {connector} to be {word}")


def simulated(tier: SocketTier, **options: Any) -> ChargePoint:
    return ChargePoint(f"ws://127.0.0.1:{tier.port}/ocpp", STATION, **options)
