"""SQL of clients and the ledger."""

from decimal import Decimal
from typing import Any

from evpower.accounts.models import Client, ClientStatus, LedgerEntry, LedgerType, Movement
from evpower.db import Conn

_CLIENT = "id, phone, email, name, balance, status, created_at, deleted_at"
_ENTRY = "id, client_id, transaction_type, amount, balance_before, balance_after, source_key, created_at"


def _client(row: dict[str, Any]) -> Client:
    return Client(**{**row, "status": ClientStatus(row["status"])})


def _entry(row: dict[str, Any], *, created: bool) -> LedgerEntry:
    kind = LedgerType(row["transaction_type"])
    rest = {key: value for key, value in row.items() if key != "transaction_type"}
    return LedgerEntry(type=kind, created=created, **rest)


async def get_client(conn: Conn, client_id: str) -> Client | None:
    row = await (await conn.execute(f"SELECT {_CLIENT} FROM clients WHERE id = %s", (client_id,))).fetchone()  # noqa: S608 - constant column list
    return _client(row) if row else None


async def lock_client(conn: Conn, client_id: str) -> Client | None:
    cursor = await conn.execute(f"SELECT {_CLIENT} FROM clients WHERE id = %s FOR UPDATE", (client_id,))  # noqa: S608 - constant column list
    row = await cursor.fetchone()
    return _client(row) if row else None


async def entry_by_source(conn: Conn, source_key: str) -> LedgerEntry | None:
    cursor = await conn.execute(
        f"SELECT {_ENTRY} FROM payment_transactions_odengi WHERE source_key = %s",  # noqa: S608 - constant column list
        (source_key,),
    )
    row = await cursor.fetchone()
    return _entry(row, created=False) if row else None


async def book(conn: Conn, movement: Movement) -> LedgerEntry:
    """Change the balance and write the ledger row in one statement: neither exists without the other."""
    cursor = await conn.execute(
        f"""
        WITH changed AS (
            UPDATE clients SET balance = balance + %(amount)s, updated_at = now() WHERE id = %(client_id)s
            RETURNING balance)
        INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before, balance_after,
            source_key, balance_topup_id, charging_session_id, description, actor, created_at)
        SELECT %(client_id)s, %(type)s, %(amount)s, balance - %(amount)s, balance, %(source_key)s, %(topup_id)s,
               %(session_id)s, %(description)s, %(actor)s, clock_timestamp()
          FROM changed
        RETURNING {_ENTRY}""",  # noqa: S608 - constant column list
        {
            "client_id": movement.client_id,
            "type": movement.type.value,
            "amount": movement.amount,
            "source_key": movement.source_key,
            "topup_id": movement.topup_id,
            "session_id": movement.session_id,
            "description": movement.description,
            "actor": movement.actor,
        },
    )
    row = await cursor.fetchone()
    if row is None:
        raise LookupError(f"client {movement.client_id} vanished between lock and booking")
    return _entry(row, created=True)


async def ledger_sum(conn: Conn, client_id: str) -> Decimal:
    cursor = await conn.execute(
        "SELECT coalesce(sum(amount), 0) AS total FROM payment_transactions_odengi WHERE client_id = %s", (client_id,)
    )
    row = await cursor.fetchone()
    assert row is not None
    total: Decimal = row["total"]
    return total
