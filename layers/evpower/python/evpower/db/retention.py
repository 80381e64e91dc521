"""What is too old goes, in bounded batches; what is to come is prepared (meter partitions)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from evpower.config import Settings
from evpower.db.connection import Conn

BATCH = 5000
_IDEMPOTENCY_DAYS = 7  # as the earlier system; a key protects for 24 hours
_CODE_DAYS = 1
_COUNTER_DAYS = 2  # the window before the present one of a counter by the day
_MONTHS_AHEAD = 2
_DAYS_AHEAD = 7


@dataclass(frozen=True, slots=True)
class Purge:
    """Rows of ``table`` older than ``days`` by the column ``order`` (whose index finds them) that are done with."""

    table: str
    order: str
    days: int
    condition: str = "true"

    @property
    def statement(self) -> str:
        """Deletes one batch by physical place: the cost is the batch's, whatever the table's size.

        The rows are locked before their place is used, so it cannot change; other runs' rows are skipped.
        """
        return (
            f"DELETE FROM {self.table} WHERE ctid = ANY (ARRAY("  # noqa: S608 - names from this file
            f"SELECT ctid FROM {self.table} WHERE {self.order} < %s AND {self.condition}"
            f" ORDER BY {self.order} LIMIT %s FOR UPDATE SKIP LOCKED))"
        )


def purges(settings: Settings) -> tuple[Purge, ...]:
    """What is deleted by age. The ledger, settlements, sessions and top-ups are kept for good."""
    events, audit = settings.event_retention_days, settings.audit_retention_days
    return (
        Purge("station_events", "received_at", events),
        Purge("payment_inbox", "received_at", events, "state = 'processed'"),
        # What nobody could explain stays as long as the books must be explained.
        Purge("payment_inbox", "received_at", audit, "state <> 'received'"),
        Purge("station_commands", "created_at", events, "status NOT IN ('queued', 'sent')"),
        # Its file goes first (jobs.service.files_to_remove): without the row nobody would know of it.
        Purge(
            "station_jobs",
            "created_at",
            events,
            "state NOT IN ('requested', 'accepted', 'running') AND object_key IS NULL",
        ),
        Purge("station_certificates", "requested_at", events, "state IN ('rejected', 'failed') AND revoked_at IS NULL"),
        Purge("push_outbox", "created_at", events, "state IN ('done', 'failed')"),
        Purge("reservations", "created_at", events, "state NOT IN ('requested', 'accepted')"),
        Purge("charging_profiles", "created_at", events, "state NOT IN ('requested', 'active')"),
        Purge("audit_logs", "created_at", audit),
        Purge("idempotency_keys", "created_at", _IDEMPOTENCY_DAYS),
        Purge("used_nonces", "expires_at", 0),
        Purge("rate_counters", "window_start", _COUNTER_DAYS),
        Purge("meter_flushes", "flushed_at", _COUNTER_DAYS),
        Purge("otp_codes", "created_at", _CODE_DAYS),
        Purge("refresh_tokens", "expires_at", 0),
    )


async def purge_batch(conn: Conn, purge: Purge, now: datetime) -> int:
    """Delete up to ``BATCH`` rows; how many went."""
    cursor = await conn.execute(purge.statement.encode(), (now - timedelta(days=purge.days), BATCH))
    return cursor.rowcount


async def _call(conn: Conn, function: bytes, *arguments: object) -> Any:
    """Result of a database function that does what only the owner may."""
    row = await (await conn.execute(b"SELECT " + function + b" AS result", arguments)).fetchone()
    assert row is not None
    return row["result"]


async def ensure_partitions(conn: Conn) -> int:
    """Make the meter partitions of this month and the next two, and those of the message log; how many were missing."""
    months = int(await _call(conn, b"evpower_ensure_meter_partitions(%s)", _MONTHS_AHEAD))
    return months + int(await _call(conn, b"evpower_ensure_message_partitions(%s)", _DAYS_AHEAD))


async def drop_partition(conn: Conn, settings: Settings, now: datetime) -> str | None:
    """Drop the oldest meter partition if all of it is older than METER_RETENTION_DAYS; its name."""
    name = await _call(conn, b"evpower_drop_meter_partition(%s)", now - timedelta(days=settings.meter_retention_days))
    return None if name is None else str(name)


async def drop_message_partition(conn: Conn, settings: Settings, now: datetime) -> str | None:
    """Drop the oldest day of the message log if all of it is older than MESSAGE_LOG_DAYS; its name."""
    name = await _call(conn, b"evpower_drop_message_partition(%s)", now - timedelta(days=settings.message_log_days))
    return None if name is None else str(name)


async def purge_unfiled_messages(conn: Conn, settings: Settings, now: datetime) -> int:
    """Delete up to ``BATCH`` old messages whose day had no partition when they came; how many went."""
    horizon = now - timedelta(days=settings.message_log_days)
    return int(await _call(conn, b"evpower_purge_unfiled_messages(%s, %s)", horizon, BATCH))


async def purge_unfiled_readings(conn: Conn, settings: Settings, now: datetime) -> int:
    """Delete up to ``BATCH`` old readings whose month had no partition when they came; how many went."""
    horizon = now - timedelta(days=settings.meter_retention_days)
    return int(await _call(conn, b"evpower_purge_unfiled_meter_values(%s, %s)", horizon, BATCH))
