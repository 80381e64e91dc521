"""The audit log: every payment and charging request, every act of an operator (mobile-api.md §1.10)."""

from decimal import Decimal

from evpower.audit import repository
from evpower.audit.models import AuditEntry
from evpower.db import Conn
from evpower.logging import get_logger

_log = get_logger("evpower.audit")


_MASK_MAX = 12
"""Stars: whatever money is here has fewer; 1e300 of a body that will be refused does not fill the log."""


def mask_amount(amount: Decimal | None) -> str | None:
    """The first digit and the magnitude of an amount: 1250.50 becomes ``1***``, -40 becomes ``-4*``."""
    if amount is None or not amount.is_finite():
        return None
    whole = str(abs(int(amount)))
    return ("-" if amount < 0 else "") + whole[0] + "*" * min(len(whole) - 1, _MASK_MAX)


def log_line(entry: AuditEntry) -> None:
    """Write the entry to the log, where it survives a database that is away."""
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
    await repository.insert(conn, entry, mask_amount(entry.amount))
