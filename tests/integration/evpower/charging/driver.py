"""Plays app, charger and sweeps against the charging services on a real database."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from evpower.charging import autostop, belonging, meter, service
from evpower.charging.models import (
    AFTER_STOP,
    FlushNumber,
    MeterUpdate,
    Reading,
    Session,
    Started,
    StartRequest,
    StartTransaction,
    StopRequested,
    StopTransaction,
    TransactionStarted,
    TransactionStopped,
)
from evpower.clock import FrozenClock
from evpower.db import Conn, Database
from evpower.ids import new_id
from tests.fakes.hearing import LONG, heard
from tests.fakes.network import Network

T = TypeVar("T")


@dataclass
class Driver:
    """Each method is one unit of work, as an entry would open it."""

    db: Database
    network: Network
    clock: FrozenClock = field(default_factory=FrozenClock)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def wait(self, **delta: float) -> None:
        self.clock.advance(timedelta(**delta))

    async def run(self, work: Callable[[Conn], Awaitable[T]]) -> T:
        return await self.db.run(work)

    async def start(
        self, client: str, connector: int = 1, *, energy: str | None = None, amount: str | None = None
    ) -> Started:
        request = StartRequest(
            client,
            self.network.station_id,
            connector,
            energy_kwh=None if energy is None else Decimal(energy),
            amount_som=None if amount is None else Decimal(amount),
        )
        return await self.run(lambda conn: service.start(conn, request, self.now))

    async def plug(
        self,
        tag: str,
        connector: int = 1,
        register: int = 0,
        *,
        charger_time: datetime | None = None,
        message_id: str | None = None,
    ) -> TransactionStarted:
        message = StartTransaction(
            self.network.station_id,
            connector,
            tag,
            Decimal(register),
            charger_time or self.now,
            self.now,
            self.network.epoch,
            message_id,
        )
        await self.run(lambda conn: service.settle_before_start(conn, message))
        return await self.run(lambda conn: service.start_transaction(conn, message))

    async def read(
        self, transaction: int, register: int, *, power_w: int | None = None, charger_time: datetime | None = None
    ) -> None:
        """One MeterValues, judged and flushed as the socket tier does."""
        context = await self.run(lambda conn: service.meter_context(conn, self.network.station_id, transaction))
        assert context is not None
        power = None if power_w is None else Decimal(power_w)
        reading = Reading(charger_time or self.now, energy_wh=Decimal(register), power_w=power)
        counted = belonging.counting((reading,), context.charger_started_at, context.until)
        state, flags = meter.apply_all(
            context.meter, counted, self.now, context.max_power_w, context.started_at, context.charger_started_at
        )
        update = MeterUpdate(
            self.network.station_id,
            self.network.epoch,
            context.connector_id,
            transaction,
            context.session_id,
            self.now,
            (reading,),
            meter=state if counted else None,
            review=flags if counted else (AFTER_STOP,),
            auto_stop_at=self.now + timedelta(seconds=autostop.OVERDUE_INTERVALS * context.sample_interval_s),
        )
        if counted:
            await self.run(lambda conn: service.flush_readings(conn, FlushNumber(new_id(), 1), [update]))
        else:
            await self.run(lambda conn: service.store_readings_apart(conn, update))

    async def unplug(
        self,
        transaction: int,
        register: int,
        *,
        charger_time: datetime | None = None,
        tag: str | None = None,
        reason: str | None = "Local",
    ) -> TransactionStopped:
        message = StopTransaction(
            self.network.station_id,
            transaction,
            Decimal(register),
            charger_time or self.now,
            self.now,
            self.network.epoch,
            reason=reason,
            id_tag=tag,
            raw={"transactionId": transaction, "meterStop": register},
        )
        return await self.run(lambda conn: service.stop_transaction(conn, message))

    async def stop(self, session_id: str, client: str | None = None) -> StopRequested:
        return await self.run(
            lambda conn: service.request_stop(
                conn, session_id, client_id=client, initiator="client", reason="client", now=self.now
            )
        )

    async def sweep(self, heard_for: timedelta | None = LONG) -> list[str]:
        """All sweeps once; commands that they ask for. ``heard_for``: how long chargers could be heard; None: as is."""
        if heard_for is not None:
            await heard(self.db, self.now, heard_for)
        commands = []
        for sweep in service.SWEEPS:
            for session_id in await self.run(lambda conn, s=sweep: s.find(conn, self.now, 100)):  # type: ignore[misc]
                command = await self.run(lambda conn, s=sweep, i=session_id: s.handle(conn, i, self.now))  # type: ignore[misc]
                commands += [command] if command else []
        return commands

    async def alive(self) -> None:
        """The station is heard now."""

        async def work(conn: Conn) -> None:
            await conn.execute(
                "UPDATE stations SET last_heartbeat_at = %s WHERE id = %s", (self.now, self.network.station_id)
            )

        await self.run(work)

    async def session(self, session_id: str) -> Session:
        return await self.run(lambda conn: service.get_session(conn, session_id, None))
