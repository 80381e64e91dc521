"""The audit log: every payment and charging request, every act of an operator (mobile-api.md §1.10)."""

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

from evpower.audit import repository
from evpower.audit.models import AuditEntry
from evpower.db import Conn
from evpower.logging import get_logger
from evpower.text import printable, storable

_log = get_logger("evpower.audit")


_TEXT_CHARS = 256
_DETAIL_CHARS = 4000
_MASK_MAX = 12
"""Stars: whatever money is here has fewer; 1e300 of a body that will be refused does not fill the log."""


def mask_amount(amount: Decimal | None) -> str | None:
    """The first digit and the magnitude of an amount: 1250.50 becomes ``1***``, -40 becomes ``-4*``."""
    if amount is None or not amount.is_finite():
        return None
    whole = str(abs(int(amount)))
    return ("-" if amount < 0 else "") + whole[0] + "*" * min(len(whole) - 1, _MASK_MAX)


def _clean(entry: AuditEntry) -> AuditEntry:
    """The entry as it can be stored: nothing that somebody sends may keep it out of the table."""
    texts = {field.name: getattr(entry, field.name) for field in fields(entry)}
    cleaned: dict[str, Any] = {
        name: printable(text, _TEXT_CHARS) for name, text in texts.items() if isinstance(text, str)
    }
    return replace(entry, **cleaned, details=_clean_details(dict(entry.details)))


def _clean_details(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value, _DETAIL_CHARS)
    if isinstance(value, dict):
        return {storable(str(name), _TEXT_CHARS): _clean_details(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_details(item) for item in value]
    return value


def log_line(entry: AuditEntry) -> None:
    """Write the entry to the log, where it survives a database that is away."""
    entry = _clean(entry)
    _log.info(
        "audit %s",
        entry.operation,
        extra={
            "operation": entry.operation,
            "actor": entry.actor,
            "client_id": entry.client_id,
            "client_ip": entry.client_ip,
            "amount_masked": mask_amount(entry.amount),
            "status": entry.status,
            "error_code": entry.error_code,
        },
    )


async def record(conn: Conn, entry: AuditEntry) -> None:
    """Add the entry to ``audit_logs`` and write its log line."""
    log_line(entry)
    entry = _clean(entry)
    await repository.insert(conn, entry, mask_amount(entry.amount))
