"""Members of a StartTransaction that could not be read, replaced by what is known (docs/decisions/0012)."""

from evpower.charging.models import ZERO, ReceivedStart, StartTransaction
from evpower.charging.repository import sessions, transactions
from evpower.db import Conn
from evpower.stations import service as stations


async def complete_start(conn: Conn, received: ReceivedStart) -> StartTransaction | None:
    """The start with a value for each member; None when nobody can tell which connector is meant.

    Use case: refused, a charger without a usable clock would give its energy away, or charge nobody at all.
    """
    connector = received.connector_id
    if connector is None:
        connector = await _connector(conn, received)
        if connector is None:
            return None
    register = received.meter_start_wh
    if register is None:
        # With none known the readings tell: a first register that jumps is not billed, only what it moves by.
        register = await transactions.last_register(conn, received.station_id, connector) or ZERO
    found = {
        "connectorId": received.connector_id,
        "idTag": received.id_tag,
        "meterStart": received.meter_start_wh,
        "timestamp": received.started_at,
    }
    unreadable = tuple(name for name, value in found.items() if value is None)
    return StartTransaction(
        station_id=received.station_id,
        connector_id=connector,
        id_tag=received.id_tag or "",
        meter_start_wh=register,
        started_at=received.started_at or received.received_at,
        received_at=received.received_at,
        epoch=received.epoch,
        message_id=received.message_id,
        as_sent=received.as_sent if unreadable else None,
        unreadable=unreadable,
    )


async def _connector(conn: Conn, received: ReceivedStart) -> int | None:
    """That of the session which waits for this tag; else the only one that the station has."""
    waiting = await sessions.latest_by_tag(conn, received.station_id, received.id_tag) if received.id_tag else None
    if waiting is not None:
        return waiting.connector_id
    connectors = await stations.connectors(conn, received.station_id)
    return connectors[0].connector_number if len(connectors) == 1 else None
