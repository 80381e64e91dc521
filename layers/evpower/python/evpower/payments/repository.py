"""SQL of top-ups, the callback inbox and refunds."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from evpower.db import Conn
from evpower.payments.models import (
    InboxEntry,
    InvoiceState,
    Refund,
    RefundState,
    TopUp,
    TopUpStatus,
)

_TOPUP = (
    "id, client_id, order_id, invoice_id, payment_provider, requested_amount, paid_amount, refunded_amount, status, "
    "status_reason, invoice_state, description, qr_code, qr_code_url, app_link, qr_expires_at, invoice_expires_at, "
    "paid_at, canceled_at, cancel_requested, needs_status_check, next_check_at, last_status_check_at, "
    "status_check_count, correlation_id, created_at, credited_earlier"
)
_INBOX = "id, provider, order_id, trans_id, status_pay, payload, state, attempts, correlation_id, received_at"
_REFUND = (
    "id, topup_id, client_id, trans_id, amount, is_full, request_key, state, requested_by, reason, provider_code, "
    "provider_message, next_check_at, created_at"
)


def _topup(row: dict[str, Any]) -> TopUp:
    return TopUp(
        **{**row, "status": TopUpStatus(row["status"]), "invoice_state": InvoiceState(row["invoice_state"])},
    )


def _refund(row: dict[str, Any]) -> Refund:
    return Refund(**{**row, "state": RefundState(row["state"])})


async def _rows(conn: Conn, statement: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return await (await conn.execute(statement, values)).fetchall()


async def _row(conn: Conn, statement: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
    rows = await _rows(conn, statement, values)
    return rows[0] if rows else None


async def _update(conn: Conn, table: str, columns: str, key: object, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Set ``changes`` on one row by id and return its ``columns``; the names come from our own code."""
    assignments = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in changes
    )
    query = sql.SQL("UPDATE {} SET {}, updated_at = now() WHERE id = {} RETURNING ").format(
        sql.Identifier(table), assignments, sql.Placeholder("_key")
    ) + sql.SQL(columns)
    row = await (await conn.execute(query, {**changes, "_key": key})).fetchone()
    if row is None:
        raise LookupError(f"{table} {key} vanished")
    return row


# Top-ups ------------------------------------------------------------------------------------------------------


async def insert_topup(conn: Conn, values: Mapping[str, Any]) -> TopUp:
    row = await _row(
        conn,
        f"""
        INSERT INTO balance_topups (client_id, order_id, merchant_id, payment_provider, requested_amount, description,
            qr_expires_at, invoice_expires_at, next_check_at, correlation_id, created_at)
        VALUES (%(client_id)s, %(order_id)s, %(merchant_id)s, %(provider)s, %(amount)s, %(description)s,
            %(expires_at)s, %(expires_at)s, %(next_check_at)s, %(correlation_id)s, %(now)s)
        RETURNING {_TOPUP}""",  # noqa: S608 - constant column list
        values,
    )
    assert row is not None
    return _topup(row)


async def update_topup(conn: Conn, topup_id: int, changes: Mapping[str, Any]) -> TopUp:
    return _topup(await _update(conn, "balance_topups", _TOPUP, topup_id, changes))


async def get_topup(conn: Conn, topup_id: int, *, lock: bool = False) -> TopUp | None:
    statement = f"SELECT {_TOPUP} FROM balance_topups WHERE id = %(id)s"  # noqa: S608 - constant column list
    row = await _row(conn, statement + (" FOR UPDATE" if lock else ""), {"id": topup_id})
    return _topup(row) if row else None


async def find_topup(conn: Conn, *, order_id: str = "", invoice_id: str = "") -> TopUp | None:
    """By our order id, else by the provider's invoice id."""
    row = await _row(
        conn,
        f"""
        SELECT {_TOPUP} FROM balance_topups
         WHERE order_id = %(order_id)s OR invoice_id = %(invoice_id)s
         ORDER BY order_id = %(order_id)s DESC LIMIT 1""",  # noqa: S608 - constant column list
        {"order_id": order_id or None, "invoice_id": invoice_id or None},
    )
    return _topup(row) if row else None


async def lock_live_topups(conn: Conn, client_id: str) -> list[TopUp]:
    """The client's payable top-ups (at most one by the partial unique index), locked."""
    rows = await _rows(
        conn,
        f"""
        SELECT {_TOPUP} FROM balance_topups WHERE client_id = %(client_id)s AND status = 'processing'
         ORDER BY id FOR UPDATE""",  # noqa: S608 - constant column list
        {"client_id": client_id},
    )
    return [_topup(row) for row in rows]


async def claim_topup(conn: Conn, topup_id: int, due_by: datetime, lease_until: datetime) -> TopUp | None:
    """Take one top-up for a check if its time has come; None when another worker has it or it is not due."""
    row = await _row(
        conn,
        f"""
        UPDATE balance_topups SET next_check_at = %(lease)s
         WHERE id = %(id)s AND needs_status_check AND next_check_at <= %(due_by)s
        RETURNING {_TOPUP}""",  # noqa: S608 - constant column list
        {"id": topup_id, "due_by": due_by, "lease": lease_until},
    )
    return _topup(row) if row else None


async def claim_due_topups(conn: Conn, now: datetime, lease_until: datetime, limit: int) -> list[TopUp]:
    """Take the longest overdue top-ups for a check; sweeps that overlap take different ones."""
    rows = await _rows(
        conn,
        f"""
        UPDATE balance_topups SET next_check_at = %(lease)s
         WHERE id IN (SELECT id FROM balance_topups WHERE needs_status_check AND next_check_at <= %(now)s
                       ORDER BY next_check_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
        RETURNING {_TOPUP}""",  # noqa: S608 - constant column list
        {"now": now, "lease": lease_until, "limit": limit},
    )
    return [_topup(row) for row in rows]


async def expire_overdue(conn: Conn, expired_before: datetime, now: datetime, limit: int) -> int:
    """Close top-ups whose life and grace are over; they stay open for late checks."""
    rows = await _rows(
        conn,
        """
        UPDATE balance_topups SET status = 'expired', status_reason = 'expired', completed_at = %(now)s,
               updated_at = now(), needs_status_check = true, next_check_at = coalesce(next_check_at, %(now)s)
         WHERE id IN (SELECT id FROM balance_topups
                       WHERE status = 'processing' AND coalesce(invoice_expires_at, created_at) < %(before)s
                       ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
        RETURNING id""",
        {"before": expired_before, "now": now, "limit": limit},
    )
    return len(rows)


async def schedule_forgotten(conn: Conn, now: datetime) -> int:
    """Give a time to open top-ups without one (rows taken over from the earlier system)."""
    cursor = await conn.execute(
        "UPDATE balance_topups SET next_check_at = %s WHERE needs_status_check AND next_check_at IS NULL", (now,)
    )
    return cursor.rowcount


async def credited_amounts(conn: Conn, topup: TopUp) -> dict[str, Decimal]:
    """Credited payments of an order: provider's transaction id -> som."""
    prefix = f"topup:{topup.order_id}:"
    rows = await _rows(
        conn,
        """
        SELECT source_key, amount FROM payment_transactions_odengi
         WHERE balance_topup_id = %(id)s AND transaction_type = 'balance_topup' ORDER BY id""",
        {"id": topup.id},
    )
    return {str(row["source_key"]).removeprefix(prefix): row["amount"] for row in rows}


# Inbox --------------------------------------------------------------------------------------------------------


async def insert_callback(conn: Conn, values: Mapping[str, Any]) -> tuple[int, str]:
    """Commit-ready row of a callback; a repeat is the same row. Returns its id and state."""
    row = await _row(
        conn,
        """
        INSERT INTO payment_inbox (provider, order_id, trans_id, status_pay, fingerprint, payload, signature_scheme,
            correlation_id, next_attempt_at, received_at)
        VALUES (%(provider)s, %(order_id)s, %(trans_id)s, %(status_pay)s, %(fingerprint)s, %(payload)s, %(scheme)s,
            %(correlation_id)s, %(next_attempt_at)s, %(now)s)
        ON CONFLICT (fingerprint) DO UPDATE SET correlation_id = payment_inbox.correlation_id
        RETURNING id, state""",
        {**values, "payload": Jsonb(values["payload"])},
    )
    assert row is not None
    return row["id"], row["state"]


async def get_callback(conn: Conn, inbox_id: int) -> InboxEntry | None:
    statement = f"SELECT {_INBOX} FROM payment_inbox WHERE id = %(id)s"  # noqa: S608 - constant column list
    row = await _row(conn, statement, {"id": inbox_id})
    return InboxEntry(**row) if row else None


async def claim_due_callbacks(conn: Conn, now: datetime, lease_until: datetime, limit: int) -> list[InboxEntry]:
    rows = await _rows(
        conn,
        f"""
        UPDATE payment_inbox SET next_attempt_at = %(lease)s
         WHERE id IN (SELECT id FROM payment_inbox WHERE state = 'received' AND next_attempt_at <= %(now)s
                       ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
        RETURNING {_INBOX}""",  # noqa: S608 - constant column list
        {"now": now, "lease": lease_until, "limit": limit},
    )
    return [InboxEntry(**row) for row in rows]


async def close_callback(conn: Conn, inbox_id: int, state: str, outcome: str, now: datetime) -> None:
    await conn.execute(
        """
        UPDATE payment_inbox SET state = %(state)s, outcome = %(outcome)s, processed_at = %(now)s,
               attempts = attempts + 1 WHERE id = %(id)s AND state = 'received'""",
        {"id": inbox_id, "state": state, "outcome": outcome, "now": now},
    )


async def postpone_callback(conn: Conn, inbox_id: int, outcome: str, until: datetime, *, counted: bool) -> None:
    await conn.execute(
        """
        UPDATE payment_inbox SET next_attempt_at = %(until)s, outcome = %(outcome)s,
               attempts = attempts + %(counted)s WHERE id = %(id)s AND state = 'received'""",
        {"id": inbox_id, "until": until, "outcome": outcome, "counted": int(counted)},
    )


# Refunds ------------------------------------------------------------------------------------------------------


async def insert_refund(conn: Conn, values: Mapping[str, Any]) -> Refund:
    row = await _row(
        conn,
        f"""
        INSERT INTO topup_refunds (id, topup_id, client_id, trans_id, amount, is_full, request_key, requested_by,
            reason, next_check_at, created_at)
        VALUES (%(id)s, %(topup_id)s, %(client_id)s, %(trans_id)s, %(amount)s, %(is_full)s, %(request_key)s,
            %(requested_by)s, %(reason)s, %(next_check_at)s, %(now)s)
        RETURNING {_REFUND}""",  # noqa: S608 - constant column list
        values,
    )
    assert row is not None
    return _refund(row)


async def get_refund(conn: Conn, refund_id: str, *, lock: bool = False) -> Refund | None:
    statement = f"SELECT {_REFUND} FROM topup_refunds WHERE id = %(id)s"  # noqa: S608 - constant column list
    row = await _row(conn, statement + (" FOR UPDATE" if lock else ""), {"id": refund_id})
    return _refund(row) if row else None


async def refund_by_request(conn: Conn, request_key: str) -> Refund | None:
    statement = f"SELECT {_REFUND} FROM topup_refunds WHERE request_key = %(key)s"  # noqa: S608 - constant column list
    row = await _row(conn, statement, {"key": request_key})
    return _refund(row) if row else None


async def refunds_of(conn: Conn, topup_id: int) -> list[Refund]:
    """All refunds of a top-up that took money or still hold it: every one that did not fail."""
    rows = await _rows(
        conn,
        f"SELECT {_REFUND} FROM topup_refunds WHERE topup_id = %(id)s AND state <> 'failed' ORDER BY created_at",  # noqa: S608 - constant column list
        {"id": topup_id},
    )
    return [_refund(row) for row in rows]


async def update_refund(conn: Conn, refund_id: str, changes: Mapping[str, Any]) -> Refund:
    return _refund(await _update(conn, "topup_refunds", _REFUND, refund_id, changes))


async def claim_due_refunds(conn: Conn, now: datetime, lease_until: datetime, limit: int) -> list[Refund]:
    rows = await _rows(
        conn,
        f"""
        UPDATE topup_refunds SET next_check_at = %(lease)s
         WHERE id IN (SELECT id FROM topup_refunds
                       WHERE state IN ('debited', 'sent', 'unknown') AND next_check_at <= %(now)s
                       ORDER BY next_check_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
        RETURNING {_REFUND}""",  # noqa: S608 - constant column list
        {"now": now, "lease": lease_until, "limit": limit},
    )
    return [_refund(row) for row in rows]
