"""The real application under its limited database role, with real PostgreSQL, Valkey and the payment stand-in."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import jwt
import pytest

from evpower.charging import service as charging
from evpower.charging.models import StartTransaction, StopTransaction
from evpower.clock import FrozenClock
from evpower.commands.models import Command
from evpower.config import Settings, get_settings
from evpower.db import PooledDatabase
from evpower.stations import service as stations
from functions.api.app import create_app
from functions.api.deps import Deps, build_deps
from infra.local.payment_standin.server import PaymentStandin
from infra.local.queues import SqsEndpoint

JWT_SECRET = "test-secret-of-at-least-thirty-two-bytes"
SUPABASE_URL = "https://project.supabase.example"
CLIENT, OTHER, STATION, SERIAL = "client-a", "demo-user-apple-review", "st-1", "SN-st-1"


def token(subject: str, **claims: Any) -> str:
    """A Supabase session token (HS256)."""
    now = int(time.time())
    base = {"iss": f"{SUPABASE_URL}/auth/v1", "aud": "authenticated", "sub": subject, "exp": now + 600}
    return jwt.encode({**base, **claims}, JWT_SECRET, "HS256")


@dataclass
class CollectingQueue:
    """Commands that were handed to the socket tier."""

    sent: list[Command] = field(default_factory=list)

    async def send(self, command: Command) -> None:
        self.sent.append(command)

    async def send_all(self, commands: Any) -> None:
        self.sent.extend(commands)


@dataclass
class Api:
    """The application, the database behind it (as the worker role), and a charger to play."""

    deps: Deps
    http: httpx.AsyncClient
    db: PooledDatabase
    queue: CollectingQueue
    standin: PaymentStandin
    epoch: int = 0

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        client: str | None = CLIENT,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """One request of ``client`` (None: without a token), as the app sends it."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        if client is not None:
            sent["Authorization"] = f"Bearer {token(client)}"
        if body is None:
            return await self.http.request(method, path, headers=sent)
        return await self.http.request(method, path, json=body, headers=sent)

    async def ok(self, method: str, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        """The body of a 200 answer."""
        response = await self.call(method, path, body, **options)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/json"
        answer: dict[str, Any] = response.json()
        return answer

    async def fails(
        self, method: str, path: str, body: Any = None, *, status: int, code: str, **options: Any
    ) -> dict[str, Any]:
        """The envelope of a failure with this HTTP status and code."""
        response = await self.call(method, path, body, **options)
        answer: dict[str, Any] = response.json()
        assert (response.status_code, answer.get("error_code")) == (status, code), response.text
        assert answer["success"] is False
        assert answer["error"] == answer["message"] != ""
        assert None not in answer.values()
        assert response.headers["access-control-expose-headers"] if "origin" in (options.get("headers") or {}) else True
        return answer

    async def sql(self, query: str, *values: object) -> list[dict[str, Any]]:
        async with self.db.transaction() as conn:
            cursor = await conn.execute(query, values)
            return await cursor.fetchall() if cursor.description else []

    async def one(self, query: str, *values: object) -> Any:
        """The only value of the only row."""
        (row,) = await self.sql(query, *values)
        (value,) = row.values()
        return value

    async def balance(self, client_id: str = CLIENT) -> Decimal:
        """The balance, after proving that it is the sum of the ledger."""
        (row,) = await self.sql(
            """SELECT balance, (SELECT coalesce(sum(amount), 0) FROM payment_transactions_odengi
                                 WHERE client_id = c.id) AS total FROM clients c WHERE id = %s""",
            client_id,
        )
        assert row["balance"] == row["total"]
        found: Decimal = row["balance"]
        return found

    async def add_client(self, client_id: str, balance: int = 0, status: str = "active") -> None:
        await self.sql(
            "INSERT INTO clients (id, balance, status, phone, name) VALUES (%s, %s, %s, %s, 'Test')",
            client_id,
            balance,
            status,
            f"+996700{abs(hash(client_id)) % 10**6:06d}",
        )
        if balance:
            await self.sql(
                """INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before,
                       balance_after, source_key) VALUES (%s, 'opening_balance', %s, 0, %s, %s)""",
                client_id,
                balance,
                balance,
                f"opening:{client_id}",
            )

    async def add_station(self, station_id: str, *, connectors: int = 2, **columns: Any) -> None:
        values: dict[str, Any] = {
            "id": station_id,
            "serial_number": f"SN-{station_id}",
            "model": "DC-60",
            "manufacturer": "Maker",
            "location_id": "loc-1",
            "price_per_kwh": Decimal("13.5"),
            "last_heartbeat_at": self.deps.clock.now(),
            "is_available": True,
            **columns,
        }
        marks = ", ".join(["%s"] * len(values))
        await self.sql(f"INSERT INTO stations ({', '.join(values)}) VALUES ({marks})", *values.values())
        for number in range(1, connectors + 1):
            await self.sql(
                """INSERT INTO connectors (station_id, connector_number, connector_type, power_kw)
                   VALUES (%s, %s, 'CCS2', 60)""",
                station_id,
                number,
            )

    async def connect(self, station_id: str = STATION) -> None:
        """The charger's socket opens."""
        async with self.db.transaction() as conn:
            self.epoch = await stations.claim_connection(conn, station_id, "test-instance", self.deps.clock.now())

    async def start(self, **body: Any) -> dict[str, Any]:
        """A session by the route."""
        return await self.ok("POST", "/api/v1/charging/start", {"station_id": SERIAL, "connector_id": 1, **body})

    async def charger_starts(self, session_id: str, meter_wh: int = 1000) -> int:
        """The charger sends StartTransaction; the transaction id."""
        tag = await self.one("SELECT id_tag FROM charging_sessions WHERE id = %s", session_id)
        now = self.deps.clock.now()
        async with self.db.transaction() as conn:
            started = await charging.start_transaction(
                conn, StartTransaction(STATION, 1, tag, Decimal(meter_wh), now, now, self.epoch)
            )
        assert started.id_tag_status == "Accepted"
        return started.transaction_id

    async def charger_stops(self, transaction_id: int, meter_wh: int) -> None:
        """The charger sends StopTransaction."""
        now = self.deps.clock.now()
        async with self.db.transaction() as conn:
            await charging.stop_transaction(
                conn, StopTransaction(STATION, transaction_id, Decimal(meter_wh), now, now, self.epoch)
            )


@pytest.fixture
async def standin() -> AsyncIterator[PaymentStandin]:
    async with PaymentStandin() as server:
        yield server


@pytest.fixture
def api_settings(
    make_settings: Callable[..., Settings],
    redis_url: str,
    standin: PaymentStandin,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Settings]:
    """Settings of the API function: its own database role, small waits."""

    def make(**overrides: object) -> Settings:
        values: dict[str, object] = {
            "database_role": "evpower_api",
            "redis_url": redis_url,
            "supabase_url": SUPABASE_URL,
            "supabase_jwt_secret": JWT_SECRET,
            "master_api_key": "test-master-key",
            "hmac_secret": "test-hmac-secret",
            "odengi_api_url": standin.api_url,
            "odengi_merchant_id": standin.merchant_id,
            "odengi_password": standin.password,
            "provider_timeout_s": 2.0,
            "rate_limit_default_per_minute": 1000,
            "rate_limit_failures_per_minute": 1000,
            "rate_limit_critical_per_minute": 1000,
            "stop_wait_s": 0.5,
            **overrides,
        }
        return make_settings(**values)

    return make


@pytest.fixture
async def make_api(
    api_settings: Callable[..., Settings], db: PooledDatabase, standin: PaymentStandin, sqs: SqsEndpoint
) -> AsyncIterator[Callable[..., Any]]:
    """Builds the application with settings of the test's choice."""
    opened: list[tuple[Deps, PooledDatabase, httpx.AsyncClient]] = []

    async def make(**overrides: object) -> Api:
        queues = {name.lower(): value for name, value in sqs.environment.items() if name.startswith("SQS_")}
        settings = api_settings(aws_endpoint_url=sqs.endpoint_url, **queues, **overrides)
        database = PooledDatabase(settings, size=6)
        await database.open()
        deps = build_deps(settings, database=database, clock=FrozenClock(datetime.now(UTC)))
        queue = CollectingQueue()
        deps.commands = queue
        transport = httpx.ASGITransport(app=create_app(deps), raise_app_exceptions=False, client=("192.0.2.9", 1))
        http = httpx.AsyncClient(transport=transport, base_url="https://api.example")
        opened.append((deps, database, http))
        return Api(deps, http, db, queue, standin)

    yield make
    for deps, database, http in opened:
        await http.aclose()
        await deps.close()
        await database.close()


@pytest.fixture
async def api(make_api: Callable[..., Any]) -> Api:
    """A network with one location, one connected station with two connectors, and two clients."""
    api: Api = await make_api()
    get_settings.cache_clear()
    await api.sql(
        """INSERT INTO locations (id, name, address, city, country, latitude, longitude)
           VALUES ('loc-1', 'Central', 'Street 1', 'Bishkek', 'KG', 42.87, 74.59)"""
    )
    await api.add_station(STATION)
    await api.connect()
    await api.add_client(CLIENT, 1000)
    await api.add_client(OTHER, 500)
    return api
