"""A real database, the stand-in over HTTP and a collecting queue, wired as the functions wire them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from evpower.auth.rate_limit import RateLimiter
from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import PooledDatabase
from evpower.payments import flows
from evpower.payments.deps import PaymentDeps, payment_provider
from evpower.payments.models import CreatedTopUp, NewTopUp
from evpower.payments.queue import CheckMessage
from evpower.redis_access import RedisAccess
from functions.payment_webhook import handler as webhook
from infra.local.payment_standin.server import PaymentStandin


@dataclass
class CollectingQueue:
    """Keeps messages until the test takes them."""

    messages: list[tuple[CheckMessage, timedelta]] = field(default_factory=list)
    down: bool = False

    async def send(self, message: CheckMessage, delay: timedelta = timedelta(0)) -> bool:
        if not self.down:
            self.messages.append((message, delay))
        return not self.down

    def take(self) -> list[CheckMessage]:
        taken, self.messages = [message for message, _ in self.messages], []
        return taken


@dataclass
class World:
    """One test's payment system."""

    db: PooledDatabase
    deps: PaymentDeps
    standin: PaymentStandin
    queue: CollectingQueue
    clock: FrozenClock
    callback_answers: list[dict[str, Any]] = field(default_factory=list)

    async def client(self, client_id: str = "client-a", balance: int = 0) -> str:
        """A client; a starting balance gets its ledger row."""
        async with self.db.transaction() as conn:
            await conn.execute("INSERT INTO clients (id, balance) VALUES (%s, %s)", (client_id, balance))
            if balance:
                await conn.execute(
                    """INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before,
                           balance_after, source_key) VALUES (%s, 'opening_balance', %s, 0, %s, %s)""",
                    (client_id, balance, balance, f"opening:{client_id}"),
                )
        return client_id

    async def topup(self, client_id: str = "client-a", amount: int = 500) -> CreatedTopUp:
        return await flows.create_topup(self.deps, NewTopUp(client_id, Decimal(amount)))

    async def one(self, query: str, *values: object) -> dict[str, Any]:
        async with self.db.transaction() as conn:
            row = await (await conn.execute(query, values)).fetchone()
        assert row is not None
        return row

    async def balance(self, client_id: str = "client-a") -> Decimal:
        """The balance, after proving that it is the sum and the last row of the ledger."""
        row = await self.one(
            """SELECT balance, coalesce((SELECT sum(amount) FROM payment_transactions_odengi WHERE client_id = c.id), 0)
                      AS total, coalesce((SELECT balance_after FROM payment_transactions_odengi WHERE client_id = c.id
                      ORDER BY id DESC LIMIT 1), 0) AS last FROM clients c WHERE id = %s""",
            client_id,
        )
        assert row["balance"] == row["total"] == row["last"]
        found: Decimal = row["balance"]
        return found

    async def status(self, topup_id: int) -> str:
        found: str = (await self.one("SELECT status FROM balance_topups WHERE id = %s", topup_id))["status"]
        return found

    def with_provider(self, **changes: object) -> PaymentDeps:
        """The same system with other settings of the provider client."""
        settings = self.deps.settings.model_copy(update=changes)
        return PaymentDeps(self.db, payment_provider(settings), self.queue, settings, self.clock)


async def _receiver(world: World, redis: RedisAccess) -> Callable[[web.Request], Awaitable[web.Response]]:
    limiter = RateLimiter(redis, world.db, world.clock)

    async def receive(request: web.Request) -> web.Response:
        event = {
            "httpMethod": "POST",
            "path": request.path,
            "headers": dict(request.headers),
            "body": (await request.read()).decode(),
            "isBase64Encoded": False,
            "requestContext": {"identity": {"sourceIp": "192.0.2.7"}},
        }
        answer = await webhook.receive(webhook.WebhookDeps(world.deps, redis, limiter), event)
        world.callback_answers.append(answer)
        return web.Response(status=answer["statusCode"], text=answer["body"], content_type="application/json")

    return receive


@pytest.fixture
async def world(db: PooledDatabase, make_settings: Callable[..., Settings]) -> AsyncIterator[World]:
    """The payment system of one test; the stand-in's notifications arrive at the webhook function's code."""
    app = web.Application()
    runner = web.AppRunner(app)
    async with PaymentStandin() as standin:
        clock = FrozenClock(datetime.now(UTC))
        queue = CollectingQueue()
        settings = make_settings(
            odengi_api_url=standin.api_url,
            odengi_merchant_id=standin.merchant_id,
            odengi_password=standin.password,
            odengi_webhook_secret="test-webhook-secret",
            provider_timeout_s=2.0,
            redis_url="redis://127.0.0.1:9",  # nobody answers there: refusals are counted per process
        )
        world = World(db, None, standin, queue, clock)  # type: ignore[arg-type]
        app.router.add_post("/api/v1/payment/webhook", await _receiver(world, RedisAccess(settings)))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        settings = settings.model_copy(update={"odengi_result_url": f"http://127.0.0.1:{port}/api/v1/payment/webhook"})
        provider = payment_provider(settings)
        world.deps = PaymentDeps(db, provider, queue, settings, clock)
        yield world
        await provider.close()  # type: ignore[attr-defined]
    await runner.cleanup()
