"""Audit of payment and charging requests (mobile-api.md §1.10): to the log and to ``audit_logs``."""

import re
from decimal import Decimal
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evpower.audit import service as audit
from evpower.audit.models import AuditEntry
from evpower.db import Database, system_claims
from evpower.errors import EvPowerError
from evpower.logging import get_logger
from functions.api import strict_json
from functions.api.context import context_of

_PATH = re.compile(r"/api/(?:v1/)?(balance|charging|payment)(?:/([^/]*)(?:/.*)?)?", re.DOTALL)
_READS = frozenset({"GET", "HEAD"})
_KEPT_MEMBERS = ("station_id", "connector_id", "session_id", "invoice_id", "order_id")
_AMOUNTS = ("amount", "amount_som", "final_cost", "reserved_amount")
_MAX_PARSED_BYTES = 64 * 1024

_log = get_logger(__name__)


class PaymentAuditMiddleware:
    """Every such request makes a log line; those that change something, or are refused, make a row as well.

    Two exceptions keep the table from being flooded: polls that succeed (a phone polls every 3-5 s), and calls over
    the rate limit, which only the log counts.
    """

    def __init__(self, app: ASGIApp, *, database: Database) -> None:
        self._app = app
        self._database = database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if match is None:
            await self._app(scope, receive, send)
            return
        status = 0
        answer = bytearray()

        async def watching_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body" and len(answer) < _MAX_PARSED_BYTES:
                answer.extend(message.get("body", b""))
            await send(message)

        failure: EvPowerError | None = None
        try:
            await self._app(scope, receive, watching_send)
        except EvPowerError as error:  # refused by a middleware: the crash barrier answers it
            failure = error
            raise
        except Exception:
            failure = EvPowerError()
            raise
        finally:
            await self._record(_entry(scope, match, status, bytes(answer), failure))

    async def _record(self, entry: AuditEntry) -> None:
        is_read = entry.method in _READS
        if (is_read and entry.status is not None and entry.status < 400) or entry.status == 429:
            audit.log_line(entry)
            return
        try:
            await self._database.run(lambda conn: audit.record(conn, entry), claims=system_claims())
        except (psycopg.Error, PoolTimeout, OSError) as error:
            _log.error("audit row not written: %s", error, extra={"operation": entry.operation})


def _entry(scope: Scope, match: re.Match[str], status: int, answer: bytes, failure: EvPowerError | None) -> AuditEntry:
    context = context_of(scope)
    asked, answered = _members(context.body), _members(answer)
    kept = {name: answered.get(name, asked.get(name)) for name in _KEPT_MEMBERS}
    principal = context.principal
    return AuditEntry(
        operation=_operation(scope["method"], match),
        actor=principal.subject if principal else None,
        actor_role=principal.method.value if principal else None,
        client_id=principal.subject if principal and not principal.is_master else None,
        client_ip=context.client_address,
        method=scope["method"],
        path=scope["path"],
        amount=_amount(asked) or _amount(answered),
        status=status or (failure.http_status if failure else 0),
        error_code=answered.get("error_code") or (failure.code if failure else None),
        correlation_id=context.correlation_id,
        details={name: value for name, value in kept.items() if isinstance(value, str | int)},
    )


def _operation(method: str, match: re.Match[str]) -> str:
    """``charging.start`` for what changes something, ``charging.read`` for what does not."""
    area, action = match[1], match[2] or "none"
    return f"{area}.read" if method in _READS else f"{area}.{action[:64].replace('-', '_')}"


def _members(body: bytes) -> dict[str, Any]:
    """Members of a JSON object; none for anything else."""
    if not body or len(body) > _MAX_PARSED_BYTES:
        return {}
    try:
        parsed = strict_json.parse(body)
    except EvPowerError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _amount(members: dict[str, Any]) -> Decimal | None:
    for name in _AMOUNTS:
        value = members.get(name)
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            return Decimal(value)
    return None
