"""A charger whose messages go straight to the handlers of OCPP 1.6, on a clock that stands still until it is moved.

No socket and no schema: what is tested is what a message does. Readings take the quick way where they may.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from evpower.charging import service as charging
from evpower.clock import FrozenClock, iso_z
from evpower.config import Settings
from evpower.db import PooledDatabase
from evpower.ids import new_id
from evpower.stations import service as stations
from socket_tier.charger import Charger
from socket_tier.meter_flush import MeterFlush
from socket_tier.ocpp16 import meter_frames, meter_values, start_transaction, stop_transaction
from socket_tier.services import Services


@dataclass
class HandledCharger:
    """``commands``: ids of commands that were to be dispatched, oldest first."""

    charger: Charger
    clock: FrozenClock
    commands: list[str] = field(default_factory=list)

    @classmethod
    async def connect(
        cls, db: PooledDatabase, settings: Settings, clock: FrozenClock, station_id: str = "station-1"
    ) -> "HandledCharger":
        """A new connection of the station, which fences out the one before."""
        commands: list[str] = []

        def dispatch(_station_id: str, command_id: str) -> bool:
            commands.append(command_id)
            return True

        async def changed(_ids: list[str]) -> None:
            return None

        admission = await db.run(lambda conn: stations.load_for_admission(conn, station_id))
        assert admission is not None
        epoch = await db.run(lambda conn: stations.claim_connection(conn, station_id, "test", clock.now()))
        flush = MeterFlush(db, charging.flush_readings, charging.quarantine_readings, linger_s=0)
        services = Services(db, clock, settings, "test", flush, dispatch, changed, lambda _station_id: None)
        return cls(Charger(admission, epoch, services), clock, commands)

    async def start(self, connector: int, tag: str, register: int, at: datetime | None = None) -> int:
        """StartTransaction; the transactionId that was answered. ``at``: the charger's time."""
        self.charger.message_id = new_id()
        payload = {"connectorId": connector, "idTag": tag, "meterStart": register, "timestamp": self._stamp(at)}
        answer = await start_transaction.handle(self.charger, payload)
        await self._settle()
        return int(answer["transactionId"])

    async def stop(self, transaction: int, register: int, at: datetime | None = None, tag: str | None = None) -> None:
        payload: dict[str, Any] = {
            "transactionId": transaction,
            "meterStop": register,
            "timestamp": self._stamp(at),
            "reason": "Local",
        }
        await stop_transaction.handle(self.charger, payload | ({"idTag": tag} if tag is not None else {}))
        await self._settle()

    async def read(
        self, connector: int, register: int, at: datetime | None = None, *, transaction: int | None = None, **more: str
    ) -> None:
        """MeterValues with one register in Wh. ``power_w``: also the power."""
        values = [{"value": str(register), "measurand": "Energy.Active.Import.Register", "unit": "Wh"}]
        if "power_w" in more:
            values.append({"value": more["power_w"], "measurand": "Power.Active.Import", "unit": "W"})
        payload: dict[str, Any] = {
            "connectorId": connector,
            "meterValue": [{"timestamp": self._stamp(at), "sampledValue": values}],
        }
        if transaction is not None:
            payload["transactionId"] = transaction
        await self._handle_reading(payload)
        await self._settle()

    async def _handle_reading(self, payload: dict[str, Any]) -> None:
        frame = meter_frames.read(orjson.dumps([2, new_id(), "MeterValues", payload]))
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if frame is not None and meter_values.quick(self.charger, frame, outcome.set_result):
            assert await outcome == {}
        else:
            assert await meter_values.handle(self.charger, payload) == {}

    async def _settle(self) -> None:
        """What was left to be done after the answer is done."""
        self.charger.run_deferred()
        await self.charger.finish_background(10)

    def _stamp(self, at: datetime | None) -> str:
        return iso_z(at if at is not None else self.clock.now())


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)
