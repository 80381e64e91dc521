"""The auditor: what must hold in the database after whatever happened, asked with the owner's login in plain SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from infra.local.simulator import Acknowledged, ChargePoint

Conn = psycopg.AsyncConnection[dict[str, Any]]

MONEY = {
    "balance differs from the sum of the ledger": """
        SELECT c.id, c.balance, coalesce(sum(t.amount), 0) AS ledger
          FROM clients c LEFT JOIN payment_transactions_odengi t ON t.client_id = c.id
         GROUP BY c.id HAVING c.balance <> coalesce(sum(t.amount), 0)""",
    "balance differs from the last balance_after": """
        SELECT c.id, c.balance, l.balance_after FROM clients c
          JOIN LATERAL (SELECT balance_after FROM payment_transactions_odengi t
                         WHERE t.client_id = c.id ORDER BY t.id DESC LIMIT 1) l ON true
         WHERE c.balance <> l.balance_after""",
    "a ledger row does not continue the one before it": """
        SELECT * FROM (
            SELECT id, client_id, balance_before,
                   lag(balance_after, 1, 0.00) OVER (PARTITION BY client_id ORDER BY id) AS before
              FROM payment_transactions_odengi) rows
         WHERE balance_before <> before""",
    "what a session took differs from its ledger rows": """
        SELECT s.id, s.taken_amount, -coalesce(sum(t.amount), 0) AS ledger
          FROM charging_sessions s LEFT JOIN payment_transactions_odengi t ON t.charging_session_id = s.id
         GROUP BY s.id HAVING s.taken_amount <> -coalesce(sum(t.amount), 0)""",
    "an ended session took something else than its bill": """
        SELECT id, state, taken_amount, final_amount, written_off_amount FROM charging_sessions
         WHERE state IN ('stopped', 'error') AND taken_amount <> coalesce(final_amount, 0) - written_off_amount""",
    "an approved payment was not credited once": """
        SELECT b.id, b.paid_amount, count(t.id), sum(t.amount) FROM balance_topups b
          LEFT JOIN payment_transactions_odengi t
            ON t.balance_topup_id = b.id AND t.transaction_type = 'balance_topup'
         WHERE b.status = 'approved' GROUP BY b.id HAVING b.paid_amount IS DISTINCT FROM sum(t.amount)""",
}

SETTLED = {
    "a session is still live": """
        SELECT id, state, stop_reason, created_at, last_meter_at FROM charging_sessions
         WHERE state IN ('pending', 'charging', 'stopping')""",
    "an ended session was never settled": """
        SELECT id, state, reserved_amount FROM charging_sessions
         WHERE state IN ('stopped', 'error') AND reserve_count > 0 AND settlement_revision = 0""",
    "a command is not terminal": """
        SELECT id, action, status, attempt, lease_until, expires_at FROM station_commands
         WHERE status IN ('queued', 'sent')""",
    "a connector is held by a session that has ended": """
        SELECT c.station_id, c.connector_number, c.live_session_id FROM connectors c
          LEFT JOIN charging_sessions s ON s.id = c.live_session_id
         WHERE c.live_session_id IS NOT NULL AND (s.state IS NULL OR s.state IN ('stopped', 'error'))
           AND c.ocpp_status = 'Available'""",
}


async def _findings(conn: Conn, questions: dict[str, str]) -> list[str]:
    found = []
    for sentence, query in questions.items():
        rows = await (await conn.execute(query)).fetchall()
        if rows:
            found.append(f"{sentence}: {len(rows)} rows, e.g. {rows[:3]}")
    return found


async def money_findings(conn: Conn) -> list[str]:
    """Differences between balances, ledger, sessions and payments: hold at every moment."""
    return await _findings(conn, MONEY)


async def open_findings(conn: Conn) -> list[str]:
    """What is still open: must be empty once everything has come to rest."""
    return await _findings(conn, SETTLED)


async def uncredited_payments(conn: Conn, invoices: Iterable[dict[str, Any]]) -> list[str]:
    """Payments in the provider's books (its list of invoices, tyiyn) that the ledger does not know once each."""
    query = """
        SELECT t.source_key, t.amount, b.order_id FROM payment_transactions_odengi t
          JOIN balance_topups b ON b.id = t.balance_topup_id WHERE t.transaction_type = 'balance_topup'"""
    credited = Counter((row["order_id"], row["amount"]) for row in await (await conn.execute(query)).fetchall())
    paid = Counter(
        (invoice["order_id"], Decimal(payment["amount"]) / 100)
        for invoice in invoices
        for payment in invoice["payments"]
        if payment["status"] == "approved"
    )
    return [f"paid, but not credited: {key}" for key in paid - credited] + [
        f"credited, but not paid: {key}" for key in credited - paid
    ]


async def lost_messages(conn: Conn, points: Iterable[ChargePoint]) -> list[str]:
    """Messages that a charger was told are stored, and that are not."""
    lost: list[str] = []
    for point in points:
        lost += await _lost_of(conn, point.station_id, point.acknowledged)
    return lost


async def _lost_of(conn: Conn, station_id: str, acknowledged: list[Acknowledged]) -> list[str]:
    query = "SELECT id, meter_start, status, meter_stop FROM ocpp_transactions WHERE station_id = %s"
    transactions = {row["id"]: row for row in await (await conn.execute(query, [station_id])).fetchall()}
    query = "SELECT payload FROM quarantined_messages WHERE station_id = %s"
    quarantined = [row["payload"] for row in await (await conn.execute(query, [station_id])).fetchall()]
    query = "SELECT connector_id, transaction_id, sampled_at FROM ocpp_meter_values WHERE station_id = %s"
    readings = {
        (row["connector_id"], row["transaction_id"], row["sampled_at"])
        for row in await (await conn.execute(query, [station_id])).fetchall()
    }

    def is_stored(message: Acknowledged) -> bool:
        payload = message.payload
        if message.action == "StartTransaction":
            row = transactions.get(message.answer["transactionId"])
            return row is not None and row["meter_start"] == payload["meterStart"]
        if message.action == "StopTransaction":
            row = transactions.get(payload["transactionId"])
            return (row is not None and row["status"] == "stopped") or payload in quarantined
        if message.action == "MeterValues":
            return all(
                (payload["connectorId"], payload.get("transactionId"), datetime.fromisoformat(value["timestamp"]))
                in readings
                for value in payload["meterValue"]
            )
        return True

    return [f"{station_id} {m.action} {m.payload}" for m in acknowledged if not is_stored(m)]
