"""POST /api/v1/payment/webhook: verify, commit to the inbox, queue, answer (payments.md §2).

The same on the older path /api/payment/webhook, where a failure carries its code in ``error``.

A function of its own, without FastAPI: it starts fast and has its own concurrency and alarms. The provider ignores
the body of the answer; a status other than 200 makes it try again, which is what we want when nothing was stored.
"""

import asyncio
import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

from evpower import metrics, tracing
from evpower.audit import service as audit
from evpower.audit.models import AuditEntry
from evpower.auth.rate_limit import RateLimiter
from evpower.client_address import UNKNOWN, client_address_of
from evpower.clock import SystemClock
from evpower.config import get_settings
from evpower.db import Conn, SingleConnectionDatabase
from evpower.errors import (
    EvPowerError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RateLimitExceeded,
    ServiceUnavailable,
    Unauthorized,
)
from evpower.ids import accept_correlation_id, correlation_id
from evpower.lambda_runtime.entry import observed
from evpower.logging import get_logger
from evpower.payments import service
from evpower.payments.callback_body import MAX_BODY_BYTES
from evpower.payments.deps import PaymentDeps, payment_deps
from evpower.payments.provider import Callback, CallbackMalformed, CallbackRejected, RawCallback
from evpower.payments.queue import CheckMessage
from evpower.redis_access import RedisAccess

DATABASE_ANSWERS_WITHIN_S = 5.0
"""Half of what the function has: the callback is refused in time, and the provider repeats it."""
_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "1; mode=block",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000",
}

_PATH = "/api/v1/payment/webhook"
_LEGACY_PATH = "/api/payment/webhook"


@dataclass(frozen=True, slots=True)
class WebhookDeps:
    """Ports of this function; nothing is opened before its first use."""

    payments: PaymentDeps
    redis: RedisAccess
    limiter: RateLimiter

    async def close(self) -> None:
        """Release connections (tests; a Lambda process just ends)."""
        await self.redis.close()
        await self.payments.db.close()


def webhook_deps(payments: PaymentDeps) -> WebhookDeps:
    """The ports on the payments' database and clock. A call with a valid signature never needs Redis."""
    redis = RedisAccess(payments.settings)
    return WebhookDeps(payments, redis, RateLimiter(redis, payments.db, payments.clock))


_settings = get_settings()
observe = observed("payment_webhook", _settings.log_level)
_log = get_logger(__name__)
# One loop and one connection for the life of the process.
_runner = asyncio.Runner()
_database = SingleConnectionDatabase(_settings, answer_within_s=DATABASE_ANSWERS_WITHIN_S)
_deps = webhook_deps(payment_deps(_database, _settings, SystemClock()))
app = APIGatewayRestResolver()


@observe
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one API Gateway REST (v1) proxy event."""
    return _runner.run(receive(_deps, event, context))


async def receive(deps: WebhookDeps, event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """The whole of one call, with the ports given."""
    cid = accept_correlation_id(APIGatewayProxyEvent(event).headers.get("x-correlation-id"))
    correlation_id.set(cid)
    tracing.annotate("correlation_id", cid)
    app.append_context(deps=deps)  # type: ignore[no-untyped-call]
    return await app.resolve_async(event, context)


@app.post(_PATH)
@app.post(_LEGACY_PATH)
async def _notification() -> Response[str]:
    deps: WebhookDeps = app.context["deps"]
    event = app.current_event
    headers = _headers(event)
    address = _address(event, headers, deps.payments.settings.trusted_proxy_hops)
    callback = await _verified(deps, event, headers, address)
    await _accept(deps.payments, callback, address)
    metrics.emit({"WebhooksAccepted": 1}, Provider=deps.payments.provider.name)
    return _answer(200, {"success": True, "status": "received"})


@app.not_found
def _no_such_route(_error: NotFoundError) -> Response[str]:
    is_known = app.current_event.path in {_PATH, _LEGACY_PATH}
    return _failure(MethodNotAllowed() if is_known else NotFound())


def _failure(error: EvPowerError) -> Response[str]:
    """The flat envelope of mobile-api.md §0.1; on the legacy path ``error`` is the code."""
    event = app.current_event
    language = event.headers.get("accept-language", "")[:2].lower()
    message = error.message(language if language in {"ky", "en"} else "ru")
    headers = {}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = "POST"
    if retry_after := error.details.get("retry_after_seconds"):
        headers["Retry-After"] = str(retry_after)
    shown = error.code if event.path == _LEGACY_PATH else message
    body = {**error.details, "success": False, "error_code": error.code, "error": shown, "message": message}
    return _answer(error.http_status, body, headers)


def _fault(error: Exception) -> Response[str]:
    # The provider tries again, as after any answer that is not 200.
    _log.error("callback failed", exc_info=error)
    return _failure(EvPowerError())


app.exception_handler(EvPowerError)(_failure)
app.exception_handler(Exception)(_fault)


def _headers(event: APIGatewayProxyEvent) -> dict[str, str]:
    return {name: str(value) for name, value in event.headers.items() if value}


def _address(event: APIGatewayProxyEvent, headers: dict[str, str], trusted_hops: int) -> str | None:
    try:
        peer: str | None = event.request_context.identity.source_ip
    except (KeyError, TypeError):  # a test call of the API's console has no caller
        peer = None
    address = client_address_of(headers, peer, trusted_hops)
    return None if address == UNKNOWN else address


def _body(event: APIGatewayProxyEvent) -> bytes:
    """Raw body of the event: the signature covers bytes, and Powertools' `decoded_body` is text.

    Raises:
        PayloadTooLarge: more than a notification can be.
        InvalidRequest: the gateway's encoding is broken.
    """
    text = event.body or ""
    if len(text) > MAX_BODY_BYTES * 4 // 3 + 4:
        raise PayloadTooLarge
    try:
        body = base64.b64decode(text, validate=True) if event.is_base64_encoded else text.encode()
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("The body is not base64") from error
    if len(body) > MAX_BODY_BYTES:
        raise PayloadTooLarge
    return body


async def _verified(
    deps: WebhookDeps, event: APIGatewayProxyEvent, headers: dict[str, str], address: str | None
) -> Callback:
    """The notification, once its signature proves where it comes from.

    Raises:
        InvalidRequest: signed, but unreadable; or not even a body.
        PayloadTooLarge: as its name says.
        Unauthorized: no valid signature.
        RateLimitExceeded: too many such calls from that address. Only these count: whoever can sign is not limited.
    """
    provider = deps.payments.provider
    try:
        raw = RawCallback(_body(event), headers, event.query_string_parameters)
        return provider.parse_callback(raw, deps.payments.clock.now())
    except CallbackMalformed as fault:
        metrics.emit({"WebhooksMalformed": 1}, Provider=provider.name)
        raise InvalidRequest(f"The callback cannot be read: {fault}") from fault
    except CallbackRejected as rejection:
        metrics.emit({"WebhooksRejected": 1}, Provider=provider.name)
        await _count_unsigned(deps, address)
        _log.warning("callback rejected", extra={"reason": str(rejection), "client_ip": address})
        await _audit_refusal(deps.payments, Unauthorized(), address)
        raise Unauthorized from rejection
    except (InvalidRequest, PayloadTooLarge):
        await _count_unsigned(deps, address)
        raise


async def _count_unsigned(deps: WebhookDeps, address: str | None) -> None:
    # Not durable: while Redis is away a flood must not turn into writes to PostgreSQL.
    retry_after = await deps.limiter.hit(
        f"webhook:{address}", deps.payments.settings.rate_limit_webhook_per_minute, durable=False
    )
    if retry_after is not None:
        metrics.emit({"WebhooksLimited": 1}, Provider=deps.payments.provider.name)
        raise RateLimitExceeded(retry_after_seconds=retry_after)


def _audit_entry(address: str | None, status: int, **members: Any) -> AuditEntry:
    return AuditEntry(
        operation="payment_webhook",
        method="POST",
        path=_PATH,
        client_ip=address,
        status=status,
        correlation_id=correlation_id.get(),
        **members,
    )


async def _audit_refusal(deps: PaymentDeps, error: EvPowerError, address: str | None) -> None:
    entry = _audit_entry(address, error.http_status, error_code=error.code)
    try:
        await deps.db.run(lambda conn: audit.record(conn, entry))
    except Exception:
        # The refusal stands without its audit row.
        _log.exception("audit row was not written")


async def _accept(deps: PaymentDeps, callback: Callback, address: str | None) -> None:
    """Make the fact durable, then queue the question. A queue that is away costs time, never the fact."""
    now = deps.clock.now()
    entry = _audit_entry(address, 200, amount=callback.amount, details={"order_id": callback.order_id})

    async def store(conn: Conn) -> tuple[int, bool]:
        await audit.record(conn, entry)
        return await service.store_callback(conn, deps.provider.name, callback, now)

    try:
        inbox_id, is_open = await deps.db.run(store)
    except Exception as error:
        _log.exception("callback was not stored", extra={"order_id": callback.order_id})
        metrics.emit({"WebhooksNotStored": 1}, Provider=deps.provider.name)
        raise ServiceUnavailable from error
    _log.info(
        "callback received",
        extra={
            "inbox_id": inbox_id,
            "order_id": callback.order_id,
            "state": callback.state.value,
            "repeat": not is_open,
        },
    )
    if is_open:
        await deps.queue.send(CheckMessage(inbox_id=inbox_id))


def _answer(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response[str]:
    cid = correlation_id.get() or ""
    return Response(
        status_code=status,
        headers={**_HEADERS, "X-Correlation-ID": cid, **(headers or {})},
        body=json.dumps({**body, "correlation_id": cid}, ensure_ascii=False),
    )
