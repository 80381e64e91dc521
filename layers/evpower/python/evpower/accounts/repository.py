"""SQL of clients and the ledger."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from evpower.accounts.models import Client, ClientStatus, LedgerEntry, LedgerType, Movement, Staff
from evpower.db import Conn

_CLIENT = "id, phone, email, name, balance, status, created_at, deleted_at"
_STAFF = "id, phone, email, name, role, is_active, admin_id, created_at"
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


async def lock_client_by_phone(conn: Conn, spellings: Sequence[str]) -> Client | None:
    """The client with that phone, the first spelling preferred, locked."""
    cursor = await conn.execute(
        f"""SELECT {_CLIENT} FROM clients WHERE phone = ANY(%(spellings)s)
             ORDER BY array_position(%(spellings)s, phone) LIMIT 1 FOR UPDATE""",  # noqa: S608 - constant column list
        {"spellings": list(spellings)},
    )
    row = await cursor.fetchone()
    return _client(row) if row else None


async def insert_client(conn: Conn, client_id: str, phone: str | None, name: str | None, now: datetime) -> bool:
    """Add an active client; False when the id or the phone is taken."""
    cursor = await conn.execute(
        """INSERT INTO clients (id, phone, name, created_at, updated_at) VALUES (%s, %s, %s, %s, %s)
           ON CONFLICT DO NOTHING RETURNING id""",
        (client_id, phone, name, now, now),
    )
    return await cursor.fetchone() is not None


async def anonymise(conn: Conn, client_id: str, placeholder: str, now: datetime) -> None:
    """Take everything personal from a client's row; the row stays for the books."""
    await conn.execute(
        """UPDATE clients SET phone = NULL, email = NULL, name = %s, status = 'deleted', anonymized = true,
                  delete_requested_at = coalesce(delete_requested_at, %s), deleted_at = %s, updated_at = %s
            WHERE id = %s""",
        (placeholder, now, now, now, client_id),
    )


async def delete_favorites(conn: Conn, client_id: str) -> None:
    await conn.execute("DELETE FROM user_favorites WHERE user_id = %s", (client_id,))


async def get_staff(conn: Conn, staff_id: str) -> Staff | None:
    row = await (await conn.execute(f"SELECT {_STAFF} FROM users WHERE id = %s", (staff_id,))).fetchone()  # noqa: S608 - constant column list
    return Staff(**row) if row else None


async def is_phone_of_account(conn: Conn, spellings: Sequence[str]) -> bool:
    """Whether an active client or member of staff has that phone."""
    cursor = await conn.execute(
        """SELECT EXISTS (SELECT FROM clients WHERE phone = ANY(%(spellings)s) AND status = 'active')
               OR EXISTS (SELECT FROM users WHERE phone = ANY(%(spellings)s) AND is_active) AS found""",
        {"spellings": list(spellings)},
    )
    row = await cursor.fetchone()
    assert row is not None
    return bool(row["found"])


async def staff_by_phone(conn: Conn, spellings: Sequence[str]) -> Staff | None:
    cursor = await conn.execute(
        f"""SELECT {_STAFF} FROM users WHERE phone = ANY(%(spellings)s)
             ORDER BY array_position(%(spellings)s, phone) LIMIT 1""",  # noqa: S608 - constant column list
        {"spellings": list(spellings)},
    )
    row = await cursor.fetchone()
    return Staff(**row) if row else None


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
