"""SQL of the audit log; rows are only ever added."""

from psycopg.types.json import Jsonb

from evpower.audit.models import AuditEntry
from evpower.db import Conn
from evpower.logging import mask


async def insert(conn: Conn, entry: AuditEntry, amount_masked: str | None) -> None:
    """Add one row to ``audit_logs``; secret-looking members of the details are masked."""
    await conn.execute(
        """
        INSERT INTO audit_logs (actor, actor_role, client_id, client_ip, operation, method, path, amount_masked,
                                status, error_code, correlation_id, details)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            entry.actor,
            entry.actor_role,
            entry.client_id,
            entry.client_ip,
            entry.operation,
            entry.method,
            entry.path,
            amount_masked,
            entry.status,
            entry.error_code,
            entry.correlation_id,
            Jsonb(mask(dict(entry.details))),
        ),
    )
