"""SQL of OCPP transactions, id tags and quarantined messages."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from evpower.charging.models import StartTransaction, StopTransaction
from evpower.db import Conn

_COLUMNS = (
    "id, station_id, connector_id, id_tag, meter_start, started_at, received_at, session_id, id_tag_status, status, "
    "meter_stop, stopped_at, stop_received_at"
)


@dataclass(frozen=True, slots=True)
class Transaction:
    """A row of ``ocpp_transactions``; ``id`` is the OCPP transactionId, registers in Wh."""

    id: int
    station_id: str
    connector_id: int
    id_tag: str
    meter_start: Decimal
    started_at: datetime
    received_at: datetime
    session_id: str | None
    id_tag_status: str
    status: str
    meter_stop: Decimal | None
    stopped_at: datetime | None
    stop_received_at: datetime | None


@dataclass(frozen=True, slots=True)
class IdTag:
    """A row of ``id_tags``: an RFID card of a client."""

    id_tag: str
    client_id: str | None
    status: str
    expires_at: datetime | None
    parent_id_tag: str | None


async def insert(conn: Conn, message: StartTransaction) -> tuple[Transaction, bool]:
    """The transaction of this content, and whether this call made it.

    Use case: the station sends the same StartTransaction again, with a new message id, after a reboot or to another
    instance. The unique index lets one insert win; the others wait for it and find its row.
    """
    cursor = await conn.execute(
        f"""INSERT INTO ocpp_transactions (station_id, connector_id, id_tag, meter_start, started_at, received_at)
            VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (station_id, connector_id, upper(id_tag), meter_start, started_at) DO NOTHING
            RETURNING {_COLUMNS}""",  # noqa: S608 - constant column list
        (
            message.station_id,
            message.connector_id,
            message.id_tag,
            message.meter_start_wh,
            message.started_at,
            message.received_at,
        ),
    )
    row = await cursor.fetchone()
    if row is not None:
        return Transaction(**row), True
    cursor = await conn.execute(
        f"""SELECT {_COLUMNS} FROM ocpp_transactions
             WHERE station_id = %s AND connector_id = %s AND upper(id_tag) = upper(%s) AND meter_start = %s
               AND started_at = %s""",  # noqa: S608 - constant column list
        (
            message.station_id,
            message.connector_id,
            message.id_tag,
            message.meter_start_wh,
            message.started_at,
        ),
    )
    row = await cursor.fetchone()
    assert row is not None
    return Transaction(**row), False


async def link(conn: Conn, transaction_id: int, *, session_id: str | None, id_tag_status: str) -> None:
    await conn.execute(
        "UPDATE ocpp_transactions SET session_id = %s, id_tag_status = %s WHERE id = %s",
        (session_id, id_tag_status, transaction_id),
    )


async def get(conn: Conn, station_id: str, transaction_id: int) -> Transaction | None:
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM ocpp_transactions WHERE id = %s AND station_id = %s",  # noqa: S608 - constant column list
        (transaction_id, station_id),
    )
    row = await cursor.fetchone()
    return Transaction(**row) if row else None


async def lock(conn: Conn, transaction_id: int) -> Transaction:
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM ocpp_transactions WHERE id = %s FOR UPDATE",  # noqa: S608 - constant column list
        (transaction_id,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return Transaction(**row)


async def active_with_tag(conn: Conn, station_id: str, id_tag: str) -> list[Transaction]:
    cursor = await conn.execute(
        f"""SELECT {_COLUMNS} FROM ocpp_transactions
             WHERE station_id = %s AND status = 'active' AND upper(id_tag) = upper(%s) LIMIT 2""",  # noqa: S608 - constant column list
        (station_id, id_tag),
    )
    return [Transaction(**row) for row in await cursor.fetchall()]


async def stop(conn: Conn, transaction_id: int, message: StopTransaction) -> None:
    await conn.execute(
        """UPDATE ocpp_transactions
              SET status = 'stopped', meter_stop = %s, stopped_at = %s, stop_received_at = %s, stop_reason = %s,
                  stop_id_tag = %s
            WHERE id = %s""",
        (
            message.meter_stop_wh,
            message.stopped_at,
            message.received_at,
            message.reason,
            message.id_tag,
            transaction_id,
        ),
    )


async def flag_for_review(conn: Conn, transaction_id: int, reason: str) -> None:
    await conn.execute(
        "UPDATE ocpp_transactions SET needs_review = true, review_reason = %s WHERE id = %s", (reason, transaction_id)
    )


async def quarantine(
    conn: Conn,
    *,
    station_id: str,
    action: str,
    reason: str,
    payload: dict[str, Any],
    fingerprint: str,
    resolution: str | None,
    now: datetime,
) -> bool:
    """Keep a message that no transaction explains; True when it was new, False when a repeat was counted."""
    cursor = await conn.execute(
        """INSERT INTO quarantined_messages (station_id, action, reason, payload, fingerprint, received_at,
               last_received_at, resolved_at, resolved_by, resolution)
           VALUES (%(station)s, %(action)s, %(reason)s, %(payload)s, %(fingerprint)s, %(now)s, %(now)s,
               CASE WHEN %(resolution)s::text IS NOT NULL THEN %(now)s::timestamptz END,
               CASE WHEN %(resolution)s::text IS NOT NULL THEN 'system' END, %(resolution)s)
           ON CONFLICT (station_id, action, fingerprint) DO UPDATE
               SET repeat_count = quarantined_messages.repeat_count + 1, last_received_at = excluded.last_received_at
           RETURNING repeat_count""",
        {
            "station": station_id,
            "action": action,
            "reason": reason,
            "payload": Jsonb(payload),
            "fingerprint": fingerprint,
            "resolution": resolution,
            "now": now,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["repeat_count"]) == 0


async def id_tag(conn: Conn, tag: str) -> IdTag | None:
    cursor = await conn.execute(
        "SELECT id_tag, client_id, status, expires_at, parent_id_tag FROM id_tags WHERE upper(id_tag) = upper(%s)",
        (tag,),
    )
    row = await cursor.fetchone()
    return IdTag(**row) if row else None


async def delete_id_tags(conn: Conn, client_id: str) -> None:
    await conn.execute("DELETE FROM id_tags WHERE client_id = %s", (client_id,))
