"""Push notifications, event names and payloads of mobile-api.md §6.3. Delivery is the push function's work."""

from decimal import Decimal

from evpower.db import Conn
from evpower.money import number
from evpower.notifications import repository


async def charging_started(conn: Conn, *, client_id: str, session_id: str, station_id: str, connector_id: int) -> None:
    await repository.insert(
        conn,
        user_type="client",
        user_id=client_id,
        event="charging_started",
        payload={"session_id": session_id, "station_id": station_id, "connector_id": connector_id},
        dedup_key=f"charging_started:{session_id}",
    )


async def charging_completed(
    conn: Conn, *, client_id: str, session_id: str, energy_kwh: Decimal, amount: Decimal
) -> None:
    """Once per session: a later, truer reading corrects the bill without a second message."""
    await repository.insert(
        conn,
        user_type="client",
        user_id=client_id,
        event="charging_completed",
        payload={"session_id": session_id, "energy_kwh": number(energy_kwh), "amount": number(amount)},
        dedup_key=f"charging_completed:{session_id}",
    )


async def charging_error(conn: Conn, *, client_id: str, session_id: str, error_code: str) -> None:
    await repository.insert(
        conn,
        user_type="client",
        user_id=client_id,
        event="charging_error",
        payload={"session_id": session_id, "error_code": error_code},
        dedup_key=f"charging_error:{session_id}",
    )


async def payment_confirmed(
    conn: Conn, *, client_id: str, amount: Decimal, new_balance: Decimal, source_key: str
) -> None:
    await repository.insert(
        conn,
        user_type="client",
        user_id=client_id,
        event="payment_confirmed",
        payload={"amount": number(amount), "new_balance": number(new_balance)},
        dedup_key=f"payment_confirmed:{source_key}",
    )


async def forget_client(conn: Conn, client_id: str) -> None:
    """Remove the devices and web push subscriptions of a client whose account is being deleted."""
    await repository.delete_addresses(conn, client_id)
