"""The Lambda handler with real API Gateway REST (v1) proxy events, in a process of its own shape: one loop, many
invocations."""

import asyncio
import base64
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from infra.local.queues import SqsEndpoint
from tests.integration.functions.api.conftest import CLIENT, JWT_SECRET, SERIAL, SUPABASE_URL, token

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


def event(
    method: str, path: str, body: Any = None, *, client: str | None = CLIENT, query: dict[str, list[str]] | None = None
) -> dict[str, Any]:
    """A REST v1 proxy event as API Gateway sends it."""
    headers = {"Content-Type": ["application/json"], "Host": ["api.example"], "X-Forwarded-For": ["198.51.100.7"]}
    headers["Origin"] = ["capacitor://localhost"]
    if client:
        headers["Authorization"] = [f"Bearer {token(client)}"]
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} if query else None,
        "multiValueQueryStringParameters": query,
        "pathParameters": {"proxy": path.lstrip("/")},
        "stageVariables": None,
        "requestContext": {
            "resourcePath": "/{proxy+}",
            "httpMethod": method,
            "path": f"/prod{path}",
            "protocol": "HTTP/1.1",
            "stage": "prod",
            "identity": {"sourceIp": "198.51.100.7", "userAgent": "test"},
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
        },
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


def _seed(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO clients (id, balance) VALUES (%s, 1000)", (CLIENT,))
        conn.execute(
            """INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before,
                   balance_after, source_key) VALUES (%s, 'opening_balance', 1000, 0, 1000, 'opening')""",
            (CLIENT,),
        )
        conn.execute("INSERT INTO locations (id, name) VALUES ('loc-1', 'Central')")
        conn.execute(
            """INSERT INTO stations (id, serial_number, location_id, price_per_kwh, last_heartbeat_at,
                   connected_instance) VALUES ('st-1', %s, 'loc-1', 13.5, %s, 'i-1')""",
            (SERIAL, datetime.now(UTC)),
        )
        conn.execute("INSERT INTO connectors (station_id, connector_number) VALUES ('st-1', 1)")


@pytest.fixture
def handler(database_url: str, redis_url: str, sqs: SqsEndpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Handler]:
    """The module as the runtime imports it: configured by the environment alone."""
    _seed(database_url)
    environment = {
        "ENVIRONMENT": "test",
        "DATABASE_URL": database_url,
        "DATABASE_ROLE": "evpower_api",
        "REDIS_URL": redis_url,
        "SUPABASE_URL": SUPABASE_URL,
        "SUPABASE_JWT_SECRET": JWT_SECRET,
        **sqs.environment,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    sys.modules.pop("functions.api.handler", None)
    module = importlib.import_module("functions.api.handler")
    yield module.handler
    sys.modules.pop("functions.api.handler", None)
    loop.run_until_complete(module.deps.close())
    loop.close()
    asyncio.set_event_loop(None)


CONTEXT = SimpleNamespace(
    aws_request_id="r-1",
    function_name="api",
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:api",
    memory_limit_in_mb=512,
)


def body_of(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["isBase64Encoded"] is False
    parsed: dict[str, Any] = json.loads(answer["body"])
    return parsed


def test_two_invocations_on_one_loop_and_one_connection(handler: Handler, database_url: str) -> None:
    for _ in range(2):
        answer = handler(event("GET", "/api/v1/balance/current"), CONTEXT)
        assert answer["statusCode"] == 200
        assert body_of(answer)["balance"] == 1000
        assert answer["headers"]["access-control-allow-origin"] == "capacitor://localhost"
        assert answer["headers"]["content-type"] == "application/json"
    with psycopg.connect(database_url) as conn:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name LIKE 'evpower-%' AND datname = current_database()"
        ).fetchone()
        assert row == (1,)


def test_a_lost_connection_is_replaced(handler: Handler, database_url: str) -> None:
    assert handler(event("GET", "/api/v1/balance/current"), CONTEXT)["statusCode"] == 200
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'evpower-%' AND datname = current_database()"
        )
    assert handler(event("GET", "/api/v1/balance/current"), CONTEXT)["statusCode"] == 200


def test_a_start_reaches_the_queue(handler: Handler, sqs: SqsEndpoint) -> None:
    answer = handler(event("POST", "/api/v1/charging/start", {"station_id": SERIAL, "connector_id": 1}), CONTEXT)
    started = body_of(answer)
    assert answer["statusCode"] == 200, started
    url = sqs.environment["SQS_COMMANDS_QUEUE_URL"]
    (message,) = sqs.client().receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2)["Messages"]
    sent = json.loads(message["Body"])
    assert sent["station_id"] == "st-1"
    assert sent["correlation_id"] == answer["headers"]["x-correlation-id"]
    status = body_of(handler(event("GET", f"/api/v1/charging/status/{started['session_id']}"), CONTEXT))
    assert status["session"]["status"] == "started"


def test_base64_bodies_and_queries(handler: Handler) -> None:
    request = event("POST", "/api/v1/charging/stop")
    request["body"] = base64.b64encode(b'{"session_id": "none"}').decode()
    request["isBase64Encoded"] = True
    assert body_of(handler(request, CONTEXT))["error_code"] == "session_not_found"
    paged = handler(event("GET", "/api/v1/balance/history", query={"limit": ["7"]}), CONTEXT)
    assert body_of(paged)["limit"] == 7


def test_failures_are_envelopes_with_cors(handler: Handler) -> None:
    for request, status, code in (
        (event("GET", "/api/v1/profile", client=None), 401, "unauthorized"),
        (event("GET", "/nowhere"), 404, "not_found"),
        (event("DELETE", "/api/v1/profile"), 405, "invalid_request"),
        (event("POST", "/api/v1/charging/start", {}), 422, "validation_error"),
        (event("POST", "/api/v1/charging/start", "x" * 1_100_000), 413, "invalid_request"),
    ):
        answer = handler(request, CONTEXT)
        assert (answer["statusCode"], body_of(answer)["error_code"]) == (status, code)
        assert answer["headers"]["access-control-allow-origin"] == "capacitor://localhost"


def test_an_event_that_cannot_be_read_is_answered(handler: Handler) -> None:
    broken = {**event("POST", "/api/v1/charging/stop"), "body": "not base64!", "isBase64Encoded": True}
    answer = handler(broken, CONTEXT)
    assert (answer["statusCode"], body_of(answer)["error_code"]) == (400, "invalid_request")
    assert answer["headers"]["access-control-allow-origin"] == "*"


def test_preflight(handler: Handler) -> None:
    request = event("OPTIONS", "/api/v1/charging/start", client=None)
    request["headers"]["Access-Control-Request-Method"] = "POST"
    request["multiValueHeaders"]["Access-Control-Request-Method"] = ["POST"]
    answer = handler(request, CONTEXT)
    assert (answer["statusCode"], answer["headers"]["access-control-allow-origin"]) == (200, "capacitor://localhost")
