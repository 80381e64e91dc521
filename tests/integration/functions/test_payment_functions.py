"""The webhook and the worker as functions: real events, a real queue, two invocations in one process."""

import base64
import hashlib
import hmac
import importlib
import json
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import psycopg
import pytest

from evpower.payments.odengi_signature import body_signature, callback_hash
from infra.local.queues import SqsEndpoint

CONTEXT = SimpleNamespace(
    aws_request_id="r-1",
    function_name="evpower-test",
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:evpower-test",
    memory_limit_in_mb=256,
)
PASSWORD, SECRET, MERCHANT = "callback-password", "webhook-secret", "1234567890"


@pytest.fixture
def functions(
    database_url: str, redis_url: str, sqs: SqsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], ModuleType]]:
    """Loads a function's module as a fresh process would, with its environment."""
    environment = {
        **sqs.environment,
        "ENVIRONMENT": "test",
        "DATABASE_URL": database_url,
        "DATABASE_ROLE": "evpower_worker",
        "REDIS_URL": redis_url,
        "ODENGI_API_URL": "http://127.0.0.1:9/api",
        "ODENGI_MERCHANT_ID": MERCHANT,
        "ODENGI_PASSWORD": PASSWORD,
        "ODENGI_WEBHOOK_SECRET": SECRET,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    loaded: list[tuple[str, ModuleType]] = []

    def load(name: str) -> ModuleType:
        module = importlib.reload(importlib.import_module(f"functions.{name}.handler"))
        loaded.append((name, module))
        return module

    yield load
    for name, module in loaded:
        module._runner.run((module._deps if name == "payment_webhook" else module._deps.db).close())
        module._runner.close()


def members(**changes: Any) -> dict[str, Any]:
    values = {
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
    return {**values, "hash": callback_hash(PASSWORD, {name: str(value) for name, value in values.items()})}


def event(body: bytes, *, encoded: bool = False, method: str = "POST", **headers: str) -> dict[str, Any]:
    return {
        "resource": "/api/v1/payment/webhook",
        "path": "/api/v1/payment/webhook",
        "httpMethod": method,
        "headers": headers or None,
        "multiValueHeaders": None,
        "queryStringParameters": None,
        "requestContext": {"identity": {"sourceIp": "192.0.2.7"}, "requestId": "1"},
        "body": base64.b64encode(body).decode() if encoded else body.decode("latin-1"),
        "isBase64Encoded": encoded,
    }


def query(database_url: str, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as conn:
        return conn.execute(text).fetchall()  # type: ignore[arg-type]


def received(sqs: SqsEndpoint) -> list[dict[str, Any]]:
    """Messages of the payment-checks queue, as the event source mapping hands them over."""
    url = sqs.urls["payment-checks"]
    answer = sqs.client().receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2)
    return [{"messageId": message["MessageId"], "body": message["Body"]} for message in answer.get("Messages", [])]


@pytest.mark.parametrize("encoded", [False, True])
def test_callback_becomes_a_row_and_a_message(
    functions: Callable[[str], ModuleType], database_url: str, sqs: SqsEndpoint, encoded: bool
) -> None:
    webhook = functions("payment_webhook")
    headers = {"Content-Type": "application/json", "X-Correlation-ID": "phone-1"}
    for _ in range(3):  # a repeat in the same process, on the same loop and connection
        answer = webhook.handler(event(json.dumps(members()).encode(), encoded=encoded, **headers), CONTEXT)
        assert answer["statusCode"] == 200
        assert answer["multiValueHeaders"]["X-Correlation-ID"] == ["phone-1"]
        assert answer["multiValueHeaders"]["X-Content-Type-Options"] == ["nosniff"]
        assert json.loads(answer["body"]) == {"success": True, "status": "received", "correlation_id": "phone-1"}
    [row] = query(database_url, "SELECT id, order_id, trans_id, status_pay, signature_scheme, state FROM payment_inbox")
    assert row[1:] == ("evp-unknown", "998877", "3", "hash", "received")
    audit = query(database_url, "SELECT status, amount_masked, correlation_id, details->>'order_id' FROM audit_logs")
    assert audit == [(200, "5**", "phone-1", "evp-unknown")] * 3
    messages = received(sqs)
    assert {message["body"] for message in messages} == {json.dumps({"inbox_id": row[0], "correlation_id": "phone-1"})}

    worker = functions("payment_checks")
    foreign = {"messageId": "foreign", "body": "not ours"}
    answer = worker.handler({"Records": [*messages, foreign]}, CONTEXT)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "foreign"}]}
    assert query(database_url, "SELECT state FROM payment_inbox") == [("unknown_order",)]
    assert worker.handler({"Records": messages}, CONTEXT) == {"batchItemFailures": []}
    assert worker.handler({}, CONTEXT) == {"batchItemFailures": []}


@pytest.mark.parametrize(
    ("language", "text"),
    [("", "Требуется вход"), ("ky-KG,ru", "Аккаунтка кирүү"), ("en", "Sign in first"), ("de", "Требуется вход")],
)
def test_refusal_has_the_flat_envelope(
    functions: Callable[[str], ModuleType], database_url: str, language: str, text: str
) -> None:
    body = json.dumps({**members(), "amount": 1}).encode()
    answer = functions("payment_webhook").handler(event(body, **{"Accept-Language": language}), CONTEXT)
    assert answer["statusCode"] == 401
    envelope = json.loads(answer["body"])
    assert envelope["success"] is False
    assert envelope["error_code"] == "unauthorized"
    assert envelope["error"] == envelope["message"]
    assert envelope["error"].startswith(text)
    assert query(database_url, "SELECT count(*) FROM payment_inbox") == [(0,)]
    assert query(database_url, "SELECT operation, status, error_code, client_ip FROM audit_logs") == [
        ("payment_webhook", 401, "unauthorized", "192.0.2.7")
    ]


def test_other_refusals(functions: Callable[[str], ModuleType], database_url: str) -> None:
    webhook = functions("payment_webhook")
    signed_noise = {"X-O-Dengi-Signature": body_signature(SECRET, b"{noise")}
    cases = [
        (event(b"x" * 70_000), 413),
        (event(b"x" * 100_000), 413),
        (event(b"x" * 70_000, encoded=True), 413),
        ({**event(b""), "body": "***", "isBase64Encoded": True}, 400),
        ({**event(b""), "body": None}, 401),
        (event(b"{noise", **signed_noise), 400),
        (event(b"{}", method="GET"), 405),
        ({**event(b"{}"), "requestContext": None}, 401),
    ]
    for call, status in cases:
        answer = webhook.handler(call, CONTEXT)
        assert (answer["statusCode"], json.loads(answer["body"])["success"]) == (status, False)
    assert query(database_url, "SELECT count(*) FROM payment_inbox") == [(0,)]


def test_nothing_is_acknowledged_that_is_not_stored(
    functions: Callable[[str], ModuleType], database_url: str, sqs: SqsEndpoint
) -> None:
    webhook = functions("payment_webhook")
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("ALTER TABLE payment_inbox RENAME TO payment_inbox_away")
        answer = webhook.handler(event(json.dumps(members()).encode()), CONTEXT)
        assert (answer["statusCode"], json.loads(answer["body"])["error_code"]) == (503, "service_unavailable")
        conn.execute("ALTER TABLE payment_inbox_away RENAME TO payment_inbox")
    assert webhook.handler(event(json.dumps(members()).encode()), CONTEXT)["statusCode"] == 200


def test_queue_away_the_callback_is_still_accepted(
    functions: Callable[[str], ModuleType], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    answer = functions("payment_webhook").handler(event(json.dumps(members()).encode()), CONTEXT)
    assert answer["statusCode"] == 200
    assert query(database_url, "SELECT state FROM payment_inbox") == [("received",)]


def test_the_legacy_path_shows_the_code_in_error(functions: Callable[[str], ModuleType], database_url: str) -> None:
    webhook = functions("payment_webhook")
    legacy = {"path": "/api/payment/webhook", "resource": "/api/payment/webhook"}
    refused = webhook.handler({**event(json.dumps({**members(), "hash": "0"}).encode()), **legacy}, CONTEXT)
    envelope = json.loads(refused["body"])
    assert (refused["statusCode"], envelope["error"], envelope["error_code"]) == (401, "unauthorized", "unauthorized")
    assert envelope["message"] not in ("", "unauthorized")
    accepted = webhook.handler({**event(json.dumps(members()).encode()), **legacy}, CONTEXT)
    assert accepted["statusCode"] == 200
    assert query(database_url, "SELECT count(*) FROM payment_inbox") == [(1,)]


def test_a_notification_of_the_bank_is_known_by_its_address(
    functions: Callable[[str], ModuleType], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "notify-secret-0123456789"
    environment = {
        "PAYMENT_PROVIDER": "OBANK",
        "OBANK_ENABLED": "true",
        "OBANK_POINT": "P",
        "OBANK_SERVICE_ID": "1330",
        "OBANK_CERT_PATH": "none.p12",
        "OBANK_UNITS_PER_SOM": "100",
        "OBANK_NOTIFY_URL": "https://api.example/api/v1/payment/webhook",
        "OBANK_NOTIFY_SECRET": secret,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    webhook = functions("payment_webhook")
    order = "123456789012345678"
    signature = hmac.new(secret.encode(), f"obank:{order}".encode(), hashlib.sha256).hexdigest()
    body = b"<notify><card_pan>4000000000000002</card_pan></notify>"
    for asked, status in (
        (None, 401),
        ({"order_id": order}, 401),
        ({"order_id": "1", "signature": signature}, 401),
        ({"order_id": order, "signature": signature}, 200),
    ):
        assert webhook.handler({**event(body), "queryStringParameters": asked}, CONTEXT)["statusCode"] == status
    [(order_id, kept)] = query(database_url, "SELECT order_id, payload::text FROM payment_inbox")
    assert order_id == order
    assert "4000" not in kept


def unsigned(address: str = "192.0.2.7", **headers: str) -> dict[str, Any]:
    call = event(json.dumps({**members(), "hash": "0"}).encode(), **headers)
    return {**call, "requestContext": {"identity": {"sourceIp": address}}}


@pytest.mark.parametrize("redis", ["there", "away"])
def test_only_calls_without_a_valid_signature_are_limited(
    functions: Callable[[str], ModuleType], database_url: str, monkeypatch: pytest.MonkeyPatch, redis: str
) -> None:
    monkeypatch.setenv("RATE_LIMIT_WEBHOOK_PER_MINUTE", "4")
    if redis == "away":
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9")
    webhook = functions("payment_webhook")
    signed = event(json.dumps(members()).encode())
    noise = event(b"{noise", **{"X-O-Dengi-Signature": body_signature(SECRET, b"{noise")})
    for _ in range(6):
        assert webhook.handler(signed, CONTEXT)["statusCode"] == 200
        assert webhook.handler(noise, CONTEXT)["statusCode"] == 400  # signed, though unreadable
    # What cannot even be a signed call counts like one with a wrong signature.
    refused = [unsigned(), event(b"x" * 70_000), {**event(b""), "body": "***", "isBase64Encoded": True}, unsigned()]
    assert [webhook.handler(call, CONTEXT)["statusCode"] for call in refused] == [401, 413, 400, 401]
    for call in refused:
        answer = webhook.handler({**call, "headers": {"Accept-Language": "en"}}, CONTEXT)
        envelope = json.loads(answer["body"])
        assert (answer["statusCode"], envelope["success"]) == (429, False)
        assert envelope["error_code"] == "rate_limit_exceeded"
        assert envelope["error"] == envelope["message"] == "Too many requests."
        assert 0 < envelope["retry_after_seconds"] <= 120
        assert answer["multiValueHeaders"]["Retry-After"] == [str(envelope["retry_after_seconds"])]
    assert webhook.handler(unsigned("192.0.2.8"), CONTEXT)["statusCode"] == 401
    assert webhook.handler(signed, CONTEXT)["statusCode"] == 200
    # A flood does not fill the audit log.
    assert query(database_url, "SELECT client_ip, count(*) FROM audit_logs WHERE status <> 200 GROUP BY 1") == [
        ("192.0.2.7", 2),
        ("192.0.2.8", 1),
    ]


def test_the_limited_address_is_the_one_that_our_proxy_saw(
    functions: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATE_LIMIT_WEBHOOK_PER_MINUTE", "2")
    webhook = functions("payment_webhook")
    invented = [unsigned(**{"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.7"}) for number in range(3)]
    assert [webhook.handler(call, CONTEXT)["statusCode"] for call in invented] == [401, 401, 429]
    other = unsigned(**{"X-Forwarded-For": "203.0.113.7, 203.0.113.8"})
    assert webhook.handler(other, CONTEXT)["statusCode"] == 401


def test_a_signed_call_needs_no_redis(functions: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    webhook = functions("payment_webhook")

    async def unexpected(_work: object) -> None:
        raise AssertionError("Redis was asked")

    monkeypatch.setattr("evpower.redis_access.RedisAccess.run", lambda _self, work: unexpected(work))
    assert webhook.handler(event(json.dumps(members()).encode()), CONTEXT)["statusCode"] == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/payment/webhook", 405, "invalid_request"),
        ("DELETE", "/api/payment/webhook", 405, "invalid_request"),
        ("POST", "/api/v1/payment/webhooks", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
    ],
)
def test_routes_that_do_not_exist(
    functions: Callable[[str], ModuleType], method: str, path: str, status: int, code: str
) -> None:
    answer = functions("payment_webhook").handler({**event(b"{}", method=method), "path": path}, CONTEXT)
    assert (answer["statusCode"], json.loads(answer["body"])["error_code"]) == (status, code)
    assert answer["multiValueHeaders"].get("Allow") == (["POST"] if status == 405 else None)
    assert answer["multiValueHeaders"]["Content-Type"] == ["application/json"]


def test_a_fault_of_ours_has_the_envelope_too(
    functions: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    webhook = functions("payment_webhook")

    def broken(*_arguments: object) -> None:
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr("evpower.payments.odengi.OdengiProvider.parse_callback", broken)
    answer = webhook.handler(event(b"{}"), CONTEXT)
    assert (answer["statusCode"], json.loads(answer["body"])["error_code"]) == (500, "internal_error")
    assert "nobody expected this" not in answer["body"]
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines() if "callback failed" in text]
    assert "nobody expected this" in line["exception"]
    assert line["function_request_id"] == "r-1"
