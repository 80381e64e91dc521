"""POST /api/v1/payment/webhook: verify, commit to the inbox, queue, answer (payments.md §2).

The same on the older path /api/payment/webhook, where a failure carries its code in ``error``.

A function of its own, without FastAPI: it starts fast and has its own concurrency and alarms. The provider ignores
the body of the answer; a status other than 200 makes it try again, which is what we want when nothing was stored.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from evpower import metrics
from evpower.audit import service as audit
from evpower.audit.models import AuditEntry
from evpower.clock import SystemClock
from evpower.config import get_settings
from evpower.db import Conn, SingleConnectionDatabase
from evpower.errors import (
    EvPowerError,
    InvalidRequest,
    MethodNotAllowed,
    PayloadTooLarge,
    ServiceUnavailable,
    Unauthorized,
)
from evpower.ids import accept_correlation_id, correlation_id
from evpower.logging import configure_logging, get_logger
from evpower.payments import service
from evpower.payments.callback_body import MAX_BODY_BYTES
from evpower.payments.deps import PaymentDeps, payment_deps
from evpower.payments.provider import Callback, CallbackMalformed, CallbackRejected, RawCallback
from evpower.payments.queue import CheckMessage

_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "1; mode=block",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000",
}

_LEGACY_PATH = "/api/payment/webhook"

_settings = get_settings()
configure_logging("payment_webhook", _settings.log_level)
_log = get_logger(__name__)
# One loop and one connection for the life of the process.
_runner = asyncio.Runner()
_deps = payment_deps(SingleConnectionDatabase(_settings), _settings, SystemClock())


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one API Gateway REST (v1) proxy event."""
    return _runner.run(receive(_deps, event))


async def receive(deps: PaymentDeps, event: Mapping[str, Any]) -> dict[str, Any]:
    """The whole of one call, with the ports given."""
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items() if value}
    correlation_id.set(accept_correlation_id(headers.get("x-correlation-id")))
    try:
        if event.get("httpMethod") != "POST":
            raise MethodNotAllowed
        address = _address(event)
        query = {str(name): str(value) for name, value in (event.get("queryStringParameters") or {}).items()}
        callback = await _verified(deps, RawCallback(_body(event), headers, query), address)
        await _accept(deps, callback, address)
    except EvPowerError as error:
        is_legacy = event.get("path") == _LEGACY_PATH
        return _failure(error, headers.get("accept-language", ""), is_legacy=is_legacy)
    metrics.emit({"WebhooksAccepted": 1}, Provider=deps.provider.name)
    return _answer(200, {"success": True, "status": "received"})


def _body(event: Mapping[str, Any]) -> bytes:
    """Raw body of the event.

    Raises:
        PayloadTooLarge: more than a notification can be.
        InvalidRequest: the gateway's encoding is broken.
    """
    text = event.get("body") or ""
    if len(text) > MAX_BODY_BYTES * 4 // 3 + 4:
        raise PayloadTooLarge
    try:
        body = base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("The body is not base64") from error
    if len(body) > MAX_BODY_BYTES:
        raise PayloadTooLarge
    return body


def _address(event: Mapping[str, Any]) -> str | None:
    identity = (event.get("requestContext") or {}).get("identity") or {}
    return identity.get("sourceIp")


async def _verified(deps: PaymentDeps, raw: RawCallback, address: str | None) -> Callback:
    try:
        return deps.provider.parse_callback(raw, deps.clock.now())
    except CallbackRejected as rejection:
        metrics.emit({"WebhooksRejected": 1}, Provider=deps.provider.name)
        _log.warning("callback rejected", extra={"reason": str(rejection), "client_ip": address})
        await _audit_refusal(deps, Unauthorized(), address)
        raise Unauthorized from rejection
    except CallbackMalformed as fault:
        metrics.emit({"WebhooksMalformed": 1}, Provider=deps.provider.name)
        raise InvalidRequest(f"The callback cannot be read: {fault}") from fault


def _audit_entry(address: str | None, status: int, **members: Any) -> AuditEntry:
    return AuditEntry(
        operation="payment_webhook",
        method="POST",
        path="/api/v1/payment/webhook",
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


def _failure(error: EvPowerError, accept_language: str, *, is_legacy: bool) -> dict[str, Any]:
    language = accept_language[:2].lower()
    message = error.message(language if language in {"ky", "en"} else "ru")
    shown = error.code if is_legacy else message
    body = {"success": False, "error_code": error.code, "error": shown, "message": message}
    return _answer(error.http_status, body)


def _answer(status: int, body: dict[str, Any]) -> dict[str, Any]:
    cid = correlation_id.get() or ""
    return {
        "statusCode": status,
        "headers": {**_HEADERS, "X-Correlation-ID": cid},
        "body": json.dumps({**body, "correlation_id": cid}, ensure_ascii=False),
        "isBase64Encoded": False,
    }
