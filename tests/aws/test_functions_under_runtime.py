"""Every function as its own process under AWS's runtime client, with the events that AWS sends.

What Lambda does to a function is done here: events one after the other to the same warm process, a time-out that kills
it, a failed start, binary bodies, half a batch that fails.
"""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from evpower.payments.odengi_signature import callback_hash
from infra.functions import FUNCTIONS
from infra.local.lambda_pool import FunctionDefinition, FunctionInitError, LambdaFunction, base_environment
from infra.local.processes import ROOT
from infra.local.queues import SqsEndpoint
from infra.local.rest_event import HttpRequest, proxy_event
from infra.schedules import SCHEDULES
from tests.integration.functions.api.conftest import CLIENT, JWT_SECRET, SUPABASE_URL, token

MERCHANT, PASSWORD = "1234567890", "callback-password"
WARM_INVOKES = 1000

Start = Callable[..., Awaitable[LambdaFunction]]


@pytest.fixture
async def start(database_url: str, redis_url: str, sqs: SqsEndpoint, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts one process of a function with its real settings; more settings by name."""
    running: list[LambdaFunction] = []
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO clients (id, balance) VALUES (%s, 1000)", (CLIENT,))
        conn.execute(
            """INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before,
                   balance_after, source_key) VALUES (%s, 'opening_balance', 1000, 0, 1000, 'opening')""",
            (CLIENT,),
        )

    async def start(name: str, *, timeout_s: float | None = None, **settings: str) -> LambdaFunction:
        spec = FUNCTIONS[name]
        environment = {
            **base_environment(),
            **sqs.environment,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers/evpower/python")]),
            "ENVIRONMENT": "test",
            "DATABASE_URL": database_url,
            "DATABASE_ROLE": spec.database_role,
            "REDIS_URL": redis_url,
            "SUPABASE_URL": SUPABASE_URL,
            "SUPABASE_JWT_SECRET": JWT_SECRET,
            "ODENGI_MERCHANT_ID": MERCHANT,
            "ODENGI_PASSWORD": PASSWORD,
            "ODENGI_API_URL": "http://127.0.0.1:9/api",
            "RATE_LIMIT_DEFAULT_PER_MINUTE": "1000000",
            "RATE_LIMIT_PUBLIC_PER_MINUTE": "1000000",
            "RATE_LIMIT_FAILURES_PER_MINUTE": "1000000",
            **settings,
        }
        definition = FunctionDefinition(name, spec.handler, timeout_s or spec.timeout_s, memory_mb=spec.memory_mb)
        function = LambdaFunction(definition, environment, tmp_path)
        running.append(function)
        await function.start()
        return function

    yield start
    for function in running:
        await function.stop()


def request(method: str, target: str, body: bytes = b"", **headers: str) -> dict[str, Any]:
    """API Gateway's REST (v1) event; a body that is no text goes base64, as the gateway sends it."""
    named = [(name.replace("_", "-"), value) for name, value in {"Content_Type": "application/json", **headers}.items()]
    call = HttpRequest(method, target, [("Host", "api.example"), *named], body, "198.51.100.7", 443)
    return proxy_event(call, datetime.now(UTC), "Root=1-67890abc-0123456789abcdef01234567")


def signed_in(method: str, target: str, body: bytes = b"") -> dict[str, Any]:
    return request(method, target, body, Authorization=f"Bearer {token(CLIENT)}")


def callback(**changes: Any) -> bytes:
    members = {
        "trans_id": "998877",
        "status_pay": 3,
        "site_id": MERCHANT,
        "order_id": "evp-unknown",
        "amount": 50000,
        "currency": "KGS",
        "mktime": "1767225600",
        "test": 0,
        **changes,
    }
    signature = callback_hash(PASSWORD, {name: str(value) for name, value in members.items()})
    return json.dumps({**members, "hash": signature}).encode()


def sqs_event(queue: str, *bodies: str) -> dict[str, Any]:
    """The event of an event source mapping."""
    return {
        "Records": [
            {
                "messageId": f"m-{number}",
                "receiptHandle": f"handle-{number}",
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": "1767225600000",
                    "SenderId": "AIDAEXAMPLE",
                    "ApproximateFirstReceiveTimestamp": "1767225600001",
                },
                "messageAttributes": {},
                "md5OfBody": "0" * 32,
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:eu-central-1:123456789012:{queue}",
                "awsRegion": "eu-central-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def scheduled(rule: str) -> dict[str, Any]:
    """EventBridge's scheduled event."""
    return {
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": "2026-01-01T00:00:00Z",
        "region": "eu-central-1",
        "resources": [f"arn:aws:events:eu-central-1:123456789012:rule/{rule}"],
        "detail": {},
    }


def connections(database_url: str) -> int:
    """Connections of functions to this database."""
    with psycopg.connect(database_url) as conn:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name LIKE 'evpower-%' AND datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


def open_files(function: LambdaFunction) -> int:
    (pid,) = function.pids
    return len(os.listdir(f"/proc/{pid}/fd"))


async def test_api_reuses_one_connection_over_a_thousand_warm_invokes(start: Start, database_url: str) -> None:
    function = await start("api")
    (pid,) = function.pids
    event = signed_in("GET", "/api/v1/balance/current")
    files = 0
    for number in range(WARM_INVOKES):
        result = await function.invoke(event)
        assert not result.function_error, result.payload
        assert result.payload["statusCode"] == 200, result.payload
        if number == 50:
            files = open_files(function)
    assert json.loads(result.payload["body"])["balance"] == 1000
    assert function.pids == [pid], "it is the same process still"
    assert connections(database_url) == 1
    assert open_files(function) <= files, "descriptors of the first invokes are enough for all"


async def test_webhook_reuses_its_process_and_stores_each_callback_once(start: Start, database_url: str) -> None:
    function = await start("payment_webhook")
    (pid,) = function.pids
    for number in range(40):
        body = callback(trans_id=str(number % 4))
        result = await function.invoke(request("POST", "/api/v1/payment/webhook", body))
        assert result.payload["statusCode"] == 200, result.payload
    assert function.pids == [pid]
    assert connections(database_url) == 1
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT count(*) FROM payment_inbox").fetchone() == (4,)


async def test_two_invokes_of_every_function_run_on_one_loop(start: Start) -> None:
    """Use case: an ``asyncio.run`` somewhere closes the loop, and only the second invocation of a process fails."""
    events = {
        "api": signed_in("GET", "/api/v1/balance/current"),
        "payment_webhook": request("POST", "/api/v1/payment/webhook", callback()),
        "payment_checks": sqs_event("payment-checks", "{}"),
        "push": sqs_event("push", "{}"),
        "sweeps": scheduled("evpower-dev-hanging_sessions"),
    }
    assert set(events) == set(FUNCTIONS)
    for name, event in events.items():
        function = await start(name)
        (pid,) = function.pids
        first, second = await function.invoke(event), await function.invoke(event)
        assert not first.function_error, (name, first.payload)
        assert not second.function_error, (name, second.payload)
        assert function.pids == [pid], name
        await function.stop()


async def test_every_schedule_finds_its_sweep(start: Start) -> None:
    function = await start("sweeps")
    for schedule in SCHEDULES:
        result = await function.invoke(scheduled(schedule.rule_name))
        assert not result.function_error, (schedule.name, result.payload)
        assert all(isinstance(count, int) for count in result.payload.values()), schedule.name


async def test_an_unknown_schedule_is_an_error_that_somebody_sees(start: Start) -> None:
    function = await start("sweeps")
    result = await function.invoke(scheduled("evpower-dev-no-such-sweep"))
    assert result.error_type == "UnknownSchedule"
    assert not (await function.invoke(scheduled("evpower-dev-station-status"))).function_error


async def test_binary_bodies_are_answered_and_not_crashed_on(start: Start) -> None:
    api, webhook = await start("api"), await start("payment_webhook")
    garbage = bytes(range(256))
    event = signed_in("POST", "/api/v1/charging/start", garbage)
    assert event["isBase64Encoded"] is True
    answer = (await api.invoke(event)).payload
    assert answer["statusCode"] in (400, 422)
    assert json.loads(answer["body"])["success"] is False
    refused = (await webhook.invoke(request("POST", "/api/v1/payment/webhook", garbage))).payload
    assert refused["statusCode"] in (400, 401)
    # The same bytes as text or as base64 are the same callback: the signature covers bytes.
    encoded = request("POST", "/api/v1/payment/webhook", callback())
    encoded |= {"body": base64.b64encode(encoded["body"].encode()).decode(), "isBase64Encoded": True}
    assert (await webhook.invoke(encoded)).payload["statusCode"] == 200


@pytest.mark.parametrize(("name", "queue"), [("payment_checks", "payment-checks"), ("push", "push")])
async def test_half_a_batch_fails_alone(start: Start, name: str, queue: str) -> None:
    function = await start(name)
    good = json.dumps({"inbox_id": 999_999} if name == "payment_checks" else {"outbox_id": 999_999})
    result = await function.invoke(sqs_event(queue, "not ours", good, '{"unknown": 1}'))
    assert not result.function_error, result.payload
    failed = {item["itemIdentifier"] for item in result.payload["batchItemFailures"]}
    assert failed == {"m-0", "m-2"}


async def test_a_time_out_kills_the_process_and_frees_its_connection(start: Start, database_url: str) -> None:
    function = await start("api", timeout_s=3)
    (pid,) = function.pids
    event = signed_in("GET", "/api/v1/balance/current")
    assert (await function.invoke(event)).payload["statusCode"] == 200
    with psycopg.connect(database_url) as conn:
        conn.execute("LOCK TABLE clients IN ACCESS EXCLUSIVE MODE")
        stuck = await function.invoke(event)
        assert stuck.error_type == "Sandbox.Timedout"
    result = await function.invoke(event)
    assert result.payload["statusCode"] == 200, result.payload
    assert function.pids != [pid]
    async with asyncio.timeout(20):
        while await asyncio.to_thread(connections, database_url) > 1:
            await asyncio.sleep(0.05)


async def test_a_function_that_may_not_start_says_why_and_tells_no_secret(start: Start) -> None:
    secret = "too-short-to-be-safe"
    with pytest.raises(FunctionInitError) as caught:
        await start("api", ENVIRONMENT="production", AUTH_TOKEN_SECRET=secret)
    assert "AUTH_TOKEN_SECRET" in str(caught.value)
    assert secret not in str(caught.value)


async def test_no_answer_of_a_list_can_outgrow_the_gateway(start: Start, database_url: str) -> None:
    """API Gateway takes 10 MB and Lambda 6: the largest page of the longest texts stays far below."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            """INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before,
                   balance_after, source_key, description)
               SELECT %s, 'balance_topup', 1, 1000 + n - 1, 1000 + n, 'test-' || n, repeat('ы', 500)
                 FROM generate_series(1, 2000) AS n""",
            (CLIENT,),
        )
        conn.execute("UPDATE clients SET balance = 3000 WHERE id = %s", (CLIENT,))
    function = await start("api")
    answer = (await function.invoke(signed_in("GET", "/api/v1/balance/history?limit=100000"))).payload
    assert answer["statusCode"] == 422, "a page has a bound"
    answer = (await function.invoke(signed_in("GET", "/api/v1/balance/history?limit=100"))).payload
    assert answer["statusCode"] == 200
    assert len(json.dumps(answer)) < 1_000_000
