"""What operators look up of one station. Values of secret configuration keys never leave here."""

from dataclasses import replace
from datetime import datetime

from evpower.commands.shown import MASK, is_secret_key
from evpower.db import Conn
from evpower.errors import StationNotFound
from evpower.stations.inspected import (
    ConfigurationKey,
    ConnectionState,
    ConnectorState,
    EventFilter,
    StationEvent,
)
from evpower.stations.repository import inspection as rows


async def connection(conn: Conn, station_id: str) -> ConnectionState:
    """The station's connection and what the charger said of itself at boot.

    Raises:
        StationNotFound: no such station.
    """
    found = await rows.connection(conn, station_id)
    if found is None:
        raise StationNotFound
    return found


async def connectors(conn: Conn, station_id: str) -> list[ConnectorState]:
    """Connectors by number."""
    return await rows.connectors(conn, station_id)


async def configuration(conn: Conn, station_id: str, after: str | None, limit: int) -> list[ConfigurationKey]:
    """Keys as last read, by name, those behind ``after``."""
    found = await rows.configuration(conn, station_id, after, limit)
    return [replace(item, value=MASK) if item.value and is_secret_key(item.key) else item for item in found]


async def configuration_read_at(conn: Conn, station_id: str) -> datetime | None:
    """When the newest key was read."""
    return await rows.configuration_read_at(conn, station_id)


async def events(
    conn: Conn, station_id: str, wanted: EventFilter, before: int | None, limit: int
) -> list[StationEvent]:
    """Events, newest first, those before the event ``before``."""
    return await rows.events(conn, station_id, wanted, before, limit)
