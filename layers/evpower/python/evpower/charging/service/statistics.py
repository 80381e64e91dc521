"""A client's sessions in numbers (mobile-api.md §4.9 H3)."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from evpower.charging.repository import statistics
from evpower.db import Conn


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """Sessions that did not fail: their number, kWh, som, and minutes of charging on average, to 0.1."""

    sessions: int
    energy_kwh: Decimal
    amount: Decimal
    average_minutes: Decimal


async def of_client(conn: Conn, client_id: str, now: datetime) -> ClientStatistics:
    """The client's sessions; a running one counts with what it has so far."""
    return ClientStatistics(**await statistics.of_client(conn, client_id, now))
