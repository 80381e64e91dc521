"""Push notifications, event names and payloads of mobile-api.md §6.3: rows of the outbox, written with the fact.

The row is the promise; a message in the queue ``push`` after the commit only makes it quick. Delivery is
``delivery.py``, addresses are ``addresses.py``.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from evpower.clock import iso_z
from evpower.config import get_settings
from evpower.db import Conn, after_commit
from evpower.ids import correlation_id
from evpower.money import number
from evpower.notifications import repository
from evpower.notifications.models import Address
from evpower.notifications.queue import wake

TEST = "test"
"""Event of the message that somebody sends to their own addresses."""


async def _tell(conn: Conn, user_type: str, user_id: str, event: str, payload: dict[str, Any], cause: str) -> None:
    """``cause`` makes the event happen once, however often the fact is stated."""
    ids = await repository.insert(
        conn,
        user_type=user_type,
        user_id=user_id,
        event=event,
        payload=payload,
        dedup_key=f"{event}:{cause}",
        correlation_id=correlation_id.get(),
    )
    after_commit(wake, ids)


async def _tell_owner(conn: Conn, station_id: str, event: str, payload: dict[str, Any], cause: str) -> None:
    ids = await repository.insert_for_owner(
        conn,
        station_id,
        event=event,
        payload=payload,
        dedup_key=f"{event}:{cause}",
        correlation_id=correlation_id.get(),
    )
    after_commit(wake, ids)


async def charging_started(conn: Conn, *, client_id: str, session_id: str, station_id: str, connector_id: int) -> None:
    """The charger has begun: the driver and the station's owner hear of it."""
    payload = {"session_id": session_id, "station_id": station_id, "connector_id": connector_id}
    await _tell(conn, "client", client_id, "charging_started", payload, session_id)
    await _tell_owner(conn, station_id, "new_session", {"session_id": session_id}, session_id)


async def charging_completed(
    conn: Conn, *, client_id: str, session_id: str, station_id: str, energy_kwh: Decimal, amount: Decimal
) -> None:
    """Once per session: a later, truer reading corrects the bill without a second message."""
    payload = {"session_id": session_id, "energy_kwh": number(energy_kwh), "amount": number(amount)}
    await _tell(conn, "client", client_id, "charging_completed", payload, session_id)
    await _tell_owner(conn, station_id, "session_completed", payload, session_id)


async def charging_error(conn: Conn, *, client_id: str, session_id: str, error_code: str) -> None:
    """The session never delivered energy and cannot go on."""
    payload = {"session_id": session_id, "error_code": error_code}
    await _tell(conn, "client", client_id, "charging_error", payload, session_id)


async def payment_confirmed(
    conn: Conn, *, client_id: str, amount: Decimal, new_balance: Decimal, source_key: str
) -> None:
    """A payment is on the balance; ``source_key`` is its ledger row's."""
    payload = {"amount": number(amount), "new_balance": number(new_balance)}
    await _tell(conn, "client", client_id, "payment_confirmed", payload, source_key)


async def warn_of_low_balance(conn: Conn, client_id: str, now: datetime) -> None:
    """After money was taken: warn below LOW_BALANCE_THRESHOLD_SOM, once per 24 hours whatever else was sent.

    The client's row is locked by the caller, or is locked here, first in the lock order.
    """
    threshold = get_settings().low_balance_threshold_som
    balance = await repository.claim_low_balance(conn, client_id, threshold=threshold, now=now)
    if balance is not None:
        payload = {"balance": number(balance), "threshold": number(threshold)}
        await _tell(conn, "client", client_id, "low_balance_warning", payload, f"{client_id}:{iso_z(now)}")


async def stations_offline(conn: Conn, station_ids: Sequence[str], now: datetime) -> None:
    """Stations have fallen silent: one message per silence to each owner."""
    if station_ids:
        after_commit(wake, await repository.insert_offline(conn, station_ids, now))


async def test_message(conn: Conn, user_type: str, user_id: str, *, cause: str) -> None:
    """Somebody wants to see whether messages arrive."""
    await _tell(conn, user_type, user_id, TEST, {}, cause)


async def addresses(conn: Conn, user_type: str, user_id: str, event: str) -> list[Address]:
    """Where an event of a person is shown. What happens at an owner's stations concerns its operators as well."""
    if user_type == "client":
        return await repository.client_addresses(conn, user_id)
    return await repository.owner_addresses(conn, user_id, operators_too=event != TEST)


async def forget_client(conn: Conn, client_id: str) -> None:
    """Remove the devices and web push subscriptions of a client whose account is being deleted."""
    await repository.delete_addresses(conn, client_id)


async def take_overdue(
    conn: Conn, *, due_before: datetime, handed_before: datetime, now: datetime, limit: int
) -> list[int]:
    """For the sweep: rows of the outbox whose time has come and that nobody delivers."""
    return await repository.take_overdue(conn, due_before=due_before, handed_before=handed_before, now=now, limit=limit)
