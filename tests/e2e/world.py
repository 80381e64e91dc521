"""The people and places of the end-to-end tests: made in the database, then everything goes through the front doors."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import jwt
import psycopg
from psycopg.rows import dict_row

from infra.local.demo.driver import Driver
from infra.local.simulator import ChargePoint, Vehicle
from infra.local.system import LocalSystem
from tests.e2e.auditor import Conn, money_findings

FAST_KW = 1800.0
"""Power of the test chargers: 0.5 kWh a second, so that a charge takes seconds of true time."""
PRICE = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the running system listens, and its local secrets."""

    base_url: str
    database_url: str
    redis_url: str
    jwt_secret: str
    jwt_issuer: str
    provider_url: str

    @property
    def ocpp_url(self) -> str:
        """Prefix of the charger's endpoint."""
        return self.base_url.replace("http://", "ws://") + "/ocpp"


def place_of(system: LocalSystem) -> Place:
    """Where that system listens."""
    environment = system.environment
    return Place(
        base_url=system.base_url,
        database_url=system.database_url,
        redis_url=system.redis_url,
        jwt_secret=environment["SUPABASE_JWT_SECRET"],
        jwt_issuer=f"{environment['SUPABASE_URL'].rstrip('/')}/auth/v1",
        provider_url=system.standin_url,
    )


@dataclass(slots=True)
class World:
    """Makes clients, stations and chargers; closes what it opened."""

    place: Place
    conn: Conn
    stack: AsyncExitStack
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    async def open(cls, place: Place) -> World:
        """Connect as the owner of the database."""
        conn = await psycopg.AsyncConnection.connect(place.database_url, autocommit=True, row_factory=dict_row)
        return cls(place, conn, AsyncExitStack())

    async def close(self) -> None:
        """Close drivers, chargers (raising what the server did wrong) and the connection."""
        try:
            await self.stack.aclose()
        finally:
            await self.conn.close()

    # --- making ----------------------------------------------------------------------------------------------

    async def client(self, balance: float = 0) -> str:
        """A client with an opening balance; its id."""
        identifier = str(uuid.uuid4())
        async with self.conn.transaction():
            await self.conn.execute("INSERT INTO clients (id, balance) VALUES (%s, %s)", [identifier, balance])
            if balance:
                await self.conn.execute(
                    """INSERT INTO payment_transactions_odengi
                           (client_id, transaction_type, amount, balance_before, balance_after, source_key)
                       VALUES (%s, 'opening_balance', %s, 0, %s, %s)""",
                    [identifier, balance, balance, f"opening:{identifier}"],
                )
        return identifier

    def token(self, client_id: str, **claims: Any) -> str:
        """A token as Supabase signs it."""
        now = int(time.time())
        body = {"sub": client_id, "aud": "authenticated", "role": "authenticated", "iss": self.place.jwt_issuer}
        return jwt.encode({**body, "iat": now, "exp": now + 3600, **claims}, self.place.jwt_secret, algorithm="HS256")

    async def driver(self, balance: float = 0, *, client_id: str | None = None) -> Driver:
        """The phone of a new client (or of one that exists)."""
        identifier = client_id or await self.client(balance)
        return await self.stack.enter_async_context(Driver(self.place.base_url, self.token(identifier)))

    async def station(
        self, *, connectors: int = 2, power_kw: float = FAST_KW, price: float = PRICE, meter_interval_s: int = 1
    ) -> str:
        """A station with its location; its serial number (the id is ``id-`` and that)."""
        serial = f"E2E-{next(self._numbers)}-{uuid.uuid4().hex[:6].upper()}"
        async with self.conn.transaction():
            row = await (
                await self.conn.execute(
                    "INSERT INTO locations (name, address) VALUES (%s, 'Test') RETURNING id", [serial]
                )
            ).fetchone()
            assert row is not None
            await self.conn.execute(
                """INSERT INTO stations (id, serial_number, model, manufacturer, location_id, power_capacity,
                                         price_per_kwh, meter_interval_s)
                   VALUES (%s, %s, 'SIM-1', 'Simulator', %s, %s, %s, %s)""",
                [f"id-{serial}", serial, row["id"], power_kw, price, meter_interval_s],
            )
            for number in range(1, connectors + 1):
                await self.conn.execute(
                    """INSERT INTO connectors (station_id, connector_number, connector_type, power_kw)
                       VALUES (%s, %s, 'CCS2', %s)""",
                    [f"id-{serial}", number, power_kw],
                )
        return serial

    async def charger(self, serial: str | None = None, *, url: str | None = None, **options: Any) -> ChargePoint:
        """A connected charger, on a station of its own unless one is named. It has a large battery to fill."""
        station_id = f"id-{serial or await self.station()}"
        options = {"power_kw": FAST_KW, "vehicle": Vehicle(10_000, 0.2, max_power_kw=1e6), **options}
        point = ChargePoint(url or self.place.ocpp_url, station_id, **options)
        await self.stack.enter_async_context(point)
        await point.wait_online()
        return point

    # --- asking ----------------------------------------------------------------------------------------------

    async def one(self, query: str, *parameters: object) -> dict[str, Any]:
        """The single row of a query."""
        row = await (await self.conn.execute(query, parameters)).fetchone()  # type: ignore[arg-type]
        assert row is not None, query
        return row

    async def session_row(self, session_id: str) -> dict[str, Any]:
        """A session as it is in the database."""
        return await self.one("SELECT * FROM charging_sessions WHERE id = %s", session_id)

    async def check_money(self) -> None:
        """Every balance, ledger row, session and payment agrees."""
        assert await money_findings(self.conn) == []


def serial_of(point: ChargePoint) -> str:
    """The serial number of a charger made by `World.charger`."""
    return point.station_id.removeprefix("id-")


def ended(session: dict[str, Any]) -> bool:
    """Condition: the session is over."""
    return session["status"] != "started"


def delivering(energy_kwh: float = 0.0) -> Callable[[dict[str, Any]], bool]:
    """Condition: the session shows more than ``energy_kwh``."""
    return lambda session: bool(session["energy_consumed"] > energy_kwh)
